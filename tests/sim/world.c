/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/fake_cuda.h"
#include "lib/pattern.h"
#include "sim/sim.h"
#include "source/fault.h"
#include "source/memory.h"

#define ARENA_BYTES (96 * MIB)

struct world world;

static int64_t clock_ns;
static struct sys sys;

/* ---- What is the same on every run ---- */

static int64_t now_ns(void)
{
	return clock_ns;
}

int64_t world_now(void)
{
	return clock_ns;
}

static int chance_fill(void *to, size_t len)
{
	memset(to, 0x5A, len);
	return 0;
}

/* A world is small, and zeroing a huge page for each of its extents would take most of the time. */
static int small_pages(void *at, size_t len, int advice)
{
	return advice == MADV_HUGEPAGE ? 0 : madvise(at, len, advice);
}

/* Nor does it depend on what /proc says of the machine. */
static int no_files(int dir, const char *path, int flags, mode_t mode)
{
	(void)dir;
	(void)path;
	(void)flags;
	(void)mode;
	errno = ENOENT;
	return -1;
}

uint64_t below(uint64_t limit)
{
	return chance_below(&world.chance, limit);
}

const unsigned char *content_of(unsigned content)
{
	static unsigned char *contents[CONTENTS];

	if (!contents[content]) {
		/* Aligned, so that what depends on addresses is the same in every process. */
		contents[content] = aligned_alloc(2 * MIB, 2 * MIB);
		pattern_fill(contents[content], content, 0, CONTENT_BYTES);
	}
	return contents[content];
}

/* ---- The source: stretches that are cached, stretches that are not ---- */

static int way(struct source_object *object, uint64_t offset, uint64_t length, uint64_t *until)
{
	uint64_t stretch = 128 * KIB, place = offset / stretch;
	uint64_t mixed = (place + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ world.way_seed;

	if (world.way_seed == 0) {
		*until = max_of(object->size_bytes, offset + length);
		return WAY_DIRECT;
	}
	*until = (place + 1) * stretch;
	return mixed >> 40 & 1 ? WAY_DIRECT : WAY_BUFFERED;
}

/* The engine's lanes are known by the order in which they are made. */
static int make_core(struct source *source, const struct lane_how *how, struct source_lane **out,
		     struct weir_error *err)
{
	int ret = world.fault_ops->lane_create(source, how, out, err);

	if (ret == 0 && !world.makes_feed)
		world.sleepers[world.sleeper_count++] = (struct sleeper){.core = *out};
	return ret;
}

static void wake(struct source_lane *core)
{
	for (uint32_t i = 0; i < world.sleeper_count; i++)
		world.sleepers[i].woken |= world.sleepers[i].core == core;
	world.fault_ops->wake(core);
}

static int wrap(struct source **source, void *arg, struct weir_error *err)
{
	struct source *fault;
	int ret = source_fault_create(*source, world.seed, &fault, err);

	(void)arg;
	if (ret < 0)
		return ret;
	world.fault_ops = fault->ops;
	world.ops = *fault->ops;
	world.ops.way = way;
	world.ops.lane_create = make_core;
	world.ops.wake = wake;
	if (world.one_direct_lane)
		world.ops.features |= SOURCE_ONE_DIRECT_LANE;
	fault->ops = &world.ops;
	world.fault = fault;
	*source = fault;
	return 0;
}

/* Where the engine would wait. */
static bool idle(struct weir_ctx *ctx, void *arg)
{
	(void)ctx;
	(void)arg;
	if (!world.waits)
		return false;
	if (world_step_all() || world_pass_time())
		return true;
	sim_failed("a call waits for what will never happen");
}

/* ---- Objects ---- */

static void put(unsigned name, unsigned content, uint64_t size)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char text[16];

	snprintf(text, sizeof(text), "o%u", name);
	sim_check(weir_memory_put(world.ctx, text, content_of(content), size, &err) == 0,
		  "memory_put: %s", err.message);
}

