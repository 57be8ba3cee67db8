/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane: a step function that moves bytes.
 *
 * In a program a thread drives it; in a simulation one thread drives all of them, in an order of its
 * own choosing and by its own clock.  A step submits what fits, takes what has ended, copies what was
 * staged, settles what is whole, and looks whose time is up.
 */
#ifndef ENGINE_LANE_H
#define ENGINE_LANE_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/group.h"
#include "engine/sink.h"
#include "engine/sweep.h"

int lane_create(struct group *group, uint32_t index, struct lane **out, struct weir_error *err);

/* Starts its thread. */
int lane_run(struct lane *lane, struct weir_error *err);

/* Ends its thread; others may still wake it. */
void lane_halt(struct lane *lane);

/* Leaves behind what is stuck in the kernel. */
void lane_destroy(struct lane *lane);

void lane_wake(struct lane *lane);

uint32_t lane_index(const struct lane *lane); /* in its group */

/*
 * One step; waits at most until deadline_ns for something to end (simulated lanes never wait).  True
 * when something happened.
 */
bool lane_step(struct lane *lane, int64_t deadline_ns);

/* Simulated: when the next thing happens by itself, or NEVER. */
int64_t lane_next_ns(struct lane *lane);

/* For the planner: may it take requests that cost no processor?  Staging. */
bool lane_may_read_direct(const struct lane *lane);
/* Where bytes go that nobody wants. */
struct sink *lane_sink(struct lane *lane);
/* far: pinned memory, for bytes that cross to or from a device. */
uint64_t lane_slot_bytes(const struct lane *lane, bool far);
char *lane_slot_take(struct lane *lane, bool far,
		     uint64_t bytes);                   /* NULL: none is free, or none is */
bool lane_has_slots(const struct lane *lane, bool far); /* false: the system gave no memory */

/* Makes it one that bytes can cross from.  With the group's lock held. */
int lane_prepare_devices(struct lane *lane, struct weir_error *err);
bool lane_has_devices(const struct lane *lane);
void lane_look_soon(struct lane *lane); /* at the gate of a device that it has been prepared for */

#endif
