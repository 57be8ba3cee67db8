/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stub-server: a FUSE daemon of a few hundred lines that plays the 3FS daemon for clients under test.
 *
 *     stub-server DIR MOUNT [COMMAND...]
 *
 * It mounts DIR at MOUNT as fuse.hf3fs.  stub_fuse.c answers the kernel, stub_ring.c serves rings, stub.c
 * reads commands (from the arguments, then from standard input, one a line) and answers each with one line
 * on standard output.  It believes its clients, but keeps a list of what they do against the
 * protocol, and it can be told to misbehave: see the table in stub.c.  One mutex guards everything.
 */
#ifndef TESTS_USRBIO_STUB_H
#define TESTS_USRBIO_STUB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include "wire.h"

/* What may go wrong on request.  The first group changes one completion, the second the daemon. */
enum fault_kind {
	FAULT_INDEX,    /* the completion names slot VALUE */
	FAULT_USERDATA, /* its userdata has VALUE added */
	FAULT_RESULT,   /* its result is VALUE */
	FAULT_ADD,      /* VALUE is added to its result */
	FAULT_TWICE,    /* it is published twice */
	FAULT_LOSE,     /* it is never published */
	FAULT_SHORT,    /* at most VALUE bytes are moved */
	FAULT_NOPOST,   /* no post follows it */
	FAULT_HEAD,     /* cqeHead is VALUE afterwards */
	FAULT_TAIL,     /* sqeTail is VALUE afterwards */
	FAULT_DELAY,    /* its batch takes VALUE milliseconds */
	FAULT_DIE,      /* the daemon ends before it */
	FAULT_STOP,     /* the daemon stops itself before it */
	FAULT_KINDS,
};

struct fault {
	bool set;
	int64_t value;
	long count; /* completions that it hits; negative: all */
	long after; /* completions that it spares first */
};

/* An iov or a ring: one name in 3fs-virt/iovs. */
struct object {
	struct object *next;
	char key[256];
	char target[256];
	uint8_t id[16];
	void *memory;
	uint64_t bytes;
	uid_t uid;
	gid_t gid;
	unsigned uses; /* the name, and each batch in flight */
	bool ring, for_read, dead;
	int priority; /* 0 high, 1 normal, 2 low: as the three semaphores */
	int32_t entries;
	int32_t claimed;     /* next submission to take */
	int32_t tail;        /* what sqeTail was last set to */
	int32_t head;        /* where the next completion goes */
	unsigned char *busy; /* for each slot: in flight */
	struct batch *batches;
};

/* Requests that are done and published together. */
struct batch {
	struct batch *next; /* in order of claiming */
	struct object *ring;
	int64_t due_ns;
	int64_t settled_ns; /* of a published one: from then on it may be forgotten */
	int32_t end;        /* sqeTail once this and all before it are done */
	bool published;
	unsigned count;
	struct request {
		struct wire_args args;
		int32_t index;
		uint64_t userdata;
	} requests[];
};

struct stub {
	const char *dir;
	int dir_fd;
	struct object *objects;
	char sem_name[3][64];
	sem_t *sems[3];
	struct fault faults[FAULT_KINDS];
	bool batching; /* the vendor's manner: everything queued is one batch, sqeTail moves at its end */
	bool held; /* nothing is taken and nothing completes */
	long jitter_ms, slow_ms;
	long late_ms;       /* with batching: so long after the answers sqeTail moves */
	int refuse_symlink; /* an errno */
	bool no_magic;
	char doorbell[512]; /* what the submit links say instead of the truth */
	struct {
		unsigned long claims, completions, posts_seen, keys_made, keys_removed,
			unknown_unlinks;
	} counts;
	char complaints[4096]; /* what a client did wrong, a line each */
};

extern struct stub stub;

void stub_lock(void);
void stub_unlock(void);
__attribute__((format(printf, 1, 2))) void stub_complain(const char *format, ...);

/* stub_ring.c */
int ring_start(void);     /* semaphores and the serving thread */
int doorbells_make(void); /* under new names */
void doorbells_remove(void);
int object_add(const char *key, const char *target, uid_t uid, gid_t gid);
struct object *object_find(const char *key);
void object_remove(struct object *object);
void objects_forget(void); /* as after a restart: no name and no ring is known any more */

/* stub_key.c */
int key_parse(const char *key, uint64_t bytes, struct object *object);

/* stub_fuse.c */
int fuse_serve(const char *mount);
int file_by_ino(uint64_t ino);

#endif
