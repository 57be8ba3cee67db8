/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/opened.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/wire.h"

/* A descriptor of some handle of the inode, for those that no name leads to any more; -1: none. */
static int dup_any(void *arg, struct inode *inode)
{
	struct files *files = arg;
	int fd = -1;

	lock_take(&files->lock);
	if (inode->opened)
		fd = fcntl(list_entry(inode->opened->handles.next, struct handle, link)->fd,
			   F_DUPFD_CLOEXEC, 3);
	lock_drop(&files->lock);
	return fd;
}

void files_init(struct files *files, struct tree *tree)
{
	*files = (struct files){.tree = tree};
	lock_init(&files->lock);
	list_init(&files->handles);
	tree->spare_fd = dup_any;
	tree->spare_arg = files;
}

/* The kernel reads it itself from now on, if it can. */
static int32_t back(struct files *files, int fd)
{
	int id;

	if (!files->passthrough || !files->wire->init.passthrough)
		return WIRE_NO_BACKING;
	id = fuse_init_backing_open(files->wire->fd, fd);
	if (id >= 0)
		return id;
	/* ELOOP: a stacked file system; others may lie beneath the same directory.  EPERM is for all. */
	log_info(files->log, "no passthrough: %s%s", strerrordesc_np(-id),
		 id == -ELOOP ? " (the file system is stacked on another)" : "");
	files->passthrough = id == -ELOOP;
	return WIRE_NO_BACKING;
}

/* With the lock held. */
static struct opened *open_first(struct files *files, struct inode *inode, int fd)
{
	struct opened *opened = calloc(1, sizeof(*opened));

	if (!opened)
		return NULL;
	list_init(&opened->handles);
	opened->backing = back(files, fd);
	inode->opened = opened;
	return opened;
}

static void add(struct files *files, struct opened *opened, struct handle *handle)
{
	list_push(&opened->handles, &handle->link);
	list_push(&files->handles, &handle->all);
	atomic_fetch_add(&files->open, 1);
	if (opened->backing != WIRE_NO_BACKING)
		atomic_fetch_add(&files->backed, 1);
}

static struct handle *handle_new(struct inode *inode, int fd, int flags, uid_t uid)
{
	struct handle *handle = calloc(1, sizeof(*handle));
	int mode = flags & O_ACCMODE;

	if (!handle)
		return NULL;
	list_init(&handle->link);
	list_init(&handle->all);
	handle->inode = inode;
	handle->fd = fd;
	handle->uid = uid;
	handle->rights[0] = mode != O_WRONLY;
	handle->rights[1] = mode != O_RDONLY;
	return handle;
}

int handle_open(struct files *files, struct inode *inode, int fd, int flags, uid_t uid,
		struct handle **out, int32_t *backing)
{
	struct handle *handle = handle_new(inode, fd, flags, uid);
	struct opened *opened = NULL;

	if (handle) {
		handle->inode = tree_get(files->tree, inode->number);
		lock_take(&files->lock);
		opened = inode->opened ? inode->opened : open_first(files, inode, fd);
		if (opened) {
			add(files, opened, handle);
			*backing = opened->backing;
		}
		lock_drop(&files->lock);
	}
	if (!opened) {
		if (handle)
			tree_put(files->tree, inode);
		free(handle);
		close(fd);
		return ENOMEM;
	}
	*out = handle;
	return 0;
}

/* With the lock held: the last handle is gone. */
static void close_last(struct files *files, struct inode *inode)
{
	if (inode->opened->backing != WIRE_NO_BACKING)
		fuse_init_backing_close(files->wire->fd, inode->opened->backing);
	free(inode->opened);
	inode->opened = NULL;
}

void handle_release(struct files *files, struct handle *handle)
{
	struct inode *inode = handle->inode;

	lock_take(&files->lock);
	list_remove(&handle->link);
	list_remove(&handle->all);
	atomic_fetch_sub(&files->open, 1);
	if (inode->opened->backing != WIRE_NO_BACKING)
		atomic_fetch_sub(&files->backed, 1);
	if (list_empty(&inode->opened->handles))
		close_last(files, inode);
	/* Else no ring knows the file. */
	if (inode->served[0] || inode->served[1] || inode->serving)
		atomic_fetch_add_explicit(&files->epoch, 1, memory_order_release);
	lock_drop(&files->lock);
	close(handle->fd);
	tree_put(files->tree, inode);
	free(handle);
}

void files_fini(struct files *files)
{
	while (!list_empty(&files->handles))
		handle_release(files, list_entry(files->handles.next, struct handle, all));
	lock_fini(&files->lock);
}
