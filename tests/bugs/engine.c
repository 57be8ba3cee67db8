/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Faults that the engine once had, one small case each.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

#define SIZE (8 * MIB)

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct weir_plan *plan;
static struct weir_transfer *transfer;
static struct weir_done done;

static void open_all(const struct weir_ctx_opts *opts, int64_t latency_ns)
{
	struct weir_memory_opts slow = {.size = sizeof(slow), .latency_ns = latency_ns};

	check_int(weir_ctx_create(opts, &ctx, &err), 0);
	object = pattern_in_memory(ctx, 2, SIZE);
	check_int(weir_memory_behave(ctx, &slow, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
}

static void close_all(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void add(uint64_t offset, uint64_t length, uint64_t tag)
{
	check_int(weir_plan_range(plan, object, offset, length, weir_dest_alloc(), tag, &err), 0);
}

static void start(struct weir_queue *queue, const struct weir_transfer_opts *opts)
{
	check_int(weir_transfer_start(plan, queue, opts, &transfer, &err), 0);
}

static int take(void)
{
	int n = weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err);

	if (n == 1)
		weir_buffer_unref(done.buffer);
	return n;
}

/* A run was as large as its extents claimed to be, so a good one failed for want of memory. */
static void an_extent_past_the_end_takes_no_neighbour_with_it(void)
{
	open_all(NULL, 0);
	add(SIZE - 4096, 4096, 0);
	add(SIZE, UINT64_C(1) << 50, 1);
	start(NULL, NULL);
	for (int i = 0; i < 2; i++) {
		check_int(take(), 1);
		check_int(done.status, done.tag == 0 ? 0 : WEIR_TRUNCATED);
	}
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_TRUNCATED);
	close_all();
}

/* What settled before its run had memory kept its share of the budget. */
static void a_dropped_extent_gives_its_budget_back(void)
{
	uint64_t before;

	open_all(WEIR_CTX_OPTS(.budget_bytes = 16 * MIB, .lanes = 1, .depth = 1), 20 * NS_PER_MS);
	start(NULL, NULL);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	add(0, MIB, 0);
	for (uint64_t i = 1; i < 4; i++)
		add(i * 2 * MIB, MIB, i);
	start(NULL, NULL);
	check(weir_transfer_drop(transfer, 3) == 1);
	while (take() > 0)
		;
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_CANCELLED);
	before = budget_used(ctx->budget);
	check(before <= 9 * MIB); /* staging alone */
	close_all();
}

/* Open transfers waited for an end that nobody owed. */
static void an_open_transfer_that_is_cancelled_has_ended(void)
{
	open_all(NULL, 0);
	start(NULL, WEIR_TRANSFER_OPTS(.flags = WEIR_TRANSFER_OPEN));
	weir_transfer_cancel(transfer);
	check_int(take(), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_transfer_append(transfer, plan, &err), WEIR_ARG);
	weir_plan_destroy(plan);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	close_all();
}

/* Offsets that wrap around looked like small ones. */
static void a_strided_range_that_wraps_around_is_refused(void)
{
	struct weir_stride stride = {(UINT64_C(1) << 63) + (UINT64_C(1) << 62), 2};

	open_all(NULL, 0);
	check_int(weir_plan_strided(plan, object, UINT64_C(1) << 62, 1, &stride, 1,
				    weir_dest_alloc(), 0, &err),
		  WEIR_ARG);
	weir_plan_destroy(plan);
	close_all();
}

/* Staging and plans never come back while a transfer runs, so waiting for all of the budget was in vain. */
static void a_tensor_as_large_as_the_budget_is_refused_and_not_waited_for(void)
{
	open_all(WEIR_CTX_OPTS(.budget_bytes = 8 * MIB, .lanes = 4), 0);
	add(0, SIZE - 100000, 0);
	start(NULL, NULL);
	check_int(take(), 1);
	check_int(done.status, WEIR_LIMIT);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_LIMIT);
	close_all();
}

