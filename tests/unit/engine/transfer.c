/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans carried out over files and over objects in RAM: every byte where it belongs, every extent
 * settled once, nothing written beside the destinations.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;

static void open_ctx(void)
{
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
}

/* Runs a plan to its end; every completion must succeed and is handed to `each`. */
static void carry_out(struct weir_plan *plan, void (*each)(const struct weir_done *done))
{
	uint64_t expected = weir_plan_count(plan), seen = 0;
	struct weir_transfer *transfer;
	struct weir_done done[16];
	int n;

	if (weir_transfer_start(plan, NULL, NULL, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	while ((n = weir_transfer_wait(transfer, done, 16, WEIR_FOREVER, &err)) > 0)
		for (int i = 0; i < n; i++, seen++) {
			if (done[i].status)
				weir_transfer_error(transfer, &done[i], &err);
			if (done[i].status)
				check_failed(__FILE__, __LINE__, "%s", err.message);
			if (each)
				each(&done[i]);
			weir_buffer_unref(done[i].buffer);
		}
	check_int(n, 0);
	check_int(seen, expected);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
}

static void file_read_whole_into_memory_of_weir(void)
{
	uint64_t size = 5 * MIB + 1234;
	struct weir_object *object;
	struct weir_plan *plan;

	open_ctx();
	object = pattern_on_disk(ctx, 7, size);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_alloc(), 0, &err), 0);
	struct weir_transfer *transfer;
	struct weir_done done;
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, 0);
	check_int(done.bytes, size);
	check_int(pattern_check(done.data, 7, 0, size), size);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	/* The buffer outlives transfer, object and context. */
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	weir_buffer_unref(done.buffer);
}

/* Many extents of all sizes at all alignments, guarded on both sides. */
#define GUARD 64
struct target {
	uint64_t offset, length;
	unsigned char *at;
};

static struct target targets[600];
static uint64_t target_seed;

static void check_target(const struct weir_done *done)
{
	struct target *target = &targets[done->tag];

	check_int(pattern_check(target->at, target_seed, target->offset, target->length),
		  target->length);
	for (int i = 1; i <= GUARD; i++)
		check(target->at[-i] == 0xA5 &&
		      target->at[target->length + (uint64_t)i - 1] == 0xA5);
}

static void scatter(struct weir_object *object, uint64_t size, uint64_t seed, unsigned count)
{
	uint64_t state = seed;
	struct weir_plan *plan;

	target_seed = seed;
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (unsigned i = 0; i < count; i++) {
		struct target *target = &targets[i];
		uint64_t most = i % 5 == 0 ? 3 * MIB : i % 3 == 0 ? 200 * KIB : 5000;
		uint64_t shift = chance_below(&state, 3) ? chance_below(&state, 4096) : 0;
		unsigned char *memory;

		target->offset = chance_below(&state, size);
		if (chance_below(&state, 3) == 0)
			target->offset = target->offset & ~UINT64_C(4095);
		target->length = chance_below(&state, min_of(most, size - target->offset) + 1);
		memory = aligned_alloc(4096, round_up(target->length + 8192 + 2 * GUARD, 4096));
		memset(memory, 0xA5, target->length + 8192 + 2 * GUARD);
		if (chance_below(&state, 2)) /* congruent with the file */
			shift = target->offset % 4096;
		target->at = memory + GUARD + (4096 - GUARD) % 4096 + shift % 4000;
		if (shift == target->offset % 4096 && shift < 4000)
			target->at = memory + 4096 + shift;
		check_int(weir_plan_range(plan, object, target->offset, target->length,
					  weir_dest_host(target->at, target->length), i, &err),
			  0);
	}
	carry_out(plan, check_target);
}

