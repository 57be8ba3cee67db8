/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/run.h"

#include <stdlib.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/context.h"
#include "engine/group.h"

/* Neighbours with no more than this between them are read as one. */
#define GAP_MAX (64 * KIB)

/* One job of the populator, and how far it may be ahead of the reads: twice that. */
#define POPULATE_STEP (128 * MIB)

/* A read that waits for memory behind that much of a run: memory is slower than the reads. */
#define BEHIND_BYTES (64 * MIB)

/* What each extent can rely on where its type says nothing: as malloc has it. */
#define ALIGN_DEFAULT UINT64_C(16)

/* Tensors that share a chunk of device memory keep all of it for as long as one of them is used. */
#define CHUNK_MAX (16 * MIB)

static bool needs_own(const struct extent *extent)
{
	return extent->stride_count > 0 ||
	       (extent->align > 1 && extent->offset & (extent->align - 1));
}

static uint64_t block_of(const struct extent *extent)
{
	return extent->object->core->offset_align;
}

/* Can `next` stand behind the run that ends at `end` and began at `start`? */
static bool joins(const struct extent *last, const struct extent *next, uint64_t start,
		  uint64_t end, uint64_t limit_bytes)
{
	return next->allocate && !next->nobody && !next->berth && !next->hopeless &&
	       !needs_own(next) && next->object == last->object && next->class_ == last->class_ &&
	       next->offset >= end && next->offset - end <= GAP_MAX &&
	       next->offset + next->length - start <= limit_bytes;
}

static uint64_t align_on_device(const struct extent *extent)
{
	return max_of((uint64_t)extent->align, CUDA_ALIGN);
}

/* A chunk of a device's memory; the order is by place in the file, so neighbours are loaded together. */
static uint32_t cut_chunk(const struct weir_plan *plan, uint32_t at, uint64_t limit_bytes,
			  struct run *run)
{
	const struct extent *extent = &plan->extents[plan->order[at]];
	uint64_t most = min_of(limit_bytes, CHUNK_MAX);

	*run = (struct run){.first = at, .count = 1, .unsettled = 1, .packed = true};
	run->bytes = extent->length;
	while (at + run->count < plan->count) {
		const struct extent *next = &plan->extents[plan->order[at + run->count]];
		uint64_t start = round_up(run->bytes, align_on_device(next));

		if (!next->allocate || next->nobody || next->berth != extent->berth ||
		    next->hopeless || next->class_ != extent->class_ || start > most ||
		    next->length > most - start)
			break;
		if (next->length)
			run->bytes = start + next->length;
		run->count++;
		run->unsettled += next->length > 0;
	}
	return run->count;
}

/* The run that begins at this place of the order; returns how many extents it takes. */
static uint32_t cut_run(const struct weir_plan *plan, uint32_t at, uint64_t limit_bytes,
			struct run *run)
{
	const struct extent *extent = &plan->extents[plan->order[at]];
	uint64_t block = block_of(extent), end = extent->offset + extent->length;

	if (extent->berth)
		return cut_chunk(plan, at, limit_bytes, run);
	*run = (struct run){.first = at, .count = 1, .unsettled = 1};
	run->packed = needs_own(extent);
	if (run->packed) {
		run->bytes = extent->length;
		return 1;
	}
	run->start = round_down(extent->offset, block);
	while (at + run->count < plan->count) {
		const struct extent *next = &plan->extents[plan->order[at + run->count]];

		if (!joins(extent, next, run->start, end, limit_bytes))
			break;
		extent = next;
		end = extent->offset + extent->length;
		run->count++;
		run->unsettled += next->length > 0; /* empty ones need no memory */
	}
	run->bytes = round_up(end, block) - run->start;
	return run->count;
}

static bool wants_run(const struct weir_plan *plan, uint32_t at)
{
	const struct extent *extent = &plan->extents[plan->order[at]];

	return extent->allocate && !extent->nobody && !extent->hopeless && extent->length > 0;
}

static void cut_runs(struct weir_plan *plan, uint64_t limit_bytes, struct runs *runs)
{
	for (uint32_t at = 0; at < plan->count;) {
		struct run *run = &runs->run[runs->count];
		uint32_t taken;

		if (!wants_run(plan, at)) {
			at++;
			continue;
		}
		taken = cut_run(plan, at, limit_bytes, run);
		for (uint32_t i = 0; i < taken; i++)
			if (wants_run(plan, at + i))
				plan->extents[plan->order[at + i]].run = runs->count;
		runs->count++;
		at += taken;
	}
}