bool world_open(unsigned name, unsigned content, uint64_t size)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct thing *thing = &world.things[world.thing_count];
	char uri[32];

	snprintf(uri, sizeof(uri), "memory://o%u", name);
	*thing = (struct thing){.name = name, .content = content, .size = size};
	if (weir_object_open(world.ctx, uri, NULL, &thing->object, &err) < 0)
		return false;
	world.thing_count++;
	sim_event("open", name, content, size);
	return true;
}

static uint64_t random_size(void)
{
	uint64_t most = one_in(3) ? CONTENT_BYTES : one_in(2) ? 64 * KIB : 5000;

	return below(most + 1);
}

static void make_thing(unsigned name)
{
	unsigned content = world.contents_used++;
	uint64_t size = random_size();

	put(name, content, size);
	sim_check(world_open(name, content, size), "an object cannot be opened");
}

/* Another version takes the name; what is open already stays what it was, and is told. */
void world_replace(unsigned index)
{
	unsigned name = world.things[index].name;

	if (world.contents_used == CONTENTS || world.thing_count == THINGS_MAX)
		return;
	for (unsigned i = 0; i < world.thing_count; i++)
		if (world.things[i].name == name)
			world.things[i].changed = true;
	for (unsigned i = 0; i < world.want_count; i++)
		if (!world.wants[i].write && world.things[world.wants[i].thing].changed)
			world.wants[i].allowed |= CODE_BIT(WEIR_CHANGED) | CODE_BIT(WEIR_TRUNCATED);
	sim_event("replace", name, 0, 0);
	make_thing(name);
}

/* ---- Faults ---- */

static struct fault_rule random_rule(void)
{
	static const int codes[] = {WEIR_IO, WEIR_PEER_GONE, WEIR_DENIED};
	struct fault_rule rule = {.calls = FAULT_READ, .skip = (uint32_t)below(20)};

	if (one_in(2))
		rule.times = 1 + (uint32_t)below(4);
	else
		rule.per_million = 20000 + (uint32_t)below(300000);
	switch (below(7)) {
	case 0:
		rule.action = FAULT_ERROR;
		rule.code = codes[below(array_size(codes))];
		rule.os_errno = 5;
		rule.calls |= one_in(2) ? FAULT_WRITE : 0;
		world.allowed |= CODE_BIT(rule.code);
		break;
	case 1:
		rule.action = FAULT_CORRUPT;
		rule.bytes = 1 + (uint32_t)below(3);
		rule.per_million = 0;
		rule.times = 1 + (uint32_t)below(3);
		world.corrupt += rule.bytes * rule.times;
		break;
	case 2:
		rule.action = FAULT_STUCK;
		rule.delay_ns = (int64_t)below(100) * NS_PER_SEC;
		rule.per_million = 0;
		rule.times = 1 + (uint32_t)below(3);
		world.slow = true;
		break;
	case 3:
		rule.action = FAULT_DELAY;
		rule.delay_ns = (int64_t)below(2000) * NS_PER_MS;
		break;
	case 4:
		rule.calls = FAULT_CHECK;
		rule.action = FAULT_ERROR;
		rule.code = one_in(2) ? WEIR_CHANGED : WEIR_TRUNCATED;
		world.allowed |= CODE_BIT(rule.code);
		break;
	default:
		rule.action = FAULT_SHORT;
		rule.bytes = 1 + (uint32_t)below(one_in(2) ? 9000 : 100);
		rule.calls |= one_in(2) ? FAULT_WRITE : 0;
		break;
	}
	return rule;
}

void world_faults(void)
{
	struct fault_rule rules[4];
	size_t count = below(4);

	world.faulty |= count > 0;
	for (size_t i = 0; i < count; i++) {
		rules[i] = random_rule();
		sim_event("rule", (uint64_t)rules[i].action, rules[i].skip, rules[i].times);
	}
	source_fault_set(world.fault, rules, count);
}

