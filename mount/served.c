/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rings may touch: mount/rings/files.h over the open files (opened.h).
 *
 * A file has at most two objects for rings, one for each direction, however many rings use it.  They are
 * made when the first ring asks, from the descriptor of a handle that has the right, and go when the last
 * ring lets go.  Nobody holds the lock while the file system below is asked: it may not answer.
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
static int own_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL), again;

	if (flags < 0 || !(flags & O_APPEND))
		return fd;
	again = reach_open_again(fd, flags & O_ACCMODE);
	close(fd);
	return again;
}

/*
 * Whoever writes to a program takes away that it runs with others' rights.  The kernel does it where it
 * writes for the user; for rings we write, and may keep such bits.
 */
static void disarm(int fd, uid_t uid)
{
	char path[REACH_PATH_MAX];
	struct stat stat;

	if (uid == 0 || fstat(fd, &stat))
		return;
	reach_path(fd, path);
	if (stat.st_mode & S_ISUID || (stat.st_mode & S_ISGID && stat.st_mode & S_IXGRP))
		chmod(path, stat.st_mode & 07777 & ~(mode_t)(S_ISUID | S_ISGID));
	removexattr(path, "security.capability");
}

/* Takes over the descriptor; waits for storage. */
static struct served *served_new(struct files *files, uint64_t ino, int fd)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct served *served = calloc(1, sizeof(*served));
	char name[64];

	if (!served) {
		close(fd);
		return NULL;
	}
	snprintf(name, sizeof(name), "file %llu of the mount", (unsigned long long)ino);
	served->fd = own_fd(fd);
	if (served->fd >= 0 && weir_object_from_fd(files->ctx, served->fd, name,
						   WEIR_OBJECT_OPTS(.flags = WEIR_OBJECT_LIVE),
						   &served->object, &err) == 0)
		return served;
	log_warn(files->log, "rings: %s: %s", name,
		 served->fd < 0 ? "cannot be opened again" : err.message);
	if (served->fd >= 0)
		close(served->fd);
	free(served);
	return NULL;
}

static void served_free(struct served *served)
{
	if (!served)
		return;
	weir_object_unref(served->object);
	close(served->fd);
	free(served);
}

/* With the lock held: what is open already; EAGAIN where it may be used, but is not. */
static int find(struct inode *inode, uid_t uid, bool write, struct handle **handle,
		struct served **out)
{
	int ret = find_right(inode, uid, write, handle);

	if (ret)
		return ret;
	if (!inode->served[write])
		return EAGAIN;
	inode->served[write]->refs++;
	*out = inode->served[write];
	return 0;
}

/*
 * The file system below is asked without the lock, on a descriptor of our own: the handle may be closed
 * meanwhile.  What comes of it counts if the right is still there, and nobody else was quicker.
 */
static int open_served(struct files *files, struct inode *inode, uid_t uid, bool write,
		       struct served **out)
{
	struct handle *handle = NULL;
	struct served *served = NULL;
	int ret, fd = -1;

	lock_take(&files->lock);
	ret = find(inode, uid, write, &handle, out);
	if (ret == EAGAIN) {
		fd = fcntl(handle->fd, F_DUPFD_CLOEXEC, 3);
		inode->serving++;
	}
	lock_drop(&files->lock);
	if (ret != EAGAIN)
		return ret;
	if (fd >= 0) {
		if (write)
			disarm(fd, uid);
		served = served_new(files, inode->number, fd);
	}
	lock_take(&files->lock);
	inode->serving--;
	ret = find(inode, uid, write, &handle, out);
	if (ret == EAGAIN && served) {
		served->refs = 1;
		*out = inode->served[write] = served;
		served = NULL;
		ret = 0;
	}
	lock_drop(&files->lock);
	served_free(served);
	return ret == EAGAIN ? EIO : ret;
}

/* The reference to the inode goes with the object: files_put() gives it back. */
static int get(struct files *files, uid_t uid, uint64_t ino, bool write, bool may_wait,
	       struct served **out)
{
	struct inode *inode = tree_get(files->tree, ino);
	struct handle *handle;
	int ret = EBADF;

	if (!inode)
		return ret;
	if (S_ISREG(inode->type) && may_wait) {
		ret = open_served(files, inode, uid, write, out);
	} else if (S_ISREG(inode->type)) {
		lock_take(&files->lock);
		ret = find(inode, uid, write, &handle, out);
		lock_drop(&files->lock);
	}
	if (ret)
		tree_put(files->tree, inode);
	return ret;
}

int files_find(struct files *files, uid_t uid, uint64_t ino, bool write,
	       struct weir_object **object, int *fd)
{
	struct served *served = NULL;
	int ret = get(files, uid, ino, write, false, &served);

	if (ret)
		return ret;
	*object = served->object;
	*fd = served->fd;
	return 0;
}

int files_get(struct files *files, uid_t uid, uint64_t ino, bool write, struct weir_object **object,
	      int *fd)
{
	struct served *served = NULL;
	int ret = get(files, uid, ino, write, true, &served);

	if (ret)
		return ret;
	*object = served->object;
	*fd = served->fd;
	return 0;
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
	served_free(served);
	tree_put(files->tree, inode);
	tree_put(files->tree, inode); /* that of the object */
}

uint64_t files_epoch(const struct files *files)
{
	return atomic_load_explicit(&files->epoch, memory_order_acquire);
}

void files_changed(struct files *files, uint64_t ino)
{
	notifier_file(files->notifier, ino);
}
