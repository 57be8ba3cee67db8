/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/reach.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

/* Directories between an inode and an ancestor that is open. */
#define DEPTH_MAX 4096

/* A rename in the middle of a walk is EAGAIN: so often it is tried again. */
#define TRIES 16

int reach_open(int dir, const char *name, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC | O_NOFOLLOW |
				    (flags & O_PATH ? 0 : O_NOCTTY)),
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
	};
	int fd = -1;

	if (strchr(name, '/') || strcmp(name, "..") == 0) {
		errno = EINVAL;
		return -1;
	}
	for (int n = 0; n < TRIES; n++) {
		fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	/* Some containers forbid the call: one component, without following, cannot leave either. */
	if (fd < 0 && errno == ENOSYS)
		fd = openat(dir, name, (int)how.flags, mode);
	return fd;
}

int reach_name(int dir, const char *name, struct found *found)
{
	int error;

	found->fd = reach_open(dir, name, O_PATH, 0);
	if (found->fd < 0)
		return errno;
	error = identity_read(found->fd, "", &found->stat, &found->identity);
	if (error) {
		close(found->fd);
		found->fd = -1;
	}
	return error;
}

const char *reach_path(int fd, char out[REACH_PATH_MAX])
{
	snprintf(out, REACH_PATH_MAX, "/proc/self/fd/%d", fd);
	return out;
}

int reach_open_again(int fd, int flags)
{
	char path[REACH_PATH_MAX];

	return open(reach_path(fd, path), (flags & ~O_NOFOLLOW) | O_CLOEXEC | O_NOCTTY);
}

/* ---- Opening what lost its descriptor ---- */

/* The names from an ancestor that is open down to the inode, deepest first. */
struct way {
	struct inode *from; /* with a reference and a pin */
	char **names;
	size_t count;
};

static int note_way_locked(struct inode *inode, struct way *way)
{
	for (; inode->fd < 0; inode = inode->parent) {
		if (!inode->parent || way->count == DEPTH_MAX)
			return ESTALE;
		way->names[way->count] = strdup(inode->name);
		if (!way->names[way->count])
			return ENOMEM;
		way->count++;
	}
	way->from = inode;
	inode->refs++;
	if (inode->pins++ == 0)
		list_remove(&inode->idle);
	return 0;
}

static int walk(const struct way *way, int *out)
{
	int at = way->from->fd, next;

	for (size_t n = way->count; n-- > 0;) {
		next = reach_open(at, way->names[n], O_PATH, 0);
		if (at != way->from->fd)
			close(at);
		if (next < 0)
			return errno == ENOENT || errno == ENOTDIR ? ESTALE : errno;
		at = next;
	}
	*out = at;
	return 0;
}

static int check_same(int fd, const struct identity *wanted)
{
	struct found found;
	int error = identity_read(fd, "", &found.stat, &found.identity);

	if (error)
		return error;
	return identity_same(&found.identity, wanted) ? 0 : ESTALE;
}

static int open_by_name(struct tree *tree, struct inode *inode, int *out)
{
	struct way way = {.names = calloc(DEPTH_MAX, sizeof(*way.names))};
	int error;

	if (!way.names)
		return ENOMEM;
	lock_take(&tree->lock);
	error = note_way_locked(inode, &way);
	lock_drop(&tree->lock);
	if (!error) {
		/* Another thread may just have opened it: then there is nothing to walk. */
		error = way.count ? walk(&way, out) : (*out = dup(way.from->fd)) < 0 ? errno : 0;
		reach_end(tree, &(struct reached){way.from, way.from->fd});
	}
	while (way.count)
		free(way.names[--way.count]);
	free(way.names);
	if (!error && (error = check_same(*out, &inode->identity)))
		close(*out);
	return error;
}

static int open_inode(struct tree *tree, struct inode *inode, int *out)
{
	int error = open_by_name(tree, inode, out);

	if (error == ESTALE && tree->spare_fd) {
		/* No name leads to it any more; whoever has it open has a descriptor. */
		*out = tree->spare_fd(tree->spare_arg, inode);
		return *out < 0 ? ESTALE : 0;
	}
	return error;
}

/* ---- Descriptors, counted ---- */

/* One that nobody pins is given up, if there are too many; its descriptor, to be closed. */
static int evict_locked(struct tree *tree)
{
	struct inode *inode;
	struct list *link;
	int fd;

	if (tree->fd_count <= tree->fds_max || !(link = list_pop(&tree->idle)))
		return -1;
	inode = list_entry(link, struct inode, idle);
	fd = inode->fd;
	inode->fd = -1;
	tree->fd_count--;
	return fd;
}

static int install(struct tree *tree, struct inode *inode, int fd)
{
	int spare = fd, evicted;

	lock_take(&tree->lock);
	if (inode->fd < 0) {
		inode->fd = fd;
		tree->fd_count++;
		spare = -1;
	}
	if (inode->pins++ == 0)
		list_remove(&inode->idle);
	fd = inode->fd;
	evicted = evict_locked(tree);
	lock_drop(&tree->lock);
	if (spare >= 0)
		close(spare);
	if (evicted >= 0)
		close(evicted);
	return fd;
}

int reach(struct tree *tree, uint64_t number, struct reached *out)
{
	int fd = -1, error;

	lock_take(&tree->lock);
	out->inode = tree_find_locked(tree, number);
	out->fd = out->inode ? out->inode->fd : -1;
	if (out->inode)
		out->inode->refs++;
	if (out->fd >= 0 && out->inode->pins++ == 0)
		list_remove(&out->inode->idle);
	lock_drop(&tree->lock);
	if (!out->inode)
		return ESTALE;
	if (out->fd >= 0)
		return 0;
	error = open_inode(tree, out->inode, &fd);
	if (error) {
		tree_put(tree, out->inode);
		return error;
	}
	out->fd = install(tree, out->inode, fd);
	return 0;
}

void reach_end(struct tree *tree, struct reached *at)
{
	int evicted;

	lock_take(&tree->lock);
	if (--at->inode->pins == 0)
		list_push(&tree->idle, &at->inode->idle);
	evicted = evict_locked(tree);
	lock_drop(&tree->lock);
	if (evicted >= 0)
		close(evicted);
	tree_put(tree, at->inode);
}
