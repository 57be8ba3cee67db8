/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io on io_uring, as its own files see it.  Only they include <liburing.h>.
 *
 *	ring.c        operations from push to reap
 *	ring_memory.c memory that is named to the kernel once
 *	ring_bell.c   waiting for a word in shared memory as well, and for several ends together
 *
 * The driving thread's alone.
 */
#ifndef IO_RING_H
#define IO_RING_H

#include <liburing.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "io/io.h"
#include "io/wake.h"

/* Entries of the table of registered buffers as it is made. */
#define RING_PIECES 64

/* Ends that are waited for together, at most. */
#define GATHER_MOST 8u

/* user_data of what is not an operation; operations are aligned, so no pointer looks like these. */
#define TAG_NOTHING 1u
#define TAG_WAKE    2u
#define TAG_BELL    3u
#define TAG_TIMER   4u
#define TAG_LAST    TAG_TIMER

struct piece {
	uintptr_t start;
	uint64_t bytes;
};

struct pins; /* ring_memory.c */

struct ring {
	struct io io;
	struct io_uring uring;
	uint32_t depth, in_flight;
	pid_t pid;
	int broken; /* errno of an enter that failed for good, or 0 */
	bool disabled;
	uint32_t batch;   /* of the operation that was prepared last */
	pthread_t driver; /* set when it is no longer disabled */

	struct list flying; /* operations in the kernel, or on the way there */
	struct list again;  /* operations to be tried again at again_ns */
	struct list ended;  /* operations that ended without the kernel */
	int64_t again_ns;

	struct wake wake;
	bool wake_armed;

	const struct bell *bell; /* NULL: none, or gone */
	bool bell_armed;         /* the kernel waits for it, */
	bool bell_leaves;        /* and was asked not to */
	uint32_t bell_company;   /* empty operations that end with it */

	uint32_t least; /* ends that a sleep waits for together; 0, 1: any */

	bool timer_armed;
	int64_t timer_ns; /* when it ends a sleep */
	struct __kernel_timespec timer_left;

	bool fixed; /* the table of registered buffers exists */
	unsigned piece_count;
	struct piece pieces[RING_PIECES]; /* the first entries of the table */
	struct pins *pins;                /* the others; NULL: the table is still the small one */
};

static inline struct ring *ring_of(struct io *io)
{
	return container_of(io, struct ring, io);
}

/* Hands over what is prepared, and takes along what has completed. */
void ring_enter(struct ring *ring);

/* A submission to fill in; NULL: no room even after an enter. */
struct io_uring_sqe *ring_take_sqe(struct ring *ring);

/* ---- ring_memory.c ---- */

void ring_register_memory(struct io *io, void *memory, uint64_t bytes);
uint32_t ring_pin(struct io *io, void *memory, uint64_t bytes);
void ring_unpin(struct io *io, uint32_t pin);

/* The entry of the table that an operation's memory lies in, or -1. */
int ring_find_entry(const struct ring *ring, const struct io_op *op);

/* ---- ring_bell.c ---- */

bool ring_listen(struct io *io, const struct bell *bell);
void ring_gather(struct io *io, uint32_t least);

/* Before a sleep of at most *left_ns.  False: it rang, do not sleep. */
bool ring_bell_wait(struct ring *ring, int64_t *left_ns);
void ring_bell_done(struct ring *ring);

/* How many ends the next sleep may wait for together: the bell alone has to end it. */
uint32_t ring_gathers(const struct ring *ring);

/* Links that many empty operations behind the one prepared last. */
void ring_add_company(struct ring *ring, struct io_uring_sqe *sqe, uint32_t count);

/* Room for that many submissions that go with one enter. */
bool ring_make_room(struct ring *ring, uint32_t count);

/* The kernel waits for it no more. */
void ring_bell_ended(struct ring *ring, int result);

#endif
