/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pool at random, against a model; and from several threads.
 */
#include <pthread.h>

#include "base/thread.h"
#include "lib/pattern.h"
#include "pool_rig.h"

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
		TEST(random_against_a_model_keeping_all),
		TEST(random_against_a_model_keeping_little),
		TEST(threads_do_not_meet),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
