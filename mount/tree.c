/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/error.h"

#define BUCKETS_FIRST ((size_t)1 << 10)

static struct inode **bucket_of(const struct tree *tree, uint64_t number)
{
	return &tree->buckets[number & (tree->bucket_count - 1)];
}

struct inode *tree_find_locked(const struct tree *tree, uint64_t number)
{
	struct inode *at = *bucket_of(tree, number);

	while (at && at->number != number)
		at = at->chain;
	return at;
}

static bool number_in_use(void *arg, uint64_t number)
{
	return tree_find_locked(arg, number);
}

/* Twice the buckets; without memory for them, chains are longer and nothing else. */
static void widen(struct tree *tree)
{
	size_t count = tree->bucket_count * 2;
	struct inode **old = tree->buckets, **buckets;

	if (tree->inode_count < tree->bucket_count || !(buckets = calloc(count, sizeof(*buckets))))
		return;
	tree->buckets = buckets;
	tree->bucket_count = count;
	for (size_t n = 0; n < count / 2; n++) {
		for (struct inode *at = old[n], *next; at; at = next) {
			struct inode **bucket = bucket_of(tree, at->number);

			next = at->chain;
			at->chain = *bucket;
			*bucket = at;
		}
	}
	free(old);
}

static void insert(struct tree *tree, struct inode *inode)
{
	struct inode **bucket;

	widen(tree);
	bucket = bucket_of(tree, inode->number);
	inode->chain = *bucket;
	*bucket = inode;
	tree->inode_count++;
}

static void remove_from_chain(struct tree *tree, struct inode *inode)
{
	struct inode **at = bucket_of(tree, inode->number);

	while (*at != inode)
		at = &(*at)->chain;
	*at = inode->chain;
	tree->inode_count--;
}

/*
 * Takes it out if nobody needs it, and then its parent, and so on.  The dead ones are chained, to be
 * freed without the lock.
 */
static struct inode *reap_locked(struct tree *tree, struct inode *inode)
{
	struct inode *dead = NULL, *parent;

	while (inode && !inode->refs && !inode->lookups) {
		remove_from_chain(tree, inode);
		list_remove(&inode->idle);
		tree->fd_count -= inode->fd >= 0;
		parent = inode->parent;
		inode->chain = dead;
		dead = inode;
		if (parent)
			parent->refs--;
		inode = parent;
	}
	return dead;
}

static void free_dead(struct inode *dead)
{
	for (struct inode *next; dead; dead = next) {
		next = dead->chain;
		if (dead->fd >= 0)
			close(dead->fd);
		free(dead->name);
		free(dead);
	}
}

struct inode *tree_get(struct tree *tree, uint64_t number)
{
	struct inode *inode;

	lock_take(&tree->lock);
	inode = tree_find_locked(tree, number);
	if (inode)
		inode->refs++;
	lock_drop(&tree->lock);
	return inode;
}

void tree_put(struct tree *tree, struct inode *inode)
{
	struct inode *dead;

	lock_take(&tree->lock);
	inode->refs--;
	dead = reap_locked(tree, inode);
	lock_drop(&tree->lock);
	free_dead(dead);
}

void tree_forget(struct tree *tree, uint64_t number, uint64_t lookups)
{
	struct inode *inode, *dead = NULL;

	lock_take(&tree->lock);
	inode = tree_find_locked(tree, number);
	if (inode) {
		inode->lookups -= min_of(lookups, inode->lookups);
		dead = reap_locked(tree, inode);
	}
	lock_drop(&tree->lock);
	free_dead(dead);
}

/* Directories moved behind our back could make each other's parent: such a name is not taken. */
static bool is_above(const struct inode *inode, const struct inode *at)
{
	for (; at; at = at->parent)
		if (at == inode)
			return true;
	return false;
}

/* The old name and the parent that loses a child, to be released without the lock. */
struct past {
	char *name;
	struct inode *dead;
};

static struct past rename_locked(struct tree *tree, struct inode *inode, struct inode *parent,
				 char *name)
{
	struct past past = {name, NULL};
	struct inode *before = inode->parent;

	if (parent && is_above(inode, parent))
		return past;
	past.name = inode->name;
	inode->name = name;
	inode->parent = parent;
	if (parent)
		parent->refs++;
	if (before) {
		before->refs--;
		past.dead = reap_locked(tree, before);
	}
	return past;
}

