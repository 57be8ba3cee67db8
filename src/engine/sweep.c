/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sweep.h"

#include <assert.h>
#include <errno.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/lane.h"
#include "engine/transfer.h"

/* Below that, a request of its own costs more than the copy that it saves. */
#define IN_PLACE_MIN (32 * KIB)

/* Holes in a staged request that are cheaper to read than to skip. */
#define GAP_MAX (64 * KIB)

static struct extent *extent_at(const struct sweep *sweep, uint32_t at)
{
	return &sweep->plan->extents[sweep->plan->order[at]];
}

/* Over what was withdrawn, and what is done. */
static void skip(struct sweep *sweep)
{
	struct cursor *cursor = &sweep->cursor;

	while (cursor->at < sweep->end) {
		const struct extent *extent = extent_at(sweep, cursor->at);

		if (cursor->done < extent->length && extent->status == 0 &&
		    (!extent->withdrawn || sweep->alone))
			return;
		cursor->at++;
		cursor->done = 0;
	}
}

/* The part takes what lies before `end` in the object and before place `stop_at` in the order. */
static void claim(struct sweep *sweep, struct part *part, uint64_t end, uint32_t stop_at)
{
	const struct extent *last = NULL;
	struct cursor cursor = sweep->cursor;
	struct piece piece;

	part->sweep = sweep;
	part->from = cursor;
	part->to = (struct cursor){stop_at, 0};
	part->end = end;
	while (part_next(part, &cursor, &piece)) {
		if (piece.extent != last) {
			piece.extent->parts++;
			piece.extent->staged += part->slot != NULL;
			if (piece.extent->state == EXTENT_PLANNED)
				extent_move(piece.extent, EXTENT_MOVING);
		}
		last = piece.extent;
	}
	part->to = cursor;
	sweep->cursor = cursor;
}

bool part_next(const struct part *part, struct cursor *cursor, struct piece *out)
{
	const struct sweep *sweep = part->sweep;

	while (cursor->at < part->to.at ||
	       (cursor->at == part->to.at && cursor->done < part->to.done)) {
		struct extent *extent = extent_at(sweep, cursor->at);
		struct span span;

		if (cursor->done == extent->length || (extent->withdrawn && !sweep->alone)) {
			cursor->at++;
			cursor->done = 0;
			continue;
		}
		span = extent_span(sweep->plan, extent, cursor->done);
		if (extent->object->core != part->request.object || span.offset >= part->end ||
		    span.offset < part->start)
			return false;
		span.length = min_of(span.length, part->end - span.offset);
		*out = (struct piece){extent, cursor->done, span.offset, span.length};
		cursor->done += span.length;
		return true;
	}
	return false;
}

uint64_t part_needed_end(const struct part *part)
{
	uint64_t size = part->request.object->size_bytes;

	if (part->request.op == REQUEST_WRITE)
		return part->end;
	return part->sweep->transfer->opts.flags & (WEIR_TRANSFER_AT_END | WEIR_TRANSFER_LIVE)
		       ? part->end
		       : min_of(part->end, size);
}

static void fill_request(const struct sweep *sweep, struct part *part, struct extent *extent,
			 uint64_t start, uint64_t end, void *memory, int way)
{
	assert(!extent->far ||
	       extent->berth); /* which it had before anything of it was asked for */
	part->slot = NULL;
	part->sunk = 0;
	part->device = extent->far ? extent->berth->device : NULL;
	part->crossing = part->exposed = part->straight = part->again = false;
	part->mark = 0;
	part->start = start;
	part->cancelling = false;
	part->landing = false;
	part->request.object = extent->object->core;
	part->request.memory = memory;
	part->request.offset = start;
	part->request.length = (uint32_t)(end - start);
	part->request.op = extent->write ? REQUEST_WRITE : REQUEST_READ;
	part->request.way = (uint8_t)way;
	part->request.interim = false;
	part->request.deadline_ns = sweep->transfer->deadline_ns;
	part->request.retries = 0;
}

/* ---- How the bytes at the cursor are best read ---- */

