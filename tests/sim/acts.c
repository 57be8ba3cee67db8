/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a program does, at random.
 */
#include "base/clock.h"
#include "base/size.h"
#include "lib/fake_cuda.h"
#include "sim/sim.h"

#define TAKE_MAX 16

static struct weir_error err = WEIR_ERROR_INIT;

static struct flight *random_flight(unsigned *index)
{
	if (world.flight_count == 0)
		return NULL;
	*index = (unsigned)below(world.flight_count);
	return world.flights[*index].transfer ? &world.flights[*index] : NULL;
}

/* ---- Plans ---- */

static uint64_t random_length(uint64_t left)
{
	uint64_t most = one_in(4) ? 300 * KIB : one_in(2) ? 20 * KIB : 300;

	if (one_in(20))
		return 0;
	if (one_in(30))
		return left;
	return below(min_of(most, left + (one_in(10) ? 5000 : 0)) + 1);
}

/* The same, over there; behind work of the program's, now and then. */
static struct weir_dest on_device(const struct want *want, struct weir_dest host)
{
	int device = want->at ? 0 : (int)below(2);
	struct weir_dest dest = weir_dest_cuda_alloc(device);

	dest.align = host.align;
	if (want->alloc)
		return dest;
	if (one_in(20))
		fake_cuda_compute(NULL, (int64_t)below(20) * NS_PER_MS, NULL, 0, 0);
	return weir_dest_cuda(0, want->at, want->length, one_in(3) ? WEIR_CUDA_NO_STREAM : NULL);
}

static struct weir_dest random_dest(struct want *want)
{
	struct weir_dest dest = weir_dest_alloc();

	want->alloc = want > world.wants && !want[-1].write && one_in(2) ? want[-1].alloc
									 : one_in(2);
	if (!want->alloc)
		want->at = want_memory(want->length, want->offset);
	if (!want->alloc && !want->at)
		want->alloc = true;
	if (want->alloc)
		dest.align = one_in(4) ? 1u << below(13) : 0;
	else
		dest = weir_dest_host(want->at, want->length);
	return world.device ? on_device(want, dest) : dest;
}

static void random_levels(struct want *want)
{
	uint64_t inside = want->run_bytes;

	want->levels = 1 + (unsigned)below(LEVELS_MAX);
	for (unsigned i = want->levels; i-- > 0;) {
		want->strides[i].count = 1 + below(6);
		want->strides[i].stride_bytes = inside + (one_in(3) ? 0 : below(3000));
		inside += (want->strides[i].count - 1) * want->strides[i].stride_bytes;
		want->length *= want->strides[i].count;
	}
}

/* Follows the last one now and then: neighbours share requests and memory. */
static void random_range(struct want *want)
{
	const struct thing *thing = &world.things[want->thing];
	const struct want *last = want > world.wants ? want - 1 : NULL;

	if (last && last->thing == want->thing && one_in(2))
		want->offset = last->offset + last->length + (one_in(3) ? below(9000) : 0);
	else
		want->offset = below(thing->size + (one_in(10) ? 9000 : 1));
	if (one_in(10) && last && last->thing == want->thing)
		want->offset = last->offset; /* the same again, or over it */
	want->length = random_length(thing->size - min_of(want->offset, thing->size));
	want->run_bytes = want->length;
	if (one_in(8) && want->length > 0) {
		want->length = want->run_bytes = 1 + below(500);
		random_levels(want);
	}
}

static bool add_read(struct weir_plan *plan, unsigned flight)
{
	struct want *want = &world.wants[world.want_count];
	struct weir_dest dest;
	int ret;

	*want = (struct want){.flight = flight, .thing = (unsigned)below(world.thing_count)};
	if (world.want_count > 0 && one_in(2) && !want[-1].write)
		want->thing = want[-1].thing;
	if (!world.things[want->thing].object)
		return true;
	random_range(want);
	dest = random_dest(want);
	if (world.things[want->thing].changed)
		want->allowed |= CODE_BIT(WEIR_CHANGED) | CODE_BIT(WEIR_TRUNCATED);
	if (want_present(want) < want->length || want->offset > world.things[want->thing].size)
		want->allowed |= CODE_BIT(WEIR_TRUNCATED);
	ret = weir_plan_class(plan, (int)below(3), &err);
	sim_check(ret == 0, "%s", err.message);
	if (want->levels)
		ret = weir_plan_strided(plan, world.things[want->thing].object, want->offset,
					want->run_bytes, want->strides, want->levels, dest,
					world.want_count, &err);
	else
		ret = weir_plan_range(plan, world.things[want->thing].object, want->offset,
				      want->length, dest, world.want_count, &err);
	if (ret == WEIR_LIMIT && world.ctx->opts.budget_bytes)
		return false;
	sim_check(ret == 0, "%s", err.message);
	sim_event("extent", want->offset, want->length, want->levels);
	world.want_count++;
	world.flights[flight].wants++;
	return true;
}

