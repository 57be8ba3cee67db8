/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was asked for, and whether what came is right: every byte from the right place of the right
 * version, one completion each, no failure without a reason, no write where or when there may be none.
 */
#include <string.h>

#include "base/size.h"
#include "sim/sim.h"
#include "weir/digest.h"

#define GUARD      64
#define GUARD_BYTE 0xA5

/* What stands in a destination before: at its start, where it is looked for. */
#define BEFORE       0x11
#define BEFORE_BYTES (64 * KIB)

/* ---- Memory ---- */

unsigned char *want_memory(uint64_t length, uint64_t offset)
{
	uint64_t start = round_up(world.arena_used, 16 * KIB) + 16 * KIB;
	uint64_t shift = one_in(2) ? offset % (16 * KIB) : one_in(2) ? below(16 * KIB) : 0;
	unsigned char *at = world.arena + start + shift;

	if (start + shift + length + GUARD > 96 * MIB)
		return NULL;
	world.arena_used = start + shift + length + GUARD;
	memset(at - GUARD, GUARD_BYTE, GUARD);
	memset(at + length, GUARD_BYTE, GUARD);
	/* Big ones keep what was there: only what is looked at must be known. */
	memset(at, BEFORE, min_of(length, BEFORE_BYTES));
	return at;
}

static uint64_t take_print(const struct want *want)
{
	return weir_xxh3_64(want->at - GUARD, want->length + 2 * GUARD) | 1;
}

static void check_guards(const struct want *want)
{
	for (unsigned i = 0; i < GUARD; i++)
		sim_check(want->at[-1 - (int)i] == GUARD_BYTE &&
				  want->at[want->length + i] == GUARD_BYTE,
			  "extent %u: bytes beside its destination were written",
			  (unsigned)(want - world.wants));
}

/* From here on nobody may write to it. */
static void freeze(struct want *want)
{
	if (want->alloc || want->write)
		return;
	check_guards(want);
	want->print = take_print(want);
}

void want_check_memory(void)
{
	for (unsigned i = 0; i < world.want_count; i++) {
		const struct want *want = &world.wants[i];

		if (want->print)
			sim_check(take_print(want) == want->print,
				  "extent %u: its memory was written after it was released", i);
	}
}

/* ---- Content ---- */

/* Calls `each` for every contiguous piece, in the order in which they are delivered. */
struct piece_check {
	const unsigned char *content;
	uint64_t size;
	const unsigned char *data;
	uint64_t wrong, present;
};

static void check_piece(struct piece_check *check, uint64_t offset, uint64_t length)
{
	uint64_t there = offset < check->size ? min_of(length, check->size - offset) : 0;

	check->present += there;
	if (check->data) {
		if (memcmp(check->data, check->content + offset, there) != 0)
			for (uint64_t i = 0; i < there; i++)
				check->wrong += check->data[i] != check->content[offset + i];
		check->data += length;
	}
}

static void walk(const struct want *want, struct piece_check *check)
{
	uint64_t index[LEVELS_MAX] = {0};

	if (want->length == 0)
		return;
	for (;;) {
		uint64_t offset = want->offset;
		unsigned level = want->levels;

		for (unsigned i = 0; i < want->levels; i++)
			offset += index[i] * want->strides[i].stride_bytes;
		check_piece(check, offset, want->run_bytes);
		while (level > 0 && ++index[level - 1] == want->strides[level - 1].count)
			index[--level] = 0;
		if (level == 0)
			return;
	}
}

uint64_t want_present(const struct want *want)
{
	const struct thing *thing = &world.things[want->thing];
	struct piece_check check = {.content = content_of(thing->content), .size = thing->size};

	walk(want, &check);
	return check.present;
}

static void check_content(const struct want *want, const void *data)
{
	const struct thing *thing = &world.things[want->thing];
	struct piece_check check = {
		.content = content_of(thing->content), .size = thing->size, .data = data};

	if (!data)
		return;
	walk(want, &check);
	sim_check(check.wrong <= world.corrupt, "extent %u: %llu bytes are wrong",
		  (unsigned)(want - world.wants), (unsigned long long)check.wrong);
}

/* ---- Buffers that are ours ---- */

static unsigned char scribble_of(const struct want *want)
{
	return (unsigned char)(0x40 + (want - world.wants) % 64);
}

/* It is the caller's memory now: what he writes there stays. */
static void keep_buffer(struct want *want, struct weir_buffer *buffer)
{
	want->held = buffer;
	sim_check(weir_buffer_size(buffer) == want->length, "a buffer of another size");
	want->scribbled = one_in(2);
	if (want->scribbled)
		memset(weir_buffer_data(buffer), scribble_of(want), want->length);
}

