/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the pool that a ring of the kernel's knows.
 *
 * Pinned are rows of units that came back to the pool with all of their pages and were handed out
 * again: what is used once is not worth it.  A row stays pinned until the pool gives memory of it back,
 * and before that, never after: a ring would go on writing to pages that nobody sees any more.
 *
 * A ring belongs to one thread.  So that thread alone pins and unpins; others who would give back pinned
 * memory leave it where it is, and ask.
 *
 *	trim, idle --asked--> the pinner's thread: unpins, gives back --answered--> trim
 */
#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "mem/pool_own.h"

/* Units of a row, at most: pinning holds up the thread for half a millisecond. */
#define ROW_UNITS 128u

/* While the kernel pins it. */
#define PIN_COMING UINT16_MAX

/* How long a trim waits for a thread that is busy. */
#define ANSWER_NS NS_PER_SEC

static bool is_pinner(const struct pool *pool)
{
	return pool->shared.pins.by.pin && pthread_equal(pool->shared.pins.thread, pthread_self());
}

/* ---- Rows ---- */

static bool worth_pinning(const struct unit *unit)
{
	return unit->kept && unit->pages == UNIT_POPULATED && unit->pin == 0;
}

/* The units around a run that have its pin. */
static struct run row_of(struct run run)
{
	const struct unit *units = run.region->unit;
	uint32_t first = run.first, end = run.first + 1;

	while (first > 0 && units[first - 1].pin == units[run.first].pin)
		first--;
	while (end < run.region->units && units[end].pin == units[run.first].pin)
		end++;
	return (struct run){run.region, first, end - first};
}

/* The units around a run that can be pinned together, as far as there is room. */
static struct run find_row(struct run run, uint64_t room)
{
	const struct unit *units = run.region->unit;
	uint32_t least = run.first - run.first % ROW_UNITS, first = run.first, end = run.first;
	uint32_t most = min_of(least + ROW_UNITS, run.region->units);

	while (end < most && worth_pinning(&units[end]))
		end++;
	if (end < run.first + run.count || run.count > room)
		return (struct run){run.region, run.first, 0};
	while (first > least && worth_pinning(&units[first - 1]))
		first--;
	if (end - first > room) {
		first = run.first;
		end = (uint32_t)min_of((uint64_t)end, run.first + room);
	}
	return (struct run){run.region, first, end - first};
}

/* ---- The pinner ---- */

bool pool_pins_begin(struct pool *pool, const struct pool_pinner *by)
{
	struct pool_pins *pins = &pool->shared.pins;
	bool free;

	lock_take(&pool->shared.lock);
	free = !pins->by.pin && !pool->shared.map.shared;
	if (free) {
		pins->by = *by;
		pins->thread = pthread_self();
	}
	lock_drop(&pool->shared.lock);
	return free;
}

static void pin_row_locked(struct pool *pool, struct run row)
{
	struct pool_pins *pins = &pool->shared.pins;
	uint32_t pin;

	region_set_pin(&pool->shared.map, row, PIN_COMING);
	lock_drop(&pool->shared.lock);
	pin = pins->by.pin(pins->by.arg, run_at(row), run_bytes(row));
	lock_take(&pool->shared.lock);
	if (pin >= PIN_COMING) { /* more than units have room for: no pinner here has as many */
		pins->by.unpin(pins->by.arg, pin);
		pin = 0;
	}
	region_set_pin(&pool->shared.map, row, (uint16_t)pin);
}

static bool pin_locked(struct pool *pool, const void *at, uint64_t bytes, bool more,
		       struct pool_pinned *out)
{
	struct region_map *map = &pool->shared.map;
	uint64_t most = pool->shared.pins.by.most_bytes / POOL_UNIT;
	struct run run, row;

