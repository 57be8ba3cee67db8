/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inodes that the kernel knows, by number.
 *
 * An inode lives while the kernel holds lookups on it or one of us a reference: an operation, an open
 * file, a child (which may need its parent to be found again).  Its number is its FUSE node id too;
 * numbers are never used again (numbers.h), so the generation that FUSE wants is always 1.
 *
 * How an inode is reached: by an O_PATH descriptor.  There may be more inodes than descriptors, so at
 * most `fds_max` are kept, the least recently used go first, and an inode without one is opened again
 * (reach.c): by name from the nearest ancestor that has a descriptor, and what is found must be the same
 * file; else it is stale, and the kernel looks the name up again.  Not by the kernel's file handles: a
 * process that may open those reaches every file of the file system, beneath its directory or not,
 * and so the daemon gives that call up (life/confine.h).
 *
 * One lock guards all of it; nobody makes a system call that may wait while holding it.
 */
#ifndef MOUNT_TREE_H
#define MOUNT_TREE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/list.h"
#include "base/thread.h"
#include "mount/identity.h"
#include "mount/numbers.h"
#include "weir/error.h"

struct opened;
struct served;

struct inode {
	uint64_t number;
	struct identity identity;
	mode_t type;      /* S_IFMT */
	uint64_t lookups; /* that the kernel holds */
	uint64_t refs;    /* that we hold */
	struct inode *chain;

	/* To reach it. */
	int fd; /* O_PATH; -1: none now */
	unsigned pins;
	struct list idle;     /* in the tree's, while there is a descriptor that nobody pins */
	struct inode *parent; /* counted; NULL: the root's, and for what has no name any more */
	char *name;

	/* To be used: opened.c, served.c, notice.c. */
	struct opened *opened;
	struct served *served[2]; /* by direction */
	unsigned serving;         /* that are being opened to be one of these */
	struct list notice;
	struct timespec seen_mtime, seen_ctime; /* when its pages were last known to be good */
	uint64_t seen_bytes;
	bool seen;
};

struct tree {
	struct lock lock;
	struct numbers numbers;
	struct inode **buckets; /* a power of two of them */
	size_t bucket_count, inode_count;
	struct inode *root;
	int root_fd; /* not O_PATH: handles are opened beside it */

	int (*spare_fd)(void *arg, struct inode *inode); /* of what has no name; -1: none */
	void *spare_arg;

	struct list idle; /* least recently used first */
	size_t fd_count, fds_max;
};

/* The directory's tree; root_fd is the tree's from now on.  fds_max: O_PATH descriptors at a time. */
int tree_create(int root_fd, size_t fds_max, struct tree **out, struct weir_error *err);
void tree_destroy(struct tree *tree);

/* The inode with a reference; NULL: there is none. */
struct inode *tree_get(struct tree *tree, uint64_t number);
void tree_put(struct tree *tree, struct inode *inode);

/* What was found under a name: all that identity_read() tells, and an O_PATH descriptor, or -1. */
struct found {
	int fd;
	struct statx stat;
	struct identity identity;
};

/*
 * A lookup more for what was found, which the kernel will forget in time.  The descriptor is the
 * tree's, or closed.  0, or an errno.  The inode is borrowed from the lookup; with a reference where
 * `ref` is asked for.
 */
int tree_enter(struct tree *tree, struct inode *parent, const char *name, struct found *found,
	       bool ref, struct inode **out);
void tree_forget(struct tree *tree, uint64_t number, uint64_t lookups);

/* The number alone, for listings; 0: out of memory. */
uint64_t tree_number(struct tree *tree, const struct identity *identity);

/* It has a new name, or (parent NULL) none. */
void tree_rename(struct tree *tree, struct inode *inode, struct inode *parent, const char *name);

/* Its last name is gone: what looks like it from now on is another. */
void tree_retire(struct tree *tree, const struct identity *identity);

/* For this room's other files, with the lock held. */
struct inode *tree_find_locked(const struct tree *tree, uint64_t number);

#endif
