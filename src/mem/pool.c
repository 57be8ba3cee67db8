/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pool's rules: who gets which units, what is kept, what goes back and when.  The map of regions,
 * units and free runs is region.c's.
 *
 * One lock guards all of it; nothing slow happens under it.  Memory on its way back to the kernel is
 * held by whoever gives it back meanwhile, so that nobody is handed it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "mem/pool_own.h"

/* Address space costs nothing; large regions let free neighbours become large runs. */
#define REGION_UNITS_MIN UINT32_C(128)

/* Longest range: half of what x86-64 has of address space. */
#define RANGE_MAX ((uint64_t)1 << 46)

/* Ranges up to this are cut from the open unit. */
#define SMALL_MAX (POOL_UNIT / 2)

#define PAGE ((uint64_t)4096)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- Life ---- */

int pool_create(const struct pool_opts *opts, struct pool **out, struct weir_error *err)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return error_nomem(err, NULL, "the memory pool");
	atomic_init(&pool->refs, 1);
	pool->sys = *opts->sys;
	pool->log = opts->log;
	pool->keep_units = opts->keep_bytes / POOL_UNIT;
	pool->idle_ns = opts->idle_ns;
	lock_init(&pool->shared.lock);
	region_map_init(&pool->shared.map, &pool->sys, opts->shared);
	pool->shared.map.node = opts->node;
	pool->shared.look_ns = NEVER;
	cond_init(&pool->shared.pins.answered);
	*out = pool;
	return 0;
}

struct pool *pool_ref(struct pool *pool)
{
	/* Whoever refs has a reference already: nothing to order. */
	atomic_fetch_add_explicit(&pool->refs, 1, memory_order_relaxed);
	return pool;
}

void pool_unref(struct pool *pool)
{
	/* Release: what this thread did is done before the last one, which acquires, frees. */
	if (!pool || atomic_fetch_sub_explicit(&pool->refs, 1, memory_order_acq_rel) != 1)
		return;
	region_map_fini(&pool->shared.map);
	cond_fini(&pool->shared.pins.answered);
	lock_fini(&pool->shared.lock);
	free(pool);
}

/* ---- Giving back ---- */

/*
 * Gives back the pages of a run that the caller holds once, and frees it; the whole region where
 * nothing else is left in it.  Called and left with the lock held; let go of in between.  Returns the
 * units that no longer cost memory.
 */
static uint64_t give_back_locked(struct pool *pool, struct run run)
{
	struct region_map *map = &pool->shared.map;
	struct region *region = run.region;
	uint64_t costly = region_count_costly(run);
	bool given;

	pool_unpin_locked(pool, run);
	lock_drop(&pool->shared.lock);
	/* What is shared goes only where it is taken out of the object itself. */
	given = pool->sys.madvise(run_at(run), run_bytes(run),
				  region->slab ? MADV_REMOVE : MADV_DONTNEED) == 0;
	lock_take(&pool->shared.lock);
	if (given)
		region_set_pages(map, run, UNIT_EMPTY);
	region_free(map, run);
	if (region->held == 0 && region->pinned == 0 && (region->costly == 0 || !given)) {
		uint64_t all = max_of(costly, (uint64_t)region->costly);

		if (region_remove(map, region) == 0)
			return all;
	}
	return given ? costly : 0;
}

/* The shortest end of a free run with that many costly units in it, or all of it. */
static uint32_t end_with(struct run run, uint64_t costly)
{
	uint32_t count = 0;

	while (count < run.count && costly > 0) {
		count++;
		costly -= run.region->unit[run.first + run.count - count].pages != UNIT_EMPTY;
	}
	return count;
}

static uint32_t from_end(struct run run, uint32_t count)
{
	return run.first + run.count - count;
}

