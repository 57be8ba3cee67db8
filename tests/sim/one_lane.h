/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Simulated time for a context whose first lane does everything, over a device of known speed.
 */
#ifndef TESTS_SIM_ONE_LANE_H
#define TESTS_SIM_ONE_LANE_H

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/lane.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"

static int64_t clock_ns;

static inline int64_t now_ns(void)
{
	return clock_ns;
}

/* Steps the lane while anything happens, then moves the clock to where the next thing does. */
static inline bool idle(struct weir_ctx *which, void *arg)
{
	struct lane *lane = which->groups[0]->lanes[0];
	int64_t next;

	(void)arg;
	if (lane_step(lane, 0))
		return true;
	next = min_of(lane_next_ns(lane), fake_cuda_next_ns());
	check(next != NEVER);
	clock_ns = max_of(clock_ns, next);
	return true;
}

#endif
