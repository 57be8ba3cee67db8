/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files as objects: opening them, knowing their version again, closing them.
 *
 * Only regular files are opened, and without blocking on what turns out to be something else.  The
 * version is compared on the descriptor, so a name that comes to mean another file changes nothing.
 *
 * What counts as a change: another device or inode (a number of ours was closed behind our back), any
 * other size (a longer file too: who appends to weights is rewriting them), another mtime, another
 * ctime.  One ctime is forgiven: a removed name, or a file renamed over it, moves the ctime of the old
 * one and lowers its count of links; the bytes stay.  What stat cannot tell apart is not seen: a
 * rewrite within one tick of a kernel with coarse timestamps, or bytes changed beneath the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/size.h"
#include "io/fd.h"
#include "io/io.h"
#include "source/file.h"

/* Assumed where a kernel before 6.1 does not say: what every disk and file system takes. */
#define ALIGN_UNKNOWN 4096u

/* ---- What the kernel says of a file ---- */

/* The two fields came with Linux 6.1; the C library's struct may call them spare. */
#define DIOALIGN_MASK          0x2000u
#define DIOALIGN_MEMORY_OFFSET 152
#define DIOALIGN_FILE_OFFSET   156
_Static_assert(sizeof(struct statx) == 256, "the kernel's struct statx");

struct dio_align {
	bool known;
	uint32_t memory, file;
};

static struct dio_align dio_align_of(const struct statx *stx)
{
	struct dio_align align = {.known = (stx->stx_mask & DIOALIGN_MASK) != 0};

	memcpy(&align.memory, (const char *)stx + DIOALIGN_MEMORY_OFFSET, sizeof(align.memory));
	memcpy(&align.file, (const char *)stx + DIOALIGN_FILE_OFFSET, sizeof(align.file));
	return align;
}

int file_statx(const struct sys *sys, int dir, const char *path, int flags, struct statx *out)
{
	memset(out, 0, sizeof(*out));
	return sys->statx(dir, path, flags, STATX_BASIC_STATS | DIOALIGN_MASK, out) ? errno : 0;
}

static struct timespec time_of(struct statx_timestamp stamp)
{
	return (struct timespec){.tv_sec = stamp.tv_sec, .tv_nsec = stamp.tv_nsec};
}

static struct file_version version_of_statx(const struct statx *stx)
{
	return (struct file_version){
		.device = makedev(stx->stx_dev_major, stx->stx_dev_minor),
		.inode = stx->stx_ino,
		.size_bytes = stx->stx_size,
		.modified = time_of(stx->stx_mtime),
		.changed = time_of(stx->stx_ctime),
		.links = stx->stx_nlink,
	};
}

void file_set_version(struct file_object *file, const struct statx *stx)
{
	file->version = version_of_statx(stx);
}

static struct file_version version_of_stat(const struct stat *st)
{
	return (struct file_version){
		.device = st->st_dev,
		.inode = st->st_ino,
		.size_bytes = (uint64_t)st->st_size,
		.modified = st->st_mtim,
		.changed = st->st_ctim,
		.links = st->st_nlink,
	};
}

static int kind_of(unsigned mode)
{
	return S_ISREG(mode)   ? WEIR_KIND_FILE
	       : S_ISDIR(mode) ? WEIR_KIND_DIRECTORY
			       : WEIR_KIND_OTHER;
}

void file_fill_stat(const struct statx *stx, struct weir_stat *out)
{
	struct dio_align align = dio_align_of(stx);

	memset(out, 0, sizeof(*out));
	out->kind = kind_of(stx->stx_mode);
	out->size_bytes = stx->stx_size;
	out->modified_ns = stx->stx_mtime.tv_sec * 1000000000 + stx->stx_mtime.tv_nsec;
	if (align.known && out->kind == WEIR_KIND_FILE) {
		out->direct_align = align.file;
		out->memory_align = align.memory;
	}
	out->cached_bytes = UINT64_MAX;
	snprintf(out->version, sizeof(out->version), "%x:%x-%llx-%llx-%llx.%x-%llx.%x",
		 stx->stx_dev_major, stx->stx_dev_minor, (unsigned long long)stx->stx_ino,
		 (unsigned long long)stx->stx_size, (unsigned long long)stx->stx_mtime.tv_sec,
		 stx->stx_mtime.tv_nsec, (unsigned long long)stx->stx_ctime.tv_sec,
		 stx->stx_ctime.tv_nsec);
}

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
	int ret = file_statx(sys, fd, "", AT_EMPTY_PATH, stx);

	if (ret)
		return error_sys(err, ret, uri, "%s: cannot stat", uri);
	if (!S_ISREG(stx->stx_mode))
		return refuse_kind(uri, stx->stx_mode, err);
	if (stx->stx_size == 0 && speaks_though_empty(sys, fd))
		return error_set(err, WEIR_ARG, uri, "%s: a file of the kernel, which has no size",
				 uri);
	return 0;
}

