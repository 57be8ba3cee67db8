/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as objects: opening, reading their headers, closing.
 *
 * Only regular files are opened, and without blocking on what turns out to be something else.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "base/process.h"
#include "base/size.h"
#include "io/io.h"
#include "source/file.h"

/* Assumed where a kernel before 6.1 does not say: what every disk and file system takes. */
#define ALIGN_UNKNOWN 4096u

/* ---- Opening ---- */

static int refuse_kind(const char *uri, unsigned mode, struct weir_error *err)
{
	const char *what = S_ISDIR(mode)                    ? "a directory"
			   : S_ISFIFO(mode)                 ? "a FIFO"
			   : S_ISSOCK(mode)                 ? "a socket"
			   : S_ISCHR(mode) || S_ISBLK(mode) ? "a device"
							    : "no regular file";

	return error_set(err, WEIR_ARG, uri, "%s: is %s, not a regular file", uri, what);
}

/* Opening what nobody may open is told from the two things that a person can mend. */
static int refuse_open(const struct sys *sys, const char *path, const char *uri,
		       const struct source_how *how, int os_errno, struct weir_error *err)
{
	struct statx stx;
	bool link = (how->flags & WEIR_OBJECT_NOFOLLOW) && os_errno == ELOOP &&
		    file_statx(sys, AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &stx) == 0 &&
		    S_ISLNK(stx.stx_mode);

	if (link) {
		error_set(err, WEIR_DENIED, uri, "%s: is a link, which is not followed here", uri);
		if (err)
			err->os_errno = os_errno;
		return WEIR_DENIED;
	}
	if (os_errno == ENXIO) /* a socket, or a device without one */
		return error_set(err, WEIR_ARG, uri, "%s: is no regular file", uri);
	return error_sys(err, os_errno, uri, "%s: cannot open", uri);
}

/*
 * The kernel's own files say that they are empty and then have something to say: their bytes are no
 * object's.  The descriptor does not block yet.
 */
static bool speaks_though_empty(const struct sys *sys, int fd)
{
	char byte;
	ssize_t got = sys->pread(fd, &byte, 1, 0);

	return got > 0 || (got < 0 && errno == EAGAIN);
}

static int judge_kind(const struct sys *sys, int fd, const char *uri, struct statx *stx,
		      struct weir_error *err)
{
	/* Of the file, not of what a remote one's attributes were lately: a version that a cache was wrong
	 * about would be found to have changed.  Local file systems take no notice. */
	int ret = file_statx(sys, fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, stx);

	if (ret)
		return error_sys(err, ret, uri, "%s: cannot stat", uri);
	if (!S_ISREG(stx->stx_mode))
		return refuse_kind(uri, stx->stx_mode, err);
	if (stx->stx_size == 0 && speaks_though_empty(sys, fd))
		return error_set(err, WEIR_ARG, uri, "%s: a file of the kernel, which has no size",
				 uri);
	return 0;
}

static uint32_t request_bytes(struct file_source *source)
{
	/* Relaxed: whoever comes first asks, and all get the same answer. */
	uint8_t ring = atomic_load_explicit(&source->ring, memory_order_relaxed);

	if (ring == FILE_RING_UNKNOWN) {
		ring = io_ring_possible() ? FILE_RING_POSSIBLE : FILE_RING_NOT;
		atomic_store_explicit(&source->ring, ring, memory_order_relaxed);
	}
	return ring == FILE_RING_POSSIBLE ? FILE_RING_REQUEST_BYTES : FILE_THREAD_REQUEST_BYTES;
}

/* With both names behind it; mostly they are one. */
static struct file_object *allocate(const char *path, const char *uri)
{
	size_t uri_bytes = strlen(uri) + 1;
	size_t path_bytes = path && strcmp(path, uri) != 0 ? strlen(path) + 1 : 0;
	struct file_object *file = malloc(sizeof(*file) + uri_bytes + path_bytes);

	if (!file)
		return NULL;
	memset(file, 0, sizeof(*file));
	file->object.uri = memcpy(file->text, uri, uri_bytes);
	if (path_bytes)
		file->path = memcpy(file->text + uri_bytes, path, path_bytes);
	else if (path)
		file->path = file->text;
	return file;
}

int file_object_create(struct source *source, int fd, const char *path, const char *uri,
		       const struct source_how *how, struct file_object **out,
		       struct weir_error *err)
{
	struct file_object *file = allocate(path, uri);

	if (!file) {
		source->env->sys->close(fd);
		return error_nomem(err, uri, "the object");
	}
	file->object.source = source;
	file->object.offset_align = 1;
	file->object.memory_align = 1;
	file->object.request_bytes = request_bytes(file_source_of(source));
	file->fd = fd;
	file->direct_fd = -1;
	file->direct = how->direct;
	file->cache = how->cache;
	list_init(&file->link);
	file->live = (how->flags & WEIR_OBJECT_LIVE) != 0;
	lock_init(&file->lock);
	*out = file;
	return 0;
}

void file_log_no_direct(const struct file_object *file, int os_errno)
{
	log_info(file->object.source->env->log,
		 "%s: goes through the page cache: O_DIRECT is refused (%s)", file->object.uri,
		 strerrorname_np(os_errno));
}

