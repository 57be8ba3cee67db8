/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of the pool that somebody pins: what is worth it, how much, and that nothing is given back before
 * it is unpinned, whoever gives it back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/size.h"
#include "lib/check.h"
#include "mem/pool.h"

/* ---- A pinner of ours, and a table of system calls that watches ---- */

#define PINS 64u

static struct {
	char *_Atomic at;
	_Atomic uint64_t bytes;
} pins[PINS + 1];
static unsigned pinned_ever, refuse_from = UINT32_MAX;
static _Atomic unsigned pinned, woken;
static struct sys sys;
static struct pool *pool;

static uint32_t pin(void *arg, void *at, uint64_t bytes)
{
	(void)arg;
	if (++pinned_ever >= refuse_from)
		return 0;
	for (uint32_t i = 1; i <= PINS; i++)
		if (!pins[i].bytes) {
			pins[i].at = at;
			pins[i].bytes = bytes;
			atomic_fetch_add(&pinned, 1);
			return i;
		}
	return 0;
}

static void unpin(void *arg, uint32_t number)
{
	(void)arg;
	check(pins[number].bytes > 0);
	pins[number].bytes = 0;
	atomic_fetch_sub(&pinned, 1);
}

static void wake(void *arg)
{
	(void)arg;
	atomic_fetch_add(&woken, 1);
}

static void check_unpinned(const char *at, size_t bytes)
{
	for (uint32_t i = 1; i <= PINS; i++)
		check(!pins[i].bytes || at + bytes <= pins[i].at ||
		      at >= pins[i].at + pins[i].bytes);
}

static int watched_munmap(void *at, size_t bytes)
{
	check_unpinned(at, bytes);
	return munmap(at, bytes);
}

static int watched_madvise(void *at, size_t bytes, int advice)
{
	if (advice == MADV_DONTNEED || advice == MADV_REMOVE)
		check_unpinned(at, bytes);
	return madvise(at, bytes, advice);
}

static void begin(uint64_t most_bytes)
{
	struct pool_opts opts = {.sys = &sys, .keep_bytes = UINT64_MAX};
	struct pool_pinner by = {
		.pin = pin, .unpin = unpin, .wake = wake, .most_bytes = most_bytes};

	sys = *sys_real();
	sys.munmap = watched_munmap;
	sys.madvise = watched_madvise;
	check_int(pool_create(&opts, &pool, NULL), 0);
	check(pool_pins_begin(pool, &by));
}

static void end(void)
{
	pool_pins_end(pool);
	check_int(pinned, 0);
	pool_unref(pool);
}

static char *take(uint64_t units)
{
	bool fresh;
	void *at;

	check_int(pool_take(pool, units * POOL_UNIT, 4096, 0, &at, &fresh, NULL), 0);
	check_int(pool_populate(pool, at, units * POOL_UNIT, NULL), 0);
	return at;
}

static void drop(char *at, uint64_t units)
{
	pool_drop(pool, at, units * POOL_UNIT);
}

/* So much that is kept already, in somebody's hands. */
static char *take_kept(uint64_t units)
{
	char *at = take(units);

	drop(at, units);
	check(take(units) == at);
	return at;
}

static uint64_t pinned_units(void)
{
	struct pool_usage usage;

	pool_usage(pool, &usage);
	return usage.pinned_bytes / POOL_UNIT;
}

/* ---- What is pinned ---- */

static void what_is_used_once_is_not_pinned(void)
{
	struct pool_pinned row;
	char *at;

	begin(UINT64_MAX);
	at = take(3);
	check(!pool_pin(pool, at, 4096, true, &row));
	drop(at, 3);
	check(take(3) == at);
	check(!pool_pin(pool, at, 4096, false, &row));
	check(pool_pin(pool, at, 4096, true, &row));
	drop(at, 3);
	end();
}

static void a_row_is_pinned_once_for_all_that_lies_in_it(void)
{
	struct pool_pinned row, again;
	char *at;

	begin(UINT64_MAX);
	at = take_kept(7);
	check(pool_pin(pool, at + 5 * POOL_UNIT + 4096, 8192, true, &row));
	check(row.at == at && row.bytes == 7 * POOL_UNIT);
	check_int(pinned_units(), 7);
	check(pool_pin(pool, at, 7 * POOL_UNIT, true, &again));
	check_int(again.pin, row.pin);
	check_int(pinned_ever, 1);
	/* It outlives who had the memory, and serves the next one. */
	drop(at, 7);
	check(take(4) == at);
	check(pool_pin(pool, at + POOL_UNIT, 1, true, &again));
	check_int(again.pin, row.pin);
	check_int(pinned_ever, 1);
	drop(at, 4);
	end();
}

