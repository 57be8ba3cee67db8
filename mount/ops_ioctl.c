/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ioctls by which clients know a 3FS (spec of the protocol: io/usrbio/layout.h).  The kernel has moved
 * their arguments by the sizes in their numbers.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mount/ops.h"

static int fd_of(const struct fuse_file_info *info, unsigned flags)
{
	if (flags & FUSE_IOCTL_DIR)
		return ops_dir_fd(info);
	return ((const struct handle *)(uintptr_t)info->fh)->fd;
}

static void answer_word(fuse_req_t req, uint32_t word, size_t room)
{
	if (room < sizeof(word))
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_ioctl(req, 0, &word, sizeof(word));
}

static void answer_name(fuse_req_t req, size_t room)
{
	struct front *front = front_of(req);

	if (room < sizeof(front->name))
		fuse_reply_err(req, EINVAL);
	else
		fuse_reply_ioctl(req, 0, front->name, sizeof(front->name));
}

static void answer(fuse_req_t req, int error)
{
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

/*
 * What was written by rings is seen by everybody when this returns.  The daemon holds nothing back;
 * attributes are forgotten here, which never waits, and with a new time the kernel drops pages
 * itself.
 */
static void sync_file(fuse_req_t req, fuse_ino_t node, const struct fuse_file_info *info,
		      unsigned flags)
{
	struct front *front = front_of(req);
	int fd = fd_of(info, flags), error = 0;

	if (fd >= 0) {
		error = fdatasync(fd) ? errno : 0;
		notice_attributes(&front->notifier, node);
	}
	answer(req, error);
}

/* ---- Holes ---- */

/* What the vendor calls a chunk: here, what every file system can take out. */
#define HOLE_ALIGN UINT64_C(4096)

static int punch(int fd, const struct usrbio_ioc_punch_hole *what)
{
	if (what->count < 0 || what->count > USRBIO_RANGES_MAX)
		return EINVAL;
	for (int i = 0; i < what->count; i++)
		if (what->start[i] > what->end[i] || what->end[i] > INT64_MAX ||
		    what->start[i] % HOLE_ALIGN || what->end[i] % HOLE_ALIGN)
			return EINVAL;
	for (int i = 0; i < what->count; i++) {
		uint64_t length = what->end[i] - what->start[i];

		if (length && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					(off_t)what->start[i], (off_t)length))
			return errno;
	}
	return 0;
}

/* The descriptor is the caller's own: where it is not open for writing the kernel says so. */
static void make_holes(fuse_req_t req, fuse_ino_t node, int fd, unsigned flags,
		       const struct usrbio_ioc_punch_hole *what)
{
	struct front *front = front_of(req);
	int error = what && !(flags & FUSE_IOCTL_DIR) ? front_may_change(front, node) : EINVAL;

	if (!error) {
		error = punch(fd, what);
		notifier_file(&front->notifier, node);
	}
	answer(req, error);
}

/* What chattr shows: of the file beneath. */
static void answer_flags(fuse_req_t req, unsigned command, int fd, size_t room)
{
	unsigned char out[32] = {0};
	size_t bytes = _IOC_SIZE(command);

	/* FS_IOC_GETFLAGS says long and means int. */
	bytes = command == FS_IOC_GETFLAGS ? sizeof(int) : bytes;
	if (fd < 0)
		fuse_reply_err(req, ENOTTY);
	else if (room < bytes)
		fuse_reply_err(req, EINVAL);
	else if (ioctl(fd, command, out))
		fuse_reply_err(req, errno);
	else
		fuse_reply_ioctl(req, 0, out, bytes);
}

void ops_ioctl(fuse_req_t req, fuse_ino_t node, unsigned command, void *arg,
	       struct fuse_file_info *info, unsigned flags, const void *in, size_t in_bytes,
	       size_t room)
{
	(void)arg;
	if (flags & FUSE_IOCTL_COMPAT) {
		fuse_reply_err(req, ENOSYS);
		return;
	}
	switch (command) {
	case USRBIO_IOC_GET_MAGIC:
		answer_word(req, USRBIO_MAGIC, room);
		return;
	case USRBIO_IOC_GET_VERSION:
		answer_word(req, USRBIO_IOCTL_VERSION, room);
		return;
	case USRBIO_IOC_GET_PATH_OFFSET:
		answer_word(req, front_of(req)->path_bytes, room);
		return;
	case USRBIO_IOC_GET_MOUNT_NAME:
		answer_name(req, room);
		return;
	case USRBIO_IOC_FSYNC:
		sync_file(req, node, info, flags);
		return;
	case FS_IOC_GETFLAGS:
	case FS_IOC_FSGETXATTR:
		answer_flags(req, command, fd_of(info, flags), room);
		return;
	case USRBIO_IOC_PUNCH_HOLE:
		make_holes(req, node, fd_of(info, flags), flags,
			   in_bytes >= _IOC_SIZE(command) ? in : NULL);
		return;
	case USRBIO_IOC_HARDLINK:
	case USRBIO_IOC_MOVE:
	case USRBIO_IOC_REMOVE:
	case USRBIO_IOC_RECURSIVE_RM:
		answer(req, _IOC_DIR(command) == _IOC_WRITE && in_bytes < _IOC_SIZE(command)
				    ? EINVAL
				    : ops_ioctl_names(req, node, command, in));
		return;
	default:
		fuse_reply_err(req, EINVAL);
	}
}
