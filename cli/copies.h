/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `weir cp` copies: pairs of names, found by walking the sources; and the copying of one.
 */
#ifndef CLI_COPIES_H
#define CLI_COPIES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "option.h"
#include "weir/weir.h"

struct copy {
	char *from, *to; /* owned */
	uint64_t size_bytes;
	int64_t modified_ns;
};

struct copies {
	struct copy *list; /* owned */
	size_t count;
	uint64_t bytes;
};

struct copies_how {
	struct weir_ctx *ctx;
	struct weir_cancel *cancel;
	bool recursive;
	bool resume; /* a directory goes where an earlier copy of it went */
};

/*
 * The last argument is where to.  Makes the directories that are needed, so that the copies can go in any
 * order.  With `resume` a directory goes into TO where one of its name is there, else it is TO itself:
 * the same command, once more, means the same files.
 */
int copies_find(struct copies *copies, const struct texts *arguments, const struct copies_how *how,
		struct weir_error *err);
void copies_fini(struct copies *copies);

struct copy_how {
	struct weir_ctx *ctx;
	struct weir_cancel *cancel;
	bool resume, checksum;
	_Atomic uint64_t *done_bytes;
};

/* Any thread.  *skipped: it was there already. */
int copy_file(const struct copy *copy, const struct copy_how *how, bool *skipped,
	      struct weir_error *err);

#endif
