/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that go, and names that move.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount/ops.h"

static int is_virtual_error(const struct front *front, fuse_ino_t parent, const char *name)
{
	return front_is_virtual(parent, name) ? EPERM : front_may_change(front, parent);
}

/* A file has lost a name; with the last one its number is never used again, whatever looks like it. */
static void lost_name(struct front *front, const struct identity *identity, bool last)
{
	if (last)
		tree_retire(front->tree, identity);
}

static int identity_at(int dir, const char *name, struct identity *identity, bool *last)
{
	struct statx stat;
	int error = identity_read(dir, name, &stat, identity);

	if (!error)
		*last = S_ISDIR(stat.stx_mode) || stat.stx_nlink == 1;
	return error;
}

int ops_remove_at(struct front *front, int dir, const char *name, int flags)
{
	struct identity identity;
	bool last;
	int error = identity_at(dir, name, &identity, &last);

	if (!error && unlinkat(dir, name, flags))
		error = errno;
	if (!error)
		lost_name(front, &identity, last);
	return error;
}

static int remove_in(struct front *front, fuse_ino_t parent, const char *name, int flags)
{
	struct reached at;
	int error = is_virtual_error(front, parent, name);

	if (!error)
		error = reach(front->tree, parent, &at);
	if (error)
		return error;
	error = ops_remove_at(front, at.fd, name, flags);
	reach_end(front->tree, &at);
	return error;
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct front *front = front_of(req);
	struct virt_caller caller = caller_of(req);

	if (virt_owns(parent))
		fuse_reply_err(req, virt_unlink(front->rings, &caller, parent, name));
	else
		fuse_reply_err(req, remove_in(front, parent, name, 0));
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	fuse_reply_err(req, remove_in(front_of(req), parent, name, AT_REMOVEDIR));
}

/* ---- Moving ---- */

/* The tree's idea of where it is, by which it may have to be found again. */
static void moved(struct front *front, const struct identity *identity, struct inode *parent,
		  const char *name)
{
	struct inode *inode = tree_get(front->tree, tree_number(front->tree, identity));

	if (!inode)
		return;
	tree_rename(front->tree, inode, parent, name);
	tree_put(front->tree, inode);
}

struct end {
	struct reached at;
	const char *name;
	struct identity identity; /* of what has the name before */
	bool there, last;
};

static int rename_ends(struct front *front, struct end *from, struct end *to, unsigned flags)
{
	from->there = identity_at(from->at.fd, from->name, &from->identity, &from->last) == 0;
	to->there = identity_at(to->at.fd, to->name, &to->identity, &to->last) == 0;
	if (renameat2(from->at.fd, from->name, to->at.fd, to->name, flags))
		return errno;
	if (from->there)
		moved(front, &from->identity, to->at.inode, to->name);
	if (!to->there || (from->there && identity_same(&from->identity, &to->identity)))
		return 0;
	if (flags & RENAME_EXCHANGE)
		moved(front, &to->identity, from->at.inode, from->name);
	else
		lost_name(front, &to->identity, to->last);
	return 0;
}

int ops_move_at(struct front *front, const struct reached *from, const char *name,
		const struct reached *to, const char *to_name)
{
	struct end from_end = {.at = *from, .name = name}, to_end = {.at = *to, .name = to_name};

	return rename_ends(front, &from_end, &to_end, 0);
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t to_parent,
		const char *to_name, unsigned flags)
{
	struct front *front = front_of(req);
	struct end from = {.name = name}, to = {.name = to_name};
	int error = is_virtual_error(front, parent, name);

	if (!error)
		error = is_virtual_error(front, to_parent, to_name);
	if (!error && flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE))
		error = EINVAL;
	if (!error)
		error = reach(front->tree, parent, &from.at);
	if (!error) {
		error = reach(front->tree, to_parent, &to.at);
		if (!error) {
			error = rename_ends(front, &from, &to, flags);
			reach_end(front->tree, &to.at);
		}
		reach_end(front->tree, &from.at);
	}
	fuse_reply_err(req, error);
}