uint64_t pool_reclaim_locked(struct pool *pool, uint64_t units, int64_t before_ns)
{
	struct region_map *map = &pool->shared.map;
	uint64_t given = 0;
	uintptr_t from = 0;
	struct run run;

	while (given < units && region_next_free(map, from, &run)) {
		uint32_t count = run.count;

		from = (uintptr_t)run_at(run) + run_bytes(run);
		if (run.region->used_ns > before_ns)
			continue;
		if (run.count < run.region->units || run.region->costly > units - given)
			count = end_with(run, units - given);
		if (count == 0 || (region_count_costly(run) == 0 && run.count < run.region->units))
			continue;
		if (pool_leaves_locked(pool, (struct run){run.region, from_end(run, count), count},
				       units - given, before_ns))
			continue;
		given += give_back_locked(pool, region_claim_end(map, run, count));
	}
	return given;
}

static void reclaim_idle_locked(struct pool *pool, int64_t now_ns)
{
	if (now_ns < pool->shared.look_ns || pool->idle_ns <= 0)
		return;
	pool->shared.look_ns = NEVER;
	pool_reclaim_locked(pool, UINT64_MAX, now_ns - pool->idle_ns);
	if (pool->shared.map.free_costly > 0)
		pool->shared.look_ns = now_ns + pool->idle_ns / 2;
}

/* Drops the pool's own hold on the open unit. */
static void shut_open_locked(struct pool *pool)
{
	struct run left = pool->shared.open, gone;

	if (left.count == 0)
		return;
	pool->shared.open.count = 0;
	if (region_drop_next(&pool->shared.map, &left, &gone))
		region_free(&pool->shared.map, gone);
}

/* Is the open unit held by nobody but the pool? */
static bool open_idle(const struct pool *pool)
{
	const struct run *open = &pool->shared.open;

	return open->count > 0 && open->region->unit[open->first].holds == 1;
}

uint64_t pool_trim(struct pool *pool)
{
	uint64_t units;

	lock_take(&pool->shared.lock);
	if (open_idle(pool))
		shut_open_locked(pool);
	units = pool_reclaim_locked(pool, UINT64_MAX, INT64_MAX);
	units += pool_wait_unpinned_locked(pool);
	lock_drop(&pool->shared.lock);
	return units * POOL_UNIT;
}

/* ---- Taking ---- */

/* What is kept and what is held shall not cost more together than what was once held at once. */
static void make_way_locked(struct pool *pool, uint32_t units)
{
	struct region_map *map = &pool->shared.map;
	uint64_t want = map->held + units, all = want + map->free_costly;
	uint64_t most = max_of(map->held_peak, want);

	if (all > most)
		pool_reclaim_locked(pool, all - most, INT64_MAX);
}

static int no_room_locked(const struct pool *pool, uint32_t units, int os_errno,
			  const struct weir_error *why, struct weir_error *err)
{
	if (why->code) {
		if (err)
			*err = *why;
		return why->code;
	}
	return error_sys(err, os_errno == EAGAIN ? ENOMEM : os_errno, NULL,
			 "memory for reads: mapping %llu bytes (%llu are mapped)",
			 (unsigned long long)(units * POOL_UNIT),
			 (unsigned long long)(pool->shared.map.mapped * POOL_UNIT));
}

/* A region with room for a run: a large one, else just that, else that after giving back. */
static int grow_locked(struct pool *pool, uint32_t units, int64_t now_ns, struct weir_error *err)
{
	struct region_map *map = &pool->shared.map;
	struct weir_error why = WEIR_ERROR_INIT;
	struct region *region;
	int huge_errno = 0, ret;

	make_way_locked(pool, units);
	ret = region_add(map, max_of(units, REGION_UNITS_MIN), now_ns, &region, &huge_errno, &why);
	if (ret && units < REGION_UNITS_MIN)
		ret = region_add(map, units, now_ns, &region, &huge_errno, &why);
	if (ret) {
		pool_reclaim_locked(pool, UINT64_MAX, INT64_MAX);
		ret = region_add(map, units, now_ns, &region, &huge_errno, &why);
	}
	if (ret)
		return no_room_locked(pool, units, ret, &why, err);
	if (huge_errno)
		atomic_store_explicit(&pool->huge_refused, true, memory_order_relaxed);
	return 0;
}

