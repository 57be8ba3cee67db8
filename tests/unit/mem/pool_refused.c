/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool over a kernel that refuses.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "mem/limits.h"
#include "pool_rig.h"

static int no_populate(void *at, size_t len, int advice)
{
	if (advice == 23) {
		errno = EINVAL;
		return -1;
	}
	return madvise(at, len, advice);
}

static void an_old_kernel_is_helped_by_hand(void)
{
	struct sys sys = *sys_real();
	struct pool *pool;
	bool fresh;
	char *at;

	sys.madvise = no_populate;
	pool = make(&sys, UINT64_MAX, 0);
	at = take(pool, 4 * POOL_UNIT, POOL_UNIT, 100, &fresh);
	memset(at, 5, 5000);
	check_int(pool_populate(pool, at, 4 * POOL_UNIT, NULL), 0);
	check(resident(at, 4 * POOL_UNIT));
	check(at[0] == 5 && at[4999] == 5 && at[5000] == 0);
	/* Its first and last unit are not wholly its own: they do not count as populated. */
	check_int(usage(pool).populated_bytes, 3 * POOL_UNIT);
	pool_unref(pool);
}

static int no_memory(void *at, size_t len, int advice)
{
	if (advice == 23) {
		errno = ENOMEM;
		return -1;
	}
	return madvise(at, len, advice);
}

static void PR_07_populate_out_of_memory(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct sys sys = *sys_real();
	struct pool *pool;
	char *at;

	sys.madvise = no_memory;
	pool = make(&sys, UINT64_MAX, 0);
	at = take(pool, 4 * POOL_UNIT, POOL_UNIT, 100, NULL);
	check_int(pool_populate(pool, at, 4 * POOL_UNIT, &err), WEIR_NOMEM);
	check_int(err.os_errno, ENOMEM);
	check_int(usage(pool).populated_bytes, 0);
	pool_drop(pool, at, 4 * POOL_UNIT);
	pool_unref(pool);
}

static int no_huge_pages(void *at, size_t len, int advice)
{
	if (advice == MADV_HUGEPAGE) {
		errno = EINVAL;
		return -1;
	}
	return madvise(at, len, advice);
}

static unsigned lines_logged;
static void count_lines(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	check_has(line, "huge pages");
	lines_logged++;
}

static void PR_10_no_huge_pages(void)
{
	struct log log = {.fn = count_lines, .level = WEIR_LOG_WARN, .sys = sys_real()};
	struct sys sys = *sys_real();
	struct pool_opts opts = {.sys = &sys, .log = &log};
	struct pool *pool;
	char *at[2];

	sys.madvise = no_huge_pages;
	check_int(pool_create(&opts, &pool, NULL), 0);
	for (size_t i = 0; i < 2; i++) {
		at[i] = take(pool, 200 * POOL_UNIT, 1, 0, NULL);
		memset(at[i], 1, 10000);
	}
	check_int(lines_logged, 1);
	pool_unref(pool);
}

static unsigned maps_refused;
static void *small_maps_only(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	if (len > 64 * POOL_UNIT) {
		maps_refused++;
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return mmap(at, len, prot, flags, fd, off);
}

static void ST_22_smaller_regions_where_large_ones_are_refused(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct sys sys = *sys_real();
	struct pool *pool;
	bool fresh;
	void *at;

	sys.mmap = small_maps_only;
	pool = make(&sys, UINT64_MAX, 0);
	take(pool, POOL_UNIT, 1, 0, NULL);
	check_int(maps_refused, 1);
	check_int(pool_take(pool, 64 * POOL_UNIT, 1, 0, &at, &fresh, &err), WEIR_NOMEM);
	check_int(err.os_errno, ENOMEM);
	check_has(err.message, "134217728 bytes");
	pool_unref(pool);
}

/* A sanitizer reserves more address space than any limit that would be felt here. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void PR_09_an_address_space_limit(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	struct rlimit limit;
	char *small;
	bool fresh;
	void *at;

	limit.rlim_cur = limit.rlim_max = 256 * MIB;
	check_int(setrlimit(RLIMIT_AS, &limit), 0);
	/* A region of the usual size does not fit: just what is needed does. */
	small = take(pool, 8 * POOL_UNIT, 1, 0, NULL);
	memset(small, 1, 8 * POOL_UNIT);
	check_int(pool_take(pool, 256 * MIB, 1, 0, &at, &fresh, &err), WEIR_NOMEM);
	check_int(memory_check(sys_real(), 256 * MIB, "the tensors", &err), WEIR_NOMEM);
	check_has(err.message, "address-space limit");
	check(small[0] == 1 && small[8 * POOL_UNIT - 1] == 1);
	pool_drop(pool, small, 8 * POOL_UNIT);
	check_int(pool_trim(pool), 8 * POOL_UNIT);
	pool_unref(pool);
}
#endif

static int refuse_unmap(void *at, size_t len)
{
	(void)at;
	(void)len;
	errno = ENOMEM;
	return -1;
}

static void a_refused_unmap_loses_nothing(void)
{
	struct sys sys = *sys_real();
	struct pool *pool;
	char *at;

	sys.munmap = refuse_unmap;
	pool = make(&sys, UINT64_MAX, 0);
	at = take(pool, 4 * POOL_UNIT, 1, 0, NULL);
	memset(at, 1, 4 * POOL_UNIT);
	pool_drop(pool, at, 4 * POOL_UNIT);
	check_int(pool_trim(pool), 4 * POOL_UNIT);
	check_int(pool_trim(pool), 0);
	check(!resident(at, POOL_UNIT));
	check(usage(pool).mapped_bytes > 0);
	at = take(pool, 4 * POOL_UNIT, 1, 0, NULL);
	check_int(at[0], 0);
	pool_unref(pool);
}

static int refuse_dontneed(void *at, size_t len, int advice)
{
	if (advice == MADV_DONTNEED) {
		errno = EINVAL;
		return -1;
	}
	return madvise(at, len, advice);
}

/* As after mlockall(): pages stay, and trim says so and ends. */
static void locked_pages_are_kept(void)
{
	struct sys sys = *sys_real();
	struct pool *pool;
	char *at;

	sys.madvise = refuse_dontneed;
	pool = make(&sys, 0, 0);
	at = take(pool, 4 * POOL_UNIT, 1, 0, NULL);
	pool_hold(pool, at, 1);
	pool_drop(pool, at, 4 * POOL_UNIT);
	check_int(usage(pool).populated_bytes, 3 * POOL_UNIT);
	check_int(pool_trim(pool), 0);
	pool_drop(pool, at, 1); /* the whole region can go, and does */
	check_int(usage(pool).mapped_bytes, 0);
	pool_unref(pool);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(an_old_kernel_is_helped_by_hand),
		TEST(PR_07_populate_out_of_memory),
		TEST(PR_10_no_huge_pages),
		TEST(ST_22_smaller_regions_where_large_ones_are_refused),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		TEST(PR_09_an_address_space_limit),
#endif
		TEST(a_refused_unmap_loses_nothing),
		TEST(locked_pages_are_kept),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
