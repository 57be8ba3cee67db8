/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/kept.h"

#include "base/compiler.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/lane.h"
#include "engine/transfer.h"

void kept_init(struct kept *kept, struct weir_ctx *ctx, struct lane *lane, struct source_lane *core)
{
	*kept = (struct kept){.ctx = ctx, .lane = lane, .core = core};
	/* Nothing to ask for, or nobody who could. */
	kept->refused = ctx->opts.pin_bytes == 0 || ctx->simulated || !lane_may_read_direct(lane) ||
			!core->source->ops->lane_pin;
}

/* ---- For the pool ---- */

static uint32_t pin(void *arg, void *at, uint64_t bytes)
{
	struct kept *kept = arg;
	uint32_t number = kept->core->source->ops->lane_pin(kept->core, at, bytes);

	if (number == 0) {
		kept->refused = true;
		count(&kept->ctx->counters, pins_refused, 1);
	}
	return number;
}

static void unpin(void *arg, uint32_t number)
{
	struct kept *kept = arg;

	kept->last.pin = 0;
	kept->refused = false; /* there is room again */
	kept->core->source->ops->lane_unpin(kept->core, number);
}

static void wake(void *arg)
{
	lane_wake(((struct kept *)arg)->lane);
}

static void begin(struct kept *kept)
{
	struct pool_pinner by = {.pin = pin,
				 .unpin = unpin,
				 .wake = wake,
				 .arg = kept,
				 .most_bytes = kept->ctx->opts.pin_bytes};

	kept->begun = pool_pins_begin(kept->ctx->pool, &by);
	kept->refused = !kept->begun; /* another lane is it */
}

/* ---- For the lane ---- */

static uint32_t look_up(struct kept *kept, const void *memory, uint32_t length)
{
	if (!kept->begun)
		begin(kept);
	kept->last.pin = 0;
	if (!kept->begun || !pool_pin(kept->ctx->pool, memory, length, !kept->refused, &kept->last))
		return 0;
	return kept->last.pin;
}

static uint32_t find(struct kept *kept, const struct request *request)
{
	const struct pool_pinned *last = &kept->last;
	uint64_t at = (uintptr_t)request->memory - (uintptr_t)last->at;

	if (likely(last->pin && size_inside(at, request->length, last->bytes)))
		return last->pin;
	return look_up(kept, request->memory, request->length);
}

void kept_name(struct kept *kept, struct part *part)
{
	part->request.pin = 0;
	if (likely(!kept->begun && kept->refused))
		return;
	if (part->slot || part->device || part->request.way != WAY_DIRECT)
		return;
	part->request.pin = find(kept, &part->request);
	if (part->request.pin)
		count(&part->sweep->transfer->counters, requests_pinned, 1);
}

void kept_settle(struct kept *kept)
{
	if (kept->begun)
		pool_pins_settle(kept->ctx->pool);
}

void kept_end(struct kept *kept)
{
	if (kept->begun)
		pool_pins_end(kept->ctx->pool);
	kept->begun = false;
	kept->refused = true;
}
