/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds over objects in memory and a source that misbehaves: what comes back is what pread would have
 * said.
 */
#include "weir/feed.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/fail.h"
#include "lib/pattern.h"
#include "source/fault.h"
#include "weir/weir.h"

#define SIZE (3 * MIB + 5)
#define SEED 7

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_feed *feed;
static struct source *misbehaving;
static char landed[SIZE + 64];

static int stand_in_front(struct source **source, void *arg, struct weir_error *error)
{
	int ret = source_fault_create(*source, 1, source, error);

	(void)arg;
	misbehaving = *source;
	return ret;
}

static struct weir_object *begin(const struct weir_feed_opts *opts)
{
	const struct ctx_seams seams = {.wrap = stand_in_front};
	struct weir_object *object;
	char *data = malloc(SIZE);

	pattern_fill(data, SEED, 0, SIZE);
	memset(landed, 0, sizeof(landed));
	check_int(ctx_create_with(NULL, &seams, &ctx, &err), 0);
	check_int(weir_memory_put(ctx, "a", data, SIZE, &err), 0);
	check_int(weir_object_open(ctx, "memory://a", WEIR_OBJECT_OPTS(.flags = WEIR_OBJECT_LIVE),
				   &object, &err),
		  0);
	check_int(weir_feed_create(ctx, opts, &feed, &err), 0);
	free(data);
	return object;
}

