/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which file is it?  Device and inode number say it for a moment; file systems use the numbers of
 * removed files again.  So a generation belongs to it: a digest of the handle that the kernel makes
 * for the file (its number and generation, in most file systems), or where there is none its birth
 * time.
 */
#ifndef MOUNT_IDENTITY_H
#define MOUNT_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct identity {
	uint64_t dev, ino, generation;
};

static inline bool identity_same(const struct identity *a, const struct identity *b)
{
	return a->ino == b->ino && a->dev == b->dev && a->generation == b->generation;
}

#define IDENTITY_STATX (STATX_BASIC_STATS | STATX_BTIME)

/*
 * All there is to know of a name in a directory (not following links), or with an empty name of the
 * descriptor itself.  0, or an errno.
 */
int identity_read(int dir, const char *name, struct statx *stat, struct identity *identity);

#endif
