/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/transfer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/copy.h"
#include "base/error.h"
#include "base/size.h"
#include "base/state.h"
#include "engine/context.h"
#include "engine/failure.h"
#include "engine/group.h"

#define TO(state) (UINT32_C(1) << EXTENT_##state)
static const struct state_rule extent_rules[] = {
	[EXTENT_PLANNED] = {"planned", TO(MOVING) | TO(SETTLED)},
	[EXTENT_MOVING] = {"moving", TO(SETTLED) | TO(LENT)},
	[EXTENT_LENT] = {"lent", TO(RELEASED)},
	[EXTENT_SETTLED] = {"settled", TO(RELEASED)},
	[EXTENT_RELEASED] = {"released", 0},
};
#undef TO

void extent_move(struct extent *extent, uint8_t state)
{
	state_move(&extent->state, state, extent_rules, "extent");
}

static bool has_settled(const struct extent *extent)
{
	return extent->state >= EXTENT_LENT;
}

static struct batch *batch_of(struct weir_transfer *transfer, const struct extent *extent)
{
	struct batch *batch = transfer->batches;

	while (extent < batch->plan->extents || extent >= batch->plan->extents + batch->plan->count)
		batch = batch->next;
	return batch;
}

/* ---- Settling and releasing ---- */

static void post(struct weir_transfer *transfer, struct extent *extent,
		 struct completion *completion, uint32_t flags, struct weir_buffer *buffer)
{
	if (transfer->closing) {
		weir_buffer_unref(buffer);
		return;
	}
	completion->done = (struct weir_done){
		.tag = extent->tag,
		.status = extent->status,
		.flags = flags,
		.bytes = extent->status ? 0 : extent->length - extent->missing,
		.data = extent->status || extent->write ? NULL : extent->memory,
		.buffer = buffer,
		.transfer = transfer,
		.id = (uint64_t)(uintptr_t)extent,
	};
	queue_post(transfer->queue, completion);
}

/* Its memory goes to the caller as a buffer, or back. */
static struct weir_buffer *part_with_memory(struct weir_transfer *transfer, struct extent *extent)
{
	struct weir_buffer *buffer = NULL;
	struct batch *batch;
	struct run *run;

	if (extent->mapped && extent->status == 0) {
		buffer = extent->mapped;
		extent->mapped = NULL;
		return buffer;
	}
	if (extent->run == RUN_NONE)
		return NULL;
	batch = batch_of(transfer, extent);
	run = &batch->runs.run[extent->run];
	if (extent->status == 0)
		buffer = run_buffer(run, batch->runs.block,
				    (uint64_t)(extent - batch->plan->extents), extent);
	run_settled(transfer->ctx, run, transfer->budget, buffer ? 0 : extent->length);
	return buffer;
}

static void count_settled(struct weir_transfer *transfer, const struct extent *extent)
{
	count(&transfer->counters, extents, 1);
	if (extent->status)
		count(&transfer->counters, extents_failed, 1);
	else
		count(&transfer->counters, bytes_delivered, extent->length - extent->missing);
	if (extent->status && transfer->first_error.code == 0 && !transfer->closing)
		failure_describe(extent, &transfer->first_error);
	transfer->unsettled--;
	if (transfer->unsettled == 0 && !transfer->open)
		cond_wake_all(&transfer->quiet);
}

/* Nothing can write to it any more.  With the lock held. */
static void settle(struct weir_transfer *transfer, struct extent *extent)
{
	struct weir_buffer *buffer;

	if (extent->state == EXTENT_LENT) {
		extent_move(extent, EXTENT_RELEASED);
		part_with_memory(transfer, extent);
		if (extent->allocate)
			return;
		transfer->lent--;
		post(transfer, extent, &extent->released, WEIR_DONE_RELEASED, NULL);
		return;
	}
	extent_move(extent, EXTENT_SETTLED);
	extent_move(extent, EXTENT_RELEASED);
	buffer = part_with_memory(transfer, extent);
	count_settled(transfer, extent);
	post(transfer, extent, &extent->settled, 0, buffer);
}

/*
 * Its time is up while something may still write.  Where that is memory of ours, the caller never had
 * it, and need not hear of it again.  With the lock held.
 */
