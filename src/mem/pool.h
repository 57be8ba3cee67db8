/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that reads land in: huge pages, kept across loads.
 *
 * The pool maps regions of huge pages and hands out ranges of them.  Its grain is the *unit* of 2 MiB: a
 * range holds every unit that it touches, a unit whose last hold is dropped is free, and free
 * neighbours are one again.  So a tensor that outlives its load keeps its own pages and at most the
 * two huge pages that it shares with others.
 *
 *	region   |unit|unit|unit|unit|unit|unit|
 *	ranges     [aaaa][b][cccccccccc]          unit 0: a, b   unit 1: c ...
 *
 * Small ranges are cut one after another from an open unit, so a hundred small files do not cost a
 * hundred huge pages.
 *
 * A pool is counted: buffers keep it alive after its context is gone.  Any thread may call anything.
 */
#ifndef MEM_POOL_H
#define MEM_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/node.h"
#include "base/sys.h"
#include "weir/error.h"

#define POOL_UNIT ((uint64_t)2 << 20)

struct pool;
struct shared;

struct pool_opts {
	const struct sys *sys; /* copied */
	struct log *log;       /* borrowed for as long as ranges are taken; NULL: nobody listens */
	uint64_t keep_bytes;   /* free memory kept for the next load; the rest is given back.
				* UINT64_MAX: as much as was once held at once, with what is held now */
	int64_t idle_ns; /* kept memory unused that long is given back, at the next call; 0: never */
	bool shared;     /* made of slabs (mem/shared.h), for sources that read into such memory */
	struct node_wish node; /* where slabs come from */
};

int pool_create(const struct pool_opts *opts, struct pool **out, struct weir_error *err);
struct pool *pool_ref(struct pool *pool);
void pool_unref(struct pool *pool);

/*
 * A range of `bytes` whose address is `phase` modulo `align` (a power of two, at most POOL_UNIT).  It
 * holds its units once.  *fresh: pool_populate() has not made all of it yet.  bytes is a number that the
 * caller has held against memory_check(), unless it is small.
 */
must_use int pool_take(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase,
		       void **out, bool *fresh, struct weir_error *err);

/* One more hold on, one hold less of, every unit that [at, at + bytes) touches.  bytes > 0. */
void pool_hold(struct pool *pool, const void *at, uint64_t bytes);
void pool_drop(struct pool *pool, const void *at, uint64_t bytes);

/*
 * Makes the pages of a range exist, the huge way; blocks for as long as zeroing them takes.  What is
 * populated already costs nothing.  The range is held by the caller.
 */
int pool_populate(struct pool *pool, void *at, uint64_t bytes, struct weir_error *err);

/* The slab that holds all of a range; NULL: the range is not, or not wholly, of slabs of this pool.  The
 * slab stays for as long as the range is held. */
struct shared *pool_slab(struct pool *pool, const void *at, uint64_t bytes);

/* Calls fn for each slab.  No slab goes meanwhile, and none tells its importers that it does. */
void pool_each_slab(struct pool *pool, void (*fn)(struct shared *slab));

/*
 * Hands out none of the memory that there is any more: what is held stays, what is dropped goes back to the
 * system but for its addresses.  For memory that somebody may still write to who cannot be asked.
 */
void pool_retire(struct pool *pool);

/* Gives back all that nobody holds; returns how many bytes.  Pinned memory goes with its pinner's help,
 * who is waited for, a second at most. */
uint64_t pool_trim(struct pool *pool);

/*
 * Who names memory that is kept to the kernel, once, for many reads into it.  pin() and unpin() are
 * called on the thread of who began, unpin() with the pool's lock held; wake() on any, likewise: that
 * thread is to call pool_pins_settle().
 */
struct pool_pinner {
	uint32_t (*pin)(void *arg, void *at, uint64_t bytes); /* a number; 0: refused */
	void (*unpin)(void *arg, uint32_t pin);
	void (*wake)(void *arg);
	void *arg;
	uint64_t most_bytes; /* pinned at once */
};

/* The row of pinned memory that a range lies in. */
struct pool_pinned {
	char *at;
	uint64_t bytes;
	uint32_t pin;
};

/* False: there is a pinner already, or this pool is of slabs. */
must_use bool pool_pins_begin(struct pool *pool, const struct pool_pinner *by);

/*
 * The row that holds a range, which the caller holds; more: pins one where there is none and the memory
 * is kept.  False: there is none, or not over all of it.  Memory that is not the pool's is fine.
 */
must_use bool pool_pin(struct pool *pool, const void *at, uint64_t bytes, bool more,
		       struct pool_pinned *out);

/* Gives back what others wanted to and could not.  Costs nothing where nobody did. */
void pool_pins_settle(struct pool *pool);

/* Unpins all; nobody is the pinner any more. */
void pool_pins_end(struct pool *pool);

struct pool_usage {
	uint64_t mapped_bytes;    /* of address space */
	uint64_t held_bytes;      /* of units that somebody holds */
	uint64_t populated_bytes; /* that cost real memory: populated, or used and dropped */
	uint64_t populated_peak_bytes;
	uint64_t kept_bytes;   /* of these: what nobody holds, and the next range has for nothing */
	uint64_t pinned_bytes; /* of these */
};
void pool_usage(struct pool *pool, struct pool_usage *out);

#endif
