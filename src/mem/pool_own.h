/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool, as its own files see it.
 *
 *	pool.c       who gets which units, what is kept, what goes back and when
 *	pool_pins.c  which of it is known to a ring of the kernel's
 *	region.c     the map of regions, units and free runs
 *
 * What ends in _locked is called and left with the pool's lock held; it may let go of it in between.
 */
#ifndef MEM_POOL_OWN_H
#define MEM_POOL_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/thread.h"
#include "mem/pool.h"
#include "mem/region.h"

/* Whose ring knows memory of the pool, and what others want of him. */
struct pool_pins {
	struct pool_pinner by; /* by.pin NULL: nobody's */
	pthread_t thread;      /* his: no other pins and unpins */
	uint64_t asked_units;  /* of pinned memory: to be given back */
	int64_t asked_before_ns;
	uint64_t given_units; /* that he gave back because he was asked, ever */
	struct cond answered; /* asked_units is 0 again, or he is gone */
};

struct pool {
	_Atomic uint32_t refs;
	struct sys sys; /* a copy: buffers keep the pool alive after its context */
	struct log *log;
	uint64_t keep_units;
	int64_t idle_ns;
	_Atomic bool huge_refused;
	_Atomic bool touch; /* the kernel cannot populate: we touch */
	_Atomic bool asked; /* pins.asked_units > 0: so that it can be looked at often */

	struct {
		struct lock lock;
		struct region_map map;
		struct run open; /* the unit that small ranges are cut from, held by the pool; or
				      * none: count 0 */
		uint64_t open_bytes; /* of it that are taken */
		int64_t look_ns;     /* when to look for idle memory again */
		struct pool_pins pins;
	} shared; /* touch these only with shared.lock held */
};

/*
 * Gives back up to `units` kept units of regions that were not used since before_ns, and what else
 * is mapped there for nobody.  Returns how many no longer cost memory.
 */
uint64_t pool_reclaim_locked(struct pool *pool, uint64_t units, int64_t before_ns);

/*
 * Before a run is given back.  True: it is pinned, and not by this thread: it stays for now, and the
 * pinner has been asked to give back that much.
 */
bool pool_leaves_locked(struct pool *pool, struct run run, uint64_t units, int64_t before_ns);

/* Unpins what of a run is pinned: on the pinner's thread, unless nothing is. */
void pool_unpin_locked(struct pool *pool, struct run run);

/* Waits for the pinner, if he was asked, a second at most: how many units he gave back meanwhile. */
uint64_t pool_wait_unpinned_locked(struct pool *pool);

#endif
