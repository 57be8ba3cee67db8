/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of a transfer: start, append, wait, promote, drop.  Its end: finish.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/context.h"
#include "engine/failure.h"
#include "engine/group.h"
#include "engine/transfer.h"
#include "mem/limits.h"

#define STALL_DEFAULT (60 * NS_PER_SEC)
#define STALL_MAX     (NEVER / 4) /* a sum with the time now does not overflow */

/* Largest run of several extents: as large as the file where nothing bounds it. */
#define RUN_UNBOUNDED (UINT64_MAX / 4)
#define RUN_BOUNDED   (64 * MIB)

#define FLAGS_ALL                                                                                  \
	(WEIR_TRANSFER_GUARDED | WEIR_TRANSFER_AT_END | WEIR_TRANSFER_LIVE |                       \
	 WEIR_TRANSFER_ON_RELEASE | WEIR_TRANSFER_OPEN)

/* ---- Batches ---- */

static void batch_destroy(struct batch *batch)
{
	if (!batch)
		return;
	runs_fini(&batch->runs);
	free(batch->sweeps);
	weir_plan_destroy(batch->plan);
	free(batch);
}

/* Does another sweep begin at this place of the order? */
static bool begins(const struct weir_plan *plan, uint32_t at)
{
	const struct extent *extent = &plan->extents[plan->order[at]];
	const struct extent *before = at ? &plan->extents[plan->order[at - 1]] : NULL;

	return !before || before->class_ != extent->class_ ||
	       before->object->group != extent->object->group;
}

static int cut_sweeps(struct weir_transfer *transfer, struct batch *batch, struct weir_error *err)
{
	struct weir_plan *plan = batch->plan;
	uint32_t count = 0;

	for (uint32_t at = 0; at < plan->count; at++)
		count += begins(plan, at);
	batch->sweeps = calloc(count ? count : 1, sizeof(batch->sweeps[0]));
	if (!batch->sweeps)
		return error_nomem(err, NULL, "the sweeps of a transfer");
	for (uint32_t at = 0; at < plan->count; at++) {
		const struct extent *extent = &plan->extents[plan->order[at]];

		if (begins(plan, at))
			batch->sweeps[batch->sweep_count++] = (struct sweep){
				.transfer = transfer,
				.plan = plan,
				.runs = &batch->runs,
				.cursor = {at, 0},
				.class_ = extent->class_,
				.group = extent->object->group};
		batch->sweeps[batch->sweep_count - 1].end = at + 1;
	}
	for (uint32_t i = 0; i < batch->sweep_count; i++) {
		list_init(&batch->sweeps[i].ready);
		list_init(&batch->sweeps[i].all);
	}
	return 0;
}

static bool wants_memory(const struct extent *extent)
{
	return extent->allocate && !extent->nobody && !extent->berth && !extent->hopeless;
}

/* What weir is about to allocate, held against what there is. */
static int check_memory(const struct weir_transfer *transfer, const struct weir_plan *plan,
			struct weir_error *err)
{
	struct pool_usage usage;
	uint64_t bytes = 0;

	for (uint64_t i = 0; i < plan->count; i++)
		if (wants_memory(&plan->extents[i]) &&
		    !size_add(bytes, plan->extents[i].length, &bytes))
			bytes = UINT64_MAX;
	bytes = min_of(bytes, budget_limit(transfer->budget));
	pool_usage(transfer->ctx->pool, &usage);
	/* What is populated and held by nobody is used first, and costs nothing. */
	bytes -= min_of(bytes, usage.kept_bytes);
	return bytes ? memory_check(transfer->ctx->sys, bytes, "the tensors", err) : 0;
}

/* What reaches past the end where that is not allowed; it needs neither memory nor reading. */
static void mark_hopeless(const struct weir_transfer *transfer, struct weir_plan *plan)
{
	bool any_end = transfer->opts.flags & (WEIR_TRANSFER_AT_END | WEIR_TRANSFER_LIVE);

	for (uint64_t i = 0; i < plan->count; i++) {
		struct extent *extent = &plan->extents[i];

		extent->hopeless = !extent->write && !any_end &&
				   extent_end(plan, extent) > extent->object->core->size_bytes;
	}
}

static int batch_create(struct weir_transfer *transfer, struct weir_plan *plan, struct batch **out,
			struct weir_error *err)
{
	uint64_t limit = budget_limit(transfer->budget);
	uint64_t run = limit == BUDGET_NONE ? RUN_UNBOUNDED : min_of(RUN_BOUNDED, limit / 4);
	struct batch *batch = calloc(1, sizeof(*batch));
	int ret;

