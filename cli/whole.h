/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A local file that is whole or not there: written beside its name, which it gets at the end.
 *
 * Only regular files are replaced, where a link leads to one too; what is a device, a pipe or a terminal
 * (/dev/stdout) is written to as it stands.
 */
#ifndef CLI_WHOLE_H
#define CLI_WHOLE_H

#include <stdbool.h>
#include <stdio.h>

#include "weir/error.h"

struct whole {
	FILE *to; /* owned; NULL: not open */
	const char *path, *what;
	char *target;    /* owned: where the path leads */
	char *temporary; /* owned: the name until it is whole; NULL: it is no regular file */
};

/* what: "the list of digests", for messages; borrowed as the path is. */
int whole_open(struct whole *whole, const char *path, const char *what, struct weir_error *err);

/* Gives it its name, or removes it where it is not to be kept or writing has failed. */
int whole_close(struct whole *whole, bool keep, struct weir_error *err);

#endif
