/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges of a pool: taken, held, populated, kept and given back.
 */
#include <string.h>

#include "pool_rig.h"

/* ---- Taking ---- */

static void addresses_are_congruent(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);

	for (uint64_t align = 1; align <= POOL_UNIT; align *= 2)
		for (uint64_t bytes = 1; bytes < 3 * POOL_UNIT; bytes = bytes * 3 + 1) {
			char *at = take(pool, bytes, align, 1234567 % align, NULL);

			pool_drop(pool, at, bytes);
		}
	check_int(usage(pool).held_bytes, 0);
	pool_unref(pool);
}

static void small_ranges_share_a_unit(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	char *at[100];

	for (size_t i = 0; i < array_size(at); i++)
		at[i] = take(pool, 16 << 10, 4096, 512, NULL);
	check_int(usage(pool).held_bytes, POOL_UNIT);
	for (size_t i = 0; i < array_size(at); i++)
		pool_drop(pool, at[i], 16 << 10);
	check_int(usage(pool).held_bytes, 0);
	/* And start again at its front. */
	check(take(pool, 100, 1, 0, NULL) <= at[0]);
	pool_drop(pool, at[0] - 512, 100);
	pool_unref(pool);
}

static void the_rest_of_a_large_range_serves_small_ones(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	char *large = take(pool, POOL_UNIT + 4096, 4096, 0, NULL);
	char *small = take(pool, 4096, 4096, 0, NULL);

	check_int(small - large, POOL_UNIT + 4096);
	check_int(usage(pool).held_bytes, 2 * POOL_UNIT);
	pool_drop(pool, large, POOL_UNIT + 4096);
	check_int(usage(pool).held_bytes, POOL_UNIT);
	pool_drop(pool, small, 4096);
	pool_unref(pool);
}

static void nonsense_is_refused(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	struct weir_error err = WEIR_ERROR_INIT;
	bool fresh;
	void *at;

	check_int(pool_take(pool, 0, 1, 0, &at, &fresh, &err), WEIR_ARG);
	check_int(pool_take(pool, 1, 3, 0, &at, &fresh, &err), WEIR_ARG);
	check_int(pool_take(pool, 1, 2 * POOL_UNIT, 0, &at, &fresh, &err), WEIR_ARG);
	check_int(pool_take(pool, UINT64_MAX, 1, 0, &at, &fresh, &err), WEIR_NOMEM);
	pool_unref(pool);
}

/* ---- Holding ---- */

static void a_part_keeps_only_its_own_units(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	char *at = take(pool, 8 * POOL_UNIT, POOL_UNIT, 0, NULL);

	pool_hold(pool, at + 3 * POOL_UNIT - 1, 2);
	pool_drop(pool, at, 8 * POOL_UNIT);
	check_int(usage(pool).held_bytes, 2 * POOL_UNIT);
	/* What is around it can be had again. */
	check(take(pool, 2 * POOL_UNIT, 1, 0, NULL) == at);
	pool_drop(pool, at, 2 * POOL_UNIT);
	pool_drop(pool, at + 3 * POOL_UNIT - 1, 2);
	check_int(usage(pool).held_bytes, 0);
	pool_unref(pool);
}

static void free_neighbours_are_one_again(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	uint64_t mapped;
	char *at[64];

	for (size_t i = 0; i < 64; i++)
		at[i] = take(pool, 2 * POOL_UNIT, POOL_UNIT, 0, NULL);
	mapped = usage(pool).mapped_bytes;
	for (size_t i = 0; i < 64; i += 2)
		pool_drop(pool, at[i], 2 * POOL_UNIT);
	for (size_t i = 1; i < 64; i += 2)
		pool_drop(pool, at[i], 2 * POOL_UNIT);
	pool_drop(pool, take(pool, 128 * POOL_UNIT, 1, 0, NULL), 128 * POOL_UNIT);
	check_int(usage(pool).mapped_bytes, mapped);
	pool_unref(pool);
}

static void memory_lives_as_long_as_a_reference(void)
{
	struct pool *pool = make(sys_real(), 0, 0);
	char *at = take(pool, POOL_UNIT, 1, 0, NULL);

	pool_ref(pool);
	pool_unref(pool);
	memset(at, 1, POOL_UNIT);
	pool_drop(pool, at, POOL_UNIT);
	pool_unref(pool);
}

/* ---- Populating, keeping, giving back ---- */

static void fresh_is_what_was_not_populated(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	bool fresh;
	char *at = take(pool, 4 * POOL_UNIT, POOL_UNIT, 0, &fresh), *more;

	check(fresh && !resident(at, 4 * POOL_UNIT));
	check_int(pool_populate(pool, at + 100, 2 * POOL_UNIT, NULL), 0);
	check(resident(at, 3 * POOL_UNIT));
	check_int(usage(pool).populated_bytes, 3 * POOL_UNIT);
	pool_drop(pool, at, 4 * POOL_UNIT);
	check(take(pool, 3 * POOL_UNIT, 1, 0, &fresh) == at && !fresh);
	more = take(pool, POOL_UNIT, 1, 0, &fresh);
	check(more == at + 3 * POOL_UNIT && fresh);
	check_int(pool_populate(pool, at, 4 * POOL_UNIT, NULL), 0);
	pool_drop(pool, more, POOL_UNIT);
	pool_drop(pool, at, 3 * POOL_UNIT);
	check(pool_trim(pool) == 4 * POOL_UNIT);
	check_int(usage(pool).populated_bytes, 0);
	check_int(usage(pool).mapped_bytes, 0);
	take(pool, 4 * POOL_UNIT, 1, 0, &fresh);
	check(fresh);
	pool_unref(pool);
}