	if (!batch)
		return error_nomem(err, NULL, "a transfer");
	mark_hopeless(transfer, plan);
	if ((ret = check_memory(transfer, plan, err)) < 0 ||
	    (ret = berths_open(plan, limit, err)) < 0 || (ret = plan_seal(plan, err)) < 0 ||
	    (ret = runs_create(plan, transfer->budget, run, &batch->runs, err)) < 0)
		goto fail;
	batch->plan = plan;
	ret = cut_sweeps(transfer, batch, err);
	for (uint32_t i = 0; ret == 0 && i < batch->sweep_count; i++)
		ret = group_start(batch->sweeps[i].group, plan->berths != NULL, err);
	if (ret == 0) {
		*out = batch;
		return 0;
	}
fail:
	batch->plan = NULL; /* the caller keeps it */
	batch_destroy(batch);
	free(plan->order);
	plan->order = NULL;
	return ret;
}

/* What needs no reading settles at once: nothing to read, a view of it, an end past the object's. */
static void settle_known(struct weir_transfer *transfer, struct weir_plan *plan)
{
	for (uint64_t i = 0; i < plan->count; i++) {
		struct extent *extent = &plan->extents[i];

		if (extent->hopeless)
			transfer_fail_extent(transfer, extent, WEIR_TRUNCATED, 0,
					     extent->object->core->size_bytes);
		else if (extent->length == 0 || extent->mapped)
			transfer_settle_empty(transfer, extent);
	}
}

/* Hooks it in, and lets the lanes go. */
static void launch(struct weir_transfer *transfer, struct batch *batch)
{
	struct weir_plan *plan = batch->plan;

	lock_take(&transfer->lock);
	*transfer->last_batch = batch;
	transfer->last_batch = &batch->next;
	transfer->unsettled += plan->count;
	transfer->total_bytes += plan->bytes;
	settle_known(transfer, plan);
	if (transfer->stopping) /* cancelled while the plan was being prepared */
		transfer_stop_plan(transfer, plan);
	lock_drop(&transfer->lock);
	/* A deadline that has passed by now is not raced against reads that are quick. */
	transfer_check_time(transfer, transfer->ctx->sys->now_ns());
	for (uint32_t i = 0; i < batch->sweep_count; i++)
		group_add(batch->sweeps[i].group, &batch->sweeps[i]);
}

/* ---- Starting ---- */

void transfer_free(struct weir_transfer *transfer)
{
	while (transfer->batches) {
		struct batch *batch = transfer->batches;

		transfer->batches = batch->next;
		batch_destroy(batch);
	}
	while (transfer->alone) {
		struct alone *alone = transfer->alone;

		transfer->alone = alone->next;
		free(alone);
	}
	if (transfer->owns_queue)
		queue_fini(&transfer->own);
	if (transfer->budget)
		budget_unref(transfer->budget);
	cond_fini(&transfer->quiet);
	lock_fini(&transfer->lock);
	free(transfer);
}

static int take_share(struct weir_transfer *transfer, struct weir_error *err)
{
	struct weir_ctx *ctx = transfer->ctx;

	if (transfer->opts.budget_bytes)
		return budget_create(transfer->opts.budget_bytes, ctx->budget, &transfer->budget,
				     err);
	transfer->budget = budget_ref(ctx->budget);
	return 0;
}

static int transfer_create(struct weir_ctx *ctx, struct weir_queue *queue,
			   const struct weir_transfer_opts *opts, struct weir_transfer **out,
			   struct weir_error *err)
{
	struct weir_transfer *transfer = calloc(1, sizeof(*transfer));
	int ret;

	if (!transfer)
		return error_nomem(err, NULL, "a transfer");
	transfer->ctx = ctx;
	transfer->counters.parent = &ctx->counters;
	transfer->last_batch = &transfer->batches;
	opts_copy(&transfer->opts, sizeof(transfer->opts), opts);
	if (transfer->opts.stall_ns == 0)
		transfer->opts.stall_ns = STALL_DEFAULT;
	if (transfer->opts.stall_ns < 0 || transfer->opts.stall_ns > STALL_MAX)
		transfer->opts.stall_ns = STALL_MAX;
	transfer->deadline_ns = deadline_after(
		ctx->sys, transfer->opts.timeout_ns ? transfer->opts.timeout_ns : WEIR_FOREVER);
	if (transfer->opts.flags & WEIR_TRANSFER_ON_RELEASE)
		transfer->deadline_ns = NEVER;
	transfer->open = transfer->opts.flags & WEIR_TRANSFER_OPEN;
	transfer->progress_ns = ctx->sys->now_ns();
	list_init(&transfer->abandoned);
	lock_init(&transfer->lock);
	cond_init(&transfer->quiet);
	transfer->owns_queue = !queue;
	transfer->queue = queue ? queue : &transfer->own;
	if (!queue)
		queue_init(&transfer->own, ctx, UINT32_MAX);
	ret = take_share(transfer, err);
	if (ret < 0)
		transfer_free(transfer);
	else
		*out = transfer;
	return ret;
}

