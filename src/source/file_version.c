/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel says of a file, and whether it is still the version that was opened.
 *
 * The version is compared on the descriptor, so a name that comes to mean another file changes nothing.
 *
 * What counts as a change: another device or inode (a number of ours was closed behind our back), any
 * other size (a longer file too: who appends to weights is rewriting them), another mtime, another
 * ctime.  One ctime is forgiven: a removed name, or a file renamed over it, moves the ctime of the old
 * one and lowers its count of links; the bytes stay.  What stat cannot tell apart is not seen: a
 * rewrite within one tick of a kernel with coarse timestamps, or bytes changed beneath the file system.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "source/file.h"

/* The two fields came with Linux 6.1; the C library's struct may call them spare. */
#define DIOALIGN_MASK          0x2000u
#define DIOALIGN_MEMORY_OFFSET 152
#define DIOALIGN_FILE_OFFSET   156
_Static_assert(sizeof(struct statx) == 256, "the kernel's struct statx");

struct file_dio_align file_dio_align_of(const struct statx *stx)
{
	struct file_dio_align align = {.known = (stx->stx_mask & DIOALIGN_MASK) != 0};

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
	struct file_dio_align align = file_dio_align_of(stx);

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
static bool ctime_holds_locked(struct file_object *file, const struct file_version *now)
{
	if (same_time(now->changed, file->version.changed))
		return true;
	if (now->links >= file->version.links)
		return false;
	file->version.changed = now->changed;
	file->version.links = now->links;
	return true;
}

/* What is another, in words; NULL: nothing. */
static const char *difference_locked(struct file_object *file, const struct file_version *now)
{
	const struct file_version *then = &file->version;

	if (!same_file(now, then))
		return "another file stands behind its descriptor";
	if (file->live || file->object.writing)
		return NULL;
	if (now->size_bytes != then->size_bytes)
		return now->size_bytes < then->size_bytes ? "it is shorter" : "it is longer";
	if (!same_time(now->modified, then->modified))
		return "it was written to";
	return ctime_holds_locked(file, now) ? NULL : "its ctime is another";
}

bool file_is_same_locked(struct file_object *file, int fd)
{
	struct file_version now;
	struct stat st;

	if (file_sys(file)->fstat(fd, &st))
		return false;
	now = version_of_stat(&st);
	return difference_locked(file, &now) == NULL;
}

static int compare(struct file_object *file, const struct file_version *now, struct weir_error *err)
{
	uint64_t size = file->object.size_bytes;
	const char *what;

	lock_take(&file->lock);
	what = difference_locked(file, now);
	lock_drop(&file->lock);
	if (!what)
		return 0;
	if (same_file(now, &file->version) && now->size_bytes < size)
		return error_at(err, WEIR_TRUNCATED, file->object.uri, now->size_bytes, 0,
				"%s: is %llu bytes now, and was %llu when it was opened",
				file->object.uri, (unsigned long long)now->size_bytes,
				(unsigned long long)size);
	return changed(file, what, err);
}

static int stat_fd(struct file_object *file, int fd, struct file_version *now,
		   struct weir_error *err)
{
	struct stat st;

	if (file_sys(file)->fstat(fd, &st))
		return error_sys(err, errno, file->object.uri, "%s: cannot stat", file->object.uri);
	*now = version_of_stat(&st);
	return 0;
}

/*
 * Both descriptors: programs close numbers that are not theirs, and then a number of ours is another
 * file.
 */
static int check_held(struct file_object *file, struct weir_error *err)
{
	struct file_version now;
	int ret;

	if (file->direct_fd >= 0) {
		ret = stat_fd(file, file->direct_fd, &now, err);
		if (ret)
			return ret;
		if (!same_file(&now, &file->version))
			return changed(file, "another file stands behind its descriptor", err);
	}
	ret = stat_fd(file, file->fd, &now, err);
	return ret ? ret : compare(file, &now, err);
}

int file_check(struct source_object *object, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	int ret = file_hold(file);

	if (ret)
		return file_no_hold(file, ret, err);
	ret = check_held(file, err);
	file_drop(file);
	return ret;
}

#define VERSION_MASK (STATX_INO | STATX_SIZE | STATX_MTIME | STATX_CTIME)

/*
 * What the kernel remembers.  Asked for the number alone it asks no server, and tells the rest all
 * the same, but for file systems of its own: of these the rest may be asked for.
 */
static bool recall(const struct sys *sys, int fd, struct file_version *out)
{
	const int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
	struct statx stx = {.stx_mask = 0};

	if (sys->statx(fd, "", flags, STATX_INO, &stx) < 0)
		return false;
	if ((stx.stx_mask & VERSION_MASK) != VERSION_MASK &&
	    sys->statx(fd, "", flags, VERSION_MASK, &stx) < 0)
		return false;
	*out = version_of_statx(&stx);
	return (stx.stx_mask & VERSION_MASK) == VERSION_MASK;
}

/* A path whose names and links stand in memory is walked without a word to anybody. */
bool file_leads_to(const struct sys *sys, const char *path, struct file_object *file)
{
	struct file_version now;
	bool leads;
	int fd = sys->openat2(AT_FDCWD, path, O_PATH | O_CLOEXEC, RESOLVE_CACHED);

	if (fd < 0)
		return false;
	leads = recall(sys, fd, &now);
	sys->close(fd);
	lock_take(&file->lock);
	leads = leads && same_file(&now, &file->version) &&
		now.size_bytes == file->version.size_bytes &&
		same_time(now.modified, file->version.modified) &&
		same_time(now.changed, file->version.changed);
	lock_drop(&file->lock);
	return leads;
}

bool file_in_place(struct source_object *object)
{
	struct file_object *file = file_object_of(object);

	return file->path && !file->adopted && file_leads_to(file_sys(file), file->path, file);
}

int file_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	struct statx stx;
	int ret = file_hold_to_look(file);

	if (ret)
		return file_no_hold(file, ret, err);
	ret = file_statx(file_sys(file), file->fd, "", AT_EMPTY_PATH, &stx);
	if (ret == 0) {
		file_fill_stat(&stx, out);
		out->direct_align = file_goes_direct(file) ? object->offset_align : 0;
		out->memory_align = file_goes_direct(file) ? object->memory_align : 0;
		out->cached_bytes = file_cached_bytes(file_sys(file), file->fd, out->size_bytes);
	}
	file_drop(file);
	return ret ? error_sys(err, ret, object->uri, "%s: cannot stat", object->uri) : 0;
}
