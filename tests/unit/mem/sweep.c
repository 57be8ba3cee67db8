/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One life of a pool and its thread, tried again and again: with the first allocation failing, then the
 * second, until none fires; and so on for each system call.  Each time: NOMEM or success, nothing left
 * behind, nothing half made.
 */
#include <errno.h>
#include <string.h>

#include "lib/check.h"
#include "lib/fail.h"
#include "lib/leaks.h"
#include "mem/limits.h"
#include "mem/populate.h"

#define RANGES 6

/* Taken with what was populated, written, dropped; 0 or the first failure. */
static int use_ranges(struct pool *pool, struct populator *populator)
{
	struct populate_job job[RANGES];
	int ret = 0;
	size_t count;

	for (count = 0; count < RANGES; count++) {
		struct weir_error err = WEIR_ERROR_INIT;
		bool fresh;

		job[count] = (struct populate_job){.bytes = (count * 70 + 1) * POOL_UNIT};
		ret = pool_take(pool, job[count].bytes, 4096, 512, &job[count].at, &fresh, &err);
		check_int(err.code, ret);
		if (ret)
			break;
		populate_start(populator, &job[count]);
		memset(job[count].at, 1, 10000);
	}
	while (count-- > 0) {
		populate_cancel(populator, &job[count]);
		check_int(*(char *)job[count].at, 1);
		pool_drop(pool, job[count].at, job[count].bytes);
		if (count % 2)
			pool_trim(pool);
	}
	return ret;
}

static int one_life(void)
{
	struct pool_opts opts = {.sys = fail_sys(), .keep_bytes = 100 * POOL_UNIT};
	struct weir_error err = WEIR_ERROR_INIT;
	struct populator *populator = NULL;
	struct pool *pool = NULL;
	struct pool_usage usage;
	int ret = memory_check(fail_sys(), POOL_UNIT, "a unit", &err);

	if (ret == 0)
		ret = pool_create(&opts, &pool, &err);
	if (ret == 0)
		ret = populator_create(fail_sys(), pool, &populator, &err);
	check_int(err.code, ret);
	if (ret == 0) {
		ret = use_ranges(pool, populator);
		pool_usage(pool, &usage);
		check_int(usage.held_bytes, 0);
	}
	populator_destroy(populator);
	pool_unref(pool);
	return ret;
}

/* Returns how many lives failed: others found a way round. */
static unsigned sweep_allocations(enum fail_mode mode)
{
	struct leaks before;
	unsigned n = 0, failed = 0;
	bool fired;

	check_int(one_life(), 0);
	leaks_take(&before);
	do {
		int ret;

		fail_alloc(++n, mode);
		ret = one_life();
		fired = fail_alloc_end();
		check(ret == 0 || (fired && ret == WEIR_NOMEM));
		failed += ret != 0;
		leaks_check(&before, "an allocation failed");
	} while (fired);
	check(n > 5);
	return failed;
}

static void PR_07_each_allocation_fails(void)
{
	check(sweep_allocations(FAIL_ONCE) >= 2);
}

static void PR_07_allocations_fail_from_the_nth(void)
{
	check(sweep_allocations(FAIL_FROM) >= 4);
}

/* How often a call was made to fail before none fired. */
static unsigned sweep_call(enum fail_call call, enum fail_mode mode, int os_errno)
{
	struct leaks before;
	unsigned n = 0;
	bool fired;

	check_int(one_life(), 0);
	leaks_take(&before);
	do {
		int ret;

		fail_call(call, ++n, mode, os_errno);
		ret = one_life();
		fired = fail_call_end();
		check(ret == 0 || (fired && ret == WEIR_NOMEM));
		leaks_check_call(&before, call);
	} while (fired);
	return n - 1;
}

static void PR_07_each_mmap_fails(void)
{
	check(sweep_call(FAIL_mmap, FAIL_ONCE, ENOMEM) > 2);
	check(sweep_call(FAIL_mmap, FAIL_FROM, ENOMEM) > 2);
}

static void ST_22_each_madvise_fails(void)
{
	check(sweep_call(FAIL_madvise, FAIL_ONCE, ENOMEM) > 10);
	check(sweep_call(FAIL_madvise, FAIL_FROM, EINVAL) > 2);
}

static void each_munmap_fails(void)
{
	check(sweep_call(FAIL_munmap, FAIL_ONCE, ENOMEM) > 2);
	check(sweep_call(FAIL_munmap, FAIL_FROM, ENOMEM) > 2);
}

static void PR_08_each_thread_fails(void)
{
	check_int(sweep_call(FAIL_thread_create, FAIL_ONCE, EAGAIN), 1);
}

static void PR_22_each_file_of_the_kernel_fails(void)
{
	check(sweep_call(FAIL_openat, FAIL_ONCE, EACCES) > 1);
	check(sweep_call(FAIL_pread, FAIL_ONCE, EIO) > 1);
	check(sweep_call(FAIL_close, FAIL_ONCE, EIO) > 1);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_07_each_allocation_fails),
		TEST(PR_07_allocations_fail_from_the_nth),
		TEST(PR_07_each_mmap_fails),
		TEST(ST_22_each_madvise_fails),
		TEST(each_munmap_fails),
		TEST(PR_08_each_thread_fails),
		TEST(PR_22_each_file_of_the_kernel_fails),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