static void end(struct weir_object *object)
{
	check_int(weir_feed_destroy(feed), 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static const struct weir_feed_opts in_memory = {.size = sizeof(in_memory), .scheme = "memory"};

/* Into `landed`, at the place that the offset has in the object. */
static struct weir_feed_io reading(struct weir_object *object, uint64_t offset, uint64_t length)
{
	return (struct weir_feed_io){
		.object = object, .memory = landed + offset, .offset = offset, .length = length};
}

/* One io from push to reap. */
static void move(struct weir_feed_io *io)
{
	struct weir_feed_io *out = NULL;

	check_int(weir_feed_push(feed, io), 0);
	check_int(weir_feed_reap(feed, &out, 1, deadline_after(sys_real(), 20 * NS_PER_SEC)), 1);
	check(out == io);
}

static void reads_what_is_there(void)
{
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);

	move(&io);
	check_int(io.result, SIZE);
	check_int(pattern_check(landed, SEED, 0, SIZE), SIZE);
	end(object);
}

static void at_the_end_it_counts(void)
{
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io over = {.object = object, .memory = landed, .length = 100};
	struct weir_feed_io none = {.object = object, .memory = landed};

	over.offset = SIZE - 30;
	move(&over);
	check_int(over.result, 30);
	check_int(pattern_check(landed, SEED, SIZE - 30, 30), 30);
	over.offset = SIZE + 4096;
	move(&over);
	check_int(over.result, 0);
	move(&none);
	check_int(none.result, 0);
	end(object);
}

static void many_at_once_come_back_each_once(void)
{
	enum {
		COUNT = 500
	};
	struct weir_object *object = begin(WEIR_FEED_OPTS(.scheme = "memory", .requests = 7));
	struct weir_feed_io ios[COUNT], *out[16];
	unsigned seen = 0;

	check_int(weir_memory_behave(
			  ctx,
			  &(struct weir_memory_opts){.size = sizeof(struct weir_memory_opts),
						     .jitter_ns = 200 * NS_PER_US},
			  &err),
		  0);
	for (unsigned i = 0; i < COUNT; i++) {
		ios[i] = reading(object, i * 6000, 6000);
		ios[i].tag = 1;
		check_int(weir_feed_push(feed, &ios[i]), 0);
	}
	while (seen < COUNT) {
		unsigned n = weir_feed_reap(feed, out, 16,
					    deadline_after(sys_real(), 20 * NS_PER_SEC));

		check(n > 0);
		for (unsigned i = 0; i < n; i++) {
			check_int(out[i]->tag--, 1);
			check_int(out[i]->result, 6000);
		}
		seen += n;
	}
	check_int(pattern_check(landed, SEED, 0, COUNT * 6000), COUNT * 6000);
	end(object);
}

/* It is cut and sent in parts: what came later and is short ends first. */
static void a_long_io_holds_up_no_short_one(void)
{
	struct weir_object *object = begin(
		WEIR_FEED_OPTS(.scheme = "memory", .flying_bytes = 2 * MIB));
	struct weir_feed_io giant = reading(object, 0, SIZE - 100);
	struct weir_feed_io brief = reading(object, SIZE - 100, 100), *out[2] = {NULL};

	check_int(weir_feed_push(feed, &giant), 0);
	check_int(weir_feed_push(feed, &brief), 0);
	for (int i = 0; i < 2; i++)
		check_int(weir_feed_reap(feed, &out[i], 1,
					 deadline_after(sys_real(), 20 * NS_PER_SEC)),
			  1);
	check(out[0] == &brief && out[1] == &giant);
	check_int(giant.result, SIZE - 100);
	check_int(pattern_check(landed, SEED, 0, SIZE), SIZE);
	end(object);
}

static void a_full_feed_says_so(void)
{
	struct weir_object *object = begin(WEIR_FEED_OPTS(.scheme = "memory", .depth = 2));
	struct weir_feed_io ios[3], *out[3];

	for (int i = 0; i < 3; i++) {
		ios[i] = reading(object, (uint64_t)i * 100, 100);
		check_int(weir_feed_push(feed, &ios[i]), i < 2 ? 0 : WEIR_LIMIT);
	}
	check_int(weir_feed_reap(feed, out, 3, WEIR_FOREVER), 2);
	check_int(weir_feed_push(feed, &ios[2]), 0);
	check_int(weir_feed_reap(feed, out, 3, WEIR_FOREVER), 1);
	end(object);
}

static void nonsense_is_refused(void)
{
	struct weir_object *object = begin(NULL); /* of files */
	struct weir_feed_io io = reading(object, 0, 100);

	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	io.object = NULL;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	check_int(weir_feed_destroy(feed), 0);
	check_int(weir_feed_create(ctx, &in_memory, &feed, &err), 0);
	io = reading(object, 0, 100);
	io.offset = INT64_MAX;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	io.offset = UINT64_MAX;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	io = reading(object, 0, 100);
	io.region = 1;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	io.region = UINT32_MAX;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	end(object);
}

static void short_answers_are_asked_on(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .times = 3, .action = FAULT_SHORT, .bytes = 1000};
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);
	struct weir_feed_counters counters;

	source_fault_set(misbehaving, &rule, 1);
	move(&io);
	check_int(io.result, SIZE);
	check_int(pattern_check(landed, SEED, 0, SIZE), SIZE);
	weir_feed_counters(feed, &counters);
	check_int(counters.short_results, 3);
	check_int(counters.bytes_read, SIZE);
	end(object);
}

static void an_error_counts_where_nothing_came_before(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ,
					.offset = 2 * MIB + 77,
					.length = 1,
					.action = FAULT_ERROR,
					.code = WEIR_IO,
					.os_errno = EREMOTEIO};
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);

	source_fault_set(misbehaving, &rule, 1);
	move(&io);
	check(io.result > 0 && io.result <= (int64_t)(2 * MIB + 77));
	check_int(io.os_errno, 0);
	check_int(pattern_check(landed, SEED, 0, (uint64_t)io.result), io.result);
	io = reading(object, 2 * MIB, 100);
	move(&io);
	check_int(io.result, WEIR_IO);
	check_int(io.os_errno, EREMOTEIO);
	end(object);
}

static void what_passes_is_tried_again(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .times = 3, .action = FAULT_ERROR, .code = WEIR_PEER_GONE};
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);
	struct weir_feed_counters counters;

	source_fault_set(misbehaving, &rule, 1);
	move(&io);
	check_int(io.result, SIZE);
	weir_feed_counters(feed, &counters);
	check_int(counters.retries, 3);
	end(object);
}

static void a_source_that_takes_nothing_is_an_error(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ, .action = FAULT_REFUSE};
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);

	source_fault_set(misbehaving, &rule, 1);
	move(&io);
	check_int(io.result, WEIR_IO);
	end(object);
}