static int take_units_locked(struct pool *pool, uint32_t units, struct run *out,
			     struct weir_error *err)
{
	int64_t now_ns = pool->sys.now_ns();
	int ret;

	reclaim_idle_locked(pool, now_ns);
	while (!region_take(&pool->shared.map, units, out)) {
		ret = grow_locked(pool, units, now_ns, err);
		if (ret)
			return ret;
	}
	out->region->used_ns = now_ns;
	return 0;
}

/* The first place at or behind `from` that is `phase` modulo `align`. */
static uint64_t place_behind(uint64_t from, uint64_t align, uint64_t phase)
{
	uint64_t place = round_down(from, align) + phase;

	return place < from ? place + align : place;
}

/* What is left of a range's last unit becomes the open one, where that is more than there is. */
static void open_rest_locked(struct pool *pool, struct run run, uint64_t used_bytes)
{
	uint64_t rest_bytes = run_bytes(run) - used_bytes;
	uint32_t last = run.first + run.count - 1;

	if (rest_bytes == 0)
		return;
	if (pool->shared.open.count > 0 && POOL_UNIT - pool->shared.open_bytes >= rest_bytes)
		return;
	shut_open_locked(pool);
	run.region->unit[last].holds++;
	pool->shared.open = (struct run){run.region, last, 1};
	pool->shared.open_bytes = POOL_UNIT - rest_bytes;
}

/* A place in the open unit; false where there is none. */
static bool take_open_locked(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase,
			     struct run *run, uint64_t *place)
{
	struct run open = pool->shared.open;
	uint64_t at;

	if (open.count == 0 || bytes > SMALL_MAX)
		return false;
	if (open_idle(pool))
		pool->shared.open_bytes = 0;
	at = place_behind(pool->shared.open_bytes, align, phase);
	if (!size_inside(at, bytes, POOL_UNIT))
		return false;
	open.region->unit[open.first].holds++;
	pool->shared.open_bytes = at + bytes;
	*run = open;
	*place = at;
	return true;
}

static bool all_populated(struct run run)
{
	for (uint32_t i = 0; i < run.count; i++)
		if (run.region->unit[run.first + i].pages != UNIT_POPULATED)
			return false;
	return true;
}

static int take_locked(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase,
		       void **out, bool *fresh, struct weir_error *err)
{
	uint64_t place = phase;
	struct run run;

	if (!take_open_locked(pool, bytes, align, phase, &run, &place)) {
		uint64_t units = (phase + bytes + POOL_UNIT - 1) / POOL_UNIT;
		int ret = take_units_locked(pool, (uint32_t)units, &run, err);

		if (ret)
			return ret;
		open_rest_locked(pool, run, phase + bytes);
	}
	*out = run_at(run) + place;
	*fresh = !all_populated(run);
	return 0;
}

int pool_take(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase, void **out,
	      bool *fresh, struct weir_error *err)
{
	bool was_refused = atomic_load_explicit(&pool->huge_refused, memory_order_relaxed);
	int ret;

	if (bytes == 0 || align == 0 || (align & (align - 1)) || align > POOL_UNIT)
		return error_set(err, WEIR_ARG, NULL,
				 "memory for reads: %llu bytes aligned to %llu",
				 (unsigned long long)bytes, (unsigned long long)align);
	if (bytes > RANGE_MAX)
		return error_set(
			err, WEIR_NOMEM, NULL,
			"memory for reads: %llu bytes are more than an address space holds",
			(unsigned long long)bytes);
	lock_take(&pool->shared.lock);
	ret = take_locked(pool, bytes, align, phase & (align - 1), out, fresh, err);
	lock_drop(&pool->shared.lock);
	if (!was_refused && pool->log && atomic_load(&pool->huge_refused))
		log_warn(pool->log,
			 "no huge pages for memory that reads land in: loads will be slower");
	return ret;
}

/* ---- Holding ---- */

