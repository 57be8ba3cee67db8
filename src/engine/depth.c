/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/depth.h"

#include "base/clock.h"
#include "base/compiler.h"

/* A window: long enough that a rate means something, short enough that a load has many. */
#define WINDOW_BYTES (UINT64_C(64) << 20)
#define WINDOW_NS    (20 * NS_PER_MS)

#define PAUSE_FIRST 4
#define PAUSE_MAX   256

/* A trial must bring that much to be kept. */
#define GAIN 1.10

void depth_init(struct depth *depth, uint32_t said)
{
	*depth = (struct depth){
		.now = said ? said : DEPTH_START, .fixed = said > 0, .pause = PAUSE_FIRST};
}

uint32_t depth_ceiling(const struct depth *depth)
{
	return depth->fixed ? depth->now : DEPTH_CEILING;
}

static void try_more(struct depth *depth, double rate)
{
	depth->waited = 0;
	depth->rate = rate;
	if (depth->now * 2 > DEPTH_CEILING) {
		depth->trying = false;
		return;
	}
	depth->now *= 2;
	depth->trying = true;
	depth->settling = true;
}

static void judge(struct depth *depth, double rate)
{
	if (depth->settling) {
		depth->settling = false;
	} else if (depth->trying && rate >= depth->rate * GAIN) {
		depth->pause = PAUSE_FIRST;
		try_more(depth, rate);
	} else if (depth->trying) {
		depth->now /= 2;
		depth->trying = false;
		depth->settling = true;
		depth->pause = min_of(depth->pause * 2, (uint32_t)PAUSE_MAX);
	} else if (++depth->waited >= depth->pause) {
		try_more(depth, rate);
	}
}

void depth_landed(struct depth *depth, uint64_t bytes, bool full, int64_t now_ns)
{
	int64_t took;

	if (depth->fixed)
		return;
	if (!full || depth->since_ns == 0) { /* a lane that had nothing to do measures nothing */
		depth->since_ns = full ? now_ns : 0;
		depth->bytes = 0;
		return;
	}
	depth->bytes += bytes;
	took = now_ns - depth->since_ns;
	if (depth->bytes < WINDOW_BYTES || took < WINDOW_NS)
		return;
	judge(depth, (double)depth->bytes / (double)took);
	depth->bytes = 0;
	depth->since_ns = now_ns;
}
