/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/identity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/size.h"

/* FNV-1a: the input is a few bytes of the kernel's, and nobody gains by a collision. */
static uint64_t digest(uint64_t hash, const void *data, size_t bytes)
{
	const unsigned char *at = data;

	for (size_t n = 0; n < bytes; n++)
		hash = (hash ^ at[n]) * UINT64_C(0x100000001b3);
	return hash;
}

static void read_handle(int dir, const char *name, int flags, struct identity_handle *out)
{
	union {
		struct file_handle head;
		unsigned char room[sizeof(struct file_handle) + IDENTITY_HANDLE_MAX];
	} handle;
	int mount;

	handle.head.handle_bytes = IDENTITY_HANDLE_MAX;
	out->bytes = 0;
	if (name_to_handle_at(dir, name, &handle.head, &mount, flags))
		return;
	out->bytes = min_of(handle.head.handle_bytes, (unsigned)IDENTITY_HANDLE_MAX);
	out->type = handle.head.handle_type;
	memcpy(out->data, handle.room + sizeof(struct file_handle), out->bytes);
}

int identity_read(int dir, const char *name, struct statx *stat, struct identity *identity,
		  struct identity_handle *handle)
{
	int flags = *name ? 0 : AT_EMPTY_PATH;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	if (statx(dir, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, IDENTITY_STATX, stat))
		return errno;
	read_handle(dir, name, flags, handle);
	if (handle->bytes)
		hash = digest(digest(hash, &handle->type, sizeof(handle->type)), handle->data,
			      handle->bytes);
	else if (stat->stx_mask & STATX_BTIME)
		hash = digest(hash, &stat->stx_btime, sizeof(stat->stx_btime));
	*identity = (struct identity){
		.dev = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
		.ino = stat->stx_ino,
		.generation = hash,
	};
	return 0;
}
