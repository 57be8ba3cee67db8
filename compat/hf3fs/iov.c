/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for data.  The name of an iov in /dev/shm stays until hf3fs_iovunlink() or hf3fs_iovdestroy(), for
 * hf3fs_iovopen() finds the memory of another process by it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/node.h"
#include "compat/hf3fs/handle.h"

/* -EINVAL also where there is nothing to fill in: the caller touches *iov only after 0. */
static int check(const struct hf3fs_iov *iov, const char *mount, size_t size, size_t block_size)
{
	if (!iov || !mount || strlen(mount) >= sizeof(iov->mount_point) || size == 0 ||
	    block_size > size)
		return -EINVAL;
	return 0;
}

static void fill(struct hf3fs_iov *out, void *base, const void *id, const char *mount, size_t size,
		 size_t block_size, int numa)
{
	memset(out, 0, sizeof(*out));
	out->base = base;
	memcpy(out->id, id, sizeof(out->id));
	memcpy(out->mount_point, mount, strlen(mount) + 1);
	out->size = size;
	out->block_size = block_size;
	out->numa = numa;
}

/* Makes the handle that both ways of having memory of our own need. */
typedef int attach_fn(struct usrbio_session *session, const void *arg, struct usrbio_iov *out,
		      struct weir_error *err);

static int have(const char *call, const char *mount, attach_fn *attach, const void *arg,
		struct handle **out)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_session *session;
	struct handle *handle;
	int ret = handle_session(mount, &session);

	if (ret != 0)
		return failure(ret);
	handle = handle_create();
	if (!handle) {
		usrbio_session_put(session);
		return -ENOMEM;
	}
	ret = attach(session, arg, &handle->iov, &err);
	usrbio_session_put(session);
	if (ret < 0) {
		free(handle_take(handle, false));
		return failure(handle_failed(call, ret, &err));
	}
	*out = handle;
	return 0;
}

static int create(struct usrbio_session *session, const void *arg, struct usrbio_iov *out,
		  struct weir_error *err)
{
	return usrbio_iov_create(session, arg, out, err);
}

HF3FS_API int hf3fs_iovcreate(struct hf3fs_iov *iov, const char *hf3fs_mount_point, size_t size,
			      size_t block_size, int numa)
{
	struct usrbio_iov_opts opts = {.bytes = size,
				       .block_bytes = block_size,
				       .node = numa < 0 ? NODE_ANY : numa,
				       .keep_name = true};
	struct handle *handle = NULL;
	int ret = check(iov, hf3fs_mount_point, size, block_size);

	if (iov)
		memset(iov, 0, sizeof(*iov)); /* a destroy after a failure finds nothing */
	if (ret == 0)
		ret = have("hf3fs_iovcreate", hf3fs_mount_point, create, &opts, &handle);
	if (ret < 0)
		return ret;
	fill(iov, handle->iov.shm.memory, handle->iov.key.id, hf3fs_mount_point, size, block_size,
	     numa);
	iov->iovh = handle;
	return 0;
}

struct wish {
	const uint8_t *id;
	uint64_t bytes, block_bytes;
};

static int attach(struct usrbio_session *session, const void *arg, struct usrbio_iov *out,
		  struct weir_error *err)
{
	const struct wish *wish = arg;

	return usrbio_iov_attach(session, wish->id, wish->bytes, wish->block_bytes, out, err);
}

HF3FS_API int hf3fs_iovopen(struct hf3fs_iov *iov, const uint8_t id[16],
			    const char *hf3fs_mount_point, size_t size, size_t block_size, int numa)
{
	struct wish wish = {id, size, block_size};
	struct handle *handle = NULL;
	int ret = check(iov, hf3fs_mount_point, size, block_size);

	if (iov)
		memset(iov, 0, sizeof(*iov));
	if (ret == 0 && !id)
		ret = -EINVAL;
	if (ret == 0)
		ret = have("hf3fs_iovopen", hf3fs_mount_point, attach, &wish, &handle);
	if (ret < 0)
		return ret;
	fill(iov, handle->iov.shm.memory, id, hf3fs_mount_point, size, block_size, numa);
	iov->iovh = handle;
	return 0;
}

HF3FS_API int hf3fs_iovwrap(struct hf3fs_iov *iov, void *base, const uint8_t id[16],
			    const char *hf3fs_mount_point, size_t size, size_t block_size, int numa)
{
	int ret = check(iov, hf3fs_mount_point, size, block_size);

	if (ret < 0)
		return ret;
	if (!base || !id)
		return -EINVAL;
	if (numa >= 0)
		node_bind(sys_real(), base, size,
			  numa); /* a hint: a node that is not there is none */
	fill(iov, base, id, hf3fs_mount_point, size, block_size, numa);
	return 0;
}

HF3FS_API void hf3fs_iovunlink(struct hf3fs_iov *iov)
{
	if (iov)
		handle_with_iov(iov->iovh, usrbio_iov_unlink);
}

HF3FS_API void hf3fs_iovdestroy(struct hf3fs_iov *iov)
{
	struct handle *handle = iov ? handle_take(iov->iovh, false) : NULL;

	if (!handle)
		return;
	usrbio_iov_destroy(&handle->iov);
	free(handle);
	iov->iovh = NULL;
	iov->base = NULL;
}
