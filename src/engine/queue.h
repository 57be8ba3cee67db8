/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where completions wait to be taken.
 *
 * A completion's place stands inside its extent, so posting allocates nothing and cannot fail.  Lanes
 * post, one thread drains.  Lock order: a transfer's lock before a queue's.
 */
#ifndef ENGINE_QUEUE_H
#define ENGINE_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/thread.h"
#include "weir/queue.h"

/* One completion that waits: a link, and what to hand out. */
struct completion {
	struct completion *next;
	struct weir_done done;
};

struct weir_queue {
	struct weir_ctx *ctx;
	uint32_t capacity;

	struct lock lock;
	/* Under the lock. */
	struct cond arrived;
	struct completion *first, **last;
	_Atomic uint32_t count;         /* read without the lock by queue_full() */
	bool nudged;                    /* the waiter should look again */
	int fd;                         /* -1: nobody asked */
	_Atomic int64_t waits_since_ns; /* somebody has been waiting since; 0: nobody */
	bool signalled;                 /* the descriptor is readable */

	int64_t waited_ns; /* in vain, since something was taken; the drainer's own */
};

void queue_init(struct weir_queue *queue, struct weir_ctx *ctx, uint32_t capacity);
void queue_fini(struct weir_queue *queue);

void queue_post(struct weir_queue *queue, struct completion *completion);

/* Wakes a waiter that has nothing left to wait for. */
void queue_nudge(struct weir_queue *queue);

/* Takes what is there, up to max; does not wait. */
unsigned queue_take(struct weir_queue *queue, struct weir_done *out, unsigned max);

/* Somebody begins to wait, and ends: in vain, or with something. */
void queue_begin_wait(struct weir_queue *queue);
void queue_end_wait(struct weir_queue *queue, bool in_vain);

/* Waits until something is there or a nudge; false: the deadline passed. */
bool queue_sleep(struct weir_queue *queue, int64_t deadline_ns);

/* Takes out all completions of a transfer; their buffers are returned. */
void queue_forget(struct weir_queue *queue, const struct weir_transfer *transfer);

/* Takes out one, if it is there. */
void queue_withdraw(struct weir_queue *queue, const struct completion *completion);

/* Is it so full that no more reads should start?  A look without the lock. */
bool queue_full(const struct weir_queue *queue);

#endif