static void what_was_cancelled_comes_back(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 3600 * NS_PER_SEC};
	struct weir_object *object = begin(WEIR_FEED_OPTS(.scheme = "memory", .requests = 2));
	struct weir_feed_io ios[3], *out[3];
	unsigned count = 0;

	source_fault_set(misbehaving, &rule, 1);
	for (int i = 0; i < 3; i++) {
		ios[i] = reading(object, (uint64_t)i * MIB, MIB);
		check_int(weir_feed_push(feed, &ios[i]), 0);
	}
	check_int(weir_feed_reap(feed, out, 3, 0), 0);
	for (int i = 0; i < 3; i++)
		weir_feed_cancel(feed, &ios[i]);
	while (count < 3)
		count += weir_feed_reap(feed, out, 3, WEIR_FOREVER);
	for (int i = 0; i < 3; i++)
		check_int(ios[i].result, WEIR_CANCELLED);
	end(object);
}

/* Bytes that are on their way may land at any time: what holds them is left behind. */
static void what_is_stuck_is_left_behind(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_STUCK, .delay_ns = 3600 * NS_PER_SEC};
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE), *out;

	source_fault_set(misbehaving, &rule, 1);
	check_int(weir_feed_push(feed, &io), 0);
	check_int(weir_feed_reap(feed, &out, 1, 0), 0);
	check_int(weir_feed_destroy(feed), 1);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void *wake_later(void *arg)
{
	const struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};

	(void)arg;
	nanosleep(&pause, NULL);
	weir_feed_wake(feed);
	return NULL;
}

static void a_wake_ends_the_wait(void)
{
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io *out;
	pthread_t thread;

	weir_feed_wake(feed);
	check_int(weir_feed_reap(feed, &out, 1, WEIR_FOREVER), 0);
	pthread_create(&thread, NULL, wake_later, NULL);
	check_int(weir_feed_reap(feed, &out, 1, WEIR_FOREVER), 0);
	pthread_join(thread, NULL);
	check_int(weir_feed_reap(feed, &out, 1, deadline_after(sys_real(), NS_PER_MS)), 0);
	end(object);
}

static void the_data_path_allocates_nothing(void)
{
	struct weir_object *object = begin(&in_memory);
	struct weir_feed_io io = reading(object, 0, SIZE);
	uint64_t before;

	move(&io);
	before = fail_alloc_count();
	for (int i = 0; i < 100; i++) {
		io = reading(object, (uint64_t)i * 4096, 100000);
		move(&io);
	}
	check_int(fail_alloc_count(), before);
	end(object);
}

/* A share of it would be none at all, and the io would rest until some of it had come back. */
static void a_feed_of_a_few_bytes_takes_one_request_at_a_time(void)
{
	struct weir_object *object = begin(WEIR_FEED_OPTS(.scheme = "memory", .flying_bytes = 1));
	struct weir_feed_io io = reading(object, 0, SIZE), *out;

	check_int(weir_feed_push(feed, &io), 0);
	check_int(weir_feed_reap(feed, &out, 1, sys_real()->now_ns() + 20 * NS_PER_SEC), 1);
	check_int(io.result, SIZE);
	check_int(pattern_check(landed, SEED, 0, SIZE), SIZE);
	end(object);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_feed_of_a_few_bytes_takes_one_request_at_a_time),
		TEST(reads_what_is_there),
		TEST(at_the_end_it_counts),
		TEST(many_at_once_come_back_each_once),
		TEST(a_long_io_holds_up_no_short_one),
		TEST(a_full_feed_says_so),
		TEST(nonsense_is_refused),
		TEST(short_answers_are_asked_on),
		TEST(an_error_counts_where_nothing_came_before),
		TEST(what_passes_is_tried_again),
		TEST(a_source_that_takes_nothing_is_an_error),
		TEST(what_was_cancelled_comes_back),
		TEST(what_is_stuck_is_left_behind),
		TEST(a_wake_ends_the_wait),
		TEST(the_data_path_allocates_nothing),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
