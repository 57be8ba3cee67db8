/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which source a URI is served by.
 *
 * A scheme says it; a plain path is the file source's unless it lies on a 3FS mount that takes rings.  To
 * see that costs one statfs for each open (of many in one directory: engine/object_dir.c); only a
 * path on a FUSE file system is looked for among the mounts, once for each directory.
 * "3fs:///path" demands rings, "file:///path" forbids them.
 */
#ifndef ENGINE_ROUTE_H
#define ENGINE_ROUTE_H

#include <stdbool.h>

#include "base/thread.h"
#include "engine/context.h"

/* A group and the path within its source. */
struct place {
	struct group *group;
	char *path;  /* owned */
	bool chosen; /* by us: where its rings cannot be had, the file source serves it as well */
};

/* May block: on a helper's thread.  making: the last part of a path need not be there. */
int place_find(struct weir_ctx *ctx, const char *uri, bool making, struct place *out,
	       struct weir_error *err);
/* The same for a path of the file source, taken as it stands. */
int place_of_path(struct weir_ctx *ctx, const char *path, bool making, struct place *out,
		  struct weir_error *err);
void place_fini(struct place *place);

/*
 * A call on a place failed with that: true where it is to be made once more, on the file source, which
 * the place then names.
 */
bool place_fall_back(struct weir_ctx *ctx, struct place *place, const struct weir_error *err);

/* Where reads of this URI went, if any did; does not block, and asks nobody. */
int place_known(struct weir_ctx *ctx, const char *uri, struct group **out, struct weir_error *err);

#endif
