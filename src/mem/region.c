/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/region.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"

/* Runs of the bin below the sure one that a take looks at: enough to reuse well, and bounded. */
#define SCAN_MAX 64

void region_map_init(struct region_map *map, const struct sys *sys, bool shared)
{
	*map = (struct region_map){.sys = sys, .shared = shared};
	for (size_t i = 0; i < REGION_BINS; i++) {
		list_init(&map->warm[i]);
		list_init(&map->cold[i]);
	}
}

/* -1 when the kernel refuses. */
static int unmap(const struct region_map *map, struct region *region)
{
	if (!region->slab)
		return map->sys->munmap(region->map_at, region->map_bytes);
	shared_destroy(region->slab);
	return 0;
}

void region_map_fini(struct region_map *map)
{
	for (size_t i = 0; i < map->count; i++) {
		unmap(map, map->regions[i]);
		free(map->regions[i]);
	}
	free(map->regions);
}

/* ---- The sorted table ---- */

/* How many regions begin at or below the address. */
static size_t regions_up_to(const struct region_map *map, uintptr_t at)
{
	size_t low = 0, high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if ((uintptr_t)map->regions[middle]->at <= at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int make_room(struct region_map *map)
{
	size_t room = map->room ? 2 * map->room : 16;
	struct region **regions;

	if (map->count < map->room)
		return 0;
	regions = realloc(map->regions, room * sizeof(struct region *));
	if (!regions)
		return -1;
	map->regions = regions;
	map->room = room;
	return 0;
}

/* ---- Runs ---- */

static unsigned bin_of(uint32_t units)
{
	return 31u - (unsigned)__builtin_clz(units);
}

static void list_run(struct region_map *map, struct run run)
{
	struct unit *units = run.region->unit;

	units[run.first].run = run.count;
	units[run.first + run.count - 1].run = run.count;
	list_push(units[run.first].pages == UNIT_EMPTY ? &map->cold[bin_of(run.count)]
						       : &map->warm[bin_of(run.count)],
		  &units[run.first].link);
}

/* Adds a run to the free ones; it becomes one with free neighbours. */
static void free_run(struct region_map *map, struct run run)
{
	struct unit *units = run.region->unit;
	uint32_t end = run.first + run.count;

	if (end < run.region->units && units[end].holds == 0) {
		list_remove(&units[end].link);
		run.count += units[end].run;
	}
	if (run.first > 0 && units[run.first - 1].holds == 0) {
		uint32_t before = units[run.first - 1].run;

		list_remove(&units[run.first - before].link);
		run.first -= before;
		run.count += before;
	}
	list_run(map, run);
}

uint32_t region_count_costly(struct run run)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < run.count; i++)
		count += run.region->unit[run.first + i].pages != UNIT_EMPTY;
	return count;
}

static struct run run_of(struct list *link)
{
	struct unit *unit = list_entry(link, struct unit, link);
	struct region *region = container_of(unit - unit->index, struct region, unit[0]);

	return (struct run){region, unit->index, unit->run};
}

/* Takes the run that starts here off its bin, and its first `count` units as held. */
static void carve(struct region_map *map, struct run whole, uint32_t skip, uint32_t count)
{
	struct unit *units = whole.region->unit;
	struct run held = {whole.region, whole.first + skip, count};

	list_remove(&units[whole.first].link);
	for (uint32_t i = 0; i < count; i++)
		units[held.first + i].holds = 1;
	whole.region->held += count;
	map->held += count;
	map->held_peak = max_of(map->held_peak, map->held);
	map->free_costly -= region_count_costly(held);
	if (skip > 0)
		list_run(map, (struct run){whole.region, whole.first, skip});
	if (skip + count < whole.count)
		list_run(map, (struct run){whole.region, held.first + count,
					   whole.count - skip - count});
}

static bool find_run(struct list *bins, uint32_t units, struct run *out)
{
	unsigned bin = bin_of(units), seen = 0;

	list_for_each(link, &bins[bin]) {
		*out = run_of(link);
		if (out->count >= units)
			return true;
		if (++seen == SCAN_MAX)
			break;
	}
	for (bin++; bin < REGION_BINS; bin++) {
		if (list_empty(&bins[bin]))
			continue;
		*out = run_of(bins[bin].next);
		return true;
	}
	return false;
}