void want_return_buffer(struct want *want)
{
	const unsigned char *data = weir_buffer_data(want->held);

	if (want->scribbled)
		for (uint64_t i = 0; i < want->length; i++)
			sim_check(data[i] == scribble_of(want),
				  "extent %u: byte %llu of a buffer that the caller holds was "
				  "written",
				  (unsigned)(want - world.wants), (unsigned long long)i);
	else
		check_content(want, data);
	weir_buffer_unref(want->held);
	want->held = NULL;
}

/* ---- Completions ---- */

/* What lies past an allowed end is not delivered, and nothing else is either. */
static void check_rest(const struct want *want, uint64_t present)
{
	if (world.faulty || want->levels)
		return;
	for (uint64_t i = present; i < min_of(want->length, BEFORE_BYTES); i++)
		sim_check(want->at[i] == BEFORE, "extent %u: something came past the end",
			  (unsigned)(want - world.wants));
}

static void check_success(struct want *want, const struct weir_done *done)
{
	const struct flight *flight = &world.flights[want->flight];
	unsigned index = (unsigned)done->tag;
	uint64_t present = want->write ? want->length : want_present(want);
	bool any_end = flight->flags & WEIR_TRANSFER_AT_END;

	sim_check(done->bytes == present, "extent %u: %llu bytes came of %llu", index,
		  (unsigned long long)done->bytes, (unsigned long long)present);
	sim_check(any_end || present == want->length, "extent %u: past the end, and no failure",
		  index);
	if (want->write)
		return;
	if (want->alloc) {
		sim_check(want->length == 0 || done->buffer, "extent %u: no buffer", index);
		check_content(want, done->data);
		if (done->buffer)
			keep_buffer(want, done->buffer);
		return;
	}
	sim_check(done->data == want->at && !done->buffer, "extent %u: in other memory", index);
	check_content(want, want->at);
	check_rest(want, present);
}

static void check_failure(struct want *want, const struct weir_done *done)
{
	struct flight *flight = &world.flights[want->flight];
	struct weir_error err = WEIR_ERROR_INIT;
	uint64_t allowed = want->allowed | world.allowed;

	if (world.slow)
		allowed |= CODE_BIT(WEIR_TIMEOUT);
	sim_check(allowed & CODE_BIT(done->status), "extent %u: fails with %s, without a reason",
		  (unsigned)done->tag, weir_code_name(done->status));
	sim_check(!done->buffer && !done->data && done->bytes == 0,
		  "extent %u: failed, and brings something", (unsigned)done->tag);
	sim_check(weir_transfer_error(flight->transfer, done, &err) == done->status &&
			  err.code == done->status && strstr(err.message, "memory://o"),
		  "extent %u: its error is told as \"%s\"", (unsigned)done->tag, err.message);
}

static void settled_first(struct want *want, const struct weir_done *done)
{
	struct flight *flight = &world.flights[want->flight];
	bool lent = done->flags & WEIR_DONE_LENT;

	sim_check(!want->settled, "extent %u: settled twice", (unsigned)done->tag);
	sim_check(!lent || (done->status == WEIR_TIMEOUT || want->lent || done->status),
		  "extent %u: lent, and no failure", (unsigned)done->tag);
	sim_check(!lent || !(flight->flags & WEIR_TRANSFER_ON_RELEASE),
		  "extent %u: settles on release, and is lent", (unsigned)done->tag);
	sim_check(!lent || !(flight->flags & WEIR_TRANSFER_GUARDED) || want->write,
		  "extent %u: guarded, and lent", (unsigned)done->tag);
	sim_check(!lent || !want->alloc, "extent %u: lent, and the memory is not the caller's",
		  (unsigned)done->tag);
	want->settled = true;
	want->lent = lent;
	want->status = done->status;
	flight->settled++;
	flight->owed += lent;
	if (done->status)
		check_failure(want, done);
	else
		check_success(want, done);
	if (!lent)
		freeze(want);
}

void want_settled(const struct weir_done *done)
{
	struct want *want;

	sim_check(done->tag < world.want_count, "a completion that nobody asked for");
	want = &world.wants[done->tag];
	sim_event("done", done->tag, (uint64_t)done->status, done->flags);
	sim_check(!want->forgotten, "extent %u: completes after its transfer is gone",
		  (unsigned)done->tag);
	sim_check(world.flights[want->flight].transfer == done->transfer,
		  "extent %u: of another transfer", (unsigned)done->tag);
	if (!(done->flags & WEIR_DONE_RELEASED)) {
		settled_first(want, done);
		return;
	}
	sim_check(want->lent && !want->released, "extent %u: released, and was not lent",
		  (unsigned)done->tag);
	sim_check(!done->buffer, "extent %u: released with a buffer", (unsigned)done->tag);
	want->released = true;
	world.flights[want->flight].owed--;
	freeze(want);
}

void want_flight_gone(unsigned flight, bool abandoned)
{
	for (unsigned i = 0; i < world.want_count; i++) {
		struct want *want = &world.wants[i];

		if (want->flight != flight || want->forgotten)
			continue;
		want->forgotten = true;
		if (!want->print && !abandoned)
			freeze(want);
	}
}
