/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ioctls that change names: HARDLINK, MOVE, REMOVE, RECURSIVE_RM.
 *
 * They name directories by number, so the kernel has checked nothing but that the caller has the
 * file or the directory open that it asks on.  What the caller may is decided here, by the kernel
 * beneath: each call on names is made with the caller's user and group, and without the daemon's
 * privileges.  And since a number leads into directories past those above them, the way down to
 * each has to be open to the caller as well.
 *
 * The caller's further groups are not known here: what only they would allow is EACCES.  (The same
 * by the calls of POSIX is checked by the kernel, which knows them.)
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mount/ops.h"
#include "mount/rings/caller.h"

/* Directories in each other, from one that a number names up to the root. */
#define WAY_MAX 1024

/* Is it a name, and ended? */
static int check_name(const char name[USRBIO_IOC_NAME_MAX])
{
	size_t length = strnlen(name, USRBIO_IOC_NAME_MAX);

	if (length == USRBIO_IOC_NAME_MAX)
		return ENAMETOOLONG;
	if (length == 0 || memchr(name, '/', length) || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0)
		return EINVAL;
	return 0;
}

/* ---- With the caller's rights ---- */

/* Our own further groups must not count for it.  A daemon of one user has no such right and no such need. */
static void drop_groups(void)
{
	if (getgroups(0, NULL) > 0)
		(void)!syscall(SYS_setgroups, 0, NULL); /* of this thread */
}

static bool is_root(const struct front *front, int fd)
{
	struct identity root, this;
	struct statx stat;

	return identity_read(front->tree->root_fd, "", &stat, &root) == 0 &&
	       identity_read(fd, "", &stat, &this) == 0 && identity_same(&root, &this);
}

