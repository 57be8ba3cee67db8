/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/populate.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "base/compiler.h"
#include "base/thread.h"
#include "lib/check.h"
#include "lib/fail.h"
#include "lib/pattern.h"

static struct pool *pool;
static struct populator *populator;
static _Atomic unsigned notified;

static void note(void *arg)
{
	(void)arg;
	atomic_fetch_add(&notified, 1);
}

static void begin(const struct sys *sys)
{
	struct pool_opts opts = {.sys = sys, .keep_bytes = UINT64_MAX};

	check_int(pool_create(&opts, &pool, NULL), 0);
	check_int(populator_create(sys, pool, &populator, NULL), 0);
}

static void end(void)
{
	populator_destroy(populator);
	pool_unref(pool);
}

static struct populate_job take(uint64_t bytes, uint64_t phase)
{
	struct populate_job job = {.bytes = bytes, .notify = note};
	bool fresh;

	check_int(pool_take(pool, bytes, 4096, phase, &job.at, &fresh, NULL), 0);
	return job;
}

static void wait_ready(struct populate_job *job)
{
	while (atomic_load_explicit(&job->ready, memory_order_acquire) < job->bytes)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static uint64_t populated(void)
{
	struct pool_usage usage;

	pool_usage(pool, &usage);
	return usage.populated_bytes;
}

static void jobs_become_ready_in_steps(void)
{
	struct populate_job job[2];

	begin(sys_real());
	job[0] = take(32 * POOL_UNIT, 0);
	job[1] = take(5, 0);
	for (size_t i = 0; i < 2; i++)
		populate_start(populator, &job[i]);
	wait_ready(&job[1]); /* in order: then the first is ready, too */
	check_int(atomic_load(&job[0].ready), 32 * POOL_UNIT);
	for (size_t i = 0; i < 2; i++)
		populate_cancel(populator, &job[i]);
	check(atomic_load(&notified) > 4);
	check_int(populated(), 33 * POOL_UNIT);
	end();
}

static void an_unaligned_job_is_all_done(void)
{
	struct populate_job job;
	bool fresh;
	void *at;

	begin(sys_real());
	job = take(9 * POOL_UNIT, 3000);
	populate_start(populator, &job);
	wait_ready(&job);
	populate_cancel(populator, &job);
	pool_drop(pool, job.at, job.bytes);
	/* Its last unit stays open for small ranges; the others come again. */
	check_int(pool_take(pool, 9 * POOL_UNIT, 1, 0, &at, &fresh, NULL), 0);
	check(!fresh && (char *)at + 3000 == job.at);
	end();
}

/* ---- Cancelling ---- */

static struct lock gate_lock;
static struct cond gate_cond;
static bool gate_open;
static unsigned gate_waiting;

static int wait_at_gate(void *at, size_t len, int advice)
{
	if (advice == 23) {
		lock_take(&gate_lock);
		gate_waiting++;
		cond_wake_all(&gate_cond);
		while (!gate_open)
			cond_wait(&gate_cond, &gate_lock, INT64_MAX);
		lock_drop(&gate_lock);
	}
	return madvise(at, len, advice);
}

static void *open_gate(void *arg)
{
	(void)arg;
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	lock_take(&gate_lock);
	gate_open = true;
	cond_wake_all(&gate_cond);
	lock_drop(&gate_lock);
	return NULL;
}

static void cancel_waits_for_the_step_under_way(void)
{
	struct sys sys = *sys_real();
	struct populate_job job[2];
	pthread_t thread;
	uint64_t ready;

	lock_init(&gate_lock);
	cond_init(&gate_cond);
	sys.madvise = wait_at_gate;
	begin(&sys);
	for (size_t i = 0; i < 2; i++) {
		job[i] = take(64 * POOL_UNIT, 0);
		populate_start(populator, &job[i]);
	}
	lock_take(&gate_lock);
	while (gate_waiting == 0)
		cond_wait(&gate_cond, &gate_lock, INT64_MAX);
	lock_drop(&gate_lock);
	populate_cancel(populator, &job[1]); /* has not begun: nothing to wait for */
	check(!gate_open);
	check_int(thread_start(sys_real(), &thread, "gate", open_gate, NULL, NULL), 0);
	populate_cancel(populator, &job[0]);
	check(gate_open);
	ready = atomic_load(&job[0].ready);
	check(ready > 0 && ready < 64 * POOL_UNIT);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	check_int(atomic_load(&job[0].ready), ready);
	check_int(atomic_load(&job[1].ready), 0);
	thread_join(thread);
	end();
}

/* ---- Two threads ---- */

static void *first_step;
static _Atomic bool first_may_end;

static int hold_the_first(void *at, size_t len, int advice)
{
	if (advice == 23 && at == first_step)
		while (!atomic_load(&first_may_end))
			nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	return madvise(at, len, advice);
}

static void what_is_ready_has_no_holes(void)
{
	struct sys sys = *sys_real();
	struct populate_job job;

	sys.madvise = hold_the_first;
	begin(&sys);
	job = take(16 * POOL_UNIT, 0);
	first_step = job.at;
	atomic_store(&notified, 0);
	populate_hurry(populator);
	populate_start(populator, &job);
	/* The other thread is through with the other three steps, and the first is not there. */
	for (unsigned i = 0; i < 100000 && atomic_load(&notified) < 3; i++)
		nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
	check_int(atomic_load(&notified), 3);
	check_int(atomic_load(&job.ready), 0);
	atomic_store(&first_may_end, true);
	wait_ready(&job);
	populate_cancel(populator, &job);
	check_int(atomic_load(&notified), 4);
	check_int(populated(), 16 * POOL_UNIT);
	end();
}

/* ---- Refusals ---- */

static void PR_08_without_a_thread_it_is_done_at_once(void)
{
	struct populate_job job;

	begin(fail_sys());
	fail_call(FAIL_thread_create, 1, FAIL_FROM, EAGAIN);
	job = take(16 * POOL_UNIT, 0);
	populate_start(populator, &job);
	check_int(atomic_load(&job.ready), job.bytes);
	check_int(populated(), 16 * POOL_UNIT);
	check_int(atomic_load(&notified), 4);
	populate_cancel(populator, &job);
	end();
}

static int no_memory(void *at, size_t len, int advice)
{
	if (advice == 23) {
		errno = ENOMEM;
		return -1;
	}
	return madvise(at, len, advice);
}

static void PR_07_a_failure_leaves_it_to_the_reads(void)
{
	struct sys sys = *sys_real();
	struct populate_job job;

	sys.madvise = no_memory;
	begin(&sys);
	job = take(16 * POOL_UNIT, 0);
	populate_start(populator, &job);
	wait_ready(&job);
	populate_cancel(populator, &job);
	check_int(atomic_load(&notified), 1);
	check_int(populated(), 0);
	end();
}

static void no_job_no_thread(void)
{
	struct sys sys = *sys_real();

	sys.thread_create = NULL; /* would crash */
	begin(&sys);
	end();
	populator_destroy(NULL);
}

/* Jobs that come, end and are cancelled at any moment. */
static void many_jobs_cancelled_at_random(void)
{
	uint64_t random = 1;

	begin(sys_real());
	for (unsigned i = 0; i < 300; i++) {
		struct populate_job job = take(8 * POOL_UNIT, 0);

		if (i == 100)
			populate_hurry(populator);

		populate_start(populator, &job);
		nanosleep(&(struct timespec){.tv_nsec = (long)chance_below(&random, 1000000)},
			  NULL);
		populate_cancel(populator, &job);
		pool_drop(pool, job.at, job.bytes);
		if (i % 16 == 0)
			pool_trim(pool);
	}
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(jobs_become_ready_in_steps),
		TEST(an_unaligned_job_is_all_done),
		TEST(cancel_waits_for_the_step_under_way),
		TEST(what_is_ready_has_no_holes),
		TEST(PR_08_without_a_thread_it_is_done_at_once),
		TEST(PR_07_a_failure_leaves_it_to_the_reads),
		TEST(no_job_no_thread),
		TEST(many_jobs_cancelled_at_random),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
