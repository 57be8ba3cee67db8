/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for extents whose destination weir allocates.
 *
 * Neighbours in a file become neighbours in memory: a *run* is a stretch of a file, whole blocks of it,
 * and memory that is congruent with it, so that large aligned reads land in place and nobody copies.
 * Its extents become buffers that hold the pages they touch; the run itself lets go when the last of
 * them has settled.
 *
 *	file    ....|--block--|--block--|--block--|....
 *	extents        [a][bbbbbbbbbbbb][c]
 *	memory      |-----------run---------------|
 *
 * An extent that needs more alignment than its place in the file gives, or that is strided, gets a run of
 * its own, which is filled by copying (`packed`).
 *
 * Memory of a device is in chunks: neighbours in a file share one, each aligned as devices like it, and
 * the bytes come by copies (`packed` as well).
 *
 * Memory is taken when reading reaches the run, from the pool and the budget, and where it is fresh the
 * populator makes it exist ahead of the reads.
 */
#ifndef ENGINE_RUN_H
#define ENGINE_RUN_H

#include <stdbool.h>

#include "engine/buffer.h"
#include "engine/plan.h"
#include "mem/populate.h"

#define RUN_NONE UINT32_MAX

struct run {
	uint32_t first, count; /* places in the plan's order */
	bool packed;
	uint64_t start, bytes; /* of the file, whole blocks; packed: start is 0 */

	/* Under the transfer's lock. */
	bool exact; /* one of its extents goes ahead of the others: no request may write beside
			     * what it claims, for that may be a buffer in somebody's hands */
	uint32_t unsettled;       /* extents */
	char *memory;             /* NULL: not taken yet, or let go */
	struct pool *pool;        /* whose it is */
	struct cuda_chunk *chunk; /* owned; memory of a device instead */
	uint64_t spare;           /* bytes of the budget that no extent will carry away */
	bool fresh;
	uint64_t populating; /* start of the job, from the run's start */
	bool job_started;
	struct group *group;     /* whose lanes wait for the job */
	_Atomic int64_t step_ns; /* when the job's present step began */
	struct populate_job job;
};

struct runs {
	struct run *run;
	uint32_t count;
	struct buffer_block *block; /* as many buffers as the plan has extents */
};

/* Cuts a sealed plan.  limit_bytes: the most that a run of several extents may have. */
int runs_create(struct weir_plan *plan, struct budget *budget, uint64_t limit_bytes,
		struct runs *out, struct weir_error *err);
void runs_fini(struct runs *runs);

enum run_answer {
	RUN_READY = 0,
	RUN_WAIT_BUDGET = 1, /* told through the budget's watcher */
	RUN_FAILED = 2,      /* *err says why */
};

/* Memory for the run; sets the extents' memory. */
int run_take(struct weir_plan *plan, struct run *run, struct budget *budget,
	     struct weir_error *err);

/*
 * May reads go to [0, upto) of the run?  Starts populating further ahead as they advance; the group's
 * lanes are woken as memory comes to be.
 */
bool run_populated(struct run *run, struct group *group, uint64_t upto);

/* Could some of it not be made, and would touching it end the process? */
bool run_broken(const struct run *run);

/* The index-th buffer of the block, over an extent's memory in the run. */
struct weir_buffer *run_buffer(const struct run *run, struct buffer_block *block, uint64_t index,
			       const struct extent *extent);

/* One extent is released; its bytes went away in a buffer (0), or come back with the run. */
void run_settled(struct weir_ctx *ctx, struct run *run, struct budget *budget,
		 uint64_t returned_bytes);

#endif
