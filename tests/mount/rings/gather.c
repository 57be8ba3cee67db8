/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When ends of requests are waited for together, by the numbers alone.
 */
#include "base/clock.h"
#include "lib/check.h"
#include "mount/rings/server.h"

#define START (1000 * NS_PER_SEC)

/* The server woke with so many ends, so long after it woke before. */
static bool alone_after(uint32_t together, unsigned count, int64_t slept_ns)
{
	static struct server server;

	server = (struct server){.together = together, .awake_ns = START};
	server_gathered(&server, count, START + slept_ns);
	check(server.awake_ns == START + slept_ns);
	return server.alone_until_ns > START + slept_ns;
}

static void ends_that_do_not_come_are_waited_for_alone(void)
{
	check(alone_after(4, 3, 10 * NS_PER_MS));
	check(alone_after(2, 0, 10 * NS_PER_MS));
	check(!alone_after(4, 4, 10 * NS_PER_MS));
	check(!alone_after(4, 1, NS_PER_MS)); /* the bell */
}

static void a_quiet_time_says_nothing_of_ends(void)
{
	check(!alone_after(1, 0, NS_PER_SEC));
	check(!alone_after(0, 0, NS_PER_SEC));
}

static void many_large_ones_are_patient(void)
{
	struct ring ring = {.in_flight = 8, .flying_bytes = UINT64_C(8) << 20};

	check(ring_is_patient(&ring));
	ring.in_flight = 7;
	check(!ring_is_patient(&ring));
	ring.in_flight = 200;
	check(!ring_is_patient(&ring));
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ends_that_do_not_come_are_waited_for_alone),
		TEST(a_quiet_time_says_nothing_of_ends),
		TEST(many_large_ones_are_patient),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