void pool_hold(struct pool *pool, const void *at, uint64_t bytes)
{
	struct run run;

	lock_take(&pool->shared.lock);
	run = region_run(&pool->shared.map, at, bytes);
	for (uint32_t i = 0; i < run.count; i++) {
		assert(run.region->unit[run.first + i].holds > 0);
		run.region->unit[run.first + i].holds++;
	}
	lock_drop(&pool->shared.lock);
}

/* Its pages go, its addresses stay held for ever. */
static void retire_locked(struct pool *pool, struct run run)
{
	bool given;

	lock_drop(&pool->shared.lock);
	given = pool->sys.madvise(run_at(run), run_bytes(run),
				  run.region->slab ? MADV_REMOVE : MADV_DONTNEED) == 0;
	lock_take(&pool->shared.lock);
	if (given)
		region_set_pages(&pool->shared.map, run, UNIT_EMPTY);
}

void pool_retire(struct pool *pool)
{
	lock_take(&pool->shared.lock);
	shut_open_locked(pool);
	region_retire_all(&pool->shared.map);
	lock_drop(&pool->shared.lock);
}

/* Frees what is kept, gives back what is above that: the end first. */
static void keep_or_give_locked(struct pool *pool, struct run gone)
{
	uint64_t kept = pool->shared.map.free_costly;
	uint64_t room = kept < pool->keep_units ? pool->keep_units - kept : 0;
	uint32_t keep = (uint32_t)min_of(room, (uint64_t)gone.count);
	struct run rest = {gone.region, gone.first + keep, gone.count - keep};

	if (gone.region->retired) {
		retire_locked(pool, gone);
		return;
	}
	if (keep > 0)
		region_free(&pool->shared.map, (struct run){gone.region, gone.first, keep});
	if (rest.count == 0)
		return;
	if (pool_leaves_locked(pool, rest, rest.count, INT64_MAX))
		region_free(&pool->shared.map, rest);
	else
		give_back_locked(pool, rest);
}

void pool_drop(struct pool *pool, const void *at, uint64_t bytes)
{
	int64_t now_ns = pool->sys.now_ns();
	struct run left, gone;

	lock_take(&pool->shared.lock);
	left = region_run(&pool->shared.map, at, bytes);
	left.region->used_ns = now_ns;
	while (region_drop_next(&pool->shared.map, &left, &gone))
		keep_or_give_locked(pool, gone);
	if (pool->shared.look_ns == NEVER && pool->idle_ns > 0 && pool->shared.map.free_costly > 0)
		pool->shared.look_ns = now_ns + pool->idle_ns;
	reclaim_idle_locked(pool, now_ns);
	lock_drop(&pool->shared.lock);
}

/* ---- Populating ---- */

/*
 * Pages of [at, at + bytes) made to exist by hand, and nothing in them changed: others may be reading
 * into the same page, which is why a thread sanitizer would complain.
 */
__attribute__((noinline, no_sanitize("thread"))) static void touch_pages(char *at, uint64_t bytes)
{
	uintptr_t end = (uintptr_t)at + bytes;

	while ((uintptr_t)at < end) {
		char expected = __atomic_load_n(at, __ATOMIC_RELAXED);

		/* A locked exchange writes even where it keeps the value, and loses no other
		 * write. */
		__atomic_compare_exchange_n(at, &expected, expected, false, __ATOMIC_RELAXED,
					    __ATOMIC_RELAXED);
		at += PAGE - ((uintptr_t)at & (PAGE - 1));
	}
}

/* 0, or an errno; EINVAL and the like: this kernel does not know how. */
static int populate_pages(const struct pool *pool, char *at, uint64_t bytes)
{
	int ret;

	do
		ret = pool->sys.madvise(at, bytes, MADV_POPULATE_WRITE);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? errno : 0;
}

/* The next row of units in *left that are not populated yet; cut off *left with what stands before. */
static bool next_unpopulated(struct pool *pool, struct run *left, struct run *out)
{
	const struct unit *units = left->region->unit;
	uint32_t end = left->first + left->count, i = left->first;

	lock_take(&pool->shared.lock);
	while (i < end && units[i].pages == UNIT_POPULATED)
		i++;
	*out = (struct run){left->region, i, 0};
	for (; i < end && units[i].pages != UNIT_POPULATED; i++)
		out->count++;
	lock_drop(&pool->shared.lock);
	*left = (struct run){left->region, i, end - i};
	return out->count > 0;
}