void world_no_faults(void)
{
	source_fault_set(world.fault, NULL, 0);
}

/* ---- Lanes and time ---- */

/* Lanes sleep as those of threads do: until somebody wakes them, or the time that they had in mind. */
static bool sleeps(uint32_t index)
{
	return !world.sleepers[index].woken && world.sleepers[index].until_ns > clock_ns;
}

static struct group *lanes(void)
{
	return world.ctx->groups[0];
}

/* One step of a lane, unless it sleeps; true when something happened. */
static bool step(uint32_t index)
{
	struct sleeper *sleeper = &world.sleepers[index];
	struct lane *lane = lanes()->lanes[index];
	uint64_t limit = world.ctx->opts.budget_bytes;
	bool happened;

	if (sleeps(index))
		return false;
	sleeper->woken = false;
	happened = lane_step(lane, 0);
	sleeper->until_ns = happened ? 0 : lane_next_ns(lane);
	sim_event("step", happened, 0, 0);
	sim_check(limit == 0 || budget_used(world.ctx->budget) <= limit,
		  "%llu bytes are held of a budget of %llu",
		  (unsigned long long)budget_used(world.ctx->budget), (unsigned long long)limit);
	return happened;
}

static bool anything_flies(void)
{
	uint64_t flying = transfers_stuck(world.ctx);

	for (unsigned i = 0; i < world.flight_count; i++)
		if (world.flights[i].transfer)
			flying += world.flights[i].transfer->flying;
	return flying > 0;
}

/*
 * Where all sleep, and nothing is under way that would wake them, there is nothing to do: else somebody who
 * should have woken one did not.
 */
static void look_after_sleepers(void)
{
	if (anything_flies())
		return;
	for (uint32_t i = 0; i < lanes()->lane_count; i++)
		if (!sleeps(i))
			return;
	for (uint32_t i = 0; i < lanes()->lane_count; i++)
		sim_check(!lane_step(lanes()->lanes[i], 0),
			  "lane %u slept, and had something to do", i);
}

bool world_step_any(void)
{
	look_after_sleepers();
	return lanes()->lane_count > 0 && step((uint32_t)below(lanes()->lane_count));
}

bool world_step_all(void)
{
	bool happened = false;

	for (uint32_t i = 0; i < lanes()->lane_count; i++)
		happened |= step(i);
	return feeds_step() || happened;
}

bool world_pass_time(void)
{
	int64_t next = feeds_next_ns();

	look_after_sleepers();
	for (uint32_t i = 0; i < lanes()->lane_count; i++)
		next = min_of(next, sleeps(i) ? world.sleepers[i].until_ns : clock_ns);
	if (next == NEVER)
		return false;
	clock_ns = max_of(clock_ns, next);
	sim_event("time", (uint64_t)clock_ns, 0, 0);
	return true;
}

void world_pass(int64_t ns)
{
	clock_ns += ns;
	sim_event("time", (uint64_t)clock_ns, 0, 0);
}

/* ---- The beginning and the end ---- */

static void behave(void)
{
	static const uint32_t aligns[] = {1, 1, 512, 4096, 4096, 16384};
	struct memory_behaviour how = {.seed = world.seed};

	how.offset_align = aligns[below(array_size(aligns))];
	how.memory_align = how.offset_align < 512 ? 1 : 512;
	if (one_in(2))
		how.latency_ns = (int64_t)below(20) * NS_PER_MS;
	if (one_in(2))
		how.jitter_ns = (int64_t)below(50) * NS_PER_MS;
	if (one_in(3))
		how.bytes_per_second = (1 + below(200)) * MIB;
	source_memory_behave(lanes()->core, &how);
}

