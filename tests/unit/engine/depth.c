/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The depth of a lane against sources whose rate depends on it in a known way.
 */
#include "engine/depth.h"
#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"

#define REQUEST (UINT64_C(512) << 10)

/* A source: `latency` for each request, and no more than `most` bytes a second in all. */
static void drive(struct depth *depth, double latency_s, double most, unsigned requests)
{
	static int64_t now = 1;

	for (unsigned i = 0; i < requests; i++) {
		double rate = min_of(depth->now * (double)REQUEST / latency_s, most);

		now += (int64_t)((double)REQUEST / rate * 1e9);
		depth_landed(depth, REQUEST, true, now);
	}
}

static void grows_where_latency_is_the_limit(void)
{
	struct depth depth;

	depth_init(&depth, 0);
	check_int(depth.now, DEPTH_START);
	drive(&depth, 0.010, 1e12, 20000);
	check_int(depth.now, DEPTH_CEILING);
}

static void stays_where_the_disk_is_the_limit(void)
{
	struct depth depth;
	unsigned deep = 0;

	depth_init(&depth, 0);
	for (int i = 0; i < 2000; i++) {
		drive(&depth, 0.001, 2.4e9, 100);
		deep += depth.now > DEPTH_START;
	}
	check(deep > 0); /* it does try */
	check(deep < 100);
}

static void a_lane_that_is_not_full_learns_nothing(void)
{
	struct depth depth;

	depth_init(&depth, 0);
	for (int i = 0; i < 100000; i++)
		depth_landed(&depth, REQUEST, i % 50 != 0, i * NS_PER_MS + 1);
	check_int(depth.now, DEPTH_START);
}

static void what_the_caller_said_stands(void)
{
	struct depth depth;

	depth_init(&depth, 7);
	drive(&depth, 0.010, 1e12, 20000);
	check_int(depth.now, 7);
	check_int(depth_ceiling(&depth), 7);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(grows_where_latency_is_the_limit),
		TEST(stays_where_the_disk_is_the_limit),
		TEST(a_lane_that_is_not_full_learns_nothing),
		TEST(what_the_caller_said_stands),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
