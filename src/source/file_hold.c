/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of objects: there while something uses them, parked when numbers run short.
 *
 *	file_open_fd -> open, enrolled <--file_hold/file_drop--> in use
 *	                  |    ^
 *	          oldest, |    | next hold: the same version, or ESTALE
 *	        not held  v    |
 *	                 parked
 *
 * A model has a thousand shards and a process often 1,024 numbers.  A source keeps a quarter of the
 * limit open, at two descriptors each; above that, or where the kernel has no number left, the object
 * that was opened first and is not in use loses its own.  Who comes back to it opens its path again,
 * and the version must be the one that it was.
 *
 * Opening again is the one thing on the way of a request that may take a file server's time; it happens
 * only to those who hold more files open than they have numbers for.
 *
 * Who only looks at a header needs one descriptor.  What requests need beyond that (a descriptor past
 * the cache, a memory of what is in it, reads that wait, advice) is made at the first of them.
 *
 * Locks: the source's before an object's.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/error.h"
#include "io/fd.h"
#include "source/file.h"

/* Two descriptors each, and half of the numbers for the rest of the program. */
#define SHARE_OF_LIMIT 4
#define OPEN_MIN       4u
#define OPEN_MAX       16384u

uint32_t file_open_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur / SHARE_OF_LIMIT > OPEN_MAX)
		return OPEN_MAX;
	return max_of((uint32_t)limit.rlim_cur / SHARE_OF_LIMIT, OPEN_MIN);
}

/* ---- Parking ---- */

/* Somebody else's file that has our number by now stays open. */
static void close_fd(const struct file_object *file, int fd)
{
	const struct sys *sys = file_sys(file);
	struct stat st;

	if (fd < 0)
		return;
	if (sys->fstat(fd, &st)) {
		if (errno != EBADF)
			sys->close(fd);
		return;
	}
	if (!file->version.inode ||
	    (st.st_dev == file->version.device && st.st_ino == file->version.inode))
		sys->close(fd); /* no inode: closed before it was looked at */
}

void file_close_fds(struct file_object *file)
{
	close_fd(file, file->direct_fd);
	close_fd(file, file->fd);
	file->direct_fd = -1;
	file->fd = -1;
}

/* Under the source's lock. */
static bool park(struct file_source *source, struct file_object *file)
{
	bool idle;

	lock_take(&file->lock);
	/* Acquire, paired with file_drop(): the last use of the numbers is over. */
	idle = atomic_load_explicit(&file->holds, memory_order_acquire) == 0;
	if (idle) {
		file_close_fds(file);
		file->ready = false;
		list_remove(&file->link);
		source->open_count--;
	}
	lock_drop(&file->lock);
	return idle;
}

static bool park_one_locked(struct file_source *source)
{
	list_for_each_safe(link, &source->open)
		if (park(source, list_entry(link, struct file_object, link)))
			return true;
	return false;
}

static bool park_one(struct file_source *source)
{
	bool parked;

	lock_take(&source->lock);
	parked = park_one_locked(source);
	lock_drop(&source->lock);
	return parked;
}

void file_enroll(struct file_object *file)
{
	struct file_source *source = file_source_of(file->object.source);

	lock_take(&source->lock);
	list_push(&source->open, &file->link);
	source->open_count++;
	while (source->open_count > source->open_max && park_one_locked(source))
		;
	lock_drop(&source->lock);
}

void file_strike_off(struct file_object *file)
{
	struct file_source *source = file_source_of(file->object.source);

	lock_take(&source->lock);
	if (!list_empty(&file->link)) {
		list_remove(&file->link);
		source->open_count--;
	}
	lock_drop(&source->lock);
}

/* ---- Opening ---- */

int file_open_fd(const struct sys *sys, int dir, const char *path, int flags)
{
	int fd;

	do
		fd = fd_lift(sys, sys->openat(dir, path, flags | O_CLOEXEC | O_NOCTTY, 0));
	while (fd < 0 && errno == EINTR);
	return fd;
}

int file_open_first(struct file_source *source, int dir, const char *path, int flags)
{
	int fd;

	do
		fd = file_open_fd(source->source.env->sys, dir, path, flags);
	while (fd < 0 && (errno == EMFILE || errno == ENFILE) && park_one(source));
	return fd;
}