/* Where it cannot be had: an error for who insists, the page cache for who does not. */
static int without_direct(const struct file_object *file, int os_errno, struct weir_error *err)
{
	const char *uri = file->object.uri;

	if (file->direct == WEIR_DIRECT_ON)
		return error_sys(err, os_errno == EINVAL ? EOPNOTSUPP : os_errno, uri,
				 "%s: cannot be read past the page cache", uri);
	file_log_no_direct(file, os_errno);
	return 0;
}

void file_saw_direct(struct file_source *source)
{
	atomic_store_explicit(&source->direct_seen, true, memory_order_relaxed);
}

/*
 * Opening a file of a local disk that is open already asks nobody, so it can wait for the first request:
 * where an earlier one was opened, for otherwise it may be forbidden, which had better be known now.  A
 * file server would be asked, and a file that is written or insisted on should fail at once.
 */
static bool can_wait(const struct file_object *file, const struct statx *stx, bool align_known)
{
	return align_known && stx->stx_dev_major != 0 && !file->object.writing &&
	       file->direct != WEIR_DIRECT_ON &&
	       atomic_load_explicit(&file_source_of(file->object.source)->direct_seen,
				    memory_order_relaxed);
}

int file_open_direct(struct file_object *file, const char *path, int flags, const struct statx *stx,
		     struct weir_error *err)
{
	struct file_dio_align align = file_dio_align_of(stx);

	if (file->direct == WEIR_DIRECT_OFF || (stx->stx_size == 0 && !file->object.writing))
		return 0;
	if (align.known && (align.file == 0 || align.memory == 0 || align.file > CELL_BYTES))
		return without_direct(file, EOPNOTSUPP, err);
	if (!can_wait(file, stx, align.known)) {
		file->direct_fd = file_open_second(file, path, flags | O_DIRECT);
		if (file->direct_fd < 0)
			return without_direct(file, errno, err);
		file_saw_direct(file_source_of(file->object.source));
	}
	file->has_direct = true;
	file->object.offset_align = align.known ? align.file : ALIGN_UNKNOWN;
	file->object.memory_align = align.known ? align.memory : ALIGN_UNKNOWN;
	return 0;
}

static int open_named(struct source *source, const char *path, int flags,
		      const struct source_dir *dir)
{
	if (dir)
		return file_open_first(file_source_of(source), dir->fd, path + dir->name_at, flags);
	return file_open_first(file_source_of(source), AT_FDCWD, path, flags);
}

int file_open(struct source *source, const char *path, const char *uri,
	      const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	const struct sys *sys = source->env->sys;
	int flags = O_RDONLY | O_NONBLOCK;
	struct file_object *file;
	struct statx stx;
	int fd, ret;

	if (how->flags & WEIR_OBJECT_NOFOLLOW)
		flags |= O_NOFOLLOW;
	fd = open_named(source, path, flags, how->dir);
	if (fd < 0)
		return refuse_open(sys, path, uri, how, errno, err);
	ret = judge_kind(sys, fd, uri, &stx, err);
	if (ret == 0 && how->dir &&
	    makedev(stx.stx_dev_major, stx.stx_dev_minor) != how->dir->device)
		ret = 1;
	if (ret) {
		sys->close(fd);
		return ret;
	}
	ret = file_object_create(source, fd, path, uri, how, &file, err);
	if (ret)
		return ret;
	file->open_flags = flags;
	file->object.size_bytes = stx.stx_size;
	file_set_version(file, &stx);
	ret = file_open_direct(file, path, O_RDONLY, &stx, err);
	if (ret) {
		file_close(&file->object);
		return ret;
	}
	file_enroll(file);
	*out = &file->object;
	return 0;
}

/* ---- Reading a header; closing ---- */

/* Bytes, fewer only at the end, or a negative errno. */
static int64_t read_held(const struct file_object *file, char *to, uint64_t offset, uint64_t length)
{
	uint64_t done = 0;

	while (done < length) {
		size_t ask = (size_t)min_of(length - done, (uint64_t)REQUEST_MAX);
		ssize_t got = file_sys(file)->pread(file->fd, to + done, ask,
						    (off_t)(offset + done));

		if (got == 0)
			break;
		if (got > 0)
			done += (uint64_t)got;
		else if (errno != EINTR)
			return -errno;
	}
	return (int64_t)done;
}

int64_t file_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		  struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	int64_t got;
	int ret;

	if (!size_inside(offset, length, INT64_MAX))
		return error_at(err, WEIR_ARG, object->uri, offset, length,
				"%s: no file has bytes there", object->uri);
	ret = file_hold_to_look(file);
	if (ret)
		return file_no_hold(file, ret, err);
	got = read_held(file, to, offset, length);
	file_drop(file);
	if (got >= 0)
		return got;
	ret = error_sys(err, (int)-got, object->uri, "%s: reading %llu bytes at %llu", object->uri,
			(unsigned long long)length, (unsigned long long)offset);
	if (err) {
		err->offset_bytes = offset;
		err->length_bytes = length;
	}
	return ret;
}

void file_close(struct source_object *object)
{
	struct file_object *file = file_object_of(object);
	bool ours = file_source_of(object->source)->pid == process_id();

	if (ours)
		file_strike_off(file);
	file_draft_drop(file);
	file_close_fds(file);
	if (ours)
		lock_fini(&file->lock);
	free(file->windows);
	free(file);
}