static int find_way(struct sweep *sweep, const struct extent *extent, uint64_t offset)
{
	struct source_object *object = extent->object->core;
	uint64_t end = extent_end(sweep->plan, extent);

	if (sweep->way_object == object && offset >= sweep->way_from && offset < sweep->way_until)
		return sweep->way;
	/* Look as far as the sweep is likely to go on in this object, not just at this extent. */
	for (uint32_t at = sweep->cursor.at + 1; at < sweep->end && end - offset < WAY_HORIZON;
	     at++) {
		const struct extent *next = extent_at(sweep, at);

		if (next->object->core != object || next->offset < end ||
		    next->offset - end > GAP_MAX)
			break;
		end = extent_end(sweep->plan, next);
	}
	sweep->way = object->source->ops->way(object, offset, max_of(end - offset, (uint64_t)1),
					      &sweep->way_until);
	sweep->way_object = object;
	sweep->way_from = offset;
	if (sweep->way == WAY_BUFFERED)
		group_wake_copiers(sweep->group);
	return sweep->way;
}

/* ---- Requests ---- */

static uint64_t request_bytes(const struct sweep *sweep, const struct extent *extent, int way)
{
	uint64_t asked = min_of(sweep->transfer->opts.request_bytes, (uint64_t)REQUEST_MAX);
	uint64_t block = extent->object->core->offset_align;

	if (way == WAY_BUFFERED)
		return asked ? min_of(asked, (uint64_t)COPY_REQUEST_BYTES) : COPY_REQUEST_BYTES;
	if (asked)
		return max_of(block, round_down(asked, block));
	return group_request_bytes(sweep->group, extent->object->core);
}

static uint64_t wanted_end(const struct sweep *sweep, const struct run *run)
{
	const struct extent *last = extent_at(sweep, run->first + run->count - 1);

	return last->offset + last->length;
}

/* Shared memory that is full: no byte of it is touched. */
static void fail_broken(struct sweep *sweep, struct run *run)
{
	struct weir_error err = WEIR_ERROR_INIT;

	error_set(&err, WEIR_NOSPACE, NULL,
		  "shared memory for reads is full: %llu bytes of it could not be made",
		  (unsigned long long)run->bytes);
	err.os_errno = ENOSPC;
	transfer_fail_run(sweep->transfer, sweep->plan, run, &err);
}

/*
 * Blocks of a run, over as many extents as they hold.  Requests of one run meet at block borders, so
 * that no two of them ever own the same byte.
 */
static enum sweep_answer next_of_run(struct sweep *sweep, struct part *part, struct extent *extent,
				     struct run *run, uint64_t offset, int way)
{
	uint64_t block = extent->object->core->offset_align;
	uint64_t start = way == WAY_DIRECT ? round_down(offset, block) : offset;
	uint64_t most = round_down(offset, block) + request_bytes(sweep, extent, way);
	uint64_t last = way == WAY_DIRECT ? run->start + run->bytes : wanted_end(sweep, run);
	uint64_t end = min_of(last, min_of(most, round_up(sweep->way_until, block)));

	if (!run_populated(run, sweep->group, end - run->start)) {
		transfer_waits(sweep->transfer, STALL_MEMORY);
		return SWEEP_WAIT;
	}
	if (run_broken(run)) {
		fail_broken(sweep, run);
		return SWEEP_AGAIN;
	}
	fill_request(sweep, part, extent, start, end, run->memory + (start - run->start), way);
	claim(sweep, part, end, min_of(run->first + run->count, sweep->end));
	return SWEEP_PART;
}

/* Do memory and file agree modulo the object's direct-I/O alignment? */
static bool congruent(const struct extent *extent, uint64_t done, uint64_t offset)
{
	const struct source_object *object = extent->object->core;
	uint64_t address = (uint64_t)(uintptr_t)extent->memory + done;
	uint64_t align = max_of(object->offset_align, object->memory_align);

	return ((address - offset) & (align - 1)) == 0;
}

/* Whole blocks of [offset, offset + length), if there are enough to be worth a request. */
static bool whole_blocks(const struct extent *extent, uint64_t done, uint64_t offset,
			 uint64_t length, struct span *out)
{
	uint64_t block = extent->object->core->offset_align;
	uint64_t start = round_up(offset, block), end = round_down(offset + length, block);

	if (!congruent(extent, done, offset) || end <= start ||
	    end - start < min_of(IN_PLACE_MIN, length))
		return false;
	*out = (struct span){start, end - start};
	return true;
}

static bool looks_late(const struct sweep *sweep)
{
	return sweep->group->source->ops->features & SOURCE_LOOKS_LATE;
}

/* Can the source name that memory in a request? */
static bool reaches(const struct sweep *sweep, const void *memory, uint64_t length)
{
	struct source *source = sweep->group->source;

	return !source->ops->reaches || source->ops->reaches(source, memory, length);
}