static void mark_populated(struct pool *pool, struct run run)
{
	lock_take(&pool->shared.lock);
	region_set_pages(&pool->shared.map, run, UNIT_POPULATED);
	lock_drop(&pool->shared.lock);
}

/* What of the range lies in a run is touched; units that lie in the range wholly are marked. */
static void touch_run(struct pool *pool, struct run run, char *at, uint64_t bytes)
{
	char *first = max_of(at, run_at(run));
	char *end = min_of(at + bytes, run_at(run) + run_bytes(run));

	touch_pages(first, (uint64_t)(end - first));
	if (first > run_at(run)) {
		run.first++;
		run.count--;
	}
	if (run.count > 0 && end < run_at(run) + run_bytes(run))
		run.count--;
	mark_populated(pool, run);
}

static bool means_unknown(int os_errno)
{
	return os_errno == EINVAL || os_errno == ENOSYS || os_errno == EPERM;
}

/* 0, or an errno. */
static int populate_run(struct pool *pool, struct run run, char *at, uint64_t bytes)
{
	struct shared *slab = run.region->slab;
	int ret = EINVAL;

	if (slab)
		shared_gather(slab, run_at(run), run_bytes(run));
	if (!atomic_load_explicit(&pool->touch, memory_order_relaxed))
		ret = populate_pages(pool, run_at(run), run_bytes(run));
	/* Of an object that may be full nothing is touched: it is asked, and can say no. */
	if (ret && slab)
		ret = shared_allocate(slab, run_at(run), run_bytes(run));
	else if (means_unknown(ret))
		atomic_store_explicit(&pool->touch, true, memory_order_relaxed);
	if (ret == 0) {
		mark_populated(pool, run);
	} else if (!slab && means_unknown(ret)) {
		touch_run(pool, run, at, bytes);
		ret = 0;
	}
	return ret;
}

int pool_populate(struct pool *pool, void *at, uint64_t bytes, struct weir_error *err)
{
	struct run left, run;
	int ret;

	lock_take(&pool->shared.lock);
	left = region_run(&pool->shared.map, at, bytes);
	lock_drop(&pool->shared.lock);
	while (next_unpopulated(pool, &left, &run)) {
		ret = populate_run(pool, run, at, bytes);
		if (ret)
			return error_sys(err, ret == EFAULT || ret == EAGAIN ? ENOMEM : ret, NULL,
					 "memory for reads: making %llu bytes of it",
					 (unsigned long long)run_bytes(run));
	}
	return 0;
}

void pool_each_slab(struct pool *pool, void (*fn)(struct shared *slab))
{
	const struct region_map *map = &pool->shared.map;

	lock_take(&pool->shared.lock);
	for (size_t i = 0; i < map->count; i++)
		if (map->regions[i]->slab)
			fn(map->regions[i]->slab);
	lock_drop(&pool->shared.lock);
}

struct shared *pool_slab(struct pool *pool, const void *at, uint64_t bytes)
{
	struct shared *slab;

	lock_take(&pool->shared.lock);
	slab = region_slab(&pool->shared.map, at, bytes);
	lock_drop(&pool->shared.lock);
	return slab;
}

void pool_usage(struct pool *pool, struct pool_usage *out)
{
	const struct region_map *map = &pool->shared.map;

	lock_take(&pool->shared.lock);
	*out = (struct pool_usage){
		.mapped_bytes = map->mapped * POOL_UNIT,
		.held_bytes = (map->held - open_idle(pool)) * POOL_UNIT,
		.populated_bytes = map->costly * POOL_UNIT,
		.populated_peak_bytes = map->costly_peak * POOL_UNIT,
		.kept_bytes = map->free_costly * POOL_UNIT,
		.pinned_bytes = map->pinned * POOL_UNIT,
	};
	lock_drop(&pool->shared.lock);
}
