/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/size.h"

/* The longest that file systems make. */
#define HANDLE_MAX 128

/* FNV-1a: the input is a few bytes of the kernel's, and nobody gains by a collision. */
static uint64_t digest(uint64_t hash, const void *data, size_t bytes)
{
	const unsigned char *at = data;

	for (size_t n = 0; n < bytes; n++)
		hash = (hash ^ at[n]) * UINT64_C(0x100000001b3);
	return hash;
}

/* The kernel's handle of a file is never opened, only looked at.  False: the file system makes none. */
static bool digest_handle(int dir, const char *name, int flags, uint64_t *hash)
{
	union {
		struct file_handle head;
		unsigned char room[sizeof(struct file_handle) + HANDLE_MAX];
	} handle;
	int mount;

	handle.head.handle_bytes = HANDLE_MAX;
	if (name_to_handle_at(dir, name, &handle.head, &mount, flags))
		return false;
	*hash = digest(*hash, &handle.head.handle_type, sizeof(handle.head.handle_type));
	*hash = digest(*hash, handle.room + sizeof(struct file_handle),
		       min_of(handle.head.handle_bytes, (unsigned)HANDLE_MAX));
	return true;
}

int identity_read(int dir, const char *name, struct statx *stat, struct identity *identity)
{
	int flags = *name ? 0 : AT_EMPTY_PATH;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (statx(dir, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, IDENTITY_STATX, stat))
		return errno;
	if (!digest_handle(dir, name, flags, &hash) && stat->stx_mask & STATX_BTIME)
		hash = digest(hash, &stat->stx_btime, sizeof(stat->stx_btime));
	*identity = (struct identity){
		.dev = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
		.ino = stat->stx_ino,
		.generation = hash,
	};
	return 0;
}
