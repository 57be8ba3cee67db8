/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a transfer: finish, abandon, and what becomes of requests that do not come back.
 *
 * A transfer is freed when no request of it is on a lane.  One whose requests are stuck is handed to
 * its context, which looks at them again when the next transfer starts and when it ends itself; what
 * is stuck even then is left behind, with all that it may write to.
 */
#include "base/clock.h"
#include "base/error.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/transfer.h"

/* Stuck transfers that a context takes over. */
#define ABANDONED_MAX 64

/* How long a context that ends waits for them: what is not stuck comes back by then. */
#define PARTING_NS (1 * NS_PER_SEC)

static void leave_groups(struct weir_transfer *transfer)
{
	for (struct batch *batch = transfer->batches; batch; batch = batch->next)
		for (uint32_t i = 0; i < batch->sweep_count; i++)
			group_remove(batch->sweeps[i].group, &batch->sweeps[i]);
	for (struct alone *alone = transfer->alone; alone; alone = alone->next)
		group_remove(alone->sweep.group, &alone->sweep);
}

/* Is no request of it on a lane?  With the lock held. */
static bool all_back(const struct weir_transfer *transfer)
{
	return transfer->flying == 0 && transfer->landing == 0;
}

/*
 * Waits until nothing flies, or the deadline.  What a lane has in its hands is waited for in any case:
 * that is a matter of microseconds, and a lane that copies writes to the caller's memory.  With the
 * lock held.
 */
static void wait_flying(struct weir_transfer *transfer, int64_t deadline_ns)
{
	const struct sys *sys = transfer->ctx->sys;
	bool moved;

	while (!all_back(transfer) && (transfer->landing > 0 || sys->now_ns() < deadline_ns)) {
		lock_drop(&transfer->lock);
		moved = ctx_idle(transfer->ctx);
		lock_take(&transfer->lock);
		if (!moved && !all_back(transfer))
			cond_wait(&transfer->quiet, &transfer->lock,
				  transfer->landing > 0 ? NEVER : deadline_ns);
	}
}

/* Cancels what has not settled, silently.  True when nothing flies. */
static bool wait_quiet(struct weir_transfer *transfer, int64_t deadline_ns)
{
	bool unsettled, quiet;

	lock_take(&transfer->lock);
	transfer->open = false;
	transfer->closing = true;
	unsettled = transfer->unsettled > 0;
	lock_drop(&transfer->lock);
	if (unsettled)
		weir_transfer_cancel(transfer);
	lock_take(&transfer->lock);
	wait_flying(transfer, deadline_ns);
	quiet = all_back(transfer);
	lock_drop(&transfer->lock);
	return quiet;
}

/* Does anything that flies aim at memory that is not ours? */
static bool aims_at_callers(const struct weir_transfer *transfer)
{
	for (struct batch *batch = transfer->batches; batch; batch = batch->next)
		for (uint64_t i = 0; i < batch->plan->count; i++) {
			const struct extent *extent = &batch->plan->extents[i];

			if ((extent->parts > extent->staged || extent->copies > 0) &&
			    !extent->allocate)
				return true;
		}
	return false;
}

/* Its completions are gone; it is freed now, or when its requests have come back. */
static void let_go(struct weir_transfer *transfer, bool quiet)
{
	struct weir_ctx *ctx = transfer->ctx;

	queue_forget(transfer->queue, transfer);
	if (quiet) {
		leave_groups(transfer);
		transfer_free(transfer);
		return;
	}
	lock_take(&transfer->lock);
	transfer->stopping = true;
	transfer->queue = NULL;
	lock_drop(&transfer->lock);
	lock_take(&ctx->lock);
	list_push(&ctx->abandoned, &transfer->abandoned);
	lock_drop(&ctx->lock);
}

static int result_of(struct weir_transfer *transfer, struct weir_error *err)
{
	if (transfer->first_error.code == 0)
		return 0;
	if (err)
		*err = transfer->first_error;
	return transfer->first_error.code;
}

