/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes, passed through.  By a path in /proc, for there is no call that takes an O_PATH
 * descriptor; a symbolic link has none of its own that matter to anybody.
 */
#include <errno.h>
#include <linux/xattr.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "mount/ops.h"

#define VALUE_MAX ((size_t)65536) /* the kernel's */

/* The file by its path in /proc; then xattr_end(). */
static int xattr_begin(struct front *front, fuse_ino_t node, struct reached *at,
		       char path[REACH_PATH_MAX])
{
	int error = virt_owns(node) ? ENOTSUP : reach(front->tree, node, at);

	if (error)
		return error;
	if (S_ISLNK(at->inode->type)) {
		reach_end(front->tree, at);
		return ENOTSUP;
	}
	reach_path(at->fd, path);
	return 0;
}

/* What security modules and the loader of programs believe is not ours to write for others. */
static int may_set(const struct front *front, fuse_ino_t node, const char *name)
{
	if (strncmp(name, XATTR_SECURITY_PREFIX, XATTR_SECURITY_PREFIX_LEN) == 0)
		return ENOTSUP;
	return front_may_change(front, node);
}

/* value NULL: the attribute is removed. */
static void change(fuse_req_t req, fuse_ino_t node, const char *name, const char *value,
		   size_t size, int flags)
{
	struct front *front = front_of(req);
	char path[REACH_PATH_MAX];
	struct reached at;
	int error = may_set(front, node, name);

	if (!error)
		error = xattr_begin(front, node, &at, path);
	if (!error) {
		int ret = value ? setxattr(path, name, value, size, flags)
				: removexattr(path, name);

		error = ret ? errno : 0;
		reach_end(front->tree, &at);
	}
	fuse_reply_err(req, error);
}

void ops_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size,
		  int flags)
{
	change(req, node, name, value, size, flags);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	change(req, node, name, NULL, 0, 0);
}

/* The kernel asks for lists before it lets anybody in: where there can be none, there is none. */
static int why_not(const char *name, int error)
{
	bool list = name && strncmp(name, "system.posix_acl_", 17) == 0;

	return list && error == ENOTSUP ? ENODATA : error;
}

/* The value, or with size 0 how long it is; name NULL: the list of names. */
static void answer(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	struct front *front = front_of(req);
	char path[REACH_PATH_MAX], *value = NULL;
	struct reached at;
	ssize_t got = -1;
	int error = 0;

	size = size < VALUE_MAX ? size : VALUE_MAX;
	if (size && !(value = malloc(size)))
		error = ENOMEM;
	if (!error)
		error = xattr_begin(front, node, &at, path);
	if (!error) {
		got = name ? getxattr(path, name, value, size) : listxattr(path, value, size);
		error = got < 0 ? errno : 0;
		reach_end(front->tree, &at);
	}
	if (error)
		fuse_reply_err(req, why_not(name, error));
	else if (size)
		fuse_reply_buf(req, value, (size_t)got);
	else
		fuse_reply_xattr(req, (size_t)got);
	free(value);
}

void ops_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size)
{
	answer(req, node, name, size);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t node, size_t size)
{
	answer(req, node, NULL, size);
}