static void lend(struct weir_transfer *transfer, struct extent *extent)
{
	extent_move(extent, EXTENT_LENT);
	transfer->lent += !extent->allocate;
	count_settled(transfer, extent);
	post(transfer, extent, &extent->settled, extent->allocate ? 0 : WEIR_DONE_LENT, NULL);
}

void transfer_fail_extent(struct weir_transfer *transfer, struct extent *extent, int code,
			  int os_errno, uint64_t offset)
{
	if (extent->status == 0) {
		extent->status = code;
		extent->os_errno = os_errno;
		extent->error_offset = offset;
	}
	if (extent->parts == 0 && !has_settled(extent)) {
		extent->withdrawn = true;
		settle(transfer, extent);
	}
}

void transfer_fail_run(struct weir_transfer *transfer, struct weir_plan *plan, struct run *run,
		       const struct weir_error *err)
{
	uint32_t first = run->first, stop = run->first + run->count;

	if (transfer->first_error.code == 0)
		transfer->first_error = *err;
	for (uint32_t at = first; at < stop; at++) {
		struct extent *extent = &plan->extents[plan->order[at]];

		if (!has_settled(extent))
			transfer_fail_extent(transfer, extent, err->code, err->os_errno,
					     extent->offset);
	}
}

void transfer_settle_empty(struct weir_transfer *transfer, struct extent *extent)
{
	extent->withdrawn = true;
	settle(transfer, extent);
}

void transfer_settle(struct weir_transfer *transfer, struct extent *extent, int code)
{
	lock_take(&transfer->lock);
	if (code && extent->status == 0) {
		extent->status = code;
		extent->error_offset = extent->offset;
	}
	if (extent->state < EXTENT_SETTLED)
		settle(transfer, extent);
	lock_drop(&transfer->lock);
}

/* With the lock held. */
static void stop_extent(struct weir_transfer *transfer, struct extent *extent, int code)
{
	if (has_settled(extent))
		return;
	if (extent->status == 0) {
		extent->status = code;
		extent->error_offset = extent->offset;
	}
	if (extent->parts == 0) {
		extent->withdrawn = true;
		settle(transfer, extent);
	} else if (code != WEIR_TIMEOUT || transfer->opts.flags & WEIR_TRANSFER_ON_RELEASE) {
		return; /* it settles when its requests have come back */
	} else if (extent->parts > extent->staged) {
		lend(transfer, extent);
	} else if (extent->copies == 0) {
		settle(transfer, extent); /* only slots of ours are still written */
	} /* else: the lane that copies settles it, within microseconds */
}

/* ---- Requests ---- */

void transfer_waits(struct weir_transfer *transfer, enum stall why)
{
	if (transfer->waits_for == STALL_NONE)
		transfer->waits_since_ns = transfer->ctx->sys->now_ns();
	transfer->waits_for = why;
}

static void end_wait(struct weir_transfer *transfer, int64_t now_ns)
{
	/* A lane's time is that of its last look at the clock; another lane's may be later. */
	uint64_t waited = (uint64_t)max_of(now_ns - transfer->waits_since_ns, INT64_C(0));

	if (transfer->waits_for == STALL_MEMORY)
		count(&transfer->counters, stall_ns_memory, waited);
	if (transfer->waits_for == STALL_BUDGET)
		count(&transfer->counters, stall_ns_budget, waited);
	transfer->waits_for = STALL_NONE;
}

void transfer_took_off(struct weir_transfer *transfer, const struct part *part)
{
	if (transfer->flying++ == 0)
		transfer->progress_ns = part->submitted_ns;
	if (transfer->waits_for != STALL_NONE)
		end_wait(transfer, part->submitted_ns);
	count(&transfer->counters, requests, 1);
	count(&transfer->counters, bytes_requested, part->request.length);
}

static void let_go_locked(struct weir_transfer *transfer)
{
	if (--transfer->landing == 0)
		cond_wake_all(&transfer->quiet);
}

void transfer_let_go(struct weir_transfer *transfer)
{
	lock_take(&transfer->lock);
	let_go_locked(transfer);
	lock_drop(&transfer->lock);
}

/* Lets go of one extent and takes hold of the next, if that still wants its bytes. */
static struct extent *hold_for_copy(struct weir_transfer *transfer, struct extent *held,
				    struct extent *next)
{
	lock_take(&transfer->lock);
	if (held)
		held->copies--;
	if (next && next->status)
		next = NULL;
	if (next)
		next->copies++;
	lock_drop(&transfer->lock);
	return next;
}