int weir_transfer_start(struct weir_plan *plan, struct weir_queue *queue,
			const struct weir_transfer_opts *opts, struct weir_transfer **out,
			struct weir_error *err)
{
	struct weir_transfer *transfer = NULL;
	struct batch *batch = NULL;
	int ret = ctx_alive(plan->ctx, err);

	if (ret < 0)
		return ret;
	if (plan->order)
		return error_set(err, WEIR_ARG, NULL, "the plan was started already");
	if (queue && queue->ctx != plan->ctx)
		return error_set(err, WEIR_ARG, NULL, "the queue is of another context");
	if ((ret = transfers_reap(plan->ctx, err)) < 0)
		return ret;
	ret = transfer_create(plan->ctx, queue, opts, &transfer, err);
	if (ret < 0)
		return ret;
	if (transfer->opts.flags & ~(uint32_t)FLAGS_ALL)
		ret = error_set(err, WEIR_ARG, NULL, "flags %#x: there are no such flags",
				transfer->opts.flags & ~(uint32_t)FLAGS_ALL);
	if (ret == 0)
		ret = batch_create(transfer, plan, &batch, err);
	if (ret < 0) {
		transfer_free(transfer);
		return ret;
	}
	*out = transfer;
	launch(transfer, batch);
	return 0;
}

int weir_transfer_append(struct weir_transfer *transfer, struct weir_plan *plan,
			 struct weir_error *err)
{
	struct batch *batch;
	bool refused;
	int ret = ctx_alive(transfer->ctx, err);

	if (ret < 0)
		return ret;
	lock_take(&transfer->lock);
	refused = !transfer->open || transfer->stopping;
	lock_drop(&transfer->lock);
	if (refused || plan->order || plan->ctx != transfer->ctx)
		return error_set(err, WEIR_ARG, NULL, "%s",
				 refused ? "the transfer takes no more plans"
					 : "the plan is not one for this transfer");
	ret = batch_create(transfer, plan, &batch, err);
	if (ret == 0)
		launch(transfer, batch);
	return ret;
}

void weir_transfer_end(struct weir_transfer *transfer)
{
	if (ctx_alive(transfer->ctx, NULL) < 0)
		return;
	lock_take(&transfer->lock);
	transfer->open = false;
	lock_drop(&transfer->lock);
	queue_nudge(transfer->queue);
}

/* ---- Waiting ---- */

enum to_come {
	COME_NOTHING,
	COME_RELEASES, /* only of memory that is lent */
	COME_MORE,
};

static enum to_come what_comes(struct weir_transfer *transfer)
{
	enum to_come what = COME_MORE;

	lock_take(&transfer->lock);
	if (!transfer->open && transfer->unsettled == 0)
		what = transfer->lent ? COME_RELEASES : COME_NOTHING;
	lock_drop(&transfer->lock);
	return what;
}

/* A request that is stuck may never release its memory: that is not waited for without an end. */
static int wait_own(struct weir_transfer *transfer, struct weir_done *out, unsigned max,
		    int64_t deadline_ns, int64_t lent_until_ns)
{
	for (;;) {
		/* Looked at before taking: what was posted before it came to that, the take sees. */
		enum to_come what = what_comes(transfer);
		int64_t until = what == COME_RELEASES ? lent_until_ns : deadline_ns;
		unsigned taken = queue_take(transfer->queue, out, max);

		if (taken || what == COME_NOTHING)
			return (int)min_of(taken, (unsigned)INT32_MAX);
		if (transfer->ctx->sys->now_ns() >= until)
			return WEIR_TIMEOUT;
		if (!ctx_idle(transfer->ctx))
			queue_sleep(transfer->queue, until);
	}
}

int weir_transfer_wait(struct weir_transfer *transfer, struct weir_done *out, unsigned max,
		       int64_t timeout_ns, struct weir_error *err)
{
	int64_t deadline, lent_until;
	int ret = ctx_alive(transfer->ctx, err);

	if (ret < 0)
		return ret;
	if (!transfer->owns_queue || max == 0)
		return error_set(err, WEIR_ARG, NULL, "%s",
				 max ? "this transfer posts to a queue: wait there"
				     : "waiting for 0 completions");
	deadline = deadline_after(transfer->ctx->sys, timeout_ns);
	lent_until = deadline_after(transfer->ctx->sys, transfer->opts.stall_ns);
	queue_begin_wait(transfer->queue);
	ret = wait_own(transfer, out, max, deadline, min_of(deadline, lent_until));
	queue_end_wait(transfer->queue, ret == WEIR_TIMEOUT);
	if (ret == WEIR_TIMEOUT)
		return error_set(err, ret, NULL, "no completion came in time");
	return ret;
}