bool region_take(struct region_map *map, uint32_t units, struct run *out)
{
	if (!find_run(map->warm, units, out) && !find_run(map->cold, units, out))
		return false;
	carve(map, *out, 0, units);
	out->count = units;
	return true;
}

struct run region_claim_end(struct region_map *map, struct run free_run, uint32_t count)
{
	uint32_t skip = free_run.count - count;

	carve(map, free_run, skip, count);
	return (struct run){free_run.region, free_run.first + skip, count};
}

bool region_drop_next(struct region_map *map, struct run *left, struct run *gone)
{
	struct unit *units = left->region->unit;
	uint32_t end = left->first + left->count, i = left->first;

	while (i < end && units[i].holds > 1)
		units[i++].holds--;
	*gone = (struct run){left->region, i, 0};
	for (; i < end && units[i].holds == 1; i++)
		gone->count++;
	*left = (struct run){left->region, i, end - i};
	for (uint32_t k = 0; k < gone->count; k++)
		if (units[gone->first + k].pages == UNIT_EMPTY)
			region_set_pages(map, (struct run){left->region, gone->first + k, 1},
					 UNIT_TOUCHED);
	assert(gone->count > 0 || left->count == 0); /* a unit dropped that nobody holds */
	return gone->count > 0;
}

void region_free(struct region_map *map, struct run run)
{
	for (uint32_t i = 0; i < run.count; i++) {
		struct unit *unit = &run.region->unit[run.first + i];

		unit->holds = 0;
		unit->kept = unit->pages == UNIT_POPULATED;
	}
	run.region->held -= run.count;
	map->held -= run.count;
	map->free_costly += region_count_costly(run);
	free_run(map, run);
}

void region_retire_all(struct region_map *map)
{
	uintptr_t from = 0;
	struct run run;

	while (region_next_free(map, from, &run)) {
		from = (uintptr_t)run_at(run) + run_bytes(run);
		carve(map, run, 0, run.count);
	}
	for (size_t i = 0; i < map->count; i++)
		map->regions[i]->retired = true;
}

void region_set_pin(struct region_map *map, struct run run, uint16_t pin)
{
	for (uint32_t i = run.first; i < run.first + run.count; i++) {
		struct unit *unit = &run.region->unit[i];
		bool was = unit->pin != 0, is = pin != 0;

		unit->pin = pin;
		if (was == is)
			continue;
		map->pinned += is ? 1 : (uint64_t)-1;
		run.region->pinned += is ? 1 : (uint32_t)-1;
	}
}

void region_set_pages(struct region_map *map, struct run run, enum unit_pages pages)
{
	for (uint32_t i = run.first; i < run.first + run.count; i++) {
		struct unit *unit = &run.region->unit[i];
		bool was = unit->pages != UNIT_EMPTY, is = pages != UNIT_EMPTY;

		unit->pages = (uint8_t)pages;
		unit->kept &= pages == UNIT_POPULATED;
		if (was == is)
			continue;
		map->costly += is ? 1 : (uint64_t)-1;
		run.region->costly += is ? 1 : (uint32_t)-1;
	}
	map->costly_peak = max_of(map->costly_peak, map->costly);
}

/* ---- Regions ---- */