/* The smallest budget was all staging where there were many lanes. */
static void the_smallest_budget_reads_with_many_lanes(void)
{
	open_all(WEIR_CTX_OPTS(.budget_bytes = 4 * MIB, .lanes = 16), 0);
	for (uint64_t i = 0; i < 16; i++)
		add(i * 400 * KIB, 400 * KIB, i);
	start(NULL, NULL);
	for (int i = 0; i < 16; i++) {
		check_int(take(), 1);
		check_int(done.status, 0);
	}
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	close_all();
}

/* Whoever waited for room that another transfer's finish() made was not woken. */
static void room_that_a_finish_makes_in_a_queue_is_noticed(void)
{
	struct weir_transfer *full, *waiting;
	struct weir_queue *queue;

	open_all(NULL, 0);
	check_int(weir_queue_create(ctx, 4, &queue, &err), 0);
	for (uint64_t i = 0; i < 8; i++)
		add(i, 0, i); /* settled at once: the queue is full */
	start(queue, NULL);
	full = transfer;
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	add(0, 4096, 100);
	start(queue, NULL);
	waiting = transfer;
	usleep(100000);
	check_int(weir_transfer_finish(full, WEIR_FOREVER, &err), 0);
	check_int(weir_queue_wait(queue, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(done.tag, 100);
	check_int(done.status, 0);
	weir_buffer_unref(done.buffer);
	check_int(weir_transfer_finish(waiting, WEIR_FOREVER, &err), 0);
	weir_queue_destroy(queue);
	close_all();
}

/* Lanes that stood before a full queue go on as it is drained, one by one. */
static void a_full_queue_that_is_drained_fills_again(void)
{
	struct weir_queue *queue;

	open_all(WEIR_CTX_OPTS(.lanes = 1, .depth = 1), 0);
	check_int(weir_queue_create(ctx, 1, &queue, &err), 0);
	for (uint64_t i = 0; i < 30; i++)
		add(i * 200000, 4096, i);
	start(queue, NULL);
	for (int i = 0; i < 30; i++) {
		usleep(3000); /* they sleep by now */
		check_int(weir_queue_wait(queue, &done, 1, 20 * NS_PER_SEC, &err), 1);
		check_int(done.status, 0);
		weir_buffer_unref(done.buffer);
	}
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_queue_destroy(queue);
	close_all();
}

/* Background stood behind an urgent transfer that itself stood behind its own full queue. */
static void background_goes_on_beside_an_urgent_queue_that_is_full(void)
{
	struct weir_transfer *urgent;
	struct weir_queue *queue;

	open_all(NULL, 0);
	check_int(weir_queue_create(ctx, 1, &queue, &err), 0);
	check_int(weir_plan_class(plan, WEIR_CLASS_URGENT, &err), 0);
	for (uint64_t i = 0; i < 8; i++)
		add(i * MIB, 512 * KIB, i);
	start(queue, NULL);
	urgent = transfer;
	usleep(50000);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_class(plan, WEIR_CLASS_BACKGROUND, &err), 0);
	add(0, 4096, 0);
	start(NULL, NULL);
	check_int(take(), 1);
	check_int(done.status, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_transfer_finish(urgent, WEIR_FOREVER, &err);
	weir_queue_destroy(queue);
	close_all();
}

/* Its objects were closed after their source had gone. */
static void an_abandoned_transfer_that_came_back_ends_with_its_context(void)
{
	char *memory = malloc(4096);

	open_all(NULL, 300 * NS_PER_MS);
	check_int(weir_plan_range(plan, object, 0, 4096, weir_dest_host(memory, 4096), 0, &err), 0);
	start(NULL, NULL);
	usleep(20000);
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_LENT);
	check_int(weir_transfer_abandon(transfer, &err), 0);
	usleep(500000);
	close_all();
	free(memory);
}

/* A stall limit near the largest number overflowed. */
static void any_stall_limit_is_taken(void)
{
	open_all(NULL, 10 * NS_PER_MS);
	add(0, 4096, 0);
	start(NULL, WEIR_TRANSFER_OPTS(.stall_ns = INT64_MAX, .timeout_ns = INT64_MAX));
	check_int(take(), 1);
	check_int(done.status, 0);
	check_int(weir_transfer_finish(transfer, INT64_MAX, &err), 0);
	close_all();
}

/* A time limit that came while the first lane computed its next look was overwritten. */
static void a_short_limit_beside_a_long_one_is_kept(void)
{
	struct weir_transfer *longer;

	open_all(NULL, 400 * NS_PER_MS);
	add(0, 4096, 0);
	start(NULL, WEIR_TRANSFER_OPTS(.timeout_ns = 60 * NS_PER_SEC));
	longer = transfer;
	for (int i = 0; i < 30; i++) {
		int64_t before = sys_real()->now_ns();

		check_int(weir_plan_create(ctx, &plan, &err), 0);
		add(8192, 4096, 0);
		start(NULL, WEIR_TRANSFER_OPTS(.timeout_ns = NS_PER_MS));
		check_int(take(), 1);
		check_int(done.status, WEIR_TIMEOUT);
		check(sys_real()->now_ns() - before < 300 * NS_PER_MS);
		weir_transfer_finish(transfer, 0, &err);
	}
	check_int(weir_transfer_finish(longer, WEIR_FOREVER, &err), 0);
	close_all();
}

/* Who waited in small pieces, as a progress bar does, for bytes that he held himself, waited for ever. */
static void many_short_waits_in_vain_end_as_a_long_one(void)
{
	struct weir_buffer *held[8] = {NULL};
	int64_t until = sys_real()->now_ns() + 20 * NS_PER_SEC;
	int n, late = 0;

	open_all(WEIR_CTX_OPTS(.budget_bytes = 5 * MIB), 0);
	for (unsigned i = 0; i < array_size(held); i++)
		add(i * MIB, MIB, i);
	start(NULL, WEIR_TRANSFER_OPTS(.stall_ns = 300 * NS_PER_MS));
	while ((n = weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_MS, &err)) != 0) {
		if (n == 1) {
			held[done.tag] = done.buffer;
			late += done.status == WEIR_TIMEOUT;
		}
		check(sys_real()->now_ns() < until);
	}
	check(late > 0);
	for (unsigned i = 0; i < array_size(held); i++)
		weir_buffer_unref(held[i]);
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_TIMEOUT);
	close_all();
}

