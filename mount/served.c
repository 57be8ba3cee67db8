/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rings may touch: mount/rings/files.h over the open files (opened.h).
 *
 * A file has at most two objects for rings, one for each direction, however many rings use it.  They are
 * made when the first ring asks, from the descriptor of a handle that has the right, and go when the last
 * ring lets go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/error.h"
#include "mount/notice.h"
#include "mount/opened.h"
#include "mount/reach.h"
#include "mount/rings/files.h"
#include "weir/feed.h"

struct served {
	struct weir_object *object;
	int fd;        /* for holes */
	unsigned refs; /* rings */
};

/* With the lock held: a handle of that user that has the right; 0, or what the rings answer. */
static int find_right(const struct inode *inode, uid_t uid, bool write, struct handle **out)
{
	int ret = EBADF;

	if (!inode->opened)
		return ret;
	list_for_each(at, &inode->opened->handles) {
		struct handle *handle = list_entry(at, struct handle, link);

		if (handle->uid != uid)
			continue;
		if (handle->rights[write]) {
			*out = handle;
			return 0;
		}
		ret = EACCES;
	}
	return ret;
}

/* Rings write where they say: a handle that appends is opened again without that. */
static int own_fd(const struct handle *handle)
{
	int flags = fcntl(handle->fd, F_GETFL);

	if (flags >= 0 && flags & O_APPEND)
		return reach_open_again(handle->fd, flags & O_ACCMODE);
	return fcntl(handle->fd, F_DUPFD_CLOEXEC, 3);
}

/*
 * Whoever writes to a program takes away that it runs with others' rights.  The kernel does it where it
 * writes for the user; for rings we write, and may keep such bits.
 */
static void disarm(const struct handle *handle)
{
	char path[REACH_PATH_MAX];
	struct stat stat;

	if (handle->uid == 0 || fstat(handle->fd, &stat))
		return;
	reach_path(handle->fd, path);
	if (stat.st_mode & S_ISUID || (stat.st_mode & S_ISGID && stat.st_mode & S_IXGRP))
		chmod(path, stat.st_mode & 07777 & ~(mode_t)(S_ISUID | S_ISGID));
	removexattr(path, "security.capability");
}

static struct served *served_new(struct files *files, const struct handle *handle)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct served *served = calloc(1, sizeof(*served));
	char name[64];

	if (!served)
		return NULL;
	snprintf(name, sizeof(name), "file %llu of the mount",
		 (unsigned long long)handle->inode->number);
	served->fd = own_fd(handle);
	if (served->fd >= 0 && weir_object_from_fd(files->ctx, served->fd, name,
						   WEIR_OBJECT_OPTS(.flags = WEIR_OBJECT_LIVE),
						   &served->object, &err) == 0)
		return served;
	log_warn(files->log, "rings: %s: %s", name, err.message);
	if (served->fd >= 0)
		close(served->fd);
	free(served);
	return NULL;
}

/* With the lock held. */
static int serve(struct files *files, struct inode *inode, uid_t uid, bool write,
		 struct weir_object **object, int *fd)
{
	struct handle *handle = NULL;
	int ret = find_right(inode, uid, write, &handle);

	if (ret)
		return ret;
	if (write && !inode->served[write])
		disarm(handle);
	if (!inode->served[write])
		inode->served[write] = served_new(files, handle);
	if (!inode->served[write])
		return EIO;
	inode->served[write]->refs++;
	*object = inode->served[write]->object;
	*fd = inode->served[write]->fd;
	return 0;
}

int files_get(struct files *files, uid_t uid, uint64_t ino, bool write, struct weir_object **object,
	      int *fd)
{
	struct inode *inode = tree_get(files->tree, ino);
	int ret = EBADF;

	if (!inode)
		return ret;
	if (S_ISREG(inode->type)) {
		lock_take(&files->lock);
		ret = serve(files, inode, uid, write, object, fd);
		lock_drop(&files->lock);
	}
	/* The reference goes with the object: files_put() gives it back. */
	if (ret)
		tree_put(files->tree, inode);
	return ret;
}

/* With the lock held: what is to be freed; NULL: it is still used. */
static struct served *leave(struct inode *inode, struct weir_object *object)
{
	for (size_t n = 0; n < array_size(inode->served); n++) {
		struct served *served = inode->served[n];

		if (!served || served->object != object)
			continue;
		if (--served->refs)
			return NULL;
		inode->served[n] = NULL;
		return served;
	}
	return NULL;
}

void files_put(struct files *files, uint64_t ino, struct weir_object *object)
{
	struct inode *inode = tree_get(files->tree, ino);
	struct served *served;

	lock_take(&files->lock);
	served = leave(inode, object);
	lock_drop(&files->lock);
	if (served) {
		weir_object_unref(served->object);
		close(served->fd);
		free(served);
	}
	tree_put(files->tree, inode);
	tree_put(files->tree, inode); /* files_get()'s */
}

uint64_t files_epoch(const struct files *files)
{
	return atomic_load_explicit(&files->epoch, memory_order_acquire);
}

void files_changed(struct files *files, uint64_t ino)
{
	notifier_file(files->notifier, ino);
}