int file_open_second(const struct file_object *file, const char *path, int flags)
{
	const struct sys *sys = file_sys(file);
	struct stat ours, theirs;
	char magic[32];
	int fd;

	/* By way of /proc where there is one: no name in between that may mean another file by now. */
	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", file->fd);
	fd = file_open_fd(sys, AT_FDCWD, magic, flags);
	if (fd >= 0 || errno != ENOENT || !path)
		return fd;
	fd = file_open_fd(sys, AT_FDCWD, path, flags);
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

/* ---- Holding ---- */

/* What is gone, or is something else by now, is not the version that was opened. */
static int open_again_locked(struct file_object *file)
{
	file->fd = file_open_fd(file_sys(file), AT_FDCWD, file->path, file->open_flags);
	if (file->fd < 0)
		return errno == ENOENT || errno == ENOTDIR ? ESTALE : errno;
	if (!file_is_same_locked(file, file->fd)) {
		file_sys(file)->close(file->fd);
		file->fd = -1;
		return ESTALE;
	}
	return 0;
}

/*
 * Read-ahead is for who goes through the cache.  A probe or a hole must not start any where what is
 * not cached is read direct.  Hints may fail.
 */
static void advise(const struct file_object *file)
{
	bool through = !file_goes_direct(file) || file->cache == WEIR_CACHE_FILL;

	file_sys(file)->fadvise(file->fd, 0, 0,
				through ? POSIX_FADV_SEQUENTIAL : POSIX_FADV_RANDOM);
}

/* What requests need and a look at the header does not. */
static int make_ready_locked(struct file_object *file)
{
	int ret = file_goes_direct(file) ? file_make_windows(file) : 0;

	if (ret)
		return ret;
	if (file_goes_direct(file) && file->direct_fd < 0) {
		file->direct_fd = file_open_second(file, file->path, O_RDONLY | O_DIRECT);
		if (file->direct_fd < 0)
			return errno;
		file_saw_direct(file_source_of(file->object.source));
	}
	/* Nothing here waits for a regular file, but older kernels' io_uring would not wait for it
	 * either: O_NONBLOCK goes, which is all that opening set. */
	fcntl(file->fd, F_SETFL, 0);
	advise(file);
	file->ready = true;
	return 0;
}

/* It can be read through the cache, and nobody insists on the other way: it will be. */
static bool do_without_direct(struct file_object *file, int os_errno)
{
	bool can;

	lock_take(&file->lock);
	can = file->fd >= 0 && file_goes_direct(file) && file->direct != WEIR_DIRECT_ON;
	if (can)
		atomic_store_explicit(&file->direct_off, true, memory_order_relaxed);
	lock_drop(&file->lock);
	if (can)
		file_log_no_direct(file, os_errno);
	return can;
}

/* After a failure: is it worth another try? */
static bool mend(struct file_object *file, int os_errno)
{
	if ((os_errno == EMFILE || os_errno == ENFILE) &&
	    park_one(file_source_of(file->object.source)))
		return true;
	return do_without_direct(file, os_errno);
}

/* One try; *opened: the object has descriptors again. */
static int hold_once(struct file_object *file, bool ready, bool *opened)
{
	int ret = 0;

	lock_take(&file->lock);
	*opened = file->fd < 0;
	if (*opened)
		ret = open_again_locked(file);
	*opened = *opened && ret == 0;
	if (ret == 0 && ready && !file->ready)
		ret = make_ready_locked(file);
	lock_drop(&file->lock);
	return ret;
}

/* Held from the first try on, so that making room for it parks others. */
static int hold(struct file_object *file, bool ready)
{
	bool opened;
	int ret;

	/* Relaxed: whoever parks looks at it under the lock that is taken next. */
	atomic_fetch_add_explicit(&file->holds, 1, memory_order_relaxed);
	do {
		ret = hold_once(file, ready, &opened);
		if (opened)
			file_enroll(file);
	} while (ret && mend(file, ret));
	if (ret)
		file_drop(file);
	return ret;
}

int file_hold(struct file_object *file)
{
	if (file->adopted)
		return 0;
	return hold(file, true);
}

int file_hold_to_look(struct file_object *file)
{
	return hold(file, false);
}

void file_drop(struct file_object *file)
{
	if (file->adopted)
		return;
	atomic_fetch_sub_explicit(&file->holds, 1, memory_order_release);
}

int file_duplicate(struct source_object *object)
{
	struct file_object *file = file_object_of(object);
	int fd = -1;

	if (object->writing || !file_goes_direct(file) || file_hold(file) != 0)
		return -1;
	if (file->direct_fd >= 0)
		fd = file_sys(file)->fcntl(file->direct_fd, F_DUPFD_CLOEXEC, 3);
	file_drop(file);
	return fd;
}

int file_no_hold(const struct file_object *file, int os_errno, struct weir_error *err)
{
	const char *uri = file->object.uri;

	if (os_errno == ESTALE)
		return error_set(err, WEIR_CHANGED, uri,
				 "%s: changed since it was opened: its path leads elsewhere", uri);
	return error_sys(err, os_errno, uri, "%s: cannot open again", uri);
}
