/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects around a descriptor that somebody has open already.
 *
 * The file is opened once more by way of /proc, so that hints and flags of ours are not the owner's;
 * where that is refused the descriptor is duplicated.  There is no path to open again, so such an
 * object is never parked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/error.h"
#include "io/fd.h"
#include "source/file.h"

static int refuse(const char *uri, const char *why, struct weir_error *err)
{
	return error_set(err, WEIR_ARG, uri, "%s: %s", uri, why);
}

/* A regular file, open for moving bytes to places of our choice. */
static int judge(const struct sys *sys, int fd, int flags, const char *uri, struct statx *stx,
		 struct weir_error *err)
{
	int ret;

	if (flags < 0)
		return error_sys(err, errno, uri, "%s: the descriptor %d", uri, fd);
	if (flags & O_PATH)
		return refuse(uri, "the descriptor can neither read nor write", err);
	ret = file_statx(sys, fd, "", AT_EMPTY_PATH, stx);
	if (ret)
		return error_sys(err, ret, uri, "%s: cannot stat", uri);
	if (!S_ISREG(stx->stx_mode))
		return refuse(uri, "is no regular file", err);
	if (stx->stx_size == 0)
		stx->stx_size = 1; /* it may grow: what is said of empty files does not hold */
	return 0;
}

static int copy_fd(const struct sys *sys, int fd, int flags, const char *uri,
		   struct weir_error *err)
{
	char magic[32];
	int copy;

	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", fd);
	copy = file_open_fd(sys, AT_FDCWD, magic, flags & O_ACCMODE);
	if (copy >= 0)
		return copy;
	if (flags & (O_APPEND | O_DIRECT))
		return error_sys(err, errno, uri, "%s: cannot open again", uri);
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return copy >= 0 ? copy : error_sys(err, errno, uri, "%s: cannot duplicate", uri);
}

static void advise(const struct file_object *file)
{
	bool through = !file_goes_direct(file) || file->cache == WEIR_CACHE_FILL;

	if (!through)
		file_sys(file)->fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
}

int file_adopt(struct source *source, int fd, const char *uri, const struct source_how *how,
	       struct source_object **out, struct weir_error *err)
{
	struct source_how live = *how;
	int flags = fcntl(fd, F_GETFL), copy, ret;
	struct file_object *file;
	struct statx stx;

	ret = judge(source->env->sys, fd, flags, uri, &stx, err);
	if (ret)
		return ret;
	copy = copy_fd(source->env->sys, fd, flags, uri, err);
	if (copy < 0)
		return copy;
	live.flags |= WEIR_OBJECT_LIVE;
	ret = file_object_create(source, copy, NULL, uri, &live, &file, err);
	if (ret)
		return ret;
	file->object.size_bytes = stx.stx_size;
	file_set_version(file, &stx);
	ret = file_open_direct(file, NULL, flags & O_ACCMODE, &stx, err);
	/* Opened later it would be for reading only. */
	if (ret == 0 && file_goes_direct(file) && file->direct_fd < 0) {
		file->direct_fd = file_open_second(file, NULL, (flags & O_ACCMODE) | O_DIRECT);
		if (file->direct_fd < 0)
			file->has_direct = false;
	}
	if (ret == 0 && file_goes_direct(file) && file_make_windows(file))
		ret = error_nomem(err, uri, "what of it is cached");
	if (ret) {
		file_close(&file->object);
		return ret;
	}
	file->ready = true;
	file->adopted = true;
	advise(file);
	*out = &file->object;
	return 0;
}