static void rows_have_an_end(void)
{
	struct pool_pinned row;
	char *at;

	begin(UINT64_MAX);
	at = take_kept(300);
	check(pool_pin(pool, at, 1, true, &row));
	check_int(row.bytes, 256 * MIB);
	/* Over the border: it is no single row, before and after. */
	check(!pool_pin(pool, at + 256 * MIB - 1, 2, true, &row));
	check(pool_pin(pool, at + 256 * MIB, 1, true, &row));
	check(!pool_pin(pool, at + 256 * MIB - 1, 2, true, &row));
	check_int(pinned_ever, 2);
	drop(at, 300);
	end();
}

static void foreign_memory_is_fine(void)
{
	struct pool_pinned row;
	char mine[10];

	begin(UINT64_MAX);
	check(!pool_pin(pool, mine, sizeof(mine), true, &row));
	drop(take(1), 1);
	check(!pool_pin(pool, mine, sizeof(mine), true, &row));
	end();
}

static void there_is_a_most(void)
{
	struct pool_pinned row;
	char *at;

	begin(5 * POOL_UNIT);
	at = take_kept(8);
	check(pool_pin(pool, at + 2 * POOL_UNIT, 1, true, &row));
	check(row.at == at + 2 * POOL_UNIT && row.bytes == 5 * POOL_UNIT);
	check(!pool_pin(pool, at, 1, true, &row));
	check(!pool_pin(pool, at + 7 * POOL_UNIT, 1, true, &row));
	check_int(pinned_units(), 5);
	drop(at, 8);
	end();
}

/* The first, the second, the third is refused: nothing of it is pinned, and another try may do better. */
static void what_is_refused_is_not_pinned(void)
{
	for (unsigned n = 1; n <= 3; n++) {
		struct pool_pinned row;
		char *at;

		begin(UINT64_MAX);
		at = take_kept(3 * 128);
		pinned_ever = 0;
		refuse_from = n;
		for (unsigned i = 0; i < 3; i++)
			check_int(pool_pin(pool, at + i * 256 * MIB, 1, true, &row), i + 1 < n);
		check_int(pinned_units(), (n - 1) * 128);
		refuse_from = UINT32_MAX;
		for (unsigned i = 0; i < 3; i++)
			check(pool_pin(pool, at + i * 256 * MIB, 1, true, &row));
		drop(at, 3 * 128);
		end();
	}
}

static void there_is_one_pinner(void)
{
	struct pool_pinner by = {.pin = pin, .unpin = unpin, .wake = wake};

	begin(UINT64_MAX);
	check(!pool_pins_begin(pool, &by));
	pool_pins_end(pool);
	check(pool_pins_begin(pool, &by));
	end();
}

/* ---- Giving back ---- */

static void a_trim_unpins_first(void)
{
	struct pool_pinned row;
	char *at;

	begin(UINT64_MAX);
	at = take_kept(6);
	check(pool_pin(pool, at, 1, true, &row));
	/* Half of it: the row goes, and what is held can be pinned again. */
	drop(at + 3 * POOL_UNIT, 3);
	check_int(pool_trim(pool), 3 * POOL_UNIT);
	check_int(pinned_units(), 0);
	check(pool_pin(pool, at, 1, true, &row));
	check_int(row.bytes, 3 * POOL_UNIT);
	drop(at, 3);
	check_int(pool_trim(pool), 3 * POOL_UNIT);
	check_int(pinned, 0);
	end();
}

static void what_comes_back_is_worth_pinning_only_with_its_pages(void)
{
	struct pool_pinned row;
	char *at;

	begin(UINT64_MAX);
	at = take_kept(6);
	drop(at + 3 * POOL_UNIT, 3);
	check_int(pool_trim(pool), 3 * POOL_UNIT);
	check(take(3) == at + 3 * POOL_UNIT); /* fresh again */
	check(!pool_pin(pool, at + 3 * POOL_UNIT, 1, true, &row));
	check(pool_pin(pool, at, 1, true, &row));
	check_int(row.bytes, 3 * POOL_UNIT);
	drop(at, 6);
	end();
}

