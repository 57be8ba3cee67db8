/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes.  The kernel has checked who may change them (default_permissions); what it asks for is done
 * with the daemon's rights.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "mount/ops.h"

static int attr_virtual(fuse_req_t req, fuse_ino_t node, struct stat *out, double *timeout)
{
	struct virt_caller caller = caller_of(req);
	struct virt_entry entry;
	int error = virt_getattr(front_of(req)->rings, &caller, node, &entry);

	if (error)
		return error;
	front_attr_virtual(&entry, out);
	*timeout = entry.timeout_s;
	return 0;
}

static int attr_fd(int fd, fuse_ino_t node, struct stat *out)
{
	struct statx stat;

	if (statx(fd, "", AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS,
		  &stat))
		return errno;
	front_attr(&stat, node, out);
	return 0;
}

static int attr_file(struct front *front, fuse_ino_t node, struct stat *out)
{
	struct reached at;
	int error = reach(front->tree, node, &at);

	if (error)
		return error;
	error = attr_fd(at.fd, node, out);
	reach_end(front->tree, &at);
	return error;
}

void ops_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
	double timeout = FRONT_TIMEOUT_S;
	struct stat attr;
	int error;

	(void)info; /* a directory's is no handle of a file */
	error = virt_owns(node) ? attr_virtual(req, node, &attr, &timeout)
				: attr_file(front_of(req), node, &attr);
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &attr, timeout);
}

/* ---- Changes ---- */

static struct timespec time_to_set(const struct timespec *time, int what, int set, int now)
{
	if (what & now)
		return (struct timespec){.tv_nsec = UTIME_NOW};
	return what & set ? *time : (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int set_times(int fd, const struct stat *attr, int what)
{
	struct timespec times[2] = {
		time_to_set(&attr->st_atim, what, FUSE_SET_ATTR_ATIME, FUSE_SET_ATTR_ATIME_NOW),
		time_to_set(&attr->st_mtim, what, FUSE_SET_ATTR_MTIME, FUSE_SET_ATTR_MTIME_NOW),
	};
	char path[REACH_PATH_MAX];

	if (utimensat(fd, "", times, AT_EMPTY_PATH) == 0)
		return 0;
	return errno == EINVAL && utimensat(AT_FDCWD, reach_path(fd, path), times, 0) == 0 ? 0
											   : errno;
}

static int set_owner(int fd, const struct stat *attr, int what)
{
	uid_t uid = what & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = what & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) ? errno : 0;
}

static int set_size(int fd, off_t size, const struct fuse_file_info *info)
{
	char path[REACH_PATH_MAX];

	/* ftruncate() comes with its handle, O_TRUNC without. */
	if (info)
		return ftruncate(((struct handle *)(uintptr_t)info->fh)->fd, size) ? errno : 0;
	return truncate(reach_path(fd, path), size) ? errno : 0;
}

/* Owner before mode: a change of the owner takes the set-uid bits away, and the mode may bring them. */
static int set(int fd, const struct stat *attr, int what, const struct fuse_file_info *info)
{
	char path[REACH_PATH_MAX];
	int error = 0;

	if (what & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))
		error = set_owner(fd, attr, what);
	if (!error && what & FUSE_SET_ATTR_MODE &&
	    chmod(reach_path(fd, path), attr->st_mode & 07777))
		error = errno;
	if (!error && what & FUSE_SET_ATTR_SIZE)
		error = set_size(fd, attr->st_size, info);
	if (!error && what & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW |
			      FUSE_SET_ATTR_MTIME_NOW))
		error = set_times(fd, attr, what);
	return error;
}

void ops_setattr(fuse_req_t req, fuse_ino_t node, struct stat *attr, int what,
		 struct fuse_file_info *info)
{
	struct front *front = front_of(req);
	struct interrupt interrupt; /* cutting off waits for somebody's lease */
	struct stat now;
	struct reached at = {.fd = -1};
	int error = front_may_change(front, node);

	if (!error)
		error = reach(front->tree, node, &at);
	if (!error) {
		interrupt_begin(&front->interrupts, &interrupt, req);
		error = set(at.fd, attr, what, info);
		interrupt_end(&interrupt);
		if (!error)
			error = attr_fd(at.fd, node, &now);
		reach_end(front->tree, &at);
	}
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_attr(req, &now, FRONT_TIMEOUT_S);
}

void ops_statfs(fuse_req_t req, fuse_ino_t node)
{
	struct front *front = front_of(req);
	struct statvfs stat;
	struct reached at;
	int error = reach(front->tree, virt_owns(node) || !node ? NUMBERS_ROOT : node, &at);

	if (!error) {
		error = fstatvfs(at.fd, &stat) ? errno : 0;
		reach_end(front->tree, &at);
	}
	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_statfs(req, &stat);
}