/* The index of a model was counted as bytes that come back: what could never fit was waited for. */
static void beside_an_index_all_that_is_left_can_be_had(void)
{
	static const char header[] = "{\"t\":{\"dtype\":\"U8\",\"shape\":[2621440],"
				     "\"data_offsets\":[0,2621440]}}";
	uint64_t bytes = sizeof(header) - 1, size = 8 + bytes + 2621440;
	struct weir_model *model;
	char *file = calloc(1, size);

	memcpy(file, &bytes, 8);
	memcpy(file + 8, header, bytes);
	check_int(weir_ctx_create(WEIR_CTX_OPTS(.budget_bytes = 5 * MIB), &ctx, &err), 0);
	check_int(weir_memory_put(ctx, "m.safetensors", file, size, &err), 0);
	free(file);
	check_int(weir_model_open(ctx, "memory://m.safetensors", NULL, &model, &err), 0);
	check_int(weir_load_start(model, WEIR_LOAD_OPTS(.stall_ns = NS_PER_SEC), &transfer, &err),
		  0);
	check_int(take(), 1);
	check_int(done.status, 0);
	check_int(weir_transfer_finish(transfer, 0, &err), 0);
	weir_model_close(model);
	weir_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(an_extent_past_the_end_takes_no_neighbour_with_it),
		TEST(a_dropped_extent_gives_its_budget_back),
		TEST(an_open_transfer_that_is_cancelled_has_ended),
		TEST(a_strided_range_that_wraps_around_is_refused),
		TEST(a_tensor_as_large_as_the_budget_is_refused_and_not_waited_for),
		TEST(the_smallest_budget_reads_with_many_lanes),
		TEST(room_that_a_finish_makes_in_a_queue_is_noticed),
		TEST(a_full_queue_that_is_drained_fills_again),
		TEST(background_goes_on_beside_an_urgent_queue_that_is_full),
		TEST(an_abandoned_transfer_that_came_back_ends_with_its_context),
		TEST(any_stall_limit_is_taken),
		TEST(a_short_limit_beside_a_long_one_is_kept),
		TEST(many_short_waits_in_vain_end_as_a_long_one),
		TEST(beside_an_index_all_that_is_left_can_be_had),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
