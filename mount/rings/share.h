/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is registered: shared memory under a name in iovs/, as an iov or as a ring.
 *
 * A share is counted.  Its name holds one reference, and goes by share_leave(); the thread that serves
 * its ring, and each that does I/O with its memory, hold others.  The last one gives it to the janitor,
 * who unmaps it: not a thing to do on a thread that serves rings, nor on one that answers FUSE.
 *
 * The table has one lock.  No request of a ring takes it, but for the first that names an iov.
 */
#ifndef MOUNT_RINGS_SHARE_H
#define MOUNT_RINGS_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/list.h"
#include "base/thread.h"
#include "io/usrbio/key.h"
#include "mount/rings/virt.h"

#define SHARE_RINGS_MAX   4096  /* of one user */
#define SHARE_IOVS_MAX    16384 /* of one user */
#define SHARE_ENTRIES_MAX 65536 /* of one ring */
#define SHARE_BLOCKS_MAX  65536 /* of one iov */
#define SHARE_BUCKETS     4096

#define SHARE_INO UINT64_C(0xf000000000000000) /* of the first that is registered */

/* What one user has: counted from the registration until the memory is unmapped. */
struct account {
	struct list link;   /* table.accounts */
	struct list shares; /* with a name, in order of registration */
	uid_t uid;
	uint32_t rings, iovs;
	uint64_t bytes;
};

/* A process with registrations; the janitor hears of its end. */
struct process {
	struct list link; /* table.processes */
	struct list shares;
	pid_t pid;
	int pidfd;
};

struct ring;

struct share {
	_Atomic uint32_t refs;
	_Atomic bool gone;     /* has no name any more; never back */
	_Atomic bool orphaned; /* gone with its process */
	struct table *table;

	/* Links, under the table's lock. */
	struct list by_order, by_account, by_id, by_ino, by_process;
	struct list doomed; /* the janitor's lists, under their lock */

	/* Constant from the registration on. */
	struct usrbio_key key;
	uint64_t ino;
	struct account *account;
	struct process *process; /* NULL: not known whose; under the table's lock */
	struct ring *ring;       /* NULL: an iov */
	void *memory;
	uint64_t bytes;
	uid_t uid;
	gid_t gid;
	struct timespec time;
	dev_t dev; /* of the shared-memory object */
	ino_t object;
	char *name;   /* of the link */
	char *target; /* of the link: the directory, '/', the object's name */
	char text[];  /* both */
};

struct table {
	const struct sys *sys;
	struct lock lock;
	struct list shares, accounts, processes;
	struct list ids[SHARE_BUCKETS], inos[SHARE_BUCKETS];
	uint64_t seed; /* of the hash: ids are chosen by clients */
	uint64_t serial;
	uint64_t bytes_per_uid;
	uint64_t iovs, rings; /* with a name */
	_Atomic uint64_t bytes, refused, dead_rings;
	void (*last_ref)(void *arg, struct share *share); /* the janitor's */
	void *last_ref_arg;
};

void shares_init(struct table *table, const struct sys *sys, uint64_t bytes_per_uid);
/* Nothing is registered any more. */
void shares_fini(struct table *table);

/* A share with one reference, for this name and object; NULL: no memory. */
struct share *share_new(struct table *table, const char *name, const char *shm, const char *object);
struct share *share_ref(struct share *share);
void share_unref(struct share *share);
/* What the janitor does with one that nobody holds: its place in the account, and its memory. */
void share_destroy(struct share *share);

/*
 * A place in the user's account: EMFILE or ENOMEM; then its bytes: ENOSPC.  Both are given back by
 * share_destroy().
 */
int share_reserve(struct share *share, uid_t uid, bool ring);
int share_charge(struct share *share, uint64_t bytes);

/* Gives it a name and a number; the name takes a reference.  EEXIST: the id is there. */
int share_enter(struct share *share);

/* With the lock held: takes its name away; its reference is the caller's now.  False: gone already. */
bool share_leave(struct share *share);

/* With the lock held.  An alias is what the vendor's library calls a ring of flags 2 or 3 when it
 * destroys it: found by its owner only. */
struct share *table_by_name(struct table *table, const char *name, uid_t uid);
struct share *table_by_ino(struct table *table, uint64_t ino);

/* Takes the lock; the caller gets a reference.  NULL: no iov of that name (rings have no id). */
struct share *table_iov(struct table *table, const uint8_t id[16]);

#endif
