/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/front.h"

#include <errno.h>
#include <string.h>
#include <sys/sysmacros.h>

bool front_is_virtual(fuse_ino_t parent, const char *name)
{
	return virt_owns(parent) || (parent == FUSE_ROOT_ID && strcmp(name, VIRT_NAME) == 0);
}

int front_may_change(const struct front *front, fuse_ino_t node)
{
	if (virt_owns(node))
		return EPERM;
	return front->read_write ? 0 : EROFS;
}

static struct timespec time_of(struct statx_timestamp from)
{
	return (struct timespec){.tv_sec = from.tv_sec, .tv_nsec = from.tv_nsec};
}

void front_attr(const struct statx *from, uint64_t number, struct stat *to)
{
	*to = (struct stat){
		.st_ino = number,
		.st_mode = from->stx_mode,
		.st_nlink = from->stx_nlink,
		.st_uid = from->stx_uid,
		.st_gid = from->stx_gid,
		.st_rdev = makedev(from->stx_rdev_major, from->stx_rdev_minor),
		.st_size = (off_t)from->stx_size,
		.st_blksize = (blksize_t)from->stx_blksize,
		.st_blocks = (blkcnt_t)from->stx_blocks,
		.st_atim = time_of(from->stx_atime),
		.st_mtim = time_of(from->stx_mtime),
		.st_ctim = time_of(from->stx_ctime),
	};
}

void front_attr_virtual(const struct virt_entry *from, struct stat *to)
{
	*to = (struct stat){
		.st_ino = from->ino,
		.st_mode = from->mode,
		.st_nlink = from->nlink,
		.st_uid = from->uid,
		.st_gid = from->gid,
		.st_size = (off_t)from->size,
		.st_blksize = 4096,
		.st_atim = from->time,
		.st_mtim = from->time,
		.st_ctim = from->time,
	};
}

void front_entry_virtual(const struct virt_entry *from, struct fuse_entry_param *to)
{
	*to = (struct fuse_entry_param){
		.ino = from->ino,
		.generation = 1,
		.attr_timeout = from->timeout_s,
		.entry_timeout = from->timeout_s,
	};
	front_attr_virtual(from, &to->attr);
}

int front_enter(struct front *front, struct inode *parent, int dir, const char *name,
		struct fuse_entry_param *out)
{
	struct inode *inode;
	struct found found;
	int error = reach_name(dir, name, &found);

	if (!error)
		error = tree_enter(front->tree, parent, name, &found, false, &inode);
	if (error)
		return error;
	/* Borrowed from the lookup, which is not answered yet: it cannot be forgotten. */
	*out = (struct fuse_entry_param){
		.ino = inode->number,
		.generation = 1,
		.attr_timeout = FRONT_TIMEOUT_S,
		.entry_timeout = FRONT_TIMEOUT_S,
	};
	front_attr(&found.stat, inode->number, &out->attr);
	return 0;
}

void front_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry)
{
	struct front *front = front_of(req);
	fuse_ino_t node = entry->ino;

	/* The caller was killed meanwhile: nobody will forget what nobody learnt. */
	if (fuse_reply_entry(req, entry) && !virt_owns(node))
		tree_forget(front->tree, node, 1);
}
