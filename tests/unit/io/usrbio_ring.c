/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is asked through a ring, and how its end is waited for.
 */
#include <pthread.h>
#include <time.h>

#include "usrbio_ring_rig.h"

static struct usrbio_cqe cqe[64];

static void what_is_asked_arrives(void)
{
	struct usrbio_claim claim;

	begin();
	check_int(prepare(ring, 5), 0);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(usrbio_sem_drain(rig.bell.sem), 1);
	check_int(usrbio_server_claim(&rig.server, &claim, 1), 1);
	check(claim.args.iov[0] == 1 && claim.args.iov_offset == 4096 && claim.args.length == 4096);
	check(claim.args.file == 77 && claim.args.file_offset == 5 && claim.userdata == 5);
	check_int(usrbio_ring_flying(ring), 1);
	check_int(usrbio_server_complete(&rig.server, 0, 5, 4095), 0);
	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), 1);
	check(cqe[0].index == 0 && cqe[0].result == 4095 && cqe[0].userdata == 5);
	check_int(usrbio_ring_entries_of(ring), 4);
	end();
}

static void RG_07_RG_08_RG_51_ranges_outside_the_buffer(void)
{
	static const uint8_t id[16] = {0};
	static const uint64_t wrong[][2] = {/* offset, length */
					    {0, 0},
					    {8192, 1},
					    {8191, 2},
					    {0, 8193},
					    {UINT64_MAX, 1},
					    {1, UINT64_MAX},
					    {UINT64_MAX - 4095, 4096},
					    {0, (uint64_t)1 << 63}};

	begin();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		const struct usrbio_io io = {.iov = id,
					     .iov_bytes = 8192,
					     .iov_offset = wrong[i][0],
					     .length = wrong[i][1]};

		check_int(usrbio_ring_prepare(ring, &io), -EINVAL);
	}
	check_int(usrbio_ring_flying(ring), 0);
	end();
}

static void UB_28_RG_46_limits_of_a_wait(void)
{
	int64_t start;

	begin();
	check_int(usrbio_ring_wait(ring, cqe, 0, 0, NEVER), -EINVAL);
	check_int(usrbio_ring_wait(ring, cqe, -1, 0, NEVER), -EINVAL);
	check_int(usrbio_ring_wait(ring, cqe, 4, 0, NEVER), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, -3, NEVER), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, 0), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, INT64_MIN), 0);
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(50)), 0);
	check(daemon_now_ns() - start >= 50 * NS_PER_MS);
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(serve(1), 2);
	check_int(usrbio_ring_wait(ring, cqe, 1, 9, NEVER), 1); /* the least is cut to the most */
	check_int(usrbio_ring_wait(ring, cqe, 4, 2, soon(30)), 1);
	end();
}

static void UB_28_RG_46_points_in_time(void)
{
	const int64_t now = sys_real()->real_ns();
	struct timespec at = {now / NS_PER_SEC + 10, now % NS_PER_SEC};
	int64_t deadline, left;

	check_int(usrbio_ring_deadline(sys_real(), NULL, &deadline), 0);
	check_int(deadline, NEVER);
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	left = deadline - sys_real()->now_ns();
	check(left > 9 * NS_PER_SEC && left <= 10 * NS_PER_SEC);
	at.tv_nsec = NS_PER_SEC;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), -EINVAL);
	at.tv_nsec = -1;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), -EINVAL);
	at = (struct timespec){1, 0};
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline < sys_real()->now_ns());
	at.tv_sec = INT64_MAX;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline > sys_real()->now_ns() && deadline != NEVER);
	at.tv_sec = INT64_MIN;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline < sys_real()->now_ns());
}

static int64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static void *serve_later(void *arg)
{
	usleep(100000);
	(void)arg;
	check_int(serve(1), 1);
	return NULL;
}

static void UB_27_a_thousand_posts_do_not_make_it_spin(void)
{
	pthread_t thread;
	int64_t start;

	begin();
	for (int i = 0; i < 1000; i++) {
		check_int(prepare(ring, 1), 0);
		check_int(serve(1), 1);
		check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	}
	check_int(prepare(ring, 1), 0);
	check_int(pthread_create(&thread, NULL, serve_later, NULL), 0);
	start = cpu_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	check(cpu_ns() - start < 5 * NS_PER_MS);
	pthread_join(thread, NULL);
	end();
}

static void a_wake_ends_a_wait(void)
{
	pthread_t thread;

	begin();
	check_int(pthread_create(&thread, NULL, wake_later, ring), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0);
	pthread_join(thread, NULL);
	usrbio_ring_wake(ring);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0); /* kept for the next one */
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(20)), 0);
	end();
}

static _Atomic bool stop_serving;

static void *serve_all(void *arg)
{
	(void)arg;
	while (!stop_serving) {
		(void)!usrbio_sem_wait(sys_real(), rig.bell.sem,
				       sys_real()->now_ns() + 50 * NS_PER_MS);
		usrbio_sem_drain(rig.bell.sem);
		while (serve(4096) > 0)
			;
	}
	return NULL;
}

static void *wait_for_all(void *arg)
{
	static struct usrbio_cqe some[64];
	unsigned done = 0;

	while (done < 20000) {
		int got = usrbio_ring_wait(arg, some, 64, 1, NEVER);

		check(got > 0);
		done += (unsigned)got;
	}
	return NULL;
}

static void UB_26_prepared_here_and_awaited_there(void)
{
	pthread_t server, waiter;

	begin();
	stop_serving = false;
	check_int(pthread_create(&server, NULL, serve_all, NULL), 0);
	check_int(pthread_create(&waiter, NULL, wait_for_all, ring), 0);
	for (unsigned made = 0; made < 20000;) {
		int ret = prepare(ring, made);

		check(ret >= 0 || ret == -EAGAIN);
		made += ret >= 0;
		check_int(usrbio_ring_submit(ring), 0);
	}
	pthread_join(waiter, NULL);
	stop_serving = true;
	pthread_join(server, NULL);
	end();
}

static void RG_45_the_wall_clock_does_not_matter(void)
{
	struct timespec at;
	int64_t deadline, start;

	begin();
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += 1;
	check_int(usrbio_ring_deadline(&rig.sys, &at, &deadline), 0);
	rig.sys.real_ns = NULL; /* nobody asks again */
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, deadline), 0);
	check(daemon_now_ns() - start > 500 * NS_PER_MS);
	end();
}

static void RG_40_the_daemon_breaks_the_protocol(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	rig.server.unfinished = 1; /* a daemon that invents completions */
	usrbio_server_complete(&rig.server, 3, 0, 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), -EPROTO);
	check_int(prepare(ring, 1), -EPROTO);
	check_int(usrbio_ring_submit(ring), -EPROTO);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(what_is_asked_arrives),
		TEST(RG_07_RG_08_RG_51_ranges_outside_the_buffer),
		TEST(UB_28_RG_46_limits_of_a_wait),
		TEST(UB_28_RG_46_points_in_time),
		TEST(UB_27_a_thousand_posts_do_not_make_it_spin),
		TEST(a_wake_ends_a_wait),
		TEST(UB_26_prepared_here_and_awaited_there),
		TEST(RG_45_the_wall_clock_does_not_matter),
		TEST(RG_40_the_daemon_breaks_the_protocol),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
