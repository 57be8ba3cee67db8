/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When ends of requests are waited for together, and when clients are told, by the numbers alone.
 */
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/check.h"
#include "mount/rings/server.h"

#define START (1000 * NS_PER_SEC)

/* The server woke with so many ends, so long after it woke before; and the same once more. */
static bool alone_after(uint32_t together, unsigned count, int64_t slept_ns)
{
	static struct server server;

	server = (struct server){.together = together, .awake_ns = START};
	server_gathered(&server, count, START + slept_ns);
	check(server.awake_ns == START + slept_ns);
	check_int(server.alone_until_ns, 0); /* it may have been a pause */
	server_gathered(&server, count, START + 2 * slept_ns);
	return server.alone_until_ns > START + 2 * slept_ns;
}

static void ends_that_do_not_come_are_waited_for_alone(void)
{
	check(alone_after(4, 3, 10 * NS_PER_MS));
	check(alone_after(2, 0, 10 * NS_PER_MS));
	check(!alone_after(4, 4, 10 * NS_PER_MS));
	check(!alone_after(4, 1, NS_PER_MS)); /* the bell */
}

static void a_pause_is_forgiven(void)
{
	static struct server server = {.together = 4, .awake_ns = START};
	int64_t now_ns = START;

	for (unsigned i = 0; i < 6; i++) {
		now_ns += 10 * NS_PER_MS;
		server_gathered(&server, 1, now_ns);
		server_gathered(&server, 0, now_ns + NS_PER_US); /* the bell */
		server_gathered(&server, 4, now_ns + NS_PER_MS);
	}
	check_int(server.alone_until_ns, 0);
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

static uint32_t together_of(uint32_t in_flight, uint32_t given, unsigned looking)
{
	static struct server server;

	server = (struct server){
		.in_flight = in_flight, .held = given > 0, .given = given, .looking = looking};
	list_init(&server.waiting);
	return server_together(&server);
}

/* As many as leave a disk busy, or a quarter; so that full rings go with it. */
static void enough_stay_under_way(void)
{
	static const uint32_t expected[][2] = {{1, 1},  {7, 1},  {8, 2},  {10, 2}, {11, 3},
					       {12, 4}, {15, 7}, {16, 8}, {40, 8}, {200, 8}};

	for (size_t i = 0; i < array_size(expected); i++)
		check_int(together_of(expected[i][0], 0, 0), expected[i][1]);
	check_int(together_of(8, 8, 0), 4);  /* half of them: the others do not come before */
	check_int(together_of(16, 0, 1), 1); /* one that has ended already, and is looked at */
}

/* ---- Rings that are full ---- */

static void a_ring_is_full_while_enough_stays_under_way(void)
{
	static struct server server = {.together = 4, .trial.sparing = true};
	struct ring ring = {.in_flight = 12, .flying_bytes = 12 * MIB};

	check(ring_is_full(&server, &ring));
	ring.in_flight = 11;
	check(!ring_is_full(&server, &ring));
	ring.in_flight = 16;
	server.together = 1;
	check(!ring_is_full(&server, &ring));
	server.together = 4;
	server.trial.sparing = false;
	check(!ring_is_full(&server, &ring));
}

/* Four MiB at a time, in so many milliseconds: how many of a hundred turns did without ringing? */
static unsigned spared_turns(int64_t ringing_ms, int64_t sparing_ms)
{
	static struct server server;
	int64_t now_ns = START;
	unsigned spared = 0;

	server = (struct server){.trial = {.sparing = true, .since_ns = START}, .awake_ns = START};
	for (unsigned i = 0; i < 100 * 16; i++) {
		server.together = 4;
		server.trial.bytes += 4 * MIB;
		spared += server.trial.sparing;
		now_ns += (server.trial.sparing ? sparing_ms : ringing_ms) * NS_PER_MS;
		server_gathered(&server, 4, now_ns);
	}
	return spared / 16;
}

static void clients_ring_where_that_is_faster(void)
{
	check(spared_turns(100, 100) > 80);
	check(spared_turns(100, 105) > 80);
	check(spared_turns(100, 90) > 80);
	check(spared_turns(100, 110) < 25);
}

static void ends_that_came_alone_tell_nothing(void)
{
	static struct server server = {.together = 1,
				       .trial = {.sparing = true, .bytes = 100 * MIB}};

	server_gathered(&server, 1, START);
	check_int(server.trial.turns, 0);
	check_int(server.trial.bytes, 0);
	check(server.trial.since_ns == START);
}

/* A mark stays on a ring that is full while the server sleeps, and on no other. */
static void full_rings_keep_their_mark(void)
{
	static struct server server = {.attends = true, .together = 4, .trial.sparing = true};
	static _Alignas(64) char memory[64 << 10];
	struct ring ring = {.in_flight = 12, .flying_bytes = 12 * MIB};
	struct usrbio_view view = usrbio_view_of(memory, 16);

	view.mark->asked = USRBIO_MARK_ASKED;
	check_int(usrbio_server_init(&ring.end, sys_real(), memory, usrbio_ring_bytes(16)), 0);
	list_init(&server.attended);
	list_init(&ring.attended);
	ring_attend(&server, &ring);
	check_int(view.mark->awake, USRBIO_MARK_AWAKE);
	check(server_rests(&server) && server.held);
	check_int(view.mark->awake, USRBIO_MARK_AWAKE);
	check(!server_has_news(&server));
	atomic_store(view.sq_head, 1);
	check(server_rests(&server)); /* it waits for the next ends */
	check(server_has_news(&server));
	atomic_store(view.sq_head, 2);
	ring.in_flight = 8;
	check(!server_rests(&server) && !server.held);
	check_int(view.mark->awake, 0);
	check(list_empty(&server.attended));
}

/* ---- Posts ---- */

static bool told_soon(uint32_t owed, uint32_t granted, uint32_t in_flight)
{
	static struct server server;
	static _Alignas(64) char memory[64 << 10];
	struct ring ring = {.owed = owed, .granted = granted, .in_flight = in_flight};

	memset(memory, 0, sizeof(memory));
	check_int(usrbio_server_init(&ring.end, sys_real(), memory, usrbio_ring_bytes(16)), 0);
	list_init(&server.touched);
	list_init(&ring.touched);
	list_push(&server.touched, &ring.touched);
	server_post_soon(&server);
	check(list_empty(&server.touched) == (ring.owed == 0));
	list_remove(&ring.touched);
	return ring.owed == 0;
}

/* So that it asks for more while that is served. */
static void a_client_is_told_before_its_last_turn(void)
{
	check(told_soon(48, 16, 0));
	check(told_soon(48, 1, 0));
	check(!told_soon(48, 0, 0));  /* that was the last one */
	check(!told_soon(32, 32, 0)); /* another one comes before it */
	check(!told_soon(16, 16, 0)); /* a post for every few */
	check(!told_soon(48, 16, 1)); /* a disk: its ends come by themselves */
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ends_that_do_not_come_are_waited_for_alone),
		TEST(a_pause_is_forgiven),
		TEST(a_quiet_time_says_nothing_of_ends),
		TEST(many_large_ones_are_patient),
		TEST(enough_stay_under_way),
		TEST(a_ring_is_full_while_enough_stays_under_way),
		TEST(clients_ring_where_that_is_faster),
		TEST(ends_that_came_alone_tell_nothing),
		TEST(full_rings_keep_their_mark),
		TEST(a_client_is_told_before_its_last_turn),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