/* May bytes go straight to where the caller wants them? */
static bool may_write_in_place(const struct sweep *sweep, const struct extent *extent,
			       uint64_t done, uint64_t length)
{
	return !(sweep->transfer->opts.flags & WEIR_TRANSFER_GUARDED) && !extent->far &&
	       !extent->nobody && reaches(sweep, extent->memory + done, length);
}

/* May the extent at `at` share a slot with the one at the cursor? */
static bool shares_slot(const struct sweep *sweep, uint32_t at)
{
	const struct extent *first = extent_at(sweep, sweep->cursor.at);
	const struct extent *extent = extent_at(sweep, at);

	if (extent == first)
		return true;
	if (extent->far != first->far ||
	    (extent->far && extent->berth->device != first->berth->device))
		return extent->length == 0;
	return extent->object == first->object && !extent->write &&
	       (extent->memory || extent->length == 0);
}

/*
 * How far a staged request reaches that begins at the cursor: over neighbours and small gaps, up to the
 * limit or to where an extent goes on in place.  *stop_at: the first place of the order it leaves out.
 */
static uint64_t staged_end(const struct sweep *sweep, int way, uint64_t limit, uint32_t *stop_at)
{
	struct cursor cursor = sweep->cursor;
	uint64_t end = 0;

	for (*stop_at = cursor.at; cursor.at < sweep->end && shares_slot(sweep, cursor.at);) {
		const struct extent *extent = extent_at(sweep, cursor.at);
		struct span span, blocks;

		if ((extent->withdrawn && !sweep->alone) || extent->status ||
		    cursor.done == extent->length) {
			cursor = (struct cursor){cursor.at + 1, 0};
			continue;
		}
		span = extent_span(sweep->plan, extent, cursor.done);
		if (end && (span.offset < end || span.offset - end > GAP_MAX))
			break;
		if (span.offset >= limit)
			break;
		if (way == WAY_DIRECT &&
		    may_write_in_place(sweep, extent, cursor.done, span.length) &&
		    whole_blocks(extent, cursor.done, span.offset, span.length, &blocks) &&
		    (end || blocks.offset > span.offset)) {
			if (blocks.offset == span.offset)
				break;
			*stop_at = cursor.at + 1; /* its head comes along */
			return min_of(blocks.offset, limit);
		}
		*stop_at = cursor.at + 1;
		end = span.offset + min_of(span.length, limit - span.offset);
		cursor.done += end - span.offset;
		if (end == limit)
			break;
	}
	return end;
}

/* A slot for [start, end); SWEEP_PART where there is one. */
static enum sweep_answer take_slot(struct sweep *sweep, struct lane *lane, struct extent *extent,
				   uint64_t bytes, uint64_t offset, char **out)
{
	*out = lane_slot_take(lane, extent->far, bytes);
	if (*out)
		return SWEEP_PART;
	if (lane_has_slots(lane, extent->far))
		return SWEEP_WAIT; /* one comes back with the next completion of this lane */
	transfer_fail_extent(sweep->transfer, extent, WEIR_NOMEM, ENOMEM, offset);
	return SWEEP_AGAIN;
}

/*
 * What is copied out of a slot into a run of shared memory needs pages there, just as what is read there:
 * SWEEP_PART where there are.
 */
static enum sweep_answer find_pages(struct sweep *sweep, struct run *run)
{
	if (!run || run->pool != sweep->group->pool)
		return SWEEP_PART;
	if (!run_populated(run, sweep->group, run->bytes)) {
		transfer_waits(sweep->transfer, STALL_MEMORY);
		return SWEEP_WAIT;
	}
	if (!run_broken(run))
		return SWEEP_PART;
	fail_broken(sweep, run);
	return SWEEP_AGAIN;
}

static enum sweep_answer next_staged(struct sweep *sweep, struct lane *lane, struct part *part,
				     struct extent *extent, uint64_t offset, int way)
{
	uint64_t block = extent->object->core->offset_align;
	enum sweep_answer answer;
	uint64_t start;
	uint64_t limit, end;
	uint32_t stop_at;
	char *slot;

	if (block > lane_slot_bytes(lane, extent->far))
		way = WAY_BUFFERED; /* a block of it fits nowhere */
	if (way == WAY_BUFFERED)
		block = 1;
	start = round_down(offset, block);
	limit = start + lane_slot_bytes(lane, extent->far);
	end = staged_end(sweep, way, limit, &stop_at);
	if (!sweep->copies)
		group_wake_copiers(sweep->group);
	sweep->copies = true;
	answer = take_slot(sweep, lane, extent, round_up(end, block) - start, offset, &slot);
	if (answer != SWEEP_PART)
		return answer;
	fill_request(sweep, part, extent, start, round_up(end, block), slot, way);
	part->slot = slot; /* before the claim, which counts it */
	claim(sweep, part, end, stop_at);
	return SWEEP_PART;
}

