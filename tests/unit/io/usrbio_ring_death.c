/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Daemons that die, stop, start again while a ring waits.
 */
#include <pthread.h>

#include "usrbio_ring_rig.h"

static struct usrbio_cqe cqe[64];

static void check_gone(void)
{
	int64_t start = sys_real()->now_ns();

	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), 2);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
	check(cqe[0].result == -ENOTCONN && cqe[0].userdata == 1);
	check(cqe[1].result == -ENOTCONN && cqe[1].userdata == 2);
	check_int(usrbio_session_health(session), USRBIO_GONE);
	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), -ENOTCONN);
	check_int(usrbio_ring_wait(ring, cqe, 64, 0, NEVER), -ENOTCONN);
	check_int(prepare(ring, 1), -ENOTCONN);
	check_int(usrbio_ring_submit(ring), -ENOTCONN);
}

static void UB_48_RG_37_killed(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	rig.health = ENOTCONN;
	check_gone();
	rig.health = 0;
	end();
}

static _Atomic unsigned threads_refused;

static int refuse_thread(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			 void *arg)
{
	if (threads_refused == 0)
		return sys_real()->thread_create(out, attr, run, arg);
	threads_refused--;
	return EAGAIN;
}

/* The first who would look after the daemon cannot be started; it is not the last. */
static void UB_48_killed_while_no_thread_is_to_be_had(void)
{
	begin();
	rig.sys.thread_create = refuse_thread;
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	threads_refused = 2;
	rig.health = ENOTCONN;
	check_gone();
	check_int(threads_refused, 0);
	rig.health = 0;
	end();
}

static void UB_48_RG_39_restarted(void)
{
	struct usrbio_bell_file old;
	struct usrbio_session *second;
	struct usrbio_ring *other;

	begin();
	old = rig.bell;
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_bell_create(sys_real(), rig.shm_dir, &rig.bell, NULL), 0);
	point_bells();
	check_gone();
	second = session_made();
	check(second != session);
	other = ring_made(second, 4);
	check_int(prepare(other, 9), 0);
	check_int(usrbio_ring_submit(other), 0);
	check_int(usrbio_sem_drain(rig.bell.sem), 1); /* the new one's */
	check_int(serve(3), 1);
	check_int(usrbio_ring_wait(other, cqe, 4, 1, NEVER), 1);
	usrbio_ring_destroy(other);
	usrbio_session_put(second);
	usrbio_bell_unlink(sys_real(), rig.shm_dir, &old);
	usrbio_bell_close(sys_real(), &old);
	end();
}

static void RG_37_after_half_the_completions(void)
{
	struct usrbio_claim claims[2];

	begin();
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_server_claim(&rig.server, claims, 2), 2);
	check_int(usrbio_server_complete(&rig.server, 1, 2, 5), 0);
	rig.health = ECONNABORTED;
	check_int(usrbio_ring_wait(ring, cqe, 64, 2, NEVER), 2);
	check(cqe[0].userdata == 2 && cqe[0].result == 5);
	check(cqe[1].userdata == 1 && cqe[1].result == -ENOTCONN);
	rig.health = 0;
	end();
}

static void RG_37_polling_notices_it_too(void)
{
	int64_t start = sys_real()->now_ns();
	int got;

	begin();
	check_int(prepare(ring, 1), 0);
	rig.health = ENOTCONN;
	while ((got = usrbio_ring_wait(ring, cqe, 64, 0, NEVER)) == 0)
		usleep(1000);
	check_int(got, 1);
	check_int(cqe[0].result, -ENOTCONN);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
	rig.health = 0;
	end();
}

static void RG_38_stopped(void)
{
	int64_t start;

	begin();
	check_int(prepare(ring, 1), 0);
	rig.health = HANGS;
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(1900)), 0); /* a deadline is a deadline */
	check(daemon_now_ns() - start < 3 * NS_PER_SEC);
	check_int(usrbio_session_health(session), USRBIO_STOPPED);
	check_int(usrbio_ring_flying(ring), 1);
	rig.health = 0;
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(1000)), 1);
	check_int(cqe[0].result, 1);
	end();
}

static void *pass_a_minute(void *arg)
{
	(void)arg;
	usleep(300000);
	rig.clock_ns = 60 * NS_PER_SEC;
	return NULL;
}

static void UB_48_RG_38_silent_for_a_minute(void)
{
	pthread_t thread;

	begin();
	check_int(prepare(ring, 1), 0);
	check_int(pthread_create(&thread, NULL, pass_a_minute, NULL), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), -ETIMEDOUT);
	pthread_join(thread, NULL);
	check_int(usrbio_ring_flying(ring), 1);
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	end();
}

static void UB_48_nothing_in_flight_waits_on(void)
{
	pthread_t minute, waker;

	begin();
	check_int(pthread_create(&minute, NULL, pass_a_minute, NULL), 0);
	pthread_join(minute, NULL);
	check_int(pthread_create(&minute, NULL, pass_a_minute, NULL), 0);
	check_int(pthread_create(&waker, NULL, wake_later, ring), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0);
	pthread_join(waker, NULL);
	pthread_join(minute, NULL);
	check_int(rig.probes, 0); /* and nobody asks the daemon meanwhile */
	end();
}

static void a_quick_wait_asks_nobody(void)
{
	begin();
	for (int i = 0; i < 100; i++) {
		check_int(prepare(ring, 1), 0);
		check_int(serve(1), 1);
		check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	}
	check_int(rig.probes, 0);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_48_RG_37_killed),
		TEST(UB_48_killed_while_no_thread_is_to_be_had),
		TEST(UB_48_RG_39_restarted),
		TEST(RG_37_after_half_the_completions),
		TEST(RG_37_polling_notices_it_too),
		TEST(RG_38_stopped),
		TEST(UB_48_RG_38_silent_for_a_minute),
		TEST(UB_48_nothing_in_flight_waits_on),
		TEST(a_quick_wait_asks_nobody),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