static void file_scatter_to_any_alignment(void)
{
	uint64_t size = 40 * MIB + 777;
	struct weir_object *object;

	open_ctx();
	object = pattern_on_disk(ctx, 3, size);
	scatter(object, size, 3, 600);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void memory_scatter_to_any_alignment(void)
{
	uint64_t size = 10 * MIB + 777;
	struct weir_object *object;

	open_ctx();
	object = pattern_in_memory(ctx, 4, size);
	scatter(object, size, 4, 600);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static uint64_t alloc_offsets[400], alloc_lengths[400];

static void check_alloc(const struct weir_done *done)
{
	check_int(pattern_check(done->data, 9, alloc_offsets[done->tag], alloc_lengths[done->tag]),
		  alloc_lengths[done->tag]);
	if (alloc_lengths[done->tag])
		check_int(weir_buffer_size(done->buffer), alloc_lengths[done->tag]);
}

static void file_neighbours_land_in_place(void)
{
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	uint64_t at = 1000, state = 1;

	open_ctx();
	object = pattern_on_disk(ctx, 9, 64 * MIB);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (unsigned i = 0; i < 400; i++) {
		alloc_offsets[i] = at;
		alloc_lengths[i] = i % 7 ? chance_below(&state, 300 * KIB) & ~UINT64_C(7) : 0;
		check_int(weir_plan_range(plan, object, at, alloc_lengths[i], weir_dest_alloc(), i,
					  &err),
			  0);
		at += alloc_lengths[i];
	}
	check(at < 64 * MIB);
	carry_out(plan, check_alloc);
	weir_ctx_counters(ctx, &counters);
	check_int(counters.bytes_copied, 0);
	check(counters.bytes_requested < at + 3 * 4096);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void strided_rows_arrive_packed(void)
{
	struct weir_stride strides[2] = {{100000, 20}, {1000, 30}};
	uint64_t run = 333, base = 77, length = 20 * 30 * 333;
	struct weir_object *object;
	struct weir_plan *plan;
	char *memory = malloc(length);
	uint64_t at = 0;

	open_ctx();
	object = pattern_on_disk(ctx, 5, 3 * MIB);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_strided(plan, object, base, run, strides, 2,
				    weir_dest_host(memory, length), 0, &err),
		  0);
	carry_out(plan, NULL);
	for (uint64_t i = 0; i < 20; i++)
		for (uint64_t j = 0; j < 30; j++, at += run)
			check_int(pattern_check(memory + at, 5, base + i * 100000 + j * 1000, run),
				  run);
	free(memory);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void past_the_end_is_truncated_and_names_the_place(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done[2];
	char memory[100];
	int n, got = 0;

	open_ctx();
	object = pattern_on_disk(ctx, 5, 1000);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 950, 100, weir_dest_host(memory, 100), 1, &err), 0);
	check_int(weir_plan_range(plan, object, 0, 100, weir_dest_host(memory, 100), 2, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	while ((n = weir_transfer_wait(transfer, done + got, 1, WEIR_FOREVER, &err)) > 0)
		got += n;
	check_int(got, 2);
	for (int i = 0; i < 2; i++)
		check_int(done[i].status, done[i].tag == 1 ? WEIR_TRUNCATED : 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_TRUNCATED);
	check_int(err.offset_bytes, 1000);
	check_has(err.message, "offset 950");
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void at_end_counts_what_there_is(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;
	char memory[100];

	open_ctx();
	object = pattern_on_disk(ctx, 5, 1000);
	for (uint64_t offset = 950; offset < 1200; offset += 50) {
		uint64_t there = offset < 1000 ? 1000 - offset : 0;

		check_int(weir_plan_create(ctx, &plan, &err), 0);
		check_int(weir_plan_range(plan, object, offset, 100, weir_dest_host(memory, 100), 1,
					  &err),
			  0);
		check_int(weir_transfer_start(plan, NULL,
					      WEIR_TRANSFER_OPTS(.flags = WEIR_TRANSFER_AT_END),
					      &transfer, &err),
			  0);
		check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
		check_int(done.status, 0);
		check_int(done.bytes, there);
		check_int(pattern_check(memory, 5, offset, there), there);
		check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	}
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void queue_descriptor_is_readable_while_there_are_completions(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_queue *queue;
	struct weir_plan *plan;
	struct weir_done done;
	char memory[100];
	struct pollfd pfd = {.events = POLLIN};

	open_ctx();
	object = pattern_on_disk(ctx, 5, 1000);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
	pfd.fd = weir_queue_fd(queue);
	check_int(poll(&pfd, 1, 0), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 0, 100, weir_dest_host(memory, 100), 1, &err), 0);
	check_int(weir_transfer_start(plan, queue, NULL, &transfer, &err), 0);
	check_int(poll(&pfd, 1, 10000), 1);
	check_int(weir_queue_wait(queue, &done, 1, 0, &err), 1);
	check_int(poll(&pfd, 1, 0), 0);
	check_int(weir_queue_wait(queue, &done, 1, 0, &err), WEIR_TIMEOUT);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_queue_destroy(queue);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void budget_streams_a_file_through_little_memory(void)
{
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;
	uint64_t piece = 3 * MIB + 8, count = 40;
	int n;

	check_int(weir_ctx_create(WEIR_CTX_OPTS(.budget_bytes = 32 * MIB), &ctx, &err), 0);
	object = pattern_on_disk(ctx, 11, piece * count);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < count; i++)
		check_int(
			weir_plan_range(plan, object, i * piece, piece, weir_dest_alloc(), i, &err),
			0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	while ((n = weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err)) > 0) {
		check_int(done.status, 0);
		check_int(pattern_check(done.data, 11, done.tag * piece, piece), piece);
		weir_buffer_unref(done.buffer);
	}
	check_int(n, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_ctx_counters(ctx, &counters);
	/* What is free and in pieces may stand beside one run more than the budget holds. */
	check(counters.memory_peak_bytes <= 32 * MIB + 32 * MIB / 4);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void write_then_read_back(void)
{
	uint64_t size = 3 * MIB + 513;
	char *data = malloc(size), *path;
	struct weir_object *object;
	struct weir_plan *plan;

	open_ctx();
	check(asprintf(&path, "/var/tmp/weir-%d-written", (int)getpid()) > 0);
	pattern_fill(data, 21, 0, size);
	if (weir_object_create(ctx, path, size, NULL, &object, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_write(plan, object, 0, data, size / 2, 0, &err), 0);
	check_int(
		weir_plan_write(plan, object, size / 2, data + size / 2, size - size / 2, 1, &err),
		0);
	carry_out(plan, NULL);
	check(access(path, F_OK) != 0);
	check_int(weir_object_commit(object, WEIR_DURABLE_DATA, &err), 0);
	weir_object_unref(object);
	memset(data, 0, size);
	check_int(weir_object_open(ctx, path, NULL, &object, &err), 0);
	check_int(weir_object_read(object, 0, size, data, WEIR_FOREVER, &err), 0);
	check_int(pattern_check(data, 21, 0, size), size);
	weir_object_unref(object);
	unlink(path);
	free(path);
	free(data);
	weir_ctx_destroy(ctx);
}

static void cancel_returns_everything(void)
{
	struct weir_object *object;
	char *memory = malloc(64 * MIB);
	struct weir_memory_opts slow = {
		.size = sizeof(slow), .latency_ns = 1000000, .bytes_per_second = 1000 * MIB};

	open_ctx();
	object = pattern_in_memory(ctx, 4, 64 * MIB);
	check_int(weir_memory_behave(ctx, &slow, &err), 0);
	for (int round = 0; round < 20; round++) {
		struct weir_transfer *transfer;
		struct weir_plan *plan;
		struct weir_done done;
		int n, seen = 0, cancelled = 0;

		check_int(weir_plan_create(ctx, &plan, &err), 0);
		for (uint64_t i = 0; i < 64; i++)
			check_int(weir_plan_range(plan, object, i * MIB, MIB,
						  weir_dest_host(memory + i * MIB, MIB), i, &err),
				  0);
		check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
		usleep((useconds_t)(round * 1000));
		weir_transfer_cancel(transfer);
		while ((n = weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err)) > 0) {
			seen++;
			cancelled += done.status == WEIR_CANCELLED;
			check(done.status == 0 || done.status == WEIR_CANCELLED);
		}
		check_int(seen, 64);
		check(cancelled > 0);
		check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_CANCELLED);
	}
	free(memory);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void deadline_settles_and_lends(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done[2];
	char *memory = malloc(MIB);
	struct weir_memory_opts slow = {.size = sizeof(slow), .latency_ns = 300000000};

	open_ctx();
	object = pattern_in_memory(ctx, 4, MIB);
	check_int(weir_memory_behave(ctx, &slow, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 0, MIB, weir_dest_host(memory, MIB), 5, &err), 0);
	check_int(weir_transfer_start(plan, NULL, WEIR_TRANSFER_OPTS(.timeout_ns = 50000000),
				      &transfer, &err),
		  0);
	check_int(weir_transfer_wait(transfer, done, 1, WEIR_FOREVER, &err), 1);
	check_int(done[0].status, WEIR_TIMEOUT);
	if (done[0].flags & WEIR_DONE_LENT) {
		check_int(weir_transfer_wait(transfer, done, 1, WEIR_FOREVER, &err), 1);
		check_int(done[0].flags, WEIR_DONE_RELEASED);
		check_int(done[0].tag, 5);
	}
	check_int(weir_transfer_wait(transfer, done, 1, WEIR_FOREVER, &err), 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_TIMEOUT);
	weir_object_unref(object);
	free(memory);
	weir_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(file_read_whole_into_memory_of_weir),
		TEST(file_scatter_to_any_alignment),
		TEST(memory_scatter_to_any_alignment),
		TEST(file_neighbours_land_in_place),
		TEST(strided_rows_arrive_packed),
		TEST(past_the_end_is_truncated_and_names_the_place),
		TEST(at_end_counts_what_there_is),
		TEST(queue_descriptor_is_readable_while_there_are_completions),
		TEST(budget_streams_a_file_through_little_memory),
		TEST(write_then_read_back),
		TEST(cancel_returns_everything),
		TEST(deadline_settles_and_lends),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
