/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's ferry: copies between slots of pinned memory and devices, asynchronous ones.
 *
 * A read whose bytes have landed in a slot is not finished: its part *crosses*, on a stream that is this
 * lane's and that device's alone, behind the gate of the caller's stream (engine/berth.h), with an event
 * behind it.  Meanwhile the lane goes on reading into other slots.  When the event has come the slot is
 * free and the books are done.  A write crosses the other way first, and is submitted then.
 *
 *	source --read--> slot --copy, event--> device        for each part, in any number at once
 *
 * While a part crosses something may write to (or read) the caller's memory that nobody can call back: its
 * extents are lent if their time is up.  A crossing ends with its event, or when the device says that
 * nothing in that context will ever end.  Nothing here waits: the lane asks, at a pace of its own.
 */
#ifndef ENGINE_FERRY_H
#define ENGINE_FERRY_H

#include <stdbool.h>

#include "engine/sweep.h"

struct ferry;
struct lane;
struct weir_ctx;

/* parts: of the lane, which it is told by their index.  first: of the first lane, which must have one. */
must_use int ferry_create(struct weir_ctx *ctx, struct lane *lane, struct pool *pool,
			  uint32_t parts, bool first, struct ferry **out, struct weir_error *err);

/* The lane is left behind, with what is stuck: it is woken no more.  NULL is fine. */
void ferry_leave(struct ferry *ferry);

/* Nothing crosses.  NULL is fine. */
void ferry_destroy(struct ferry *ferry);

uint64_t ferry_slot_bytes(const struct ferry *ferry);
bool ferry_has_slots(const struct ferry *ferry); /* false: the system gave no memory */
char *ferry_slot_take(struct ferry *ferry, uint64_t bytes);
void ferry_slot_give(struct ferry *ferry, char *slot);

/*
 * Copies of a part's bytes up to `upto` begin.  True: it crosses, and comes back from ferry_next(); false:
 * there was nothing to copy, or it failed at once.  part->code tells.
 */
must_use bool ferry_begin(struct ferry *ferry, struct part *part, uint32_t index, uint64_t upto);

/* The part's bytes go to the device without the slot (engine/canal.h), and it comes back likewise. */
must_use bool ferry_read_straight(struct ferry *ferry, struct part *part);
bool ferry_is_full(const struct ferry *ferry); /* no more of those; NULL: none are under way */

/* The books of a part are done: what it brought, or why not. */
void ferry_saw(struct ferry *ferry, struct part *part, uint64_t bytes, int code);

/* A part that has crossed; NULL: none at present. */
struct part *ferry_next(struct ferry *ferry);

void ferry_trace(const struct ferry *ferry, const struct part *part, uint32_t lane);

/* When to ask again: NEVER where nothing crosses. */
int64_t ferry_look_ns(const struct ferry *ferry);
/* Something waits for a gate: ask soon; until the lane's next step begins. */
void ferry_look_soon(struct ferry *ferry);
void ferry_begin_step(struct ferry *ferry);

#endif
