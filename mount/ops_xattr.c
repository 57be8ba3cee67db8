/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended attributes, passed through.  By a path in /proc, for there is no call that takes an O_PATH
 * descriptor; a symbolic link has none of its own that matter to anybody.
 */
#include <errno.h>
#include <stdlib.h>
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

void ops_setxattr(fuse_req_t req, fuse_ino_t node, const char *name, const char *value, size_t size,
		  int flags)
{
	struct front *front = front_of(req);
	char path[REACH_PATH_MAX];
	struct reached at;
	int error = front_may_change(front, node);

	if (!error)
		error = xattr_begin(front, node, &at, path);
	if (!error) {
		error = setxattr(path, name, value, size, flags) ? errno : 0;
		reach_end(front->tree, &at);
	}
	fuse_reply_err(req, error);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t node, const char *name)
{
	struct front *front = front_of(req);
	char path[REACH_PATH_MAX];
	struct reached at;
	int error = front_may_change(front, node);

	if (!error)
		error = xattr_begin(front, node, &at, path);
	if (!error) {
		error = removexattr(path, name) ? errno : 0;
		reach_end(front->tree, &at);
	}
	fuse_reply_err(req, error);
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
		fuse_reply_err(req, error);
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