/* A run that the source reaches, and that no request may reach beyond its claim in, is read as one. */
static bool reads_as_run(const struct sweep *sweep, const struct run *run)
{
	return run && !run->packed && !run->exact && reaches(sweep, run->memory, run->bytes);
}

static enum sweep_answer next_read(struct sweep *sweep, struct lane *lane, struct part *part,
				   struct extent *extent, struct span span)
{
	int way = find_way(sweep, extent, span.offset);
	struct run *run = extent->run == RUN_NONE ? NULL : &sweep->runs->run[extent->run];
	uint64_t most = request_bytes(sweep, extent, way);
	char *memory = extent->memory + sweep->cursor.done;
	enum sweep_answer answer;
	struct span blocks = span;
	bool in_place;

	if (reads_as_run(sweep, run)) {
		if (way == WAY_DIRECT && !lane_may_read_direct(lane))
			return SWEEP_NOT_HERE;
		return next_of_run(sweep, part, extent, run, span.offset, way);
	}
	answer = find_pages(sweep, run);
	if (answer != SWEEP_PART)
		return answer;
	span.length = min_of(span.length, sweep->way_until - span.offset);
	if (way == WAY_DIRECT)
		in_place = whole_blocks(extent, sweep->cursor.done, span.offset, span.length,
					&blocks) &&
			   blocks.offset == span.offset;
	else
		in_place = span.length >= IN_PLACE_MIN || span.length == extent->length;
	if (!in_place || !may_write_in_place(sweep, extent, sweep->cursor.done, span.length))
		return next_staged(sweep, lane, part, extent, span.offset, way);
	if (way == WAY_DIRECT && !lane_may_read_direct(lane))
		return SWEEP_NOT_HERE;
	blocks.length = min_of(way == WAY_DIRECT ? blocks.length : span.length, most);
	fill_request(sweep, part, extent, span.offset, span.offset + blocks.length, memory, way);
	claim(sweep, part, span.offset + blocks.length, sweep->cursor.at + 1);
	return SWEEP_PART;
}

/*
 * For nobody.  Where a source asks its server for the version behind each request that comes back, only the
 * last is such a one, and goes when all others have landed: what was asked then holds for all of them.
 */
static enum sweep_answer next_sunk(struct sweep *sweep, struct lane *lane, struct part *part,
				   struct extent *extent, struct span span)
{
	int way = find_way(sweep, extent, span.offset);
	uint64_t block = way == WAY_DIRECT ? extent->object->core->offset_align : 1;
	uint64_t start = round_down(span.offset, block);
	uint64_t end = min_of(span.offset + span.length, sweep->way_until);
	uint64_t bytes = min_of(round_up(end, block) - start, request_bytes(sweep, extent, way));
	bool last;
	char *memory;

	if (way == WAY_DIRECT && !lane_may_read_direct(lane))
		return SWEEP_NOT_HERE;
	last = sweep->cursor.done + (min_of(end, start + bytes) - span.offset) == extent->length;
	if (last && extent->parts > 0 && looks_late(sweep))
		return SWEEP_WAIT;
	switch (sink_take(lane_sink(lane), &bytes, block, part->submitted_ns, &memory)) {
	case SINK_TAKEN:
		break;
	case SINK_FULL:
		return SWEEP_WAIT;
	case SINK_NONE:
		return next_staged(sweep, lane, part, extent, span.offset, way);
	}
	end = min_of(end, start + bytes);
	fill_request(sweep, part, extent, start, start + bytes, memory, way);
	part->sunk = bytes;
	part->request.interim = sweep->cursor.done + (end - span.offset) < extent->length;
	claim(sweep, part, end, sweep->cursor.at + 1);
	return SWEEP_PART;
}

/* What the source cannot reach is copied into a slot, by the lane, before it goes. */
static enum sweep_answer next_staged_write(struct sweep *sweep, struct lane *lane,
					   struct part *part, struct extent *extent,
					   struct span span, int way)
{
	enum sweep_answer answer;
	char *slot;

	span.length = min_of(span.length, lane_slot_bytes(lane, extent->far));
	answer = take_slot(sweep, lane, extent, span.length, span.offset, &slot);
	if (answer != SWEEP_PART)
		return answer;
	fill_request(sweep, part, extent, span.offset, span.offset + span.length, slot, way);
	part->slot = slot; /* before the claim, which counts it */
	claim(sweep, part, span.offset + span.length, sweep->cursor.at + 1);
	return SWEEP_PART;
}