int weir_transfer_finish(struct weir_transfer *transfer, int64_t timeout_ns, struct weir_error *err)
{
	bool quiet, lent;
	int ret;

	if (!transfer)
		return 0;
	if ((ret = ctx_alive(transfer->ctx, err)) < 0)
		return ret;
	quiet = wait_quiet(transfer, deadline_after(transfer->ctx->sys, timeout_ns));
	lock_take(&transfer->lock);
	lent = !quiet && aims_at_callers(transfer);
	ret = lent ? 0 : result_of(transfer, err);
	lock_drop(&transfer->lock);
	if (lent)
		return error_set(err, WEIR_LENT, NULL,
				 "requests are stuck in the kernel and may still write to the "
				 "caller's memory");
	let_go(transfer,
	       quiet); /* where only memory of ours is written, nothing keeps the caller */
	return ret;
}

/* ---- Those that are stuck ---- */

static bool is_quiet(struct weir_transfer *transfer)
{
	bool quiet;

	lock_take(&transfer->lock);
	quiet = all_back(transfer);
	lock_drop(&transfer->lock);
	return quiet;
}

/* Frees those whose stuck requests did come back; returns how many are left. */
static unsigned reap(struct weir_ctx *ctx)
{
	struct list ended;
	unsigned left = 0;

	list_init(&ended);
	lock_take(&ctx->lock);
	list_for_each_safe(link, &ctx->abandoned) {
		if (!is_quiet(list_entry(link, struct weir_transfer, abandoned))) {
			left++;
			continue;
		}
		list_remove(link);
		list_push(&ended, link);
	}
	lock_drop(&ctx->lock);
	for (struct list *link = list_pop(&ended); link; link = list_pop(&ended)) {
		struct weir_transfer *transfer = list_entry(link, struct weir_transfer, abandoned);

		leave_groups(transfer);
		transfer_free(transfer);
	}
	return left;
}

int transfers_reap(struct weir_ctx *ctx, struct weir_error *err)
{
	if (reap(ctx) < ABANDONED_MAX)
		return 0;
	return error_set(err, WEIR_LIMIT, NULL, "%d transfers with stuck requests are kept already",
			 ABANDONED_MAX);
}

int weir_transfer_abandon(struct weir_transfer *transfer, struct weir_error *err)
{
	int ret = ctx_alive(transfer->ctx, err);
	bool quiet;

	if (ret < 0)
		return ret;
	quiet = wait_quiet(transfer, 0);
	if (!quiet && (ret = transfers_reap(transfer->ctx, err)) < 0)
		return ret;
	let_go(transfer, quiet);
	return 0;
}

uint64_t transfers_stuck(struct weir_ctx *ctx)
{
	uint64_t stuck = 0;

	lock_take(&ctx->lock);
	list_for_each(link, &ctx->abandoned) {
		struct weir_transfer *transfer = list_entry(link, struct weir_transfer, abandoned);

		lock_take(&transfer->lock);
		stuck += transfer->flying;
		lock_drop(&transfer->lock);
	}
	lock_drop(&ctx->lock);
	return stuck;
}

static struct weir_transfer *first_abandoned(struct weir_ctx *ctx)
{
	struct weir_transfer *first = NULL;

	lock_take(&ctx->lock);
	if (!list_empty(&ctx->abandoned))
		first = list_entry(ctx->abandoned.next, struct weir_transfer, abandoned);
	lock_drop(&ctx->lock);
	return first;
}

void transfers_wait_for_abandoned(struct weir_ctx *ctx)
{
	int64_t deadline_ns = deadline_after(ctx->sys, PARTING_NS);
	struct weir_transfer *transfer;

	if (ctx->simulated)
		return;
	while (reap(ctx) > 0 && ctx->sys->now_ns() < deadline_ns &&
	       (transfer = first_abandoned(ctx))) {
		lock_take(&transfer->lock);
		wait_flying(transfer, deadline_ns);
		lock_drop(&transfer->lock);
	}
}

bool transfers_leave_behind(struct weir_ctx *ctx)
{
	return reap(ctx) > 0;
}
