/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/queue.h - where completions come out
 *
 * Any number of transfers post to a queue and one thread drains it.  Posting allocates nothing and
 * cannot fail: a completion's place is inside its extent.  A queue is bounded: a transfer whose queue
 * holds `capacity` completions that nobody took starts no further reads.
 */
#ifndef WEIR_QUEUE_H
#define WEIR_QUEUE_H

#include <stdint.h>

#include "weir/buffer.h"
#include "weir/context.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_queue;
struct weir_transfer;

enum weir_done_flags {
	WEIR_DONE_LENT = 1u << 0,     /* failed, and the memory may still be written: a second
				       * completion of the same tag follows */
	WEIR_DONE_RELEASED = 1u << 1, /* that second one: nothing can write any more */
};

/* One completion.  64 bytes, by value. */
struct weir_done {
	uint64_t tag;
	int32_t status;             /* 0, or the class of the failure (enum weir_code) */
	uint32_t flags;             /* enum weir_done_flags */
	uint64_t bytes;             /* delivered; less than asked only at an end that is allowed */
	void *data;                 /* where they are; NULL on failure */
	struct weir_buffer *buffer; /* a reference that is the caller's now; NULL where the caller
					 * named the memory, and on failure */
	struct weir_transfer *transfer; /* borrowed: valid until its finish */
	uint64_t id;                    /* for weir_transfer_error() */
	uint64_t reserved;
};

/* capacity 0: 65,536. */
WEIR_API int weir_queue_create(struct weir_ctx *ctx, uint32_t capacity, struct weir_queue **out,
			       struct weir_error *err);

/* After every transfer that posts to it has finished; NULL is fine. */
WEIR_API void weir_queue_destroy(struct weir_queue *queue);

/*
 * Takes up to max completions.  Returns how many (at least 1), WEIR_TIMEOUT when none came in time
 * (timeout_ns 0: does not wait), or another negative code.
 */
WEIR_API int weir_queue_wait(struct weir_queue *queue, struct weir_done *out, unsigned max,
			     int64_t timeout_ns, struct weir_error *err);

/* A descriptor that is readable while there are completions; weir's own, made at the first call. */
WEIR_API int weir_queue_fd(struct weir_queue *queue);

#ifdef __cplusplus
}
#endif
#endif