static uint32_t count_runs(const struct weir_plan *plan, uint64_t limit_bytes)
{
	struct run scratch;
	uint32_t count = 0;

	for (uint32_t at = 0; at < plan->count;) {
		if (!wants_run(plan, at)) {
			at++;
			continue;
		}
		at += cut_run(plan, at, limit_bytes, &scratch);
		count++;
	}
	return count;
}

int runs_create(struct weir_plan *plan, struct budget *budget, uint64_t limit_bytes,
		struct runs *out, struct weir_error *err)
{
	uint32_t count = count_runs(plan, limit_bytes);
	int ret;

	*out = (struct runs){NULL};
	if (count == 0)
		return 0;
	out->run = calloc(count, sizeof(out->run[0]));
	if (!out->run)
		return error_nomem(err, NULL, "the runs of a plan");
	ret = buffer_block_create(plan->ctx->pool, budget, plan->count, &out->block, err);
	if (ret < 0) {
		runs_fini(out);
		return ret;
	}
	cut_runs(plan, limit_bytes, out);
	return 0;
}

void runs_fini(struct runs *runs)
{
	buffer_block_unref(runs->block);
	free(runs->run);
	*runs = (struct runs){NULL};
}

static void place_in_chunk(struct weir_plan *plan, struct run *run)
{
	uint64_t at = 0;

	for (uint32_t i = 0; i < run->count; i++) {
		struct extent *extent = &plan->extents[plan->order[run->first + i]];

		if (extent->length == 0)
			continue;
		at = round_up(at, align_on_device(extent));
		if (extent->state == EXTENT_PLANNED) {
			extent->memory = run->memory + at;
			run->spare -= extent->length;
		}
		at += extent->length;
	}
}

static void place_extents(struct weir_plan *plan, struct run *run)
{
	for (uint32_t i = 0; i < run->count; i++) {
		struct extent *extent = &plan->extents[plan->order[run->first + i]];

		/* What was dropped before has its completion, and takes nothing with it. */
		if (extent->length == 0 || extent->state != EXTENT_PLANNED)
			continue;
		extent->memory = run->memory + (run->packed ? 0 : extent->offset - run->start);
		run->spare -= extent->length;
	}
}

/* What the budget is charged: whole huge pages, except for what shares one with others. */
static uint64_t cost_of(const struct run *run)
{
	return run->bytes < POOL_UNIT / 2 ? run->bytes : round_up(run->bytes, POOL_UNIT);
}

/*
 * From the pool of those who read into shared memory; where /dev/shm has no room, from the
 * context's, and then what is read passes through staging.
 */
static int take_memory(struct weir_ctx *ctx, struct group *group, struct run *run, uint64_t align,
		       struct weir_error *err)
{
	struct weir_error why = WEIR_ERROR_INIT;
	void *memory;
	int ret = WEIR_UNSUPPORTED;

	run->pool = group->pool;
	if (group->pool)
		ret = pool_take(group->pool, run->bytes, align, 0, &memory, &run->fresh, &why);
	if (ret < 0) {
		if (group->pool)
			group_note_refusal(group, &why);
		run->pool = ctx->pool;
		ret = pool_take(ctx->pool, run->bytes, align, 0, &memory, &run->fresh, err);
	}
	if (ret == 0)
		run->memory = memory;
	return ret;
}

static int take_chunk(struct weir_plan *plan, struct run *run, struct budget *budget,
		      struct weir_error *err)
{
	const struct extent *first = &plan->extents[plan->order[run->first]];

	if (!budget_take(budget, run->bytes))
		return RUN_WAIT_BUDGET;
	if (cuda_chunk_create(first->berth->device, run->bytes, &run->chunk, err) < 0) {
		budget_give(budget, run->bytes);
		return RUN_FAILED;
	}
	run->memory = (char *)(uintptr_t)run->chunk->at;
	run->spare = run->bytes;
	place_in_chunk(plan, run);
	return RUN_READY;
}

