/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/transfer.h - a plan under way
 *
 * An extent settles once: with its bytes, or with a typed error, at the latest at its deadline.  Its
 * memory is released when nothing can write to it any more.  Nearly always that is the same moment.
 * Where it is not (a read that is stuck in a dead file server), the completion carries WEIR_DONE_LENT
 * and a second one, WEIR_DONE_RELEASED, follows when the request ends.
 *
 * Any thread may call; weir_transfer_finish() and weir_transfer_abandon() are the last call.
 */
#ifndef WEIR_TRANSFER_H
#define WEIR_TRANSFER_H

#include <stdint.h>

#include "weir/plan.h"
#include "weir/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_transfer_flags {
	WEIR_TRANSFER_GUARDED = 1u
				<< 0,   /* bytes pass through staging: memory is never written after
					  * its extent settled */
	WEIR_TRANSFER_AT_END = 1u << 1, /* a range past the end settles with what there is, as pread
					  * has it */
	WEIR_TRANSFER_LIVE = 1u << 2, /* the objects are written while they are read: no CHANGED */
	WEIR_TRANSFER_ON_RELEASE = 1u << 3, /* one completion for each extent, when its memory is
					     * released; deadlines do not settle it */
	WEIR_TRANSFER_OPEN = 1u << 4,       /* more plans will be appended */
};

struct weir_transfer_opts {
	size_t size;
	uint32_t flags;
	uint64_t
		budget_bytes; /* its share of the budget: staging, and buffers not yet returned; 0: as
				* the context has it */
	int64_t timeout_ns;   /* for all of it; 0 or WEIR_FOREVER: none */
	int64_t stall_ns; /* without any progress that long it fails with WEIR_TIMEOUT; 0: 60 s */
	uint64_t request_bytes; /* size of a request, at most 64 MiB: whole blocks past the page
				 * cache, the most that is copied from there; 0: as the context
				 * has it */
};
#define WEIR_TRANSFER_OPTS(...)                                                                    \
	(&(struct weir_transfer_opts){.size = sizeof(struct weir_transfer_opts), __VA_ARGS__})

/*
 * Takes the plan when it succeeds, and only then.  queue NULL: a private one, for
 * weir_transfer_wait().  Sizes are held against what the machine and the cgroup have left before any
 * memory is touched: WEIR_NOMEM names both.
 */
WEIR_API int weir_transfer_start(struct weir_plan *plan, struct weir_queue *queue,
				 const struct weir_transfer_opts *opts, struct weir_transfer **out,
				 struct weir_error *err);

/* More extents for a transfer that was started with WEIR_TRANSFER_OPEN; takes the plan on success. */
WEIR_API int weir_transfer_append(struct weir_transfer *transfer, struct weir_plan *plan,
				  struct weir_error *err);

/* No more will come. */
WEIR_API void weir_transfer_end(struct weir_transfer *transfer);

/*
 * Takes up to max completions from a private queue.  Returns how many; 0 when all have been taken;
 * WEIR_TIMEOUT when none came in time; or another negative code.  For ever means: as long as the transfer
 * has patience (stall_ns).  Then what has not settled fails with WEIR_TIMEOUT; and where all has, and
 * only releases of lent memory are owed, the wait itself returns WEIR_TIMEOUT.
 */
WEIR_API int weir_transfer_wait(struct weir_transfer *transfer, struct weir_done *out, unsigned max,
				int64_t timeout_ns, struct weir_error *err);

/* Asks: what has not started settles with WEIR_CANCELLED, what is in flight when it returns. */
WEIR_API void weir_transfer_cancel(struct weir_transfer *transfer);

/* Extents with this tag that have not started: another class, once, or away (WEIR_CANCELLED).  Returns
 * how many there were, or a negative code. */
WEIR_API int weir_transfer_promote(struct weir_transfer *transfer, uint64_t tag, int class_);
WEIR_API int weir_transfer_drop(struct weir_transfer *transfer, uint64_t tag);

/* The failure of one completion in words; 0 where it did not fail. */
WEIR_API int weir_transfer_error(struct weir_transfer *transfer, const struct weir_done *done,
				 struct weir_error *err);

WEIR_API void weir_transfer_counters(struct weir_transfer *transfer, struct weir_counters *out);

/* Bytes delivered so far, and in all. */
WEIR_API void weir_transfer_progress(struct weir_transfer *transfer, uint64_t *done_bytes,
				     uint64_t *total_bytes);

/*
 * weir_transfer_finish() - end a transfer, and free it
 *
 * What has not settled is cancelled; completions nobody took are dropped, their buffers returned.
 * Waits at most timeout_ns for memory to be released.  Returns WEIR_LENT while memory may still be
 * written, and then it frees nothing: call again, or abandon.  Any other answer means that the
 * transfer is gone: zero, or the first failure, described in *err (a cancellation by finish itself is
 * none).  NULL is fine.
 */
WEIR_API int weir_transfer_finish(struct weir_transfer *transfer, int64_t timeout_ns,
				  struct weir_error *err);

/*
 * Hands transfer and memory to the context, which frees them if the stuck requests ever end.  The
 * caller must leave lent destinations alone for ever.  At most 64 stuck system calls are kept; more:
 * WEIR_LIMIT.
 */
WEIR_API int weir_transfer_abandon(struct weir_transfer *transfer, struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
