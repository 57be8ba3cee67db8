/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feed (weir/feed.h), as its own files see it.
 *
 *	feed.c         making, pushing, reaping, ending
 *	feed_part.c    ios cut into requests, and what comes of them
 *	feed_region.c  registered memory
 *	feed_bell.c    the doorbell, where the source does not listen itself
 *
 *	push --> waiting --cut--> parts: flying --land--> done --> reap
 *	           ^  |
 *	           '--' not all of it flies yet
 *
 * All of it is the driving thread's, but for the regions, the counters and the two flags that say so.
 */
#ifndef ENGINE_FEED_H
#define ENGINE_FEED_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/thread.h"
#include "source/source.h"
#include "weir/feed.h"

struct group;

/* One io on its way. */
struct feed_job {
	struct weir_feed_io *io;
	struct list link;   /* free, waiting, done, or on no list: all of it flies */
	uint64_t cut;       /* bytes from its start that are with the source, or were */
	uint64_t end;       /* where its bytes end without a gap, as far as is known now */
	uint64_t way_until; /* up to where `way` holds, as an offset in the object */
	uint32_t flying;    /* parts */
	uint64_t flying_bytes;
	int code, os_errno; /* what ended it at `end`; 0: the end of the object, or nothing yet */
	uint8_t way;        /* enum request_way */
	bool stopped;       /* nothing more of it is cut */
	bool rests;         /* on no list: its share flies */
	bool cancelled;
};

/* One request of it. */
struct feed_part {
	struct request request;
	struct feed_job *job;
	struct list link; /* free, or flying */
	uint64_t end;     /* in the io */
	uint32_t length;  /* as it was cut */
	bool cancelling;
};

#define FEED_COUNTER_FIELDS (sizeof(struct weir_feed_counters) / sizeof(uint64_t))

struct feed_region;

/* Regions are numbered from 1. */
#define FEED_REGIONS_MAX 16384u

enum feed_bell_mode {
	FEED_BELL_NONE,
	FEED_BELL_SOURCE, /* the source's lane listens while it waits */
	FEED_BELL_THREAD, /* a thread listens, and wakes the lane */
	FEED_BELL_LOOKED, /* simulated: looked at, never slept on */
};

struct feed_bell {
	struct weir_feed_doorbell door;
	struct bell listening; /* the same, as a lane knows it */
	int mode;              /* enum feed_bell_mode */
	pthread_t thread;
	sem_t ask;          /* posted: listen */
	_Atomic bool asked; /* it listens, or is about to */
	_Atomic bool over;  /* the thread ends */
	_Atomic bool gone;  /* the memory is: nobody listens any more */
};

struct weir_feed {
	struct weir_ctx *ctx;
	struct group *group;
	struct source_lane *core; /* owned */
	struct feed_bell bell;
	_Atomic bool woken;

	uint32_t depth, job_count;
	struct feed_job *jobs;
	struct list free_jobs, waiting, done;

	uint32_t part_max;
	struct feed_part *parts;
	struct list free_parts, flying;
	uint32_t flying_count;
	uint64_t flying_bytes, flying_bytes_max;
	uint64_t copy_left; /* bytes that this fill may still copy */
	uint64_t pin_left;  /* and that may be pinned until the next reap */

	/* Slots are written under the lock and read by the driver without. */
	struct lock region_lock;
	struct feed_region *_Atomic *regions;
	uint32_t region_count;    /* slots that were ever used; under the lock */
	_Atomic uint32_t leaving; /* regions whose pins are to end */

	/* Written by the driver alone, read by anybody. */
	_Atomic uint64_t counters[FEED_COUNTER_FIELDS];
};

static inline const struct source_ops *feed_ops(const struct weir_feed *feed)
{
	return feed->core->source->ops;
}

/* ---- Counters: one writer, so no bus is locked ---- */

#define FEED_COUNTER(name) (offsetof(struct weir_feed_counters, name) / sizeof(uint64_t))

static inline void feed_count_at(struct weir_feed *feed, size_t field, uint64_t n)
{
	_Atomic uint64_t *at = &feed->counters[field];

	atomic_store_explicit(at, atomic_load_explicit(at, memory_order_relaxed) + n,
			      memory_order_relaxed);
}
#define feed_count(feed, name, n) feed_count_at((feed), FEED_COUNTER(name), (n))

/* Simulated: when the next request ends by itself, or NEVER. */
int64_t feed_next_ns(struct weir_feed *feed);

/* ---- feed_part.c ---- */

/* Hands the source what it may have of the ios that wait. */
void feed_fill(struct weir_feed *feed);

/* A request came back. */
void feed_land(struct weir_feed *feed, struct request *request);

void feed_cancel_job(struct weir_feed *feed, struct feed_job *job);

/* ---- feed_region.c ---- */

int feed_regions_create(struct weir_feed *feed, struct weir_error *err);
void feed_regions_destroy(struct weir_feed *feed);

/* Whether a region holds this memory. */
bool feed_region_holds(const struct weir_feed *feed, uint32_t region, const void *memory,
		       uint64_t length);

/*
 * The number by which the kernel knows this memory, pinned now where that is new; 0: by none.
 * *length is cut where pinned memory ends and more of it follows, at a multiple of align.
 */
uint32_t feed_region_pin(struct weir_feed *feed, uint32_t region, const void *memory,
			 uint32_t *length, uint32_t align);

/* The driver, at each reap: ends the pins of regions that left. */
void feed_regions_settle(struct weir_feed *feed);

/* ---- feed_bell.c ---- */

int feed_bell_create(struct weir_feed *feed, const struct weir_feed_doorbell *door,
		     struct weir_error *err);
void feed_bell_destroy(struct weir_feed *feed);

/* Has it rung, and was not taken down yet? */
bool feed_bell_rang(struct weir_feed *feed);

/* Before the driver sleeps: ringing ends that sleep. */
void feed_bell_listen(struct weir_feed *feed);

#endif