/* It is in a lane's hands now.  With the lock held. */
static void begin_landing(struct weir_transfer *transfer, struct part *part)
{
	if (part->landing)
		return;
	part->landing = true;
	transfer->flying--;
	transfer->landing++;
}

void transfer_copy_out(struct part *part, uint64_t upto)
{
	struct weir_transfer *transfer = part->sweep->transfer;
	struct cursor cursor = part->from;
	struct extent *held = NULL;
	struct piece piece;
	uint64_t copied = 0;

	lock_take(&transfer->lock);
	begin_landing(transfer, part);
	lock_drop(&transfer->lock);
	while (part_next(part, &cursor, &piece) && piece.offset < upto) {
		uint64_t length = min_of(piece.length, upto - piece.offset);

		if (piece.extent->nobody)
			continue;
		if (piece.extent != held)
			held = hold_for_copy(transfer, held, piece.extent);
		if (!held)
			continue;
		copy_away(held->memory + piece.done, part->slot + (piece.offset - part->start),
			  length);
		copied += length;
	}
	hold_for_copy(transfer, held, NULL);
	count(&transfer->counters, bytes_copied, copied);
}

/* ---- Copies that devices make ---- */

bool transfer_wants(struct weir_transfer *transfer, const struct extent *extent)
{
	bool wanted;

	lock_take(&transfer->lock);
	wanted = extent->status == 0;
	lock_drop(&transfer->lock);
	return wanted;
}

/*
 * Nobody can call such a copy back, so what it touches is like what a device reads in place: lent, when its
 * time is up.  Where delivery is guarded the extent settles late instead, as with a copy of our own.
 */
static void touch(struct weir_transfer *transfer, struct extent *extent, bool begins)
{
	if (transfer->opts.flags & WEIR_TRANSFER_GUARDED)
		extent->copies += begins ? 1 : UINT32_MAX;
	else
		extent->staged += begins ? UINT32_MAX : 1;
}

static void touch_all(struct part *part, bool begins)
{
	struct weir_transfer *transfer = part->sweep->transfer;
	struct cursor cursor = part->from;
	struct extent *last = NULL;
	struct piece piece;

	lock_take(&transfer->lock);
	transfer->progress_ns = transfer->ctx->sys->now_ns();
	while (part_next(part, &cursor, &piece)) {
		if (piece.extent != last)
			touch(transfer, piece.extent, begins);
		last = piece.extent;
	}
	part->exposed = begins;
	lock_drop(&transfer->lock);
}

void transfer_expose(struct part *part)
{
	touch_all(part, true);
}

void transfer_cover(struct part *part)
{
	if (part->exposed)
		touch_all(part, false);
}

/* A staged write is of one extent.  What stopped it meanwhile left its settling to us. */
bool transfer_copy_in(const struct part *part)
{
	struct weir_transfer *transfer = part->sweep->transfer;
	struct cursor cursor = part->from;
	struct extent *held = NULL;
	struct piece piece;

	while (part_next(part, &cursor, &piece)) {
		if (!held && !(held = hold_for_copy(transfer, NULL, piece.extent)))
			return false;
		memcpy(part->slot + (piece.offset - part->start), held->memory + piece.done,
		       piece.length);
		count(&transfer->counters, bytes_copied, piece.length);
	}
	lock_take(&transfer->lock);
	if (held && --held->copies == 0 && held->status && transfer->stopping)
		stop_extent(transfer, held, transfer->stop_code);
	lock_drop(&transfer->lock);
	return true;
}

/* One piece has arrived up to `upto`, or failed. */
static void land_piece(const struct piece *piece, uint64_t upto, int code, int os_errno)
{
	struct extent *extent = piece->extent;
	uint64_t arrived = upto <= piece->offset ? 0 : min_of(upto - piece->offset, piece->length);

	if (extent->status)
		return;
	if (code && arrived < piece->length) {
		extent->status = code;
		extent->os_errno = os_errno;
		extent->error_offset = max_of(upto, piece->offset);
		return;
	}
	extent->left -= piece->length;
	extent->missing += piece->length - arrived;
}

