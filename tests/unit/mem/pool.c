/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/size.h"
#include "base/thread.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "mem/limits.h"

static struct pool *make(const struct sys *sys, uint64_t keep_bytes, int64_t idle_ns)
{
	struct pool_opts opts = {.sys = sys, .keep_bytes = keep_bytes, .idle_ns = idle_ns};
	struct pool *pool;

	check_int(pool_create(&opts, &pool, NULL), 0);
	return pool;
}

static char *take(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase, bool *fresh)
{
	bool ignored;
	void *at;

	check_int(pool_take(pool, bytes, align, phase, &at, fresh ? fresh : &ignored, NULL), 0);
	check_int((uintptr_t)at & (align - 1), phase & (align - 1));
	return at;
}

static struct pool_usage usage(struct pool *pool)
{
	struct pool_usage out;

	pool_usage(pool, &out);
	return out;
}

static bool resident(const char *at, uint64_t bytes)
{
	uintptr_t first = round_down((uintptr_t)at, 4096);
	uint64_t pages = ((uintptr_t)at + bytes - first + 4095) / 4096;
	unsigned char *seen = malloc(pages);
	bool all = true;

	check_int(mincore((void *)first, pages * 4096, seen), 0);
	for (uint64_t i = 0; i < pages; i++)
		all = all && (seen[i] & 1);
	free(seen);
	return all;
}

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

/* ---- A kernel that refuses ---- */

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

/* ---- Against a model, at random ---- */

#define LIVE_MAX 64

struct live {
	char *at;
	uint64_t bytes;
	unsigned char stamp;
};

struct model {
	struct pool *pool;
	uint64_t random;
	unsigned char stamps;
	struct live live[LIVE_MAX];
	size_t count;
};

static uint64_t draw(struct model *model, uint64_t below)
{
	return chance_below(&model->random, below);
}

/* Both ends and a few places between: enough to see any overlap or lost page at unit grain. */
static void each_place(const struct live *live, void (*visit)(char *at, unsigned char stamp))
{
	uint64_t step = max_of(live->bytes / 8, (uint64_t)1);

	check(live->at);
	for (uint64_t i = 0; i < live->bytes; i += step)
		visit(live->at + i, live->stamp);
	visit(live->at + live->bytes - 1, live->stamp);
}

static void put_stamp(char *at, unsigned char stamp)
{
	*at = (char)stamp;
}

static void see_stamp(char *at, unsigned char stamp)
{
	check_int((unsigned char)*at, stamp);
}

static void model_take(struct model *model)
{
	uint64_t bytes = 1 + draw(model, (uint64_t)1 << draw(model, 25));
	uint64_t align = (uint64_t)1 << draw(model, 22);
	uint64_t phase = draw(model, align);
	struct live *live = &model->live[model->count];
	bool fresh;

	if (model->count == LIVE_MAX)
		return;
	live->at = take(model->pool, bytes, align, phase, &fresh);
	live->bytes = bytes;
	live->stamp = ++model->stamps;
	for (size_t i = 0; i < model->count; i++)
		check(model->live[i].at + model->live[i].bytes <= live->at ||
		      live->at + bytes <= model->live[i].at);
	check(fresh || resident(live->at, bytes));
	if (draw(model, 4) == 0)
		check_int(pool_populate(model->pool, live->at, bytes, NULL), 0);
	each_place(live, put_stamp);
	model->count++;
}

/* Drops a range, or first shrinks it to a part of itself. */
static void model_drop(struct model *model)
{
	size_t i = model->count ? draw(model, model->count) : 0;
	struct live *live = &model->live[i], whole = *live;

	if (model->count == 0)
		return;
	each_place(live, see_stamp);
	if (draw(model, 3) == 0) {
		uint64_t skip = draw(model, whole.bytes);

		live->at += skip;
		live->bytes = 1 + draw(model, whole.bytes - skip);
		pool_hold(model->pool, live->at, live->bytes);
		each_place(live, put_stamp);
	} else {
		*live = model->live[--model->count];
	}
	pool_drop(model->pool, whole.at, whole.bytes);
}

static int by_value(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

static void model_check(struct model *model)
{
	static uintptr_t units[LIVE_MAX * 32];
	size_t count = 0, distinct = 0;

	for (size_t i = 0; i < model->count; i++) {
		const struct live *live = &model->live[i];
		uintptr_t end = (uintptr_t)live->at + live->bytes;

		each_place(live, see_stamp);
		for (uintptr_t at = round_down((uintptr_t)live->at, POOL_UNIT); at < end;
		     at += POOL_UNIT)
			units[count++] = at;
	}
	qsort(units, count, sizeof(units[0]), by_value);
	for (size_t i = 0; i < count; i++)
		distinct += i == 0 || units[i] != units[i - 1];
	check_int(usage(model->pool).held_bytes, distinct * POOL_UNIT);
}

static void run_model(uint64_t keep_bytes, uint64_t seed, unsigned steps)
{
	struct model model = {.pool = make(sys_real(), keep_bytes, 0), .random = seed};

	for (unsigned i = 0; i < steps; i++) {
		uint64_t what = draw(&model, 1000);

		if (what < 490)
			model_take(&model);
		else if (what < 999)
			model_drop(&model);
		else
			pool_trim(model.pool);
		if (i % 64 == 0)
			model_check(&model);
	}
	while (model.count > 0)
		model_drop(&model);
	check_int(usage(model.pool).held_bytes, 0);
	pool_trim(model.pool);
	check_int(usage(model.pool).mapped_bytes, 0);
	check_int(usage(model.pool).populated_bytes, 0);
	pool_unref(model.pool);
}

static void random_against_a_model_keeping_all(void)
{
	run_model(UINT64_MAX, 1, 80000);
}

static void random_against_a_model_keeping_little(void)
{
	run_model(16 * POOL_UNIT, 2, 20000);
}

/* ---- Threads ---- */

static struct pool *shared_pool;

static void *take_and_drop(void *arg)
{
	struct model model = {.pool = shared_pool, .random = (uintptr_t)arg};

	for (unsigned i = 0; i < 2000; i++) {
		if (draw(&model, 2))
			model_take(&model);
		else
			model_drop(&model);
		if (i % 100 == 0)
			pool_trim(model.pool);
	}
	while (model.count > 0)
		model_drop(&model);
	return NULL;
}

static void threads_do_not_meet(void)
{
	pthread_t threads[4];

	shared_pool = make(sys_real(), 8 * POOL_UNIT, 1);
	for (size_t i = 0; i < 4; i++)
		check_int(pthread_create(&threads[i], NULL, take_and_drop, (void *)(i + 1)), 0);
	for (size_t i = 0; i < 4; i++)
		thread_join(threads[i]);
	check_int(usage(shared_pool).held_bytes, 0);
	pool_unref(shared_pool);
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
		TEST(an_old_kernel_is_helped_by_hand),
		TEST(PR_07_populate_out_of_memory),
		TEST(PR_10_no_huge_pages),
		TEST(ST_22_smaller_regions_where_large_ones_are_refused),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		TEST(PR_09_an_address_space_limit),
#endif
		TEST(a_refused_unmap_loses_nothing),
		TEST(locked_pages_are_kept),
		TEST(random_against_a_model_keeping_all),
		TEST(random_against_a_model_keeping_little),
		TEST(threads_do_not_meet),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
