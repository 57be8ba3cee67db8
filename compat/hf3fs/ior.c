/* SPDX-License-Identifier: Apache-2.0 */
/* Rings.  The work is io/usrbio/ring.c's; here arguments are checked as this interface says. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "compat/hf3fs/handle.h"

_Static_assert(sizeof(struct hf3fs_iov) == 312 && offsetof(struct hf3fs_iov, size) == 288 &&
		       offsetof(struct hf3fs_iov, numa) == 304,
	       "iovs have one layout");
_Static_assert(sizeof(struct hf3fs_ior) == 600 && offsetof(struct hf3fs_ior, iorh) == 312 &&
		       offsetof(struct hf3fs_ior, for_read) == 576 &&
		       offsetof(struct hf3fs_ior, flags) == 592,
	       "rings have one layout");
_Static_assert(sizeof(struct hf3fs_cqe) == sizeof(struct usrbio_cqe) &&
		       offsetof(struct hf3fs_cqe, index) == offsetof(struct usrbio_cqe, index) &&
		       offsetof(struct hf3fs_cqe, result) == offsetof(struct usrbio_cqe, result) &&
		       offsetof(struct hf3fs_cqe, userdata) ==
			       offsetof(struct usrbio_cqe, userdata),
	       "completions have one layout");

HF3FS_API size_t hf3fs_ior_size(int entries)
{
	return entries < 0 ? 0 : usrbio_ring_bytes((uint32_t)entries);
}

static int create(const char *mount, const struct usrbio_ring_opts *opts, struct handle **out)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_session *session;
	struct usrbio_ring *ring;
	int ret = handle_session(mount, &session);

	if (ret != 0)
		return failure(ret);
	ret = usrbio_ring_create(session, opts, &ring, &err);
	usrbio_session_put(session);
	if (ret < 0)
		return failure(handle_failed("hf3fs_iorcreate", ret, &err));
	*out = handle_create();
	if (!*out) {
		usrbio_ring_destroy(ring);
		return -ENOMEM;
	}
	(*out)->ring = ring;
	(*out)->files = handle_files();
	return 0;
}

static void fill(struct hf3fs_ior *out, struct handle *handle, const char *mount,
		 const struct usrbio_ring_opts *opts)
{
	memcpy(out->mount_point, mount, strlen(mount) + 1);
	memcpy(out->iov.mount_point, mount, strlen(mount) + 1);
	memcpy(out->iov.id, usrbio_ring_key(handle->ring)->id, sizeof(out->iov.id));
	out->iov.base = usrbio_ring_memory(handle->ring);
	out->iov.size = usrbio_ring_bytes(opts->entries);
	out->iov.numa = opts->node;
	out->for_read = opts->for_read;
	out->io_depth = opts->depth;
	out->priority = opts->priority;
	out->timeout = opts->timeout_ms;
	out->flags = opts->flags;
	out->iorh = handle;
}

static int make(struct hf3fs_ior *ior, const char *mount, int entries,
		struct usrbio_ring_opts *opts)
{
	struct handle *handle = NULL;
	int ret;

	if (ior)
		memset(ior, 0, sizeof(*ior)); /* a destroy after a failure finds nothing */
	if (!ior || entries <= 0 || (uint32_t)entries > USRBIO_ENTRIES_MAX || opts->timeout_ms < 0)
		return -EINVAL;
	opts->entries = (uint32_t)entries;
	ret = create(mount, opts, &handle);
	if (ret == 0)
		fill(ior, handle, mount, opts);
	return ret;
}

HF3FS_API int hf3fs_iorcreate(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
			      bool for_read, int io_depth, int numa)
{
	return hf3fs_iorcreate4(ior, hf3fs_mount_point, entries, for_read, io_depth, 0, numa, 0);
}

HF3FS_API int hf3fs_iorcreate2(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
			       bool for_read, int io_depth, int priority, int numa)
{
	return hf3fs_iorcreate3(ior, hf3fs_mount_point, entries, for_read, io_depth, priority, 0,
				numa);
}

HF3FS_API int hf3fs_iorcreate3(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
			       bool for_read, int io_depth, int priority, int timeout, int numa)
{
	struct usrbio_ring_opts opts = {.for_read = for_read,
					.depth = io_depth,
					.priority = priority,
					.timeout_ms = timeout,
					.node = numa};

	return make(ior, hf3fs_mount_point, entries, &opts);
}

HF3FS_API int hf3fs_iorcreate4(struct hf3fs_ior *ior, const char *hf3fs_mount_point, int entries,
			       bool for_read, int io_depth, int timeout, int numa, uint64_t flags)
{
	struct usrbio_ring_opts opts = {.for_read = for_read,
					.depth = io_depth,
					.timeout_ms = timeout,
					.node = numa,
					.flags = flags};

	return make(ior, hf3fs_mount_point, entries, &opts);
}

HF3FS_API void hf3fs_iordestroy(struct hf3fs_ior *ior)
{
	struct handle *handle = ior ? handle_take(ior->iorh, true) : NULL;

	if (!handle)
		return;
	usrbio_ring_destroy(handle->ring);
	free(handle);
	ior->iorh = NULL;
	ior->iov.base = NULL;
}

HF3FS_API int hf3fs_io_entries(const struct hf3fs_ior *ior)
{
	const struct handle *handle = ior ? ior->iorh : NULL;

	return handle ? (int)usrbio_ring_entries_of(handle->ring) : -EINVAL;
}

/* ---- Requests ---- */

HF3FS_API int hf3fs_prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read,
			    void *ptr, int fd, size_t off, uint64_t len, const void *userdata)
{
	const struct handle *handle;
	struct usrbio_file file;
	struct usrbio_io io;
	uintptr_t base, at = (uintptr_t)ptr;

	if (!ior || !iov || !ior->iorh || read != ior->for_read || len == 0)
		return -EINVAL;
	base = (uintptr_t)iov->base;
	if (at < base || at - base > iov->size || len > iov->size - (at - base))
		return -EINVAL;
	if (fd > USRBIO_FD_MAX || fd < -USRBIO_FD_MAX)
		return -EINVAL;
	handle = ior->iorh;
	if (!usrbio_files_find(handle->files, fd, &file))
		return -EBADF;
	if (file.access == (read ? O_WRONLY : O_RDONLY))
		return -EACCES;
	io = (struct usrbio_io){.iov = (const uint8_t *)iov->id,
				.iov_bytes = iov->size,
				.iov_offset = at - base,
				.length = len,
				.file = file.ino,
				.file_offset = off,
				.userdata = (uintptr_t)userdata};
	return usrbio_ring_prepare(handle->ring, &io);
}

HF3FS_API int hf3fs_submit_ios(const struct hf3fs_ior *ior)
{
	if (!ior || !ior->iorh)
		return -EINVAL;
	return usrbio_ring_submit(((struct handle *)ior->iorh)->ring);
}

HF3FS_API int hf3fs_wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int cqec,
				 int min_results, const struct timespec *abs_timeout)
{
	int64_t deadline_ns;
	int ret;

	if (!ior || !ior->iorh || !cqes || cqec <= 0)
		return -EINVAL;
	ret = usrbio_ring_deadline(sys_real(), abs_timeout, &deadline_ns);
	if (ret < 0)
		return ret;
	/* One layout, as asserted above. */
	return usrbio_ring_wait(((struct handle *)ior->iorh)->ring, (void *)cqes, cqec, min_results,
				deadline_ns);
}