int file_object_create(struct source *source, int fd, const char *uri, const struct source_how *how,
		       struct file_object **out, struct weir_error *err)
{
	struct file_object *file = calloc(1, sizeof(*file));
	char *name = strdup(uri);

	if (!file || !name) {
		free(file);
		free(name);
		source->env->sys->close(fd);
		return error_nomem(err, uri, "the object");
	}
	file->object.source = source;
	file->object.uri = name;
	file->object.offset_align = 1;
	file->object.memory_align = 1;
	file->object.request_bytes = io_ring_possible() ? FILE_RING_REQUEST_BYTES
							: FILE_THREAD_REQUEST_BYTES;
	file->fd = fd;
	file->direct_fd = -1;
	file->direct = how->direct;
	file->cache = how->cache;
	file->live = (how->flags & WEIR_OBJECT_LIVE) != 0;
	lock_init(&file->lock);
	for (unsigned i = 0; i < WINDOWS_KEPT; i++)
		file->windows[i].number = UINT64_MAX;
	*out = file;
	return 0;
}

/* By way of /proc where there is one: no name in between that could mean another file by now. */
static int reopen(const struct file_object *file, const char *path, int flags)
{
	const struct sys *sys = file_sys(file);
	struct stat ours, theirs;
	char magic[32];
	int fd;

	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", file->fd);
	fd = fd_lift(sys, sys->openat(AT_FDCWD, magic, flags, 0));
	if (fd >= 0 || errno != ENOENT || !path)
		return fd;
	fd = fd_lift(sys, sys->openat(AT_FDCWD, path, flags, 0));
	if (fd < 0)
		return fd;
	if (sys->fstat(file->fd, &ours) || sys->fstat(fd, &theirs) ||
	    ours.st_dev != theirs.st_dev || ours.st_ino != theirs.st_ino) {
		sys->close(fd);
		errno = ESTALE;
		return -1;
	}
	return fd;
}

/* Where it cannot be had: an error for who insists, the page cache for who does not. */
static int without_direct(const struct file_object *file, int os_errno, struct weir_error *err)
{
	const char *uri = file->object.uri;

	if (file->direct == WEIR_DIRECT_ON)
		return error_sys(err, os_errno == EINVAL ? EOPNOTSUPP : os_errno, uri,
				 "%s: cannot be read past the page cache", uri);
	log_info(file->object.source->env->log,
		 "%s: goes through the page cache: O_DIRECT is refused (%s)", uri,
		 strerrorname_np(os_errno));
	return 0;
}

int file_open_direct(struct file_object *file, const char *path, int flags, const struct statx *stx,
		     struct weir_error *err)
{
	struct dio_align align = dio_align_of(stx);

	if (file->direct == WEIR_DIRECT_OFF || (stx->stx_size == 0 && !file->object.writing))
		return 0;
	if (align.known && (align.file == 0 || align.memory == 0 || align.file > CELL_BYTES))
		return without_direct(file, EOPNOTSUPP, err);
	file->direct_fd = reopen(file, path, flags | O_DIRECT | O_CLOEXEC | O_NOCTTY);
	if (file->direct_fd < 0)
		return without_direct(file, errno, err);
	file->object.offset_align = align.known ? align.file : ALIGN_UNKNOWN;
	file->object.memory_align = align.known ? align.memory : ALIGN_UNKNOWN;
	atomic_store_explicit(&file_source_of(file->object.source)->direct_seen, true,
			      memory_order_relaxed);
	return 0;
}

/*
 * Read-ahead is for who goes through the cache.  A probe or a hole must not start any where what is
 * not cached is read direct.  Hints may fail.
 */
static void advise(const struct file_object *file)
{
	bool through = file->direct_fd < 0 || file->cache == WEIR_CACHE_FILL;

	file_sys(file)->fadvise(file->fd, 0, 0,
				through ? POSIX_FADV_SEQUENTIAL : POSIX_FADV_RANDOM);
}

/* Nothing here waits for a regular file, but io_uring would not wait for it either. */
static void let_block(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags >= 0)
		fcntl(fd, F_SETFL, flags & ~O_NONBLOCK);
}

static int fill(struct file_object *file, const char *path, const struct statx *stx,
		struct weir_error *err)
{
	int ret;

	file->object.size_bytes = stx->stx_size;
	file_set_version(file, stx);
	ret = file_open_direct(file, path, O_RDONLY, stx, err);
	if (ret == 0)
		advise(file);
	return ret;
}

int file_open(struct source *source, const char *path, const char *uri,
	      const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	const struct sys *sys = source->env->sys;
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	struct file_object *file;
	struct statx stx;
	int fd, ret;

	if (how->flags & WEIR_OBJECT_NOFOLLOW)
		flags |= O_NOFOLLOW;
	do
		fd = fd_lift(sys, sys->openat(AT_FDCWD, path, flags, 0));
	while (fd < 0 && errno == EINTR);
	if (fd < 0)
		return refuse_open(sys, path, uri, how, errno, err);
	ret = judge_kind(sys, fd, uri, &stx, err);
	if (ret) {
		sys->close(fd);
		return ret;
	}
	let_block(fd);
	ret = file_object_create(source, fd, uri, how, &file, err);
	if (ret)
		return ret;
	ret = fill(file, path, &stx, err);
	if (ret) {
		file_close(&file->object);
		return ret;
	}
	*out = &file->object;
	return 0;
}