/* May all from the root down to the directory be searched?  Each step up wants that of where it stands. */
static int may_come(const struct front *front, int dir)
{
	int at = openat(dir, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int steps = 0, error = at < 0 ? errno : 0;

	while (!error && !is_root(front, at)) {
		int up = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

		error = up < 0 ? errno : ++steps > WAY_MAX ? ESTALE : 0;
		close(at);
		at = up;
	}
	if (!error && faccessat(at, ".", X_OK, AT_EACCESS))
		error = errno;
	if (at >= 0)
		close(at);
	return error;
}

/* A directory by its number, which the caller may come to. */
static int come_to(struct front *front, uint64_t number, struct reached *out)
{
	int error = front_may_change(front, number);

	if (!error)
		error = reach(front->tree, number, out);
	if (error)
		return error;
	error = may_come(front, out->fd);
	if (error)
		reach_end(front->tree, out);
	return error;
}

/* ---- What is asked for ---- */

static int refuse_name(uint64_t parent, const char *name)
{
	int error = check_name(name);

	return error ? error : front_is_virtual(parent, name) ? EPERM : 0;
}

/* The kernel's idea of a name is old; that of a directory's content comes with its attributes. */
static void tell(struct front *front, uint64_t parent, const char *name)
{
	notifier_name_gone(&front->notifier, parent, name);
	notice_attributes(&front->notifier, parent);
}

static int hardlink(struct front *front, fuse_ino_t node, const struct usrbio_ioc_hardlink *what)
{
	char path[REACH_PATH_MAX];
	struct reached dir, file;
	int error = refuse_name(what->parent, what->name);

	if (!error)
		error = come_to(front, what->parent, &dir);
	if (error)
		return error;
	error = reach(front->tree, node, &file);
	if (!error) {
		if (linkat(AT_FDCWD, reach_path(file.fd, path), dir.fd, what->name,
			   AT_SYMLINK_FOLLOW))
			error = errno;
		reach_end(front->tree, &file);
	}
	reach_end(front->tree, &dir);
	if (!error) {
		tell(front, what->parent, what->name);
		notice_attributes(&front->notifier, node);
	}
	return error;
}

static int move(struct front *front, const struct usrbio_ioc_move *what)
{
	struct reached from, to;
	int error = refuse_name(what->parent, what->name);

	if (!error)
		error = refuse_name(what->to_parent, what->to_name);
	if (!error && what->to_trash) /* there is none */
		error = EOPNOTSUPP;
	if (!error)
		error = come_to(front, what->parent, &from);
	if (error)
		return error;
	error = come_to(front, what->to_parent, &to);
	if (!error) {
		error = ops_move_at(front, &from, what->name, &to, what->to_name);
		reach_end(front->tree, &to);
	}
	reach_end(front->tree, &from);
	if (!error) {
		tell(front, what->parent, what->name);
		tell(front, what->to_parent, what->to_name);
	}
	return error;
}

static int remove_name(struct front *front, uint64_t parent, const char *name, bool tree)
{
	struct reached dir;
	int error = refuse_name(parent, name);

	if (!error)
		error = come_to(front, parent, &dir);
	if (error)
		return error;
	error = ops_remove_at(front, dir.fd, name, 0);
	if (error == EISDIR)
		error = tree ? ops_remove_tree(front, dir.fd, name)
			     : ops_remove_at(front, dir.fd, name, AT_REMOVEDIR);
	reach_end(front->tree, &dir);
	tell(front, parent, name); /* of a tree some may be gone all the same */
	return error;
}

/* Where a directory is, as the kernel last told: its name is looked at again when it is removed. */
static int name_of(struct front *front, fuse_ino_t node, uint64_t *parent,
		   char name[USRBIO_IOC_NAME_MAX])
{
	struct inode *inode;
	int error = 0;

	lock_take(&front->tree->lock);
	inode = tree_find_locked(front->tree, node);
	if (!inode || !inode->parent || !inode->name)
		error = inode && inode == front->tree->root ? EBUSY : ESTALE;
	else if (strlen(inode->name) >= USRBIO_IOC_NAME_MAX)
		error = ENAMETOOLONG;
	if (!error) {
		*parent = inode->parent->number;
		memcpy(name, inode->name, strlen(inode->name) + 1);
	}
	lock_drop(&front->tree->lock);
	return error;
}

static int same_as(struct front *front, uint64_t parent, const char *name, fuse_ino_t node)
{
	struct identity identity;
	struct statx stat;
	struct reached dir;
	int error = reach(front->tree, parent, &dir);

	if (error)
		return error;
	error = identity_read(dir.fd, name, &stat, &identity);
	if (!error && tree_number(front->tree, &identity) != node)
		error = ESTALE;
	reach_end(front->tree, &dir);
	return error;
}

static int remove_this(struct front *front, fuse_ino_t node)
{
	char name[USRBIO_IOC_NAME_MAX];
	uint64_t parent;
	int error = name_of(front, node, &parent, name);

	if (!error)
		error = same_as(front, parent, name, node);
	return error ? error : remove_name(front, parent, name, true);
}

static int change(struct front *front, fuse_ino_t node, unsigned command, const void *in)
{
	const struct usrbio_ioc_remove *remove = in;
	const struct usrbio_ioc_move *moving = in;

	switch (command) {
	case USRBIO_IOC_HARDLINK:
		return hardlink(front, node, in);
	case USRBIO_IOC_MOVE:
		return moving->parent == node ? move(front, moving) : EINVAL;
	case USRBIO_IOC_REMOVE:
		return remove->parent == node
			       ? remove_name(front, node, remove->name, remove->recursive)
			       : EINVAL;
	default:
		return remove_this(front, node);
	}
}

int ops_ioctl_names(fuse_req_t req, fuse_ino_t node, unsigned command, const void *in)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct front *front = front_of(req);
	struct caller_rights before;
	int error = front_may_change(front, node);

	if (error)
		return error;
	drop_groups();
	caller_assume(&before, ctx->uid, ctx->gid);
	error = change(front, node, command, in);
	caller_restore(&before);
	return error;
}
