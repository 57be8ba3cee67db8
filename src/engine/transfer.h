/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan being carried out.
 *
 * A transfer owns its plans (several, where more are appended), the sweeps that lanes work on, and the
 * books: how many extents have not settled, how many requests fly, which failure was the first.  Its
 * one lock guards all of that, the extents included.
 *
 * Lock order: group, then transfer, then queue.
 */
#ifndef ENGINE_TRANSFER_H
#define ENGINE_TRANSFER_H

#include "engine/counters.h"
#include "engine/queue.h"
#include "engine/run.h"
#include "engine/sweep.h"
#include "weir/transfer.h"

/* One plan of a transfer, sealed, with what serves it. */
struct batch {
	struct batch *next;
	struct weir_plan *plan; /* owned */
	struct runs runs;
	struct sweep *sweeps;
	uint32_t sweep_count;
};

/* A sweep for one extent that was promoted. */
struct alone {
	struct alone *next;
	struct sweep sweep;
};

enum stall {
	STALL_NONE,
	STALL_MEMORY, /* for fresh memory to be made */
	STALL_BUDGET, /* for bytes of the budget to come back */
};

struct weir_transfer {
	struct weir_ctx *ctx;
	struct weir_transfer_opts opts;
	struct budget *budget;    /* counted: its share, or the context's */
	struct weir_queue *queue; /* borrowed, or &own; NULL: abandoned, the queue may be gone */
	struct weir_queue own;
	bool owns_queue;
	int64_t deadline_ns;
	struct counters counters;
	struct list abandoned; /* on the context's list */

	struct lock lock;
	/* Under the lock. */
	struct batch *batches, **last_batch;
	struct alone *alone;
	uint64_t unsettled;  /* extents without a completion */
	uint64_t lent;       /* extents with one, whose memory may still be written */
	uint64_t flying;     /* requests that a source holds */
	uint64_t landing;    /* those that came back, while a lane still does their books */
	bool open;           /* more plans may come */
	bool stopping;       /* cancelled or out of time: nothing new is started */
	int stop_code;       /* why */
	bool closing;        /* being finished: completions go nowhere */
	int64_t progress_ns; /* when the last request ended */
	enum stall waits_for;
	int64_t waits_since_ns;
	struct weir_error first_error;
	struct cond quiet; /* flying and lent have become 0 */
	uint64_t total_bytes;
};

/* ---- For the planner, with the lock held ---- */

void extent_move(struct extent *extent, uint8_t state);

/* Why the next request has to wait. */
void transfer_waits(struct weir_transfer *transfer, enum stall why);

/* Settles it now, or when what is in flight for it has come back. */
void transfer_fail_extent(struct weir_transfer *transfer, struct extent *extent, int code,
			  int os_errno, uint64_t offset);
/* Every extent of a run that gets no memory. */
void transfer_fail_run(struct weir_transfer *transfer, struct weir_plan *plan, struct run *run,
		       const struct weir_error *err);

/* A plan that comes to a transfer which is stopping already. */
void transfer_stop_plan(struct weir_transfer *transfer, struct weir_plan *plan);

/* An extent of no bytes: at once. */
void transfer_settle_empty(struct weir_transfer *transfer, struct extent *extent);

/* ---- For lanes ---- */

/* A request was handed to a lane.  With the lock held. */
void transfer_took_off(struct weir_transfer *transfer, const struct part *part);

/* Copies what was staged, up to `upto` in the object, to where it belongs.  Takes the lock as it needs
 * it. */
void transfer_copy_out(struct part *part, uint64_t upto);

/* Copies what is to be written into the part's slot; false: its time was up before. */
bool transfer_copy_in(const struct part *part);

/* Is the extent one whose bytes are still asked for? */
bool transfer_wants(struct weir_transfer *transfer, const struct extent *extent);

/* A device begins to read or write the memory of a part's extents; it is done with that. */
void transfer_expose(struct part *part);
void transfer_cover(struct part *part);

/*
 * A request has ended: arrived up to `upto` in the object (the rest is past the end), or failed.
 * Extents that are whole go on *finished, to be checked and settled; where none is, this is the last
 * thing that the lane says of the part (part->landing is false).
 */
void transfer_landed(struct part *part, uint64_t upto, int code, int os_errno, int64_t now_ns,
		     struct extent **finished);

/* Settles extents that landed; the lane has let go of their requests. */
void transfer_settle(struct weir_transfer *transfer, struct extent *extent, int code);

/* The last thing that a lane says of a part: nothing of the transfer is touched after it. */
void transfer_let_go(struct weir_transfer *transfer);

/* Has its time come, or did it stop making progress?  Returns when to ask again. */
int64_t transfer_check_time(struct weir_transfer *transfer, int64_t now_ns);

/* ---- Their end: finish.c ---- */

/* Nothing of it flies, and no group knows it. */
void transfer_free(struct weir_transfer *transfer);

/* Frees abandoned transfers whose requests have come back; WEIR_LIMIT where too many are left. */
int transfers_reap(struct weir_ctx *ctx, struct weir_error *err);

/* Requests of abandoned transfers that have not come back. */
uint64_t transfers_stuck(struct weir_ctx *ctx);

/* At the end of a context: gives those of them that are not stuck the time to come back. */
void transfers_wait_for_abandoned(struct weir_ctx *ctx);

/* Then, when no lane runs any more: frees what can be; true: some never will. */
bool transfers_leave_behind(struct weir_ctx *ctx);

#endif
