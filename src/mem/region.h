/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The map behind the pool: regions of huge pages, cut into units, and which of them are free.
 *
 * Free neighbours form a *run*.  A run knows its length at its first and at its last unit, so freeing
 * finds both neighbours at once; its first unit stands in a bin of runs of about that length, so
 * taking looks at few.  Runs are taken from the front: what was used before is used again first.
 *
 *	unit   0    1    2    3    4    5
 *	holds  2    1    0    0    0    1
 *	run              3         3            bin 1: unit 2
 *
 * Nothing here takes a lock or decides anything: pool.c does both.
 */
#ifndef MEM_REGION_H
#define MEM_REGION_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"
#include "base/node.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "mem/shared.h"

enum unit_pages {
	UNIT_EMPTY,    /* costs nothing yet */
	UNIT_TOUCHED,  /* somebody had it: some of its pages may exist */
	UNIT_POPULATED /* all of them do */
};

struct unit {
	struct list link; /* of the first unit of a free run: its bin */
	uint32_t holds;   /* 0: free */
	uint32_t run;     /* of the first and the last unit of a free run: its length */
	uint32_t index;   /* in its region */
	uint8_t pages;    /* enum unit_pages */
	bool kept;        /* was dropped with all of its pages: who takes it, reads into it again */
	uint16_t pin;     /* what the pool's pinner calls it (mem/pool_pins.c); 0: nothing */
};

struct region {
	char *at; /* aligned to POOL_UNIT */
	uint32_t units;
	uint32_t held;   /* units that are not free */
	uint32_t costly; /* units that are not empty, held ones too */
	int64_t used_ns; /* when something in it was last taken or dropped */
	void *map_at;    /* what the kernel gave: at least [at, at + units) */
	size_t map_bytes;
	uint32_t pinned;     /* units with a pin */
	struct shared *slab; /* owned; what it is made of instead; NULL: anonymous memory */
	bool retired;        /* what is dropped is given back, and handed out no more */
	struct unit unit[];
};

/* Units in a row. */
struct run {
	struct region *region;
	uint32_t first, count;
};

#define REGION_BINS 32

struct region_map {
	const struct sys *sys;
	bool shared;             /* regions are slabs (mem/shared.h) */
	struct node_wish node;   /* where slabs come from */
	struct region **regions; /* owned, both; ascending by address */
	size_t count, room;
	/*
	 * Bin b: free runs of [2^b, 2^(b+1)) units.  A warm one begins with a unit that was used
	 * before: it is taken first, since a cold one costs zeroing.
	 */
	struct list warm[REGION_BINS], cold[REGION_BINS];

	/* Sums over all regions, in units. */
	uint64_t mapped, held, costly, free_costly, pinned;
	uint64_t held_peak, costly_peak;
};

void region_map_init(struct region_map *map, const struct sys *sys, bool shared);
void region_map_fini(struct region_map *map); /* unmaps all */

/* Maps a region of `units` free units; 0, or an errno.  *huge_errno: why the kernel refused our wish
 * for huge pages, or 0.  *err is filled where a slab could not be had. */
must_use int region_add(struct region_map *map, uint32_t units, int64_t now_ns, struct region **out,
			int *huge_errno, struct weir_error *err);

/* The slab that holds all of a range; NULL where none does. */
struct shared *region_slab(const struct region_map *map, const void *at, uint64_t bytes);

/* Unmaps a region that is wholly free; -1 when the kernel refuses, then it is as it was. */
must_use int region_remove(struct region_map *map, struct region *region);

/* The units that [at, at + bytes) touches; false where they are not all in one region of the map. */
must_use bool region_find(const struct region_map *map, const void *at, uint64_t bytes,
			  struct run *out);

/* Likewise; they are. */
struct run region_run(const struct region_map *map, const void *at, uint64_t bytes);

/* A free run of `units` units, held once from now on; false where there is none. */
must_use bool region_take(struct region_map *map, uint32_t units, struct run *out);

/* Holds the last `count` units of a free run, once. */
struct run region_claim_end(struct region_map *map, struct run free_run, uint32_t count);

/*
 * One hold less of the units of *left, from its start, up to and with the next row of units whose last
 * hold that would be.  Those are cut off *left and are the caller's in *gone: still held once, to
 * be freed with region_free().  False when *left is used up.
 */
must_use bool region_drop_next(struct region_map *map, struct run *left, struct run *gone);

/* Holds all free units of all regions, once and for ever; what is dropped later is the caller's. */
void region_retire_all(struct region_map *map);

/* Units that are held once by the caller become free. */
void region_free(struct region_map *map, struct run run);

/* Names a row of units; 0: they have no pin any more. */
void region_set_pin(struct region_map *map, struct run run, uint16_t pin);

void region_set_pages(struct region_map *map, struct run run, enum unit_pages pages);
uint32_t region_count_costly(struct run run);

/* The first whole free run that starts at or behind an address; false where there is none. */
must_use bool region_next_free(const struct region_map *map, uintptr_t from, struct run *out);

static inline char *run_at(struct run run)
{
	return run.region->at + run.first * POOL_UNIT;
}

static inline uint64_t run_bytes(struct run run)
{
	return run.count * POOL_UNIT;
}

#endif