/* From a slot, which is aligned as anybody could wish: whole blocks past the page cache, as below. */
static enum sweep_answer next_far_write(struct sweep *sweep, struct lane *lane, struct part *part,
					struct extent *extent, struct span span, int way)
{
	uint64_t block = extent->object->core->offset_align;
	uint64_t start = round_up(span.offset, block);
	uint64_t end = round_down(span.offset + min_of(span.length, lane_slot_bytes(lane, true)),
				  block);

	if (way == WAY_DIRECT && start == span.offset && end > start)
		span.length = end - start;
	else
		way = WAY_BUFFERED;
	if (way == WAY_BUFFERED && start > span.offset && end > start)
		span.length = start - span.offset;
	return next_staged_write(sweep, lane, part, extent, span, way);
}

/* Whole blocks go past the page cache where memory allows; the rest through it. */
static enum sweep_answer next_write(struct sweep *sweep, struct lane *lane, struct part *part,
				    struct extent *extent, struct span span)
{
	struct source_object *object = extent->object->core;
	uint64_t until, most = group_request_bytes(sweep->group, object);
	int way = object->source->ops->way(object, span.offset, span.length, &until);
	char *memory = extent->memory + sweep->cursor.done;
	struct span blocks;

	if (!lane_may_read_direct(lane))
		return SWEEP_NOT_HERE;
	if (extent->far)
		return next_far_write(sweep, lane, part, extent, span, way);
	if (!reaches(sweep, memory, span.length))
		return next_staged_write(sweep, lane, part, extent, span, way);
	if (way == WAY_DIRECT &&
	    whole_blocks(extent, sweep->cursor.done, span.offset, span.length, &blocks)) {
		if (blocks.offset == span.offset)
			span.length = min_of(blocks.length, most);
		else
			span.length = blocks.offset - span.offset, way = WAY_BUFFERED;
	} else {
		span.length = min_of(span.length, most);
		way = WAY_BUFFERED;
	}
	fill_request(sweep, part, extent, span.offset, span.offset + span.length, memory, way);
	claim(sweep, part, span.offset + span.length, sweep->cursor.at + 1);
	return SWEEP_PART;
}

/* Memory for the extent at the cursor, where weir allocates it. */
static int ensure_memory(struct sweep *sweep, struct extent *extent)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct run *run = &sweep->runs->run[extent->run];
	int answer;

	if (extent->memory)
		return RUN_READY;
	answer = run_take(sweep->plan, run, sweep->transfer->budget, &err);
	if (answer == RUN_WAIT_BUDGET)
		transfer_waits(sweep->transfer, STALL_BUDGET);
	if (answer == RUN_FAILED)
		transfer_fail_run(sweep->transfer, sweep->plan, run, &err);
	return answer;
}

/* May bytes be sent towards the device that the extent names? */
static enum sweep_answer find_device(const struct extent *extent, struct lane *lane)
{
	if (!lane_has_devices(lane))
		return SWEEP_NOT_HERE;
	/* Copies wait for the gate by themselves; what is read in place must not begin. */
	if (extent->far || berth_passed(extent->berth))
		return SWEEP_PART;
	lane_look_soon(lane);
	return SWEEP_WAIT;
}

enum sweep_answer sweep_next(struct sweep *sweep, struct lane *lane, struct part *part)
{
	for (;;) {
		enum sweep_answer answer;
		struct extent *extent;
		struct span span;
		int memory;

		skip(sweep);
		if (sweep->cursor.at >= sweep->end)
			return SWEEP_DONE;
		extent = extent_at(sweep, sweep->cursor.at);
		memory = extent->memory || extent->nobody ? RUN_READY
							  : ensure_memory(sweep, extent);
		if (memory == RUN_WAIT_BUDGET)
			return SWEEP_WAIT;
		if (memory == RUN_FAILED)
			continue;
		if (extent->berth && (answer = find_device(extent, lane)) != SWEEP_PART)
			return answer;
		span = extent_span(sweep->plan, extent, sweep->cursor.done);
		answer = extent->write    ? next_write(sweep, lane, part, extent, span)
			 : extent->nobody ? next_sunk(sweep, lane, part, extent, span)
					  : next_read(sweep, lane, part, extent, span);
		if (answer != SWEEP_AGAIN)
			return answer;
	}
}