static void trim_leaves_what_is_held(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	char *at = take(pool, 8 * POOL_UNIT, POOL_UNIT, 0, NULL);

	memset(at, 7, 8 * POOL_UNIT);
	pool_hold(pool, at + 4 * POOL_UNIT, POOL_UNIT);
	pool_drop(pool, at, 8 * POOL_UNIT);
	check_int(usage(pool).populated_bytes, 7 * POOL_UNIT);
	check_int(usage(pool).kept_bytes, 7 * POOL_UNIT);
	check_int(pool_trim(pool), 7 * POOL_UNIT);
	check_int(usage(pool).kept_bytes, 0);
	check(at[4 * POOL_UNIT] == 7 && at[5 * POOL_UNIT - 1] == 7);
	check(!resident(at, POOL_UNIT) && !resident(at + 5 * POOL_UNIT, POOL_UNIT));
	pool_drop(pool, at + 4 * POOL_UNIT, POOL_UNIT);
	check_int(pool_trim(pool), POOL_UNIT);
	check_int(usage(pool).mapped_bytes, 0);
	pool_unref(pool);
}

static void more_than_may_be_kept_goes_back(void)
{
	struct pool *pool = make(sys_real(), 3 * POOL_UNIT, 0);
	char *at = take(pool, 8 * POOL_UNIT, POOL_UNIT, 0, NULL);
	bool fresh;

	check_int(pool_populate(pool, at, 8 * POOL_UNIT, NULL), 0);
	pool_drop(pool, at, 8 * POOL_UNIT);
	check_int(usage(pool).populated_bytes, 3 * POOL_UNIT);
	check_int(usage(pool).populated_peak_bytes, 8 * POOL_UNIT);
	check(take(pool, 3 * POOL_UNIT, 1, 0, &fresh) == at && !fresh);
	pool_unref(pool);
}

static void nothing_kept_nothing_mapped(void)
{
	struct pool *pool = make(sys_real(), 0, 0);
	char *at = take(pool, 200 * POOL_UNIT, POOL_UNIT, 0, NULL);

	pool_drop(pool, at, 200 * POOL_UNIT);
	check_int(usage(pool).mapped_bytes, 0);
	pool_unref(pool);
}

/* Loads of other shapes must not add up: what was kept for the last one makes way. */
static void kept_memory_makes_way(void)
{
	struct pool *pool = make(sys_real(), UINT64_MAX, 0);
	char *at[4];

	for (size_t i = 0; i < 4; i++) {
		at[i] = take(pool, 150 * POOL_UNIT, POOL_UNIT, 0, NULL);
		at[i][0] = 1;
	}
	for (size_t i = 0; i < 4; i++)
		pool_drop(pool, at[i], 150 * POOL_UNIT);
	check_int(usage(pool).populated_bytes, 600 * POOL_UNIT);
	at[0] = take(pool, 580 * POOL_UNIT, POOL_UNIT, 0, NULL);
	check(usage(pool).populated_bytes <= 20 * POOL_UNIT);
	pool_drop(pool, at[0], 580 * POOL_UNIT);
	check(usage(pool).populated_bytes <= 600 * POOL_UNIT);
	pool_unref(pool);
}

static int64_t fake_now_ns;
static int64_t fake_now(void)
{
	return fake_now_ns;
}

static void kept_memory_goes_back_when_idle(void)
{
	struct sys sys = *sys_real();
	struct pool *pool;
	char *large, *other;

	sys.now_ns = fake_now;
	pool = make(&sys, UINT64_MAX, 1000);
	large = take(pool, 200 * POOL_UNIT, POOL_UNIT, 0, NULL);
	other = take(pool, POOL_UNIT, POOL_UNIT, 0, NULL); /* in another region */
	pool_drop(pool, large, 200 * POOL_UNIT);
	fake_now_ns = 900;
	check(take(pool, 2 * POOL_UNIT, POOL_UNIT, 0, NULL) == large);
	fake_now_ns = 1800;
	pool_hold(pool, other, 1);
	pool_drop(pool, other, 1);
	check_int(usage(pool).populated_bytes, 200 * POOL_UNIT); /* used 900 ago */
	fake_now_ns = 3500;
	pool_hold(pool, other, 1);
	pool_drop(pool, other, 1);
	check_int(usage(pool).populated_bytes, 2 * POOL_UNIT);
	pool_unref(pool);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(addresses_are_congruent),
		TEST(small_ranges_share_a_unit),
		TEST(the_rest_of_a_large_range_serves_small_ones),
		TEST(nonsense_is_refused),
		TEST(a_part_keeps_only_its_own_units),
		TEST(free_neighbours_are_one_again),
		TEST(memory_lives_as_long_as_a_reference),
		TEST(fresh_is_what_was_not_populated),
		TEST(trim_leaves_what_is_held),
		TEST(more_than_may_be_kept_goes_back),
		TEST(nothing_kept_nothing_mapped),
		TEST(kept_memory_makes_way),
		TEST(kept_memory_goes_back_when_idle),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