int run_take(struct weir_plan *plan, struct run *run, struct budget *budget, struct weir_error *err)
{
	const struct extent *first = &plan->extents[plan->order[run->first]];
	uint64_t align =
		run->packed ? max_of((uint64_t)first->align, ALIGN_DEFAULT)
			    : max_of(max_of(block_of(first), first->object->core->memory_align),
				     ALIGN_DEFAULT);
	/* More would be waited for in vain. */
	uint64_t most = budget_attainable(budget), cost;

	if (run->bytes > most) {
		error_at(err, WEIR_LIMIT, first->object->core->uri, first->offset, first->length,
			 "%s: %llu bytes at offset %llu are more than the budget leaves: %llu of "
			 "%llu",
			 first->object->core->uri, (unsigned long long)first->length,
			 (unsigned long long)first->offset, (unsigned long long)most,
			 (unsigned long long)budget_limit(budget));
		return RUN_FAILED;
	}
	if (first->berth)
		return take_chunk(plan, run, budget, err);
	cost = min_of(cost_of(run), most);
	if (!budget_take(budget, cost))
		return RUN_WAIT_BUDGET;
	if (take_memory(plan->ctx, first->object->group, run, align, err) < 0) {
		budget_give(budget, cost);
		return RUN_FAILED;
	}
	run->spare = cost;
	place_extents(plan, run);
	return RUN_READY;
}

/* On a thread of the populator's, after each step. */
static void stepped(void *arg)
{
	struct run *run = arg;
	struct weir_ctx *ctx = run->group->ctx;
	int64_t now = ctx->trace ? ctx->sys->now_ns() : 0;
	int64_t began = atomic_exchange_explicit(&run->step_ns, now, memory_order_relaxed);

	trace_add(ctx->trace, TRACE_POPULATE, TRACE_LANE_POPULATE, began, now, run->start,
		  atomic_load_explicit(&run->job.ready, memory_order_relaxed));
	group_wake(run->group);
}

static void start_job(struct run *run, struct group *group)
{
	run->job = (struct populate_job){
		.at = run->memory + run->populating,
		.bytes = min_of(POPULATE_STEP, run->bytes - run->populating),
		.pool = run->pool,
		.notify = stepped,
		.arg = run,
	};
	run->group = group;
	atomic_store_explicit(&run->step_ns, group->ctx->sys->now_ns(), memory_order_relaxed);
	run->job_started = true;
	populate_start(group->ctx->populator, &run->job);
}

bool run_populated(struct run *run, struct group *group, uint64_t upto)
{
	uint64_t ready;

	if (!run->fresh || group->ctx->simulated)
		return true;
	if (!run->job_started)
		start_job(run, group);
	/* Acquire, paired with the populator's release: the pages exist. */
	ready = atomic_load_explicit(&run->job.ready, memory_order_acquire);
	while (ready == run->job.bytes && run->populating + ready < run->bytes &&
	       upto + POPULATE_STEP > run->populating + ready) {
		run->populating += ready;
		populate_cancel(group->ctx->populator, &run->job); /* its notify() may still run */
		start_job(run, group);
		ready = atomic_load_explicit(&run->job.ready, memory_order_acquire);
	}
	ready += run->populating;
	if (ready >= min_of(upto, run->bytes))
		return true;
	if (ready >= BEHIND_BYTES)
		populate_hurry(group->ctx->populator);
	return false;
}

bool run_broken(const struct run *run)
{
	return run->job_started && run->group->pool == run->pool &&
	       atomic_load_explicit(&run->job.failed, memory_order_relaxed);
}

struct weir_buffer *run_buffer(const struct run *run, struct buffer_block *block, uint64_t index,
			       const struct extent *extent)
{
	if (run->chunk)
		return buffer_make_device(block, index, run->chunk, extent->memory, extent->length);
	return buffer_make(block, index, run->pool, extent->memory, extent->length);
}

void run_settled(struct weir_ctx *ctx, struct run *run, struct budget *budget,
		 uint64_t returned_bytes)
{
	if (run->memory)
		run->spare += returned_bytes;
	if (--run->unsettled > 0 || !run->memory)
		return;
	if (run->job_started)
		populate_cancel(ctx->populator, &run->job);
	if (run->chunk)
		cuda_chunk_unref(run->chunk);
	else
		pool_drop(run->pool, run->memory, run->bytes);
	run->chunk = NULL;
	budget_give(budget, run->spare);
	run->memory = NULL;
}
