/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a number to a descriptor, for the length of one operation.
 *
 *	struct reached at;
 *	int error = reach(tree, number, &at);
 *
 *	if (!error) {
 *		... at.fd, an O_PATH descriptor ...
 *		reach_end(tree, &at);
 *	}
 */
#ifndef MOUNT_REACH_H
#define MOUNT_REACH_H

#include "mount/tree.h"

struct reached {
	struct inode *inode; /* with a reference */
	int fd;              /* pinned */
};

/* 0, or an errno: ESTALE where the number means nothing (any more). */
int reach(struct tree *tree, uint64_t number, struct reached *out);
void reach_end(struct tree *tree, struct reached *at);

/*
 * What a name in a directory is: one component, beneath it, no link followed.  0 and an O_PATH
 * descriptor in *found, or an errno.
 */
int reach_name(int dir, const char *name, struct found *found);

/* Opens one component for what flags say; -1 with errno. */
int reach_open(int dir, const char *name, int flags, mode_t mode);

/* The file behind an O_PATH descriptor, opened for I/O; -1 with errno. */
int reach_open_again(int fd, int flags);

/* "/proc/self/fd/N", for calls that take no O_PATH descriptor. */
#define REACH_PATH_MAX 32
const char *reach_path(int fd, char out[REACH_PATH_MAX]);

#endif
