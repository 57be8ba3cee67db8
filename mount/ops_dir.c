/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing.  Offsets are those of the directory beneath, so that telldir() means what it means there; the
 * root ends with 3fs-virt, whose offset is one that no file system gives.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mount/ops.h"

#define AFTER_VIRT ((off_t)INT64_MAX - 1)

/* An open directory: one of the source's, or one of 3fs-virt. */
struct dir {
	struct lock lock;
	struct inode *inode; /* with a reference */
	DIR *stream;
	off_t at;
	struct virt_dir *virt;
};

static struct dir *dir_of(const struct fuse_file_info *info)
{
	return (struct dir *)(uintptr_t)info->fh;
}

int ops_dir_fd(const struct fuse_file_info *info)
{
	const struct dir *dir = dir_of(info);

	return dir->stream ? dirfd(dir->stream) : -1;
}

static int open_stream(struct front *front, fuse_ino_t node, struct dir *dir)
{
	struct reached at;
	int error = reach(front->tree, node, &at), fd;

	if (error)
		return error;
	fd = openat(at.fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		error = errno;
	else if (!(dir->stream = fdopendir(fd))) {
		error = errno;
		close(fd);
	}
	if (!error)
		dir->inode = tree_get(front->tree, node);
	reach_end(front->tree, &at);
	return error;
}

static void dir_close(struct front *front, struct dir *dir)
{
	if (dir->virt)
		virt_releasedir(front->rings, dir->virt);
	if (dir->stream)
		closedir(dir->stream);
	if (dir->inode)
		tree_put(front->tree, dir->inode);
	lock_fini(&dir->lock);
	free(dir);
}

void ops_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
	struct front *front = front_of(req);
	struct virt_caller caller = caller_of(req);
	struct dir *dir = calloc(1, sizeof(*dir));
	int error;

	if (!dir) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	lock_init(&dir->lock);
	error = virt_owns(node) ? virt_opendir(front->rings, &caller, node, &dir->virt)
				: open_stream(front, node, dir);
	info->fh = (uintptr_t)dir;
	if (error) {
		dir_close(front, dir);
		fuse_reply_err(req, error);
	} else if (fuse_reply_open(req, info)) {
		dir_close(front, dir);
	}
}

void ops_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *info)
{
	(void)node;
	dir_close(front_of(req), dir_of(info));
	fuse_reply_err(req, 0);
}

void ops_fsyncdir(fuse_req_t req, fuse_ino_t node, int data_only, struct fuse_file_info *info)
{
	int fd = ops_dir_fd(info);

	(void)node;
	fuse_reply_err(req, fd >= 0 && (data_only ? fdatasync(fd) : fsync(fd)) ? errno : 0);
}

/* ---- Entries into the answer ---- */

struct listing {
	fuse_req_t req;
	struct dir *dir;
	fuse_ino_t node;
	bool plus; /* with a lookup of each */
	char *room;
	size_t used, size;
};

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

/* False: no room left. */
static bool put(struct listing *to, const char *name, struct fuse_entry_param *entry, off_t next)
{
	char *at = to->room + to->used;
	size_t left = to->size - to->used, needed;

	needed = to->plus ? fuse_add_direntry_plus(to->req, at, left, name, entry, next)
			  : fuse_add_direntry(to->req, at, left, name, &entry->attr, next);
	if (needed > left)
		return false;
	to->used += needed;
	return true;
}

static uint64_t parent_number(struct tree *tree, const struct inode *inode)
{
	uint64_t number;

	lock_take(&tree->lock);
	number = inode->parent ? inode->parent->number : inode->number;
	lock_drop(&tree->lock);
	return number;
}

/* The two are no lookups: their node is 0, and only number and type are told. */
static void describe_dots(struct listing *to, const char *name, struct fuse_entry_param *out)
{
	struct front *front = front_of(to->req);
	uint64_t number = name[1] ? parent_number(front->tree, to->dir->inode) : to->node;

	*out = (struct fuse_entry_param){.attr = {.st_ino = number, .st_mode = S_IFDIR}};
}

