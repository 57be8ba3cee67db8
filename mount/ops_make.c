/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New names: for new things, which belong to the caller, and for what has a name already.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "mount/as_user.h"
#include "mount/ops.h"

mode_t ops_made_mode(fuse_req_t req, int dir, mode_t mode)
{
	char path[REACH_PATH_MAX];

	if (getxattr(reach_path(dir, path), "system.posix_acl_default", NULL, 0) > 0)
		return mode;
	return mode & ~(fuse_req_ctx(req)->umask & 0777);
}

struct making {
	mode_t mode;
	dev_t device;
	const char *target; /* a link's */
};

static int make(int dir, const char *name, const struct making *what, mode_t mode)
{
	int ret;

	if (what->target)
		ret = symlinkat(what->target, dir, name);
	else if (S_ISDIR(mode))
		ret = mkdirat(dir, name, mode & 07777);
	else
		ret = mknodat(dir, name, mode, what->device);
	return ret ? errno : 0;
}

static int make_as(fuse_req_t req, int dir, const char *name, const struct making *what)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	mode_t mode = what->target ? 0 : ops_made_mode(req, dir, what->mode);
	struct as_user before;
	int error;

	as_user_begin(&before, ctx->uid, ctx->gid);
	error = make(dir, name, what, mode);
	as_user_end(&before);
	return error;
}

static int make_in(fuse_req_t req, fuse_ino_t parent, const char *name, const struct making *what,
		   struct fuse_entry_param *out)
{
	struct front *front = front_of(req);
	struct reached at;
	int error = front_is_virtual(parent, name) ? EPERM : front_may_change(front, parent);

	if (!error)
		error = reach(front->tree, parent, &at);
	if (error)
		return error;
	error = make_as(req, at.fd, name, what);
	if (!error)
		error = front_enter(front, at.inode, at.fd, name, out);
	reach_end(front->tree, &at);
	return error;
}

static void make_and_reply(fuse_req_t req, fuse_ino_t parent, const char *name,
			   const struct making *what)
{
	struct fuse_entry_param entry;
	int error = make_in(req, parent, name, what, &entry);

	if (error)
		fuse_reply_err(req, error);
	else
		front_reply_entry(req, &entry);
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	make_and_reply(req, parent, name, &(struct making){.mode = mode, .device = device});
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make_and_reply(req, parent, name, &(struct making){.mode = S_IFDIR | mode});
}

static void symlink_virtual(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct virt_caller caller = caller_of(req);
	struct fuse_entry_param entry;
	struct virt_entry made;
	int error = virt_symlink(front_of(req)->rings, &caller, target, parent, name, &made);

	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	front_entry_virtual(&made, &entry);
	front_reply_entry(req, &entry);
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	if (front_is_virtual(parent, name))
		symlink_virtual(req, target, parent, name);
	else
		make_and_reply(req, parent, name, &(struct making){.target = target});
}

static int link_in(struct front *front, fuse_ino_t node, const struct reached *dir,
		   const char *name, struct fuse_entry_param *out)
{
	char path[REACH_PATH_MAX];
	struct reached at;
	int error = reach(front->tree, node, &at);

	if (error)
		return error;
	if (linkat(AT_FDCWD, reach_path(at.fd, path), dir->fd, name, AT_SYMLINK_FOLLOW))
		error = errno;
	reach_end(front->tree, &at);
	return error ? error : front_enter(front, dir->inode, dir->fd, name, out);
}

void ops_link(fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char *name)
{
	struct front *front = front_of(req);
	struct fuse_entry_param entry;
	struct reached dir;
	int error = front_is_virtual(parent, name) ? EPERM : front_may_change(front, node);

	if (!error)
		error = reach(front->tree, parent, &dir);
	if (!error) {
		error = link_in(front, node, &dir, name, &entry);
		reach_end(front->tree, &dir);
	}
	if (error)
		fuse_reply_err(req, error);
	else
		front_reply_entry(req, &entry);
}