struct other {
	uint64_t trimmed;
	_Atomic bool done;
};

static void *trim_elsewhere(void *arg)
{
	struct other *other = arg;

	other->trimmed = pool_trim(pool);
	atomic_store(&other->done, true);
	return NULL;
}

/* Six units are pinned and given back; another thread is at trimming them. */
static pthread_t trim_of_what_is_pinned(struct other *other)
{
	struct pool_pinned row;
	pthread_t thread;
	char *at;

	begin(UINT64_MAX);
	at = take_kept(6);
	check(pool_pin(pool, at, 1, true, &row));
	drop(at, 6);
	check_int(pthread_create(&thread, NULL, trim_elsewhere, other), 0);
	return thread;
}

/* Another thread's trim leaves what is pinned to the pinner, and waits for him. */
static void a_trim_elsewhere_waits_for_the_pinner(void)
{
	struct other other = {0};
	pthread_t thread = trim_of_what_is_pinned(&other);

	while (atomic_load(&woken) == 0)
		;
	check_int(pinned_units(), 6);
	while (!atomic_load(&other.done))
		pool_pins_settle(pool);
	pthread_join(thread, NULL);
	check_int(other.trimmed, 6 * POOL_UNIT);
	check_int(pinned, 0);
	end();
}

static void a_trim_does_not_wait_for_ever(void)
{
	struct other other = {0};
	pthread_t thread = trim_of_what_is_pinned(&other);

	pthread_join(thread, NULL); /* a second later */
	check_int(other.trimmed, 0);
	check_int(pinned_units(), 6);
	pool_pins_settle(pool);
	check_int(pinned_units(), 0);
	end();
}

static void the_end_of_the_pinner_answers(void)
{
	struct other other = {0};
	pthread_t thread = trim_of_what_is_pinned(&other);

	while (atomic_load(&woken) == 0)
		;
	pool_pins_end(pool);
	check_int(pinned, 0);
	pthread_join(thread, NULL);
	check_int(pool_trim(pool), 0);
	pool_unref(pool);
}

/* ---- Threads ---- */

#define ROUNDS 300

static _Atomic bool over;

static void *take_and_trim(void *arg)
{
	unsigned seed = *(unsigned *)arg;

	for (unsigned i = 0; i < ROUNDS; i++) {
		uint64_t units = 1 + (seed = seed * 1103515245 + 12345) / 65536 % 9;
		char *at = take(units);

		*at = (char)i;
		drop(at, units);
		if (i % 16 == 0)
			pool_trim(pool);
	}
	return NULL;
}

static void *drive(void *arg)
{
	struct pool_pinner by = {
		.pin = pin, .unpin = unpin, .wake = wake, .most_bytes = 20 * POOL_UNIT};
	struct pool_pinned row;

	(void)arg;
	check(pool_pins_begin(pool, &by));
	while (!atomic_load(&over)) {
		char *at = take(5);

		if (pool_pin(pool, at, 5 * POOL_UNIT, true, &row))
			check(row.bytes >= 5 * POOL_UNIT && row.at <= at);
		memset(at, 1, 100);
		pool_pins_settle(pool);
		drop(at, 5);
	}
	pool_pins_end(pool);
	return NULL;
}

static void everybody_at_once(void)
{
	unsigned seeds[3] = {1, 2, 3};
	pthread_t driver, others[3];

	begin(0);
	pool_pins_end(pool);
	check_int(pthread_create(&driver, NULL, drive, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		check_int(pthread_create(&others[i], NULL, take_and_trim, &seeds[i]), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(others[i], NULL);
	atomic_store(&over, true);
	pthread_join(driver, NULL);
	check_int(pinned_units(), 0);
	check_int(pinned, 0);
	pool_trim(pool);
	pool_unref(pool);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(what_is_used_once_is_not_pinned),
		TEST(a_row_is_pinned_once_for_all_that_lies_in_it),
		TEST(rows_have_an_end),
		TEST(foreign_memory_is_fine),
		TEST(there_is_a_most),
		TEST(what_is_refused_is_not_pinned),
		TEST(there_is_one_pinner),
		TEST(a_trim_unpins_first),
		TEST(what_comes_back_is_worth_pinning_only_with_its_pages),
		TEST(a_trim_elsewhere_waits_for_the_pinner),
		TEST(a_trim_does_not_wait_for_ever),
		TEST(the_end_of_the_pinner_answers),
		TEST(everybody_at_once),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