/* Number and type, by which readdir and stat agree. */
static int describe_plain(struct front *front, int fd, const char *name,
			  struct fuse_entry_param *out)
{
	struct found found;
	uint64_t number;
	int error = identity_read(fd, name, &found.stat, &found.identity);

	if (error)
		return error;
	number = tree_number(front->tree, &found.identity);
	*out = (struct fuse_entry_param){
		.attr = {.st_ino = number, .st_mode = found.stat.stx_mode & S_IFMT}};
	return number ? 0 : ENOMEM;
}

static int describe(struct listing *to, const char *name, struct fuse_entry_param *out)
{
	struct front *front = front_of(to->req);
	int fd = dirfd(to->dir->stream);

	if (is_dots(name)) {
		describe_dots(to, name, out);
		return 0;
	}
	return to->plus ? front_enter(front, to->dir->inode, fd, name, out)
			: describe_plain(front, fd, name, out);
}

/* One entry of the source's; false: no room left. */
static bool put_file(struct listing *to, const struct dirent *from)
{
	struct fuse_entry_param entry;

	if (to->node == FUSE_ROOT_ID && strcmp(from->d_name, VIRT_NAME) == 0)
		return true; /* ours stands in its place */
	/* What vanished since it was listed, or cannot be told, is left out. */
	if (describe(to, from->d_name, &entry))
		return true;
	if (put(to, from->d_name, &entry, from->d_off))
		return true;
	if (to->plus && entry.ino)
		tree_forget(front_of(to->req)->tree, entry.ino, 1);
	return false;
}

/* The end of the root. */
static int put_virt(struct listing *to)
{
	struct virt_caller caller = caller_of(to->req);
	struct fuse_entry_param entry;
	struct virt_entry virt;
	int error = virt_lookup(front_of(to->req)->rings, &caller, FUSE_ROOT_ID, VIRT_NAME, &virt);

	if (error)
		return error;
	front_entry_virtual(&virt, &entry);
	put(to, VIRT_NAME, &entry, AFTER_VIRT);
	return 0;
}

static int list_files(struct listing *to, off_t offset)
{
	struct dir *dir = to->dir;
	struct dirent *from;

	if (offset == AFTER_VIRT)
		return 0;
	if (offset != dir->at)
		seekdir(dir->stream, offset);
	for (;;) {
		errno = 0;
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): under the directory's lock */
		from = readdir(dir->stream);
		if (!from) {
			if (errno)
				return errno;
			return to->node == FUSE_ROOT_ID ? put_virt(to) : 0;
		}
		if (!put_file(to, from)) {
			dir->at = -1; /* one was read that has to be read again */
			return 0;
		}
		dir->at = from->d_off;
	}
}

static int list_virtual(struct listing *to, off_t offset)
{
	struct virt_caller caller = caller_of(to->req);
	struct front *front = front_of(to->req);
	struct fuse_entry_param entry;
	struct virt_dirent from;
	int error;

	for (;;) {
		error = virt_readdir(front->rings, &caller, to->dir->virt, (uint64_t)offset, &from);
		if (error)
			return error == ENOENT ? 0 : error;
		front_entry_virtual(&from.entry, &entry);
		if (!put(to, from.name, &entry, (off_t)from.next))
			return 0;
		offset = (off_t)from.next;
	}
}

static void list(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		 const struct fuse_file_info *info, bool plus)
{
	struct listing to = {
		.req = req, .dir = dir_of(info), .node = node, .plus = plus, .size = size};
	int error = 0;

	to.room = malloc(size);
	if (!to.room) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	lock_take(&to.dir->lock);
	error = to.dir->virt ? list_virtual(&to, offset) : list_files(&to, offset);
	lock_drop(&to.dir->lock);
	/* What was listed before an error is good; the error comes again. */
	if (error && !to.used)
		fuse_reply_err(req, error);
	else
		fuse_reply_buf(req, to.room, to.used);
	free(to.room);
}

void ops_readdir(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		 struct fuse_file_info *info)
{
	list(req, node, size, offset, info, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	list(req, node, size, offset, info, true);
}
