/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/digest.h - checksums at the speed of memory
 */
#ifndef WEIR_DIGEST_H
#define WEIR_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"
#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_digest_kind {
	WEIR_DIGEST_XXH3_64 = 1,
	WEIR_DIGEST_SHA256 = 2, /* for comparing with others' lists; slow, and off the data path */
};

#define WEIR_DIGEST_MAX 32

struct weir_digest;

WEIR_API int weir_digest_create(int kind, struct weir_digest **out, struct weir_error *err);
WEIR_API void weir_digest_destroy(struct weir_digest *digest);
WEIR_API void weir_digest_reset(struct weir_digest *digest);
WEIR_API void weir_digest_update(struct weir_digest *digest, const void *data, size_t len);

/* Writes the canonical (big-endian) bytes of what came so far, returns how many: 8, 32. */
WEIR_API size_t weir_digest_value(const struct weir_digest *digest, uint8_t out[WEIR_DIGEST_MAX]);

/* XXH3, 64 bits, seed 0, of one piece. */
WEIR_API uint64_t weir_xxh3_64(const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