static struct weir_plan *random_plan(unsigned flight)
{
	struct weir_plan *plan;
	uint64_t count = one_in(10) ? 0 : 1 + below(one_in(3) ? 60 : 8);

	if (weir_plan_create(world.ctx, &plan, &err) < 0)
		return NULL;
	while (count-- > 0 && world.want_count < WANTS_MAX && add_read(plan, flight))
		;
	return plan;
}

/* Its wants have not begun: as if they had not been asked for. */
static void take_back(unsigned flight, unsigned count)
{
	world.want_count -= count;
	world.flights[flight].wants -= count;
}

/* The budget has no room for its plan. */
static struct weir_plan *forget_writing(unsigned index, struct weir_plan *plan)
{
	take_back(index, (unsigned)weir_plan_count(plan));
	weir_plan_destroy(plan);
	weir_object_unref(world.flights[index].writes);
	world.flights[index].writes = NULL;
	return NULL;
}

/* An object that is written, in pieces. */
static struct weir_plan *writing_plan(unsigned index)
{
	struct flight *flight = &world.flights[index];
	uint64_t size = below(200 * KIB), done = 0;
	struct weir_plan *plan;
	char uri[32] = "memory://o9";
	int ret;

	if (world.contents_used == CONTENTS ||
	    weir_object_create(world.ctx, uri, size, NULL, &flight->writes, &err) < 0)
		return NULL;
	flight->write_content = world.contents_used++;
	sim_check(weir_plan_create(world.ctx, &plan, &err) == 0, "%s", err.message);
	while (done < size && world.want_count < WANTS_MAX) {
		uint64_t piece = min_of(size - done, 1 + below(60 * KIB));
		struct want *want = &world.wants[world.want_count];

		*want = (struct want){.flight = index, .write = true, .length = piece};
		ret = weir_plan_write(plan, flight->writes, done,
				      content_of(flight->write_content) + done, piece,
				      world.want_count, &err);
		if (ret == WEIR_LIMIT && world.ctx->opts.budget_bytes)
			return forget_writing(index, plan);
		sim_check(ret == 0, "%s", err.message);
		world.want_count++;
		flight->wants++;
		done += piece;
	}
	return plan;
}

/* ---- Starting ---- */

static void random_opts(struct weir_transfer_opts *opts)
{
	if (one_in(5))
		opts->flags |= WEIR_TRANSFER_GUARDED;
	if (one_in(5))
		opts->flags |= WEIR_TRANSFER_AT_END;
	if (one_in(8))
		opts->flags |= WEIR_TRANSFER_LIVE;
	if (one_in(8))
		opts->flags |= WEIR_TRANSFER_ON_RELEASE;
	if (one_in(4))
		opts->flags |= WEIR_TRANSFER_OPEN;
	if (one_in(4))
		opts->timeout_ns = 1 + (int64_t)below(500) * NS_PER_MS;
	if (one_in(4))
		opts->budget_bytes = 256 * KIB + below(4 * MIB);
}

static void act_promote(void);

static uint64_t allowed_by(const struct weir_transfer_opts *opts)
{
	uint64_t allowed = 0;

	if (opts->timeout_ns)
		allowed |= CODE_BIT(WEIR_TIMEOUT);
	if (opts->budget_bytes || world.ctx->opts.budget_bytes)
		allowed |= CODE_BIT(WEIR_LIMIT);
	return allowed;
}

static void act_start(void)
{
	unsigned index = world.flight_count;
	struct flight *flight = &world.flights[index];
	struct weir_transfer_opts opts = {.size = sizeof(opts)};
	unsigned before = world.want_count;
	struct weir_plan *plan;
	int ret;

	if (index == FLIGHTS_MAX)
		return;
	*flight = (struct flight){.queue = one_in(2) ? -1 : (int)below(QUEUES_MAX)};
	random_opts(&opts);
	plan = one_in(8) ? writing_plan(index) : random_plan(index);
	if (!plan)
		return;
	flight->flags = opts.flags;
	flight->open = opts.flags & WEIR_TRANSFER_OPEN;
	flight->deadline_ns = opts.timeout_ns && !(opts.flags & WEIR_TRANSFER_ON_RELEASE)
				      ? world_now() + opts.timeout_ns
				      : NEVER;
	for (unsigned i = before; i < world.want_count; i++)
		world.wants[i].allowed |= allowed_by(&opts);
	sim_event("start", opts.flags, (uint64_t)opts.timeout_ns, weir_plan_count(plan));
	ret = weir_transfer_start(plan, flight->queue < 0 ? NULL : world.queues[flight->queue],
				  &opts, &flight->transfer, &err);
	if (ret == 0) {
		world.flight_count++;
		for (uint64_t i = one_in(3) ? below(8) : 0; i > 0; i--)
			act_promote();
		return;
	}
	sim_check(ret == WEIR_LIMIT, "start: %s", err.message);
	take_back(index, world.want_count - before);
	weir_plan_destroy(plan);
	weir_object_unref(flight->writes);
}