/* A driver whose copies take their time, and fail. */
static const struct cuda_driver *make_device(void)
{
	static const char *const calls[] = {"copy_to_device", "event_query", "stream_wait",
					    "memory_register"};
	struct fake_cuda_how how = {.now_ns = now_ns,
				    .visible = true,
				    .seed = world.seed,
				    .latency_ns = (int64_t)below(3) * NS_PER_MS,
				    .jitter_ns = (int64_t)below(30) * NS_PER_MS,
				    .bytes_per_second = one_in(2) ? 0 : (1 + below(200)) * MIB,
				    .memory_bytes = GIB};
	const struct cuda_driver *table = fake_cuda_start(&how);

	fake_cuda_adopt(0, world.arena, ARENA_BYTES);
	if (one_in(4)) {
		fake_cuda_fail(calls[below(array_size(calls))], 1 + (unsigned)below(10),
			       1 + (unsigned)below(3), CU_OUT_OF_MEMORY);
		world.allowed |= CODE_BIT(WEIR_NOMEM);
	}
	return table;
}

static void check_device(void)
{
	struct fake_cuda_counts counts;

	if (!world.device)
		return;
	fake_cuda_counts(&counts);
	sim_check(counts.allocations + counts.streams + counts.events + counts.pins == 0,
		  "%llu allocations, %llu streams, %llu events, %llu pins are left on the devices",
		  (unsigned long long)counts.allocations, (unsigned long long)counts.streams,
		  (unsigned long long)counts.events, (unsigned long long)counts.pins);
}

void world_create(uint64_t seed)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct ctx_seams seams = {.sys = &sys, .simulated = true, .wrap = wrap, .idle = idle};
	struct weir_ctx_opts opts = {.size = sizeof(opts)};
	struct group *group;
	unsigned char *arena = world.arena ? world.arena : aligned_alloc(2 * MIB, ARENA_BYTES);
	unsigned names;

	world = (struct world){.seed = seed, .chance = seed * 7919 + 1, .arena = arena};
	clock_ns = NS_PER_SEC;
	sys = *sys_real();
	sys.now_ns = now_ns;
	sys.random = chance_fill;
	sys.madvise = small_pages;
	sys.openat = no_files;
	opts.lanes = 1 + (uint32_t)below(3);
	opts.depth = 1 + (uint32_t)below(one_in(2) ? 3 : 32);
	opts.request_bytes = one_in(4) ? 0 : (4 * KIB) << below(6);
	opts.budget_bytes = one_in(2) ? 0 : 4 * MIB + below(8 * MIB);
	opts.trace_events = one_in(4) ? 16 : 0;
	world.one_direct_lane = one_in(2);
	world.way_seed = one_in(2) ? 0 : 1 + below(UINT32_MAX);
	world.device = one_in(4);
	if (world.device)
		seams.cuda = make_device();
	sim_check(ctx_create_with(&opts, &seams, &world.ctx, &err) == 0, "%s", err.message);
	sim_check(ctx_group(world.ctx, "memory", NULL, &group, &err) == 0, "%s", err.message);
	behave();
	names = 1 + (unsigned)below(5);
	for (unsigned i = 0; i < names; i++)
		make_thing(i);
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		sim_check(weir_queue_create(world.ctx,
					    (uint32_t)below(3) ? 1 + (uint32_t)below(20) : 0,
					    &world.queues[i], &err) == 0,
			  "%s", err.message);
	world.makes_feed = true;
	feeds_create();
	world.makes_feed = false;
	if (!one_in(3))
		world_faults();
}

void world_destroy(void)
{
	struct budget *budget = budget_ref(world.ctx->budget);

	feeds_destroy();
	for (unsigned i = 0; i < QUEUES_MAX; i++)
		weir_queue_destroy(world.queues[i]);
	for (unsigned i = 0; i < world.thing_count; i++)
		weir_object_unref(world.things[i].object);
	weir_ctx_destroy(world.ctx);
	sim_check(budget_used(budget) == 0, "%llu bytes were never given back to the budget",
		  (unsigned long long)budget_used(budget));
	budget_unref(budget);
	check_device();
	want_check_memory();
}