void weir_transfer_counters(struct weir_transfer *transfer, struct weir_counters *out)
{
	counters_read(&transfer->counters, out);
	ctx_memory_counters(transfer->ctx, out);
}

void weir_transfer_progress(struct weir_transfer *transfer, uint64_t *done_bytes,
			    uint64_t *total_bytes)
{
	struct weir_counters counters;

	*done_bytes = *total_bytes = 0;
	if (ctx_alive(transfer->ctx, NULL) < 0)
		return;
	counters_read(&transfer->counters, &counters);
	*done_bytes = counters.bytes_delivered;
	lock_take(&transfer->lock);
	*total_bytes = transfer->total_bytes;
	lock_drop(&transfer->lock);
}

int weir_transfer_error(struct weir_transfer *transfer, const struct weir_done *done,
			struct weir_error *err)
{
	const struct extent *extent = (const struct extent *)(uintptr_t)done->id;
	int ret = ctx_alive(transfer->ctx, err);

	if (ret < 0)
		return ret;
	if (done->transfer != transfer)
		return error_set(err, WEIR_ARG, NULL, "a completion of another transfer");
	lock_take(&transfer->lock);
	ret = failure_describe(extent, err);
	lock_drop(&transfer->lock);
	return ret;
}

/* ---- Promote, drop ---- */

/* With the lock held: has nothing of it been asked for yet? */
static bool untouched(const struct extent *extent)
{
	return extent->state == EXTENT_PLANNED && extent->parts == 0 &&
	       extent->left == extent->length && extent->status == 0;
}

int weir_transfer_drop(struct weir_transfer *transfer, uint64_t tag)
{
	int dropped = ctx_alive(transfer->ctx, NULL);

	if (dropped < 0)
		return dropped;
	lock_take(&transfer->lock);
	for (struct batch *batch = transfer->batches; batch; batch = batch->next)
		for (uint64_t i = 0; i < batch->plan->count; i++) {
			struct extent *extent = &batch->plan->extents[i];

			if (extent->tag != tag || !untouched(extent))
				continue;
			transfer_fail_extent(transfer, extent, WEIR_CANCELLED, 0, extent->offset);
			dropped++;
		}
	lock_drop(&transfer->lock);
	if (dropped) /* what stood behind them may have waited for memory that only they needed */
		ctx_wake(transfer->ctx);
	return dropped;
}

/* A sweep for one extent that its own sweep will pass by.  With the lock held; false: no memory. */
static bool sweep_alone(struct weir_transfer *transfer, struct batch *batch, uint64_t index,
			uint8_t class_)
{
	struct weir_plan *plan = batch->plan;
	struct alone *alone = calloc(1, sizeof(*alone));
	uint32_t at = 0;

	if (!alone)
		return false;
	while (plan->order[at] != index)
		at++;
	plan->extents[index].withdrawn = true;
	if (plan->extents[index].run != RUN_NONE)
		batch->runs.run[plan->extents[index].run].exact = true;
	alone->sweep = (struct sweep){.transfer = transfer,
				      .plan = plan,
				      .runs = &batch->runs,
				      .cursor = {at, 0},
				      .end = at + 1,
				      .class_ = class_,
				      .alone = true,
				      .group = plan->extents[index].object->group};
	list_init(&alone->sweep.ready);
	list_init(&alone->sweep.all);
	alone->next = transfer->alone;
	transfer->alone = alone;
	return true;
}

int weir_transfer_promote(struct weir_transfer *transfer, uint64_t tag, int class_)
{
	uint8_t as = class_ == WEIR_CLASS_URGENT       ? SWEEP_URGENT
		     : class_ == WEIR_CLASS_BACKGROUND ? SWEEP_BACKGROUND
						       : SWEEP_NORMAL;
	struct alone *first, *before;
	int promoted = ctx_alive(transfer->ctx, NULL);

	if (promoted < 0)
		return promoted;
	if (class_ < WEIR_CLASS_NORMAL || class_ > WEIR_CLASS_BACKGROUND)
		return WEIR_ARG;
	lock_take(&transfer->lock);
	before = transfer->alone;
	for (struct batch *batch = transfer->batches; batch; batch = batch->next)
		for (uint64_t i = 0; i < batch->plan->count; i++) {
			struct extent *extent = &batch->plan->extents[i];

			if (extent->tag == tag && extent->class_ != as && untouched(extent) &&
			    !extent->withdrawn)
				promoted += sweep_alone(transfer, batch, i, as);
		}
	first = transfer->alone;
	lock_drop(&transfer->lock);
	/* The list only grows at its head, so this stretch of it stands still. */
	for (; first != before; first = first->next)
		group_add(first->sweep.group, &first->sweep);
	return promoted;
}
