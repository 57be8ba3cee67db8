/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount point, as the kernel tells of it: never by asking the mount itself, whose daemon may be dead
 * or be us.
 */
#ifndef MOUNT_LIFE_ANCHOR_H
#define MOUNT_LIFE_ANCHOR_H

#include <limits.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "weir/error.h"

struct anchor {
	char dir[PATH_MAX]; /* resolved; "" where the mount came as a descriptor and was not found */
	unsigned connection; /* fusectl's number of it; valid where `known` */
	bool known;
};

/* The absolute path of a directory that may be a dead mount. */
must_use int anchor_resolve(const char *dir, char out[PATH_MAX], struct weir_error *err);

/* Is a mount of ours there, the uppermost one? */
bool anchor_is_ours(const char *dir);

/* The connection of what is mounted at anchor->dir; for a descriptor of /dev/fuse, by what the kernel
 * tells of that (from Linux 6.16 on). */
void anchor_find(struct anchor *anchor);
void anchor_find_by_descriptor(struct anchor *anchor, int fuse_fd);

#endif
