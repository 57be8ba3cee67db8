/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source with its lanes, and what they have to do.
 *
 * Lane 0 does everything; the others exist to copy: from the page cache and out of staging.  A direct
 * read costs no processor, so a second lane would only split its queue.  (A source without that
 * distinction lets every lane do everything.)
 *
 * Lock order: context, group, transfer, queue, budget, pool.
 */
#ifndef ENGINE_GROUP_H
#define ENGINE_GROUP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/thread.h"
#include "engine/plan.h"
#include "mem/pool.h"
#include "source/source.h"

#define LANES_MAX 64

/* A budget below this could not hold one lane's staging. */
#define BUDGET_MIN (UINT64_C(4) << 20)

/* Size of one copy from the page cache, and how far ahead way() is asked. */
#define COPY_REQUEST_BYTES (UINT64_C(1) << 20)
#define WAY_HORIZON        (UINT64_C(64) << 20)

struct lane;
struct part;
struct sweep;

/* There was no room in the pool: noted under whatever lock, said by a lane that holds none. */
enum group_refusal {
	REFUSAL_NONE,
	REFUSAL_COMING, /* somebody is writing down why */
	REFUSAL_NOTED,
	REFUSAL_SAID,
};

struct group {
	struct weir_ctx *ctx;
	const char *scheme;
	struct source *source;    /* owned; what a test stood in front included */
	struct source *core;      /* the store itself; owned by `source` */
	char *store;              /* owned; which of its kind it is (a mount); NULL: the only one */
	struct pool *pool;        /* counted; memory that it reads into in place; NULL: any */
	_Atomic int pool_refused; /* enum group_refusal */
	struct weir_error pool_why; /* of the first time */
	uint32_t cpus;              /* online when it was made */
	uint32_t index;             /* in the context; the order in which plans visit groups */
	_Atomic uint32_t open_serial;

	struct lock lock;
	/* Under the lock. */
	struct lane *lanes[LANES_MAX];
	uint32_t lane_count;
	struct list ready[SWEEP_CLASSES]; /* sweeps to work on */
	struct list all;                  /* sweeps of transfers that have not finished */
	uint32_t background_flying;       /* requests of that class in flight, on all lanes */
	uint64_t background_refused;      /* lanes that found too many of them, a bit each */

	_Atomic int64_t check_ns; /* when some transfer's time may be up: lane 0 looks then */
	_Atomic uint32_t epoch; /* raised when a transfer is cancelled: lanes look at what flies */
};

/* Takes the source over, also when it fails. */
int group_create(struct weir_ctx *ctx, struct source *source, struct group **out,
		 struct weir_error *err);
void group_halt(struct group *group);    /* ends its lanes' threads; others may still wake them */
void group_stop(struct group *group);    /* frees its lanes */
void group_end(struct group *group);     /* stopped: its source goes; nothing uses its objects */
void group_destroy(struct group *group); /* ended, and no object is left */

/* Starts what is not running yet; devices: its lanes will be asked for copies to devices. */
int group_start(struct group *group, bool devices, struct weir_error *err);

void group_add(struct group *group, struct sweep *sweep);
void group_remove(struct group *group, struct sweep *sweep);

void group_note_refusal(struct group *group, const struct weir_error *why);
void group_say_refusal(struct group *group);

void group_wake(struct group *group);
void group_wake_copiers(struct group *group);

uint64_t group_request_bytes(const struct group *group, const struct source_object *object);
void group_choice(struct group *group, struct weir_choice *out);

/* A request that group_next() gave that lane has ended, or is left to itself. */
void group_unfly(struct group *group, const struct lane *lane, struct part *part);

/* Lane 0: asks each transfer for which time may be up. */
void group_check_time(struct group *group, int64_t now_ns);

/* The next request for this lane, by class, sweeps taking turns; false: nothing to do now. */
bool group_next(struct group *group, struct lane *lane, struct part *part);

#endif