void tree_rename(struct tree *tree, struct inode *inode, struct inode *parent, const char *name)
{
	char *copy = parent ? strdup(name) : NULL;
	struct past past;

	/* Without memory for a name it has none: the next lookup brings one. */
	lock_take(&tree->lock);
	past = rename_locked(tree, inode, copy ? parent : NULL, copy);
	lock_drop(&tree->lock);
	free(past.name);
	free_dead(past.dead);
}

static struct inode *new_inode(uint64_t number, const struct found *found)
{
	struct inode *inode = calloc(1, sizeof(*inode));

	if (!inode)
		return NULL;
	inode->number = number;
	inode->identity = found->identity;
	inode->type = found->stat.stx_mode & S_IFMT;
	inode->fd = -1;
	list_init(&inode->idle);
	list_init(&inode->notice);
	return inode;
}

/* The inode of what was found, made if need be; NULL: out of memory. */
static struct inode *find_or_make_locked(struct tree *tree, const struct found *found)
{
	uint64_t number = numbers_of(&tree->numbers, &found->identity);
	struct inode *inode;

	if (!number)
		return NULL;
	inode = tree_find_locked(tree, number);
	if (!inode && (inode = new_inode(number, found)))
		insert(tree, inode);
	return inode;
}

/* The descriptor is kept where the inode has none and there is room: lookups are followed by more. */
static void keep_fd_locked(struct tree *tree, struct inode *inode, struct found *found)
{
	if (found->fd < 0 || inode->fd >= 0 || tree->fd_count >= tree->fds_max)
		return;
	inode->fd = found->fd;
	found->fd = -1;
	tree->fd_count++;
	list_push(&tree->idle, &inode->idle);
}

int tree_enter(struct tree *tree, struct inode *parent, const char *name, struct found *found,
	       bool ref, struct inode **out)
{
	struct past past = {strdup(name), NULL};
	struct inode *inode;

	lock_take(&tree->lock);
	inode = find_or_make_locked(tree, found);
	if (inode) {
		inode->lookups++;
		inode->refs += ref;
		keep_fd_locked(tree, inode, found);
		if (past.name &&
		    (inode->parent != parent || !inode->name || strcmp(inode->name, name) != 0) &&
		    inode != tree->root)
			past = rename_locked(tree, inode, parent, past.name);
	}
	lock_drop(&tree->lock);
	free(past.name);
	free_dead(past.dead);
	if (found->fd >= 0)
		close(found->fd);
	found->fd = -1;
	*out = inode;
	return inode ? 0 : ENOMEM;
}

uint64_t tree_number(struct tree *tree, const struct identity *identity)
{
	uint64_t number;

	lock_take(&tree->lock);
	number = numbers_of(&tree->numbers, identity);
	lock_drop(&tree->lock);
	return number;
}

void tree_retire(struct tree *tree, const struct identity *identity)
{
	lock_take(&tree->lock);
	numbers_retire(&tree->numbers, identity);
	lock_drop(&tree->lock);
}

/* The root is there for as long as the tree, with a descriptor of its own. */
static int enter_root(struct tree *tree)
{
	struct found found = {.fd = -1};
	int error = identity_read(tree->root_fd, "", &found.stat, &found.identity);

	if (error)
		return error;
	tree->root = find_or_make_locked(tree, &found);
	if (!tree->root)
		return ENOMEM;
	tree->root->refs = 1;
	tree->root->fd = tree->root_fd;
	tree->root->pins = 1;
	return 0;
}

int tree_create(int root_fd, size_t fds_max, struct tree **out, struct weir_error *err)
{
	struct tree *tree = calloc(1, sizeof(*tree));
	int error = ENOMEM;

	if (!tree)
		return error_nomem(err, NULL, "the tree of inodes");
	lock_init(&tree->lock);
	list_init(&tree->idle);
	tree->root_fd = root_fd;
	tree->fds_max = fds_max;
	tree->bucket_count = BUCKETS_FIRST;
	tree->buckets = calloc(tree->bucket_count, sizeof(*tree->buckets));
	if (tree->buckets)
		error = numbers_init(&tree->numbers, 0, number_in_use, tree);
	if (!error)
		error = enter_root(tree);
	if (error) {
		tree_destroy(tree);
		return error_sys(err, error, NULL, "the tree of inodes");
	}
	*out = tree;
	return 0;
}

void tree_destroy(struct tree *tree)
{
	if (!tree)
		return;
	if (tree->root)
		tree->root->fd = -1;
	for (size_t n = 0; tree->buckets && n < tree->bucket_count; n++)
		free_dead(tree->buckets[n]);
	free(tree->buckets);
	numbers_fini(&tree->numbers);
	close(tree->root_fd);
	lock_fini(&tree->lock);
	free(tree);
}