	if (!region_find(map, at, bytes, &run))
		return false;
	if (more && run.region->unit[run.first].pin == 0 && map->pinned < most) {
		row = find_row(run, most - map->pinned);
		if (row.count > 0)
			pin_row_locked(pool, row);
	}
	out->pin = run.region->unit[run.first].pin;
	if (out->pin == 0)
		return false;
	row = row_of(run);
	out->at = run_at(row);
	out->bytes = run_bytes(row);
	return run.first + run.count <= row.first + row.count;
}

bool pool_pin(struct pool *pool, const void *at, uint64_t bytes, bool more, struct pool_pinned *out)
{
	bool pinned;

	lock_take(&pool->shared.lock);
	pinned = pin_locked(pool, at, bytes, more, out);
	lock_drop(&pool->shared.lock);
	return pinned;
}

void pool_unpin_locked(struct pool *pool, struct run run)
{
	struct pool_pins *pins = &pool->shared.pins;

	if (run.region->pinned == 0)
		return;
	for (uint32_t i = run.first; i < run.first + run.count; i++) {
		uint16_t pin = run.region->unit[i].pin;

		if (pin == 0)
			continue;
		region_set_pin(&pool->shared.map, row_of((struct run){run.region, i, 1}), 0);
		pins->by.unpin(pins->by.arg, pin);
	}
}

void pool_pins_settle(struct pool *pool)
{
	struct pool_pins *pins = &pool->shared.pins;
	uint64_t units;

	/* Relaxed: who asked has woken us, and the lock does the rest. */
	if (likely(!atomic_load_explicit(&pool->asked, memory_order_relaxed)))
		return;
	lock_take(&pool->shared.lock);
	atomic_store_explicit(&pool->asked, false, memory_order_relaxed);
	units = pins->asked_units;
	pins->given_units += pool_reclaim_locked(pool, units, pins->asked_before_ns);
	pins->asked_units = 0;
	cond_wake_all(&pins->answered);
	lock_drop(&pool->shared.lock);
}

void pool_pins_end(struct pool *pool)
{
	struct region_map *map = &pool->shared.map;
	struct pool_pins *pins = &pool->shared.pins;

	lock_take(&pool->shared.lock);
	for (size_t i = 0; i < map->count; i++)
		pool_unpin_locked(pool, (struct run){map->regions[i], 0, map->regions[i]->units});
	pins->by = (struct pool_pinner){NULL};
	if (pins->asked_units > 0)
		pool_reclaim_locked(pool, pins->asked_units, pins->asked_before_ns);
	pins->asked_units = 0;
	atomic_store_explicit(&pool->asked, false, memory_order_relaxed);
	cond_wake_all(&pins->answered);
	lock_drop(&pool->shared.lock);
}

/* ---- Others ---- */

static bool any_pinned(struct run run)
{
	for (uint32_t i = 0; run.region->pinned > 0 && i < run.count; i++)
		if (run.region->unit[run.first + i].pin)
			return true;
	return false;
}

bool pool_leaves_locked(struct pool *pool, struct run run, uint64_t units, int64_t before_ns)
{
	struct pool_pins *pins = &pool->shared.pins;

	if (!any_pinned(run) || is_pinner(pool))
		return false;
	if (pins->asked_units == 0)
		pins->asked_before_ns = before_ns;
	pins->asked_before_ns = max_of(pins->asked_before_ns, before_ns);
	pins->asked_units = max_of(pins->asked_units, units);
	atomic_store_explicit(&pool->asked, true, memory_order_relaxed);
	pins->by.wake(pins->by.arg);
	return true;
}

uint64_t pool_wait_unpinned_locked(struct pool *pool)
{
	struct pool_pins *pins = &pool->shared.pins;
	uint64_t before = pins->given_units;
	int64_t until_ns = pool->sys.now_ns() + ANSWER_NS;

	while (pins->asked_units > 0 && cond_wait(&pins->answered, &pool->shared.lock, until_ns))
		continue;
	return pins->given_units - before;
}