/* All pieces of one extent in this part are through. */
static void land_extent(struct weir_transfer *transfer, struct extent *extent, bool staged,
			struct extent **finished)
{
	extent->parts--;
	extent->staged -= staged;
	if (extent->state >= EXTENT_SETTLED || (extent->state == EXTENT_LENT && extent->parts > 0))
		return;
	if (extent->parts == 0 && extent->status) {
		settle(transfer, extent); /* nobody needs to look whether the object is the same */
	} else if (extent->parts == 0 && extent->left == 0) {
		extent->next_finished = *finished;
		*finished = extent;
	} else if (extent->status && transfer->stopping) {
		stop_extent(transfer, extent, transfer->stop_code);
	}
}

void transfer_landed(struct part *part, uint64_t upto, int code, int os_errno, int64_t now_ns,
		     struct extent **finished)
{
	struct weir_transfer *transfer = part->sweep->transfer;
	struct cursor cursor = part->from;
	struct extent *last = NULL;
	struct piece piece;

	lock_take(&transfer->lock);
	begin_landing(transfer, part);
	transfer->progress_ns = now_ns;
	while (part_next(part, &cursor, &piece)) {
		if (last && piece.extent != last)
			land_extent(transfer, last, part->slot != NULL, finished);
		land_piece(&piece, upto, code, os_errno);
		last = piece.extent;
	}
	if (last)
		land_extent(transfer, last, part->slot != NULL, finished);
	part->landing = *finished != NULL;
	if (!part->landing)
		let_go_locked(transfer);
	lock_drop(&transfer->lock);
}

/* ---- Stopping: cancelled, or out of time ---- */

void transfer_stop_plan(struct weir_transfer *transfer, struct weir_plan *plan)
{
	for (uint64_t i = 0; i < plan->count; i++)
		stop_extent(transfer, &plan->extents[i], transfer->stop_code);
}

/* With the lock held; lanes are told by the caller. */
static void stop(struct weir_transfer *transfer, int code)
{
	transfer->stopping = true;
	transfer->stop_code = code;
	transfer->open = false;
	for (struct batch *batch = transfer->batches; batch; batch = batch->next)
		transfer_stop_plan(transfer, batch->plan);
	if (transfer->queue)
		queue_nudge(transfer->queue);
}

static void tell_lanes(struct weir_transfer *transfer)
{
	struct weir_ctx *ctx = transfer->ctx;
	unsigned groups = __atomic_load_n(&ctx->group_count, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < groups; i++)
		atomic_fetch_add_explicit(&ctx->groups[i]->epoch, 1, memory_order_release);
	ctx_wake(ctx);
}

void weir_transfer_cancel(struct weir_transfer *transfer)
{
	if (ctx_alive(transfer->ctx, NULL) < 0)
		return;
	lock_take(&transfer->lock);
	stop(transfer, WEIR_CANCELLED);
	lock_drop(&transfer->lock);
	tell_lanes(transfer);
}

/*
 * When its patience ends: with requests under way, or while somebody waits for what cannot begin (for
 * bytes of the budget that he holds himself, say).  A caller who is busy elsewhere is no stall.
 */
static int64_t stalls_at(const struct weir_transfer *transfer)
{
	int64_t waits = 0;

	if (transfer->queue)
		waits = atomic_load_explicit(&transfer->queue->waits_since_ns,
					     memory_order_relaxed);
	if (transfer->flying || transfer->landing)
		return transfer->progress_ns + transfer->opts.stall_ns;
	return waits ? max_of(transfer->progress_ns, waits) + transfer->opts.stall_ns : NEVER;
}

int64_t transfer_check_time(struct weir_transfer *transfer, int64_t now_ns)
{
	int64_t next, stalled;
	bool expired;

	lock_take(&transfer->lock);
	stalled = stalls_at(transfer);
	next = min_of(transfer->deadline_ns, stalled);
	expired = transfer->unsettled > 0 && now_ns >= next;
	if (expired)
		stop(transfer, WEIR_TIMEOUT);
	if (transfer->unsettled == 0)
		next = NEVER;
	else if (stalled == NEVER)
		next = min_of(next, now_ns + transfer->opts.stall_ns);
	lock_drop(&transfer->lock);
	if (expired)
		tell_lanes(transfer);
	return expired ? now_ns + transfer->opts.stall_ns : next;
}