/* A mapping that begins where a huge page does; what is too much at both ends goes back. */
static void *map_aligned(const struct sys *sys, size_t bytes, void **map_at, size_t *map_bytes)
{
	char *at = sys->mmap(NULL, bytes + POOL_UNIT, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t head = (size_t)(-(uintptr_t)at & (POOL_UNIT - 1));
	size_t tail = POOL_UNIT - head;

	if ((void *)at == MAP_FAILED)
		return at;
	*map_at = at;
	*map_bytes = bytes + POOL_UNIT;
	if (head > 0 && sys->munmap(at, head) == 0) {
		*map_at = at + head;
		*map_bytes -= head;
	}
	if (sys->munmap(at + head + bytes, tail) == 0)
		*map_bytes -= tail;
	return at + head;
}

static void insert(struct region_map *map, struct region *region)
{
	size_t place = regions_up_to(map, (uintptr_t)region->at);

	memmove(&map->regions[place + 1], &map->regions[place],
		(map->count - place) * sizeof(struct region *));
	map->regions[place] = region;
	map->count++;
	map->mapped += region->units;
}

static int map_slab(const struct region_map *map, struct region *region, size_t bytes,
		    struct weir_error *err)
{
	struct weir_error why = WEIR_ERROR_INIT;
	int ret = shared_create(map->sys, bytes, &region->slab, &why);

	if (ret == 0) {
		region->at = region->slab->at;
		node_place(map->sys, region->at, bytes, map->node);
		return 0;
	}
	if (err)
		*err = why;
	return why.os_errno ? why.os_errno : ENOMEM;
}

static int map_memory(const struct region_map *map, struct region *region, size_t bytes,
		      int *huge_errno)
{
	void *at = map_aligned(map->sys, bytes, &region->map_at, &region->map_bytes);

	if (at == MAP_FAILED)
		return errno;
	region->at = at;
	*huge_errno = map->sys->madvise(at, bytes, MADV_HUGEPAGE) < 0 ? errno : 0;
	return 0;
}

int region_add(struct region_map *map, uint32_t units, int64_t now_ns, struct region **out,
	       int *huge_errno, struct weir_error *err)
{
	size_t bytes = units * (size_t)POOL_UNIT;
	struct region *region;
	int ret;

	if (make_room(map) < 0)
		return ENOMEM;
	region = calloc(1, sizeof(*region) + units * sizeof(struct unit));
	if (!region)
		return ENOMEM;
	ret = map->shared ? map_slab(map, region, bytes, err)
			  : map_memory(map, region, bytes, huge_errno);
	if (ret) {
		free(region);
		return ret;
	}
	region->units = units;
	region->used_ns = now_ns;
	for (uint32_t i = 0; i < units; i++) {
		region->unit[i].index = i;
		list_init(&region->unit[i].link);
	}
	insert(map, region);
	free_run(map, (struct run){region, 0, units});
	*out = region;
	return 0;
}

int region_remove(struct region_map *map, struct region *region)
{
	size_t place = regions_up_to(map, (uintptr_t)region->at) - 1;

	assert(map->regions[place] == region && region->held == 0 && region->pinned == 0);
	if (unmap(map, region) < 0)
		return -1;
	list_remove(&region->unit[0].link);
	map->count--;
	memmove(&map->regions[place], &map->regions[place + 1],
		(map->count - place) * sizeof(struct region *));
	map->mapped -= region->units;
	map->costly -= region->costly;
	map->free_costly -= region->costly;
	free(region);
	return 0;
}

/* ---- Finding ---- */

bool region_find(const struct region_map *map, const void *at, uint64_t bytes, struct run *out)
{
	size_t place = regions_up_to(map, (uintptr_t)at);
	struct region *region = place ? map->regions[place - 1] : NULL;
	uint64_t offset = region ? (uint64_t)((const char *)at - region->at) : 0;

	if (!region || !size_inside(offset, bytes, region->units * POOL_UNIT))
		return false;
	out->region = region;
	out->first = (uint32_t)(offset / POOL_UNIT);
	out->count = (uint32_t)((offset + bytes - 1) / POOL_UNIT) - out->first + 1;
	return true;
}

struct run region_run(const struct region_map *map, const void *at, uint64_t bytes)
{
	struct run run = {NULL};
	bool found = region_find(map, at, bytes, &run);

	assert(found && bytes > 0);
	(void)found;
	return run;
}

struct shared *region_slab(const struct region_map *map, const void *at, uint64_t bytes)
{
	struct run run;

	return region_find(map, at, max_of(bytes, UINT64_C(1)), &run) ? run.region->slab : NULL;
}

/* A unit that is free and begins its run. */
static bool begins_run(const struct region *region, uint32_t index)
{
	return region->unit[index].holds == 0 && (index == 0 || region->unit[index - 1].holds != 0);
}

bool region_next_free(const struct region_map *map, uintptr_t from, struct run *out)
{
	size_t place = regions_up_to(map, from);

	for (place = place ? place - 1 : 0; place < map->count; place++) {
		struct region *region = map->regions[place];
		uintptr_t at = (uintptr_t)region->at;
		uint64_t first = from > at ? (from - at + POOL_UNIT - 1) / POOL_UNIT : 0;

		for (uint64_t i = first; i < region->units; i++) {
			if (!begins_run(region, (uint32_t)i))
				continue;
			*out = (struct run){region, (uint32_t)i, region->unit[i].run};
			return true;
		}
	}
	return false;
}
