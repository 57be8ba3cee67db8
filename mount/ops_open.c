/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPEN, CREATE, RELEASE.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount/as_user.h"
#include "mount/ops.h"

/* Of the caller's flags, those that mean something to the descriptor behind the handle. */
#define FLAGS_KEPT (O_ACCMODE | O_APPEND | O_SYNC | O_DSYNC)

static bool same_time(struct timespec a, struct statx_timestamp b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == (long)b.tv_nsec;
}

/* Pages that the kernel has are good if nobody wrote to the file behind its back.  With the lock. */
static bool unchanged(const struct inode *inode, const struct statx *stat)
{
	return inode->seen && inode->seen_bytes == stat->stx_size &&
	       same_time(inode->seen_mtime, stat->stx_mtime) &&
	       same_time(inode->seen_ctime, stat->stx_ctime);
}

static bool may_keep_cache(struct front *front, struct inode *inode, int fd)
{
	struct statx stat;
	bool keep;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &stat))
		return false;
	lock_take(&front->files.lock);
	keep = unchanged(inode, &stat);
	inode->seen = true;
	inode->seen_bytes = stat.stx_size;
	inode->seen_mtime = (struct timespec){stat.stx_mtime.tv_sec, stat.stx_mtime.tv_nsec};
	inode->seen_ctime = (struct timespec){stat.stx_ctime.tv_sec, stat.stx_ctime.tv_nsec};
	lock_drop(&front->files.lock);
	return keep;
}

/* The handle, and how the kernel shall use it. */
static int handle_make(fuse_req_t req, struct inode *inode, int fd, struct fuse_file_info *info,
		       struct handle **out, int32_t *backing)
{
	struct front *front = front_of(req);
	bool keep = may_keep_cache(front, inode, fd);
	int error = handle_open(&front->files, inode, fd, info->flags, fuse_req_ctx(req)->uid, out,
				backing);

	if (error)
		return error;
	info->fh = (uintptr_t)*out;
	info->direct_io = front->direct_io;
	/* The kernel takes no word on its cache for what it passes through. */
	info->keep_cache = keep && !front->direct_io && *backing == WIRE_NO_BACKING;
	info->noflush = true;
	return 0;
}

/* May wait long: somebody may have a lease on the file. */
static int open_patiently(fuse_req_t req, int path_fd, int flags)
{
	struct interrupt interrupt;
	int fd;

	interrupt_begin(&front_of(req)->interrupts, &interrupt, req);
	fd = reach_open_again(path_fd, flags & FLAGS_KEPT);
	fd = fd < 0 ? -errno : fd;
	interrupt_end(&interrupt);
	return fd;
}

static int open_file(fuse_req_t req, fuse_ino_t node, int flags, struct reached *at)
{
	struct front *front = front_of(req);
	int error = reach(front->tree, node, at), fd;

	if (error)
		return -error;
	fd = S_ISREG(at->inode->type) ? open_patiently(req, at->fd, flags) : -ENXIO;
	if (fd < 0)
		reach_end(front->tree, at);
	return fd;
}

static int may_open(const struct front *front, fuse_ino_t node, int flags)
{
	if (virt_owns(node))
		return EPERM;
	return (flags & O_ACCMODE) != O_RDONLY && !front->read_write ? EROFS : 0;
}

void ops_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
	struct front *front = front_of(req);
	struct handle *handle = NULL;
	int32_t backing = WIRE_NO_BACKING;
	struct reached at;
	int fd, error = may_open(front, node, info->flags);

	if (!error) {
		fd = open_file(req, node, info->flags, &at);
		error = fd < 0 ? -fd : 0;
	}
	if (!error) {
		error = handle_make(req, at.inode, fd, info, &handle, &backing);
		reach_end(front->tree, &at);
	}
	if (error) {
		fuse_reply_err(req, error);
		return;
	}
	wire_back_next(backing);
	if (fuse_reply_open(req, info))
		handle_release(&front->files, handle);
	wire_back_next(WIRE_NO_BACKING);
}

void ops_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
	(void)node;
	handle_release(&front_of(req)->files, (struct handle *)(uintptr_t)info->fh);
	fuse_reply_err(req, 0);
}

/* ---- CREATE ---- */

/*
 * Always a new file: one that appeared since the kernel looked was not made by the caller, and whether it
 * may be opened has not been checked.  ESTALE sends the kernel back to look again.
 */
static int create_file(fuse_req_t req, int dir, const char *name, mode_t mode, int flags)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);
	struct as_user before;
	int fd;

	mode = ops_made_mode(req, dir, mode);
	as_user_begin(&before, ctx->uid, ctx->gid);
	fd = reach_open(dir, name, (flags & FLAGS_KEPT) | O_CREAT | O_EXCL, mode & 07777);
	fd = fd < 0 ? -errno : fd;
	as_user_end(&before);
	return fd == -EEXIST && !(flags & O_EXCL) ? -ESTALE : fd;
}

/* The file's node, with a lookup and a reference; fd stays the caller's. */
static int enter_created(struct front *front, struct inode *parent, const char *name, int fd,
			 struct fuse_entry_param *entry, struct inode **out)
{
	struct found found = {.fd = -1}; /* the tree opens one when it needs it */
	int error = identity_read(fd, "", &found.stat, &found.identity);

	if (error)
		return error;
	error = tree_enter(front->tree, parent, name, &found, true, out);
	if (error)
		return error;
	*entry = (struct fuse_entry_param){
		.ino = (*out)->number,
		.generation = 1,
		.attr_timeout = FRONT_TIMEOUT_S,
		.entry_timeout = FRONT_TIMEOUT_S,
	};
	front_attr(&found.stat, (*out)->number, &entry->attr);
	return 0;
}

static void reply_create(fuse_req_t req, struct inode *inode, int fd,
			 const struct fuse_entry_param *entry, struct fuse_file_info *info)
{
	struct front *front = front_of(req);
	int32_t backing = WIRE_NO_BACKING;
	struct handle *handle = NULL;
	int error = handle_make(req, inode, fd, info, &handle, &backing);

	if (error) {
		tree_forget(front->tree, entry->ino, 1);
		fuse_reply_err(req, error);
		return;
	}
	wire_back_next(backing);
	if (fuse_reply_create(req, entry, info)) {
		handle_release(&front->files, handle);
		tree_forget(front->tree, entry->ino, 1);
	}
	wire_back_next(WIRE_NO_BACKING);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		struct fuse_file_info *info)
{
	struct front *front = front_of(req);
	struct fuse_entry_param entry;
	struct inode *inode = NULL;
	struct reached at;
	int fd = -1;
	int error = front_is_virtual(parent, name) ? EPERM : front_may_change(front, parent);

	if (!error)
		error = reach(front->tree, parent, &at);
	if (!error) {
		fd = create_file(req, at.fd, name, mode, info->flags);
		error = fd < 0 ? -fd : enter_created(front, at.inode, name, fd, &entry, &inode);
		reach_end(front->tree, &at);
	}
	if (error) {
		if (fd >= 0)
			close(fd);
		fuse_reply_err(req, error);
		return;
	}
	assert(inode);
	reply_create(req, inode, fd, &entry, info);
	tree_put(front->tree, inode);
}
