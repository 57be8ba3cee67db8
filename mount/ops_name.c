/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names to nodes, and the end of nodes.
 */
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "mount/ops.h"

static int lookup_virtual(fuse_req_t req, fuse_ino_t parent, const char *name,
			  struct fuse_entry_param *out)
{
	struct virt_caller caller = caller_of(req);
	struct virt_entry entry;
	int error = virt_lookup(front_of(req)->rings, &caller, parent, name, &entry);

	if (!error)
		front_entry_virtual(&entry, out);
	return error;
}

static int lookup_file(struct front *front, fuse_ino_t parent, const char *name,
		       struct fuse_entry_param *out)
{
	struct reached at;
	int error = reach(front->tree, parent, &at);

	if (error)
		return error;
	error = front_enter(front, at.inode, at.fd, name, out);
	reach_end(front->tree, &at);
	return error;
}

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param entry;
	int error = front_is_virtual(parent, name)
			    ? lookup_virtual(req, parent, name, &entry)
			    : lookup_file(front_of(req), parent, name, &entry);

	if (error)
		fuse_reply_err(req, error);
	else
		front_reply_entry(req, &entry);
}

static void forget(struct front *front, fuse_ino_t node, uint64_t lookups)
{
	if (!virt_owns(node))
		tree_forget(front->tree, node, lookups);
}

void ops_forget(fuse_req_t req, fuse_ino_t node, uint64_t lookups)
{
	forget(front_of(req), node, lookups);
	fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t n = 0; n < count; n++)
		forget(front_of(req), forgets[n].ino, forgets[n].nlookup);
	fuse_reply_none(req);
}

static int readlink_file(struct front *front, fuse_ino_t node, char *out, size_t size)
{
	struct reached at;
	ssize_t got;
	int error = reach(front->tree, node, &at);

	if (error)
		return error;
	got = readlinkat(at.fd, "", out, size);
	error = got < 0 ? errno : (size_t)got == size ? ENAMETOOLONG : 0;
	if (!error)
		out[got] = 0;
	reach_end(front->tree, &at);
	return error;
}

void ops_readlink(fuse_req_t req, fuse_ino_t node)
{
	struct front *front = front_of(req);
	struct virt_caller caller = caller_of(req);
	char text[PATH_MAX + 1];
	int error = virt_owns(node) ? virt_readlink(front->rings, &caller, node, text, sizeof(text))
				    : readlink_file(front, node, text, sizeof(text));

	if (error)
		fuse_reply_err(req, error);
	else
		fuse_reply_readlink(req, text);
}