static void act_append(void)
{
	unsigned index, before = world.want_count;
	struct flight *flight = random_flight(&index);
	struct weir_plan *plan;
	int ret;

	if (!flight || flight->writes || !(plan = random_plan(index)))
		return;
	for (unsigned i = before; i < world.want_count; i++) {
		world.wants[i].allowed |= CODE_BIT(WEIR_LIMIT);
		if (flight->deadline_ns != NEVER)
			world.wants[i].allowed |= CODE_BIT(WEIR_TIMEOUT);
	}
	ret = weir_transfer_append(flight->transfer, plan, &err);
	sim_event("append", index, (uint64_t)ret, 0);
	if (ret == 0) {
		sim_check(flight->open && !flight->stopped, "an ended transfer takes more");
		return;
	}
	take_back(index, world.want_count - before);
	weir_plan_destroy(plan);
}

static void act_end(void)
{
	unsigned index;
	struct flight *flight = random_flight(&index);

	if (!flight)
		return;
	weir_transfer_end(flight->transfer);
	flight->open = false;
	sim_event("end", index, 0, 0);
}

/* ---- Changing one's mind ---- */

static void allow(unsigned flight, int code)
{
	for (unsigned i = 0; i < world.want_count; i++)
		if (world.wants[i].flight == flight)
			world.wants[i].allowed |= CODE_BIT(code);
}

static void act_cancel(void)
{
	unsigned index;
	struct flight *flight = random_flight(&index);

	if (!flight)
		return;
	allow(index, WEIR_CANCELLED);
	flight->stopped = true;
	weir_transfer_cancel(flight->transfer);
	sim_event("cancel", index, 0, 0);
}

static void act_drop(void)
{
	struct want *want;
	int dropped;

	if (world.want_count == 0)
		return;
	want = &world.wants[below(world.want_count)];
	if (want->forgotten || !world.flights[want->flight].transfer)
		return;
	want->allowed |= CODE_BIT(WEIR_CANCELLED);
	dropped = weir_transfer_drop(world.flights[want->flight].transfer,
				     (uint64_t)(want - world.wants));
	sim_check(dropped == 0 || (dropped == 1 && !want->settled), "dropped %d of one", dropped);
	sim_event("drop", (uint64_t)(want - world.wants), (uint64_t)dropped, 0);
}

static void act_promote(void)
{
	uint64_t recent = min_of((uint64_t)world.want_count,
				 (uint64_t)(one_in(2) ? 20 : WANTS_MAX));
	struct want *want;
	int promoted;

	if (world.want_count == 0)
		return;
	want = &world.wants[world.want_count - 1 - below(recent)];
	if (want->forgotten || !world.flights[want->flight].transfer)
		return;
	promoted = weir_transfer_promote(world.flights[want->flight].transfer,
					 (uint64_t)(want - world.wants), (int)below(3));
	sim_check(promoted == 0 || (promoted == 1 && !want->settled), "promoted %d of one",
		  promoted);
	sim_event("promote", (uint64_t)(want - world.wants), (uint64_t)promoted, 0);
}

/* ---- Taking and returning ---- */

static int take_some(unsigned from, unsigned max)
{
	struct weir_done done[TAKE_MAX];
	int n;

	if (from < QUEUES_MAX)
		n = weir_queue_wait(world.queues[from], done, max, 0, &err);
	else if (world.flights[from - QUEUES_MAX].transfer &&
		 world.flights[from - QUEUES_MAX].queue < 0)
		n = weir_transfer_wait(world.flights[from - QUEUES_MAX].transfer, done, max, 0,
				       &err);
	else
		return 0;
	sim_check(n >= 0 || n == WEIR_TIMEOUT, "wait: %s", err.message);
	for (int i = 0; i < n; i++)
		want_settled(&done[i]);
	return max_of(n, 0);
}

