/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount point, as the kernel tells of it: never by asking the mount itself, whose daemon may be dead
 * or be us.
 */
#ifndef MOUNT_LIFE_SITE_H
#define MOUNT_LIFE_SITE_H

#include <limits.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "weir/error.h"

struct site {
	char dir[PATH_MAX]; /* resolved; "" where the mount came as a descriptor and was not found */
	unsigned connection; /* fusectl's number of it; valid where `known` */
	bool known;
};

/* The absolute path of a directory that may be a dead mount. */
must_use int site_resolve(const char *dir, char out[PATH_MAX], struct weir_error *err);

/* Is a mount of ours there, the uppermost one? */
bool site_is_ours(const char *dir);

/* The connection of what is mounted at site->dir; for a descriptor of /dev/fuse, by what the kernel
 * tells of that (from Linux 6.16 on). */
void site_find(struct site *site);
void site_find_by_descriptor(struct site *site, int fuse_fd);

#endif
