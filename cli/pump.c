/* SPDX-License-Identifier: Apache-2.0 */
#include "pump.h"

#include <stdlib.h>

#include "report.h"
#include "signals.h"

#define PIECE    ((size_t)4 << 20)
#define ALIGN    ((size_t)2 << 20) /* a huge page; more than any device asks for */
#define SLOTS    8u
#define AHEAD    (SLOTS / 2) /* reads in flight; as many slots are left for the writes */
#define TICK_NS  INT64_C(50000000)
#define LEAVE_NS INT64_C(1000000000)

/* One piece on its way: being read, whole, or being written. */
struct slot {
	char *memory;                   /* part of pumping.memory */
	struct weir_transfer *transfer; /* owned while it is under way */
	size_t len;
	bool hole; /* neither read nor written */
};

struct pumping {
	const struct pump *pump;
	char *memory; /* owned; left alone for ever where a stuck read may still write to it */
	struct slot slots[SLOTS];
	uint64_t pieces;
	bool lent;
};

static void tick(const struct pump *pump)
{
	if (pump->tick)
		pump->tick(pump->arg);
}

/* Lets go of a transfer, whatever state it is in. */
static int end_transfer(struct pumping *pumping, struct slot *slot, struct weir_error *err)
{
	int ret = weir_transfer_finish(slot->transfer, LEAVE_NS, err);

	if (ret == WEIR_LENT) {
		pumping->lent = true;
		weir_transfer_abandon(slot->transfer, NULL);
		ret = report_set(err, WEIR_TIMEOUT, NULL, "a request does not come back");
	}
	slot->transfer = NULL;
	return ret;
}

/* Waits for the slot's transfer, if there is one. */
static int settle(struct pumping *pumping, struct slot *slot, struct weir_error *err)
{
	struct weir_error failure = WEIR_ERROR_INIT;
	struct weir_done done[4];
	int n, ret;

	if (!slot->transfer)
		return 0;
	do {
		n = weir_transfer_wait(slot->transfer, done, 4, TICK_NS, &failure);
		if (signals_caught())
			weir_transfer_cancel(slot->transfer);
		tick(pumping->pump);
	} while (n > 0 || n == WEIR_TIMEOUT);
	ret = end_transfer(pumping, slot, err);
	if (!ret && n < 0) {
		*err = failure;
		ret = n;
	}
	return ret;
}

/* Starts the plan in the slot, or frees it where making it has failed already. */
static int start(struct slot *slot, struct weir_plan *plan, int ret, struct weir_error *err)
{
	if (!ret)
		ret = weir_transfer_start(plan, NULL, NULL, &slot->transfer, err);
	if (ret)
		weir_plan_destroy(plan);
	return ret;
}

static int start_fill(struct pumping *pumping, uint64_t piece, struct weir_error *err)
{
	const struct pump *pump = pumping->pump;
	struct slot *slot = &pumping->slots[piece % SLOTS];
	uint64_t at = piece * PIECE;
	struct weir_plan *plan = NULL;
	int ret = settle(pumping, slot, err); /* what it held before is written */

	if (ret)
		return ret;
	slot->len = pump->size - at < PIECE ? (size_t)(pump->size - at) : PIECE;
	slot->hole = pump->hole && pump->hole(pump->arg, at, slot->len);
	if (slot->hole)
		return 0;
	if (!pump->from) {
		pump->fill(pump->arg, at, slot->memory, slot->len);
		return 0;
	}
	ret = weir_plan_create(pump->ctx, &plan, err);
	if (!ret)
		ret = weir_plan_range(plan, pump->from, pump->offset + at, slot->len,
				      weir_dest_host(slot->memory, slot->len), piece, err);
	return start(slot, plan, ret, err);
}

static int start_drain(struct pumping *pumping, uint64_t piece, struct weir_error *err)
{
	const struct pump *pump = pumping->pump;
	struct slot *slot = &pumping->slots[piece % SLOTS];
	struct weir_plan *plan = NULL;
	int ret = settle(pumping, slot, err); /* it is read */

	if (ret)
		return ret;
	if (pump->done_bytes)
		atomic_fetch_add_explicit(pump->done_bytes, slot->len, memory_order_relaxed);
	tick(pump);
	if (slot->hole)
		return 0;
	if (!pump->to)
		return pump->drain(pump->arg, slot->memory, slot->len, err);
	ret = weir_plan_create(pump->ctx, &plan, err);
	if (!ret)
		ret = weir_plan_write(plan, pump->to, piece * PIECE, slot->memory, slot->len, piece,
				      err);
	return start(slot, plan, ret, err);
}

static int move(struct pumping *pumping, struct weir_error *err)
{
	uint64_t next = 0;
	int ret = 0;

	for (uint64_t piece = 0; piece < pumping->pieces && !ret; piece++) {
		for (; next < pumping->pieces && next < piece + AHEAD && !ret; next++)
			ret = start_fill(pumping, next, err);
		if (!ret)
			ret = start_drain(pumping, piece, err);
		if (!ret && signals_caught())
			ret = report_set(err, WEIR_CANCELLED, NULL, "interrupted");
	}
	return ret;
}

int pump_run(const struct pump *pump, struct weir_error *err)
{
	struct pumping pumping = {.pump = pump, .pieces = (pump->size + PIECE - 1) / PIECE};
	unsigned slots = pumping.pieces < SLOTS ? (unsigned)pumping.pieces : SLOTS;
	int ret;

	if (!pumping.pieces)
		return 0;
	pumping.memory = aligned_alloc(ALIGN, slots * PIECE);
	if (!pumping.memory)
		return report_set(err, WEIR_NOMEM, NULL, "buffers for copying: out of memory");
	for (unsigned n = 0; n < slots; n++)
		pumping.slots[n].memory = pumping.memory + n * PIECE;
	ret = move(&pumping, err);
	for (unsigned n = 0; n < slots; n++) {
		struct weir_error late = WEIR_ERROR_INIT;
		int last;

		if (ret && pumping.slots[n].transfer)
			weir_transfer_cancel(pumping.slots[n].transfer);
		last = settle(&pumping, &pumping.slots[n], &late);
		if (!ret && last) {
			ret = last;
			*err = late;
		}
	}
	if (!pumping.lent)
		free(pumping.memory);
	return ret;
}