void act_take(bool all)
{
	unsigned sources = QUEUES_MAX + world.flight_count;

	if (!all) {
		take_some((unsigned)below(sources), 1 + (unsigned)below(TAKE_MAX));
		return;
	}
	for (unsigned i = 0; i < sources; i++)
		while (take_some(i, TAKE_MAX) > 0)
			;
}

void act_return(bool all)
{
	for (unsigned i = 0; i < world.want_count; i++)
		if (world.wants[i].held && (all || one_in(4)))
			want_return_buffer(&world.wants[i]);
}

/* ---- Finishing ---- */

/* What was written whole becomes an object to be read. */
static void end_writing(struct flight *flight, bool whole)
{
	struct weir_stat stat;
	uint64_t size;
	int ret;

	if (!flight->writes)
		return;
	sim_check(weir_object_stat(flight->writes, &stat, &err) == 0, "%s", err.message);
	size = stat.size_bytes;
	if (whole && one_in(2)) {
		ret = weir_object_commit(flight->writes, 0, &err);
		sim_check(ret == 0, "commit: %s", err.message);
		for (unsigned i = 0; i < world.thing_count; i++)
			world.things[i].changed |= world.things[i].name == 9;
		for (unsigned i = 0; i < world.want_count; i++)
			if (!world.wants[i].write && world.things[world.wants[i].thing].changed)
				world.wants[i].allowed |= CODE_BIT(WEIR_CHANGED) |
							  CODE_BIT(WEIR_TRUNCATED);
		if (world.thing_count < THINGS_MAX)
			sim_check(world_open(9, flight->write_content, size),
				  "what was written cannot be opened");
	}
	weir_object_unref(flight->writes);
	flight->writes = NULL;
}

static void check_result(const struct flight *flight, unsigned index, int ret)
{
	uint64_t allowed = world.allowed;

	if (ret == 0)
		return;
	for (unsigned i = 0; i < world.want_count; i++)
		if (world.wants[i].flight == index)
			allowed |= world.wants[i].allowed;
	if (world.slow)
		allowed |= CODE_BIT(WEIR_TIMEOUT);
	sim_check(allowed & CODE_BIT(ret) && err.code == ret, "finish: %s without a reason: %s",
		  weir_code_name(ret), err.message);
	(void)flight;
}

bool act_finish(unsigned index, int64_t timeout_ns)
{
	struct flight *flight = &world.flights[index];
	bool whole = true;
	int ret;

	err = (struct weir_error)WEIR_ERROR_INIT;
	world.waits = timeout_ns != 0;
	ret = weir_transfer_finish(flight->transfer, timeout_ns, &err);
	world.waits = false;
	sim_event("finish", index, (uint64_t)ret, 0);
	flight->open = false;
	flight->stopped = true;
	allow(index, WEIR_CANCELLED);
	if (ret == WEIR_LENT) {
		flight->closing = true;
		sim_check(timeout_ns >= 0, "finish: lent, and it had all the time");
		return false;
	}
	check_result(flight, index, ret);
	for (unsigned i = 0; i < world.want_count; i++)
		if (world.wants[i].flight == index)
			whole &= world.wants[i].settled && world.wants[i].status == 0;
	flight->transfer = NULL;
	want_flight_gone(index, false);
	end_writing(flight, whole);
	return true;
}

static void act_some_finish(void)
{
	unsigned index;
	struct flight *flight = random_flight(&index);

	if (!flight)
		return;
	if (act_finish(index, one_in(2) ? 0 : (int64_t)below(100) * NS_PER_MS) || one_in(2))
		return;
	if (weir_transfer_abandon(flight->transfer, &err) < 0)
		return;
	sim_event("abandon", index, 0, 0);
	flight->transfer = NULL;
	want_flight_gone(index, true);
	weir_object_unref(flight->writes);
	flight->writes = NULL;
}

/* ---- Any of them ---- */

void act(void)
{
	uint64_t dice;

	if (feeds_act())
		return;
	dice = below(100);
	if (dice < 45)
		world_step_any();
	else if (dice < 57)
		act_take(false);
	else if (dice < 65)
		act_return(false);
	else if (dice < 73)
		world_pass_time();
	else if (dice < 77)
		world_pass((int64_t)below(3 * NS_PER_MS));
	else if (dice < 83)
		act_start();
	else if (dice < 86)
		act_append();
	else if (dice < 87)
		act_end();
	else if (dice < 89)
		act_cancel();
	else if (dice < 91)
		act_drop();
	else if (dice < 95)
		act_promote();
	else if (dice < 97)
		act_some_finish();
	else if (dice < 98)
		world_faults();
	else if (dice < 99)
		world_replace((unsigned)below(world.thing_count));
	else
		weir_ctx_trim(world.ctx);
}
