/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of digests, for `weir verify`.
 *
 *	a0b1c2d3e4f50617  model-00001-of-00004.safetensors#lm_head.weight     ours: XXH3, one tensor
 *	e3b0c44298fc...b855  model-00001-of-00004.safetensors                 sha256sum's: a whole file
 *
 * Names with a backslash or a line feed in them are written as sha256sum does: the line begins with a
 * backslash, and the two are spelled \\ and \n.  A relative name means a file beside the one that was
 * verified from here, or beside the list itself.
 */
#ifndef CLI_DIGESTS_H
#define CLI_DIGESTS_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/weir.h"

struct digests;

int digests_read(const char *path, struct digests **out, struct weir_error *err);
void digests_free(struct digests *digests);

/* The digest of a tensor in a file; false: the list has none. */
bool digests_tensor(struct digests *digests, const char *uri, const char *name, uint64_t name_len,
		    uint64_t *out);

/* A tensor of a file that the list has a digest of and nobody asked for; NULL: there is none. */
const char *digests_unasked(const struct digests *digests, const char *uri);

/* The SHA-256 of a file, likewise. */
bool digests_file(const struct digests *digests, const char *uri, uint8_t out[32]);

/* One line of ours. */
void digests_write(FILE *to, uint64_t digest, const char *uri, const char *name, uint64_t name_len);

#endif