/* ---- The version ---- */

static bool same_file(const struct file_version *a, const struct file_version *b)
{
	return a->device == b->device && a->inode == b->inode;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static int changed(const struct file_object *file, const char *what, struct weir_error *err)
{
	return error_set(err, WEIR_CHANGED, file->object.uri, "%s: changed since it was opened: %s",
			 file->object.uri, what);
}

/* The ctime of a file that only lost a name becomes the one to compare with. */
static bool ctime_holds(struct file_object *file, const struct file_version *now)
{
	bool holds;

	lock_take(&file->lock);
	holds = same_time(now->changed, file->version.changed);
	if (!holds && now->links < file->version.links) {
		file->version.changed = now->changed;
		file->version.links = now->links;
		holds = true;
	}
	lock_drop(&file->lock);
	return holds;
}

static int compare(struct file_object *file, const struct file_version *now, struct weir_error *err)
{
	const struct file_version *then = &file->version;

	if (now->size_bytes < then->size_bytes)
		return error_at(err, WEIR_TRUNCATED, file->object.uri, now->size_bytes, 0,
				"%s: is %llu bytes now, and was %llu when it was opened",
				file->object.uri, (unsigned long long)now->size_bytes,
				(unsigned long long)then->size_bytes);
	if (now->size_bytes != then->size_bytes)
		return changed(file, "it is longer", err);
	if (!same_time(now->modified, then->modified))
		return changed(file, "it was written to", err);
	if (!ctime_holds(file, now))
		return changed(file, "its ctime is another", err);
	return 0;
}

/* The number is still ours: programs close what is not theirs, and the number comes back as another. */
static int check_number(struct file_object *file, int fd, struct file_version *now,
			struct weir_error *err)
{
	struct stat st;

	if (file_sys(file)->fstat(fd, &st))
		return error_sys(err, errno, file->object.uri, "%s: cannot stat", file->object.uri);
	*now = version_of_stat(&st);
	if (same_file(now, &file->version))
		return 0;
	return changed(file, "another file stands behind its descriptor", err);
}

int file_check(struct source_object *object, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	struct file_version now;
	int ret = 0;

	if (file->direct_fd >= 0)
		ret = check_number(file, file->direct_fd, &now, err);
	if (ret == 0)
		ret = check_number(file, file->fd, &now, err);
	if (ret == 0 && !file->live && !object->writing)
		ret = compare(file, &now, err);
	return ret;
}

int file_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	struct statx stx;
	int ret = file_statx(file_sys(file), file->fd, "", AT_EMPTY_PATH, &stx);

	if (ret)
		return error_sys(err, ret, object->uri, "%s: cannot stat", object->uri);
	file_fill_stat(&stx, out);
	out->direct_align = file->direct_fd >= 0 ? object->offset_align : 0;
	out->memory_align = file->direct_fd >= 0 ? object->memory_align : 0;
	out->cached_bytes = file_cached_bytes(file_sys(file), file->fd, out->size_bytes);
	return 0;
}

/* ---- Reading a header; closing ---- */

int64_t file_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		  struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	uint64_t done = 0;

	if (!size_inside(offset, length, INT64_MAX))
		return error_at(err, WEIR_ARG, object->uri, offset, length,
				"%s: no file has bytes there", object->uri);
	while (done < length) {
		size_t ask = (size_t)min_of(length - done, (uint64_t)REQUEST_MAX);
		ssize_t got = file_sys(file)->pread(file->fd, (char *)to + done, ask,
						    (off_t)(offset + done));
		int code;

		if (got == 0)
			break;
		if (got > 0) {
			done += (uint64_t)got;
			continue;
		}
		if (errno == EINTR)
			continue;
		code = error_sys(err, errno, object->uri, "%s: reading %llu bytes at %llu",
				 object->uri, (unsigned long long)length,
				 (unsigned long long)offset);
		if (err) {
			err->offset_bytes = offset + done;
			err->length_bytes = length - done;
		}
		return code;
	}
	return (int64_t)done;
}

/* Somebody else's file that has our number by now stays open. */
static void close_fd(const struct file_object *file, int fd)
{
	const struct sys *sys = file_sys(file);
	struct file_version now;
	struct stat st;

	if (fd < 0)
		return;
	if (sys->fstat(fd, &st)) {
		if (errno != EBADF)
			sys->close(fd);
		return;
	}
	now = version_of_stat(&st);
	if (!file->version.inode || same_file(&now, &file->version))
		sys->close(fd); /* no inode: closed before it was looked at */
}

void file_close(struct source_object *object)
{
	struct file_object *file = file_object_of(object);

	file_draft_drop(file);
	close_fd(file, file->direct_fd);
	close_fd(file, file->fd);
	lock_fini(&file->lock);
	free(object->uri);
	free(file);
}
