/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at a ring for a moment before sleeping on it; and a daemon that looks, too.
 */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "io/usrbio/spin.h"
#include "usrbio_ring_rig.h"

static struct usrbio_cqe cqe[64];

static void *serve_soon(void *arg)
{
	usleep(2000);
	check_int(serve(4096), *(int *)arg);
	return NULL;
}

static struct usrbio_ring *ring_spinning(int64_t spin_ns)
{
	const struct usrbio_ring_opts opts = {
		.entries = 4, .for_read = true, .node = -1, .spin_ns = spin_ns};
	struct usrbio_ring *made;

	check_int(usrbio_ring_create(session, &opts, &made, NULL), 0);
	return made;
}

static void more_than_one_processor(void)
{
	if (!usrbio_spin_allowed(1))
		skip("one processor");
}

static void a_wait_that_looks_makes_no_call(void)
{
	struct usrbio_ring *other;
	pthread_t thread;
	int one = 1;

	more_than_one_processor();
	begin();
	other = ring_spinning(USRBIO_SPIN_MOST_NS);
	check(usrbio_server_attends(&rig.server));
	for (int i = 0; i < 20; i++) {
		check_int(prepare(other, 1), 0);
		check_int(usrbio_ring_submit(other), 0);
		futex_calls = 0;
		check_int(pthread_create(&thread, NULL, serve_soon, &one), 0);
		check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(5000)), 1);
		pthread_join(thread, NULL);
		if (futex_calls == 0)
			break; /* a busy machine may be too late, now and then */
	}
	check_int(futex_calls, 0);
	check_int(rings_of_bell, 0);
	usrbio_ring_destroy(other);
	end();
}

static double cpu_seconds(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void it_looks_for_a_moment_only(void)
{
	struct usrbio_ring *other;
	double before;

	begin();
	other = ring_spinning(NS_PER_MS);
	check_int(prepare(other, 1), 0);
	before = cpu_seconds();
	check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(500)), 0);
	check(cpu_seconds() - before < 0.1); /* five slices */
	usrbio_ring_wake(other);
	check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(5000)), 0);
	usrbio_ring_destroy(other);
	end();
}

static void one_processor_never_looks(void)
{
	cpu_set_t all, one;
	size_t first = 0;

	check_int(sched_getaffinity(0, sizeof(all), &all), 0);
	check_int(usrbio_spin_allowed(NS_PER_SEC) > USRBIO_SPIN_MOST_NS, 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	check_int(sched_setaffinity(0, sizeof(one), &one), 0);
	check_int(usrbio_spin_allowed(NS_PER_MS), 0);
	check_int(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void what_the_environment_may_say(void)
{
	static const char *const wrong[] = {"-1", "10001", "5us", "often", "99999999999999999999"};
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t ns = 1;

	check_int(usrbio_spin_wanted(&ns, &err), 0);
	check_int(ns, 0);
	setenv("WEIR_3FS_SPIN_US", "50", 1);
	check_int(usrbio_spin_wanted(&ns, &err), 0);
	check_int(ns, 50000);
	for (size_t i = 0; i < array_size(wrong); i++) {
		setenv("WEIR_3FS_SPIN_US", wrong[i], 1);
		err = (struct weir_error)WEIR_ERROR_INIT;
		check_int(usrbio_spin_wanted(&ns, &err), WEIR_ARG);
		check(strstr(err.message, wrong[i]));
	}
	unsetenv("WEIR_3FS_SPIN_US");
}

static void a_daemon_that_is_awake_is_not_told(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 1);
	check(usrbio_server_attends(&rig.server));
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 1);
	check(usrbio_server_rests(&rig.server)); /* it has to look again */
	check_int(serve(4096), 2);
	check_int(prepare(ring, 3), 2);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 2);
	check_int(serve(4096), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 3, soon(1000)), 3);
	end();
}

struct turn {
	uint32_t wanted;
	unsigned posts;
};

/* One at a time, each of them with a post, to who sleeps for so many. */
static void *serve_in_turn(void *arg)
{
	struct usrbio_claim claims[4];
	struct turn *turn = arg;

	check_int(usrbio_server_claim(&rig.server, claims, 4), 4);
	while (atomic_load(&rig.server.view.mark->wanted) != turn->wanted)
		usleep(100);
	for (int i = 0; i < 4; i++) {
		usrbio_server_complete(&rig.server, claims[i].index, claims[i].userdata, 1);
		turn->posts += usrbio_server_post(&rig.server);
	}
	return NULL;
}

static void a_wait_for_many_is_posted_once(void)
{
	pthread_t thread;

	begin();
	for (int min = 1; min <= 4; min += 3) {
		struct turn turn = {.wanted = (uint32_t)min};
		int got = 0;

		for (uint64_t i = 0; i < 4; i++)
			check(prepare(ring, i) >= 0);
		check_int(pthread_create(&thread, NULL, serve_in_turn, &turn), 0);
		while (got < 4)
			got += usrbio_ring_wait(ring, cqe, 4, min, NEVER);
		pthread_join(thread, NULL);
		check_int(turn.posts, min == 1 ? 4 : 1);
	}
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_daemon_that_is_awake_is_not_told), TEST(a_wait_for_many_is_posted_once),
		TEST(a_wait_that_looks_makes_no_call),    TEST(it_looks_for_a_moment_only),
		TEST(one_processor_never_looks),          TEST(what_the_environment_may_say),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
