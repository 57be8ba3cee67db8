/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents whose bytes nobody wants: read, counted and checked like others, into memory that does not grow
 * with them.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "lib/check.h"
#include "lib/front.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;

/* ---- A front that asks for the version late, and looks at what comes ---- */

static bool late;
static _Atomic unsigned requests, interim, in_flight;
static _Atomic unsigned
	beside; /* requests that nothing may settle on but themselves, while others flew */

static int begin(struct front *front, struct front_slot *slot)
{
	(void)front;
	requests++;
	interim += slot->inner.interim;
	beside += !slot->inner.interim && in_flight > 0;
	in_flight++;
	return 0;
}

static bool back(struct front *front, struct front_slot *slot)
{
	(void)front;
	(void)slot;
	in_flight--;
	return true;
}

static const struct front_hooks hooks = {begin, back};

static int wrap(struct source **source, void *arg, struct weir_error *error)
{
	struct front *front = front_put(source, "late", &hooks);

	(void)arg;
	(void)error;
	if (late)
		front->ops.features |= SOURCE_LOOKS_LATE;
	return 0;
}

/* ---- Carrying out ---- */

static void open_ctx(uint64_t budget_bytes)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .budget_bytes = budget_bytes};
	struct ctx_seams seams = {.wrap = wrap};

	check_int(ctx_create_with(&opts, &seams, &ctx, &err), 0);
}

static struct weir_plan *new_plan(void)
{
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	return plan;
}

/* Its last completion; the counters may be NULL. */
static struct weir_done run(struct weir_plan *plan, const struct weir_transfer_opts *opts,
			    struct weir_counters *counters)
{
	struct weir_transfer *transfer;
	struct weir_done done = {.status = 1}, last = done;

	check_int(weir_transfer_start(plan, NULL, opts, &transfer, &err), 0);
	while (weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err) > 0)
		last = done;
	if (counters)
		weir_transfer_counters(transfer, counters);
	(void)weir_transfer_finish(transfer, WEIR_FOREVER, NULL);
	return last;
}

static struct weir_done read_all(struct weir_object *object, const struct weir_transfer_opts *opts,
				 struct weir_counters *counters)
{
	struct weir_plan *plan = new_plan();

	check_int(weir_plan_object(plan, object, weir_dest_none(), 7, &err), 0);
	return run(plan, opts, counters);
}

static void check_dropped(const struct weir_done *done, uint64_t bytes)
{
	check_int(done->status, 0);
	check_int(done->tag, 7);
	check_int(done->bytes, bytes);
	check(!done->data);
	check(!done->buffer);
}

#define SIZE (40 * MIB + 777)

static void a_file_is_counted_and_takes_little_memory(void)
{
	struct weir_counters counters;
	struct weir_object *object;
	struct pool_usage usage;
	struct weir_done done;

	open_ctx(16 * MIB);
	object = pattern_on_disk(ctx, 3, SIZE);
	done = read_all(object, NULL, &counters);
	check_dropped(&done, SIZE);
	check_int(counters.bytes_delivered, SIZE);
	pool_usage(ctx->pool, &usage);
	check_int(usage.held_bytes, 0);
	check(usage.populated_peak_bytes <= 16 * MIB);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void what_is_held_for_it_goes_back(void)
{
	struct weir_object *object;
	struct weir_done done;
	uint64_t used_before;

	open_ctx(0);
	object = pattern_in_memory(ctx, 4, SIZE);
	done = read_all(object, NULL, NULL);
	check_dropped(&done, SIZE);
	used_before = budget_used(ctx->budget); /* lanes have staging now */
	for (int i = 0; i < 3; i++)
		done = read_all(object, NULL, NULL);
	check_dropped(&done, SIZE);
	check_int(budget_used(ctx->budget), used_before);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void without_budget_for_it_bytes_pass_through_staging(void)
{
	struct weir_object *object;
	struct weir_counters counters;
	struct weir_done done;
	uint64_t taken;

	open_ctx(16 * MIB);
	object = pattern_on_disk(ctx, 5, SIZE);
	done = read_all(object, NULL, NULL);
	check_dropped(&done, SIZE);
	taken = budget_limit(ctx->budget) - budget_used(ctx->budget) - 64 * KIB;
	check(budget_take(ctx->budget, taken));
	done = read_all(object, NULL, &counters);
	check_dropped(&done, SIZE);
	check(counters.requests >= SIZE / (512 * KIB));
	check_int(counters.bytes_copied, counters.bytes_cached); /* by the kernel, and no more */
	budget_give(ctx->budget, taken);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void others_beside_it_get_what_is_theirs(void)
{
	const uint64_t piece = 100 * KIB + 13;
	char *memory = malloc(SIZE);
	struct weir_object *object;
	struct weir_plan *plan;

	open_ctx(0);
	for (int kind = 0; kind < 2; kind++) {
		object = kind ? pattern_on_disk(ctx, 6, SIZE) : pattern_in_memory(ctx, 6, SIZE);
		memset(memory, 0xa5, SIZE);
		plan = new_plan();
		for (uint64_t at = 0, i = 0; at < SIZE; at += piece, i++) {
			uint64_t length = min_of(piece, SIZE - at);

			check_int(weir_plan_range(plan, object, at, length,
						  i % 3 ? weir_dest_none()
							: weir_dest_host(memory + at, length),
						  7, &err),
				  0);
		}
		check_int(run(plan, NULL, NULL).status, 0);
		for (uint64_t at = 0, i = 0; at < SIZE; at += piece, i++) {
			uint64_t length = min_of(piece, SIZE - at);

			if (i % 3 == 0)
				check_int(pattern_check(memory + at, 6, at, length), length);
			else
				check_int((unsigned char)memory[at], 0xa5);
		}
		weir_object_unref(object);
	}
	weir_ctx_destroy(ctx);
	free(memory);
}

static void strides_are_counted_too(void)
{
	const struct weir_stride strides[] = {{1 * MIB, 30}, {8192, 5}};
	struct weir_object *object;
	struct weir_plan *plan = NULL;
	struct weir_done done;

	open_ctx(0);
	object = pattern_on_disk(ctx, 8, SIZE);
	plan = new_plan();
	check_int(weir_plan_strided(plan, object, 3, 1000, strides, 2, weir_dest_none(), 7, &err),
		  0);
	done = run(plan, NULL, NULL);
	check_dropped(&done, 30 * 5 * UINT64_C(1000));
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void the_end_is_the_end(void)
{
	struct weir_transfer_opts opts = {.size = sizeof(opts), .flags = WEIR_TRANSFER_AT_END};
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;

	open_ctx(0);
	object = pattern_on_disk(ctx, 9, SIZE);
	plan = new_plan();
	check_int(weir_plan_range(plan, object, 5, SIZE, weir_dest_none(), 7, &err), 0);
	check_int(run(plan, NULL, NULL).status, WEIR_TRUNCATED);
	plan = new_plan();
	check_int(weir_plan_range(plan, object, 5, SIZE, weir_dest_none(), 7, &err), 0);
	done = run(plan, &opts, NULL);
	check_dropped(&done, SIZE - 5);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void a_file_that_changed_is_an_error(void)
{
	char *path = pattern_file("changes", 2, SIZE);
	struct weir_object *object;

	open_ctx(0);
	check_int(weir_object_open(ctx, path, NULL, &object, &err), 0);
	check_int(truncate(path, SIZE - 5 * MIB), 0);
	check(read_all(object, NULL, NULL).status < 0);
	check_int(truncate(path, SIZE + 1), 0);
	check_int(read_all(object, NULL, NULL).status, WEIR_CHANGED);
	weir_object_unref(object);
	unlink(path);
	free(path);
	weir_ctx_destroy(ctx);
}

/* The version that is asked for behind it is that of every byte. */
static void the_last_request_goes_when_the_others_have_landed(void)
{
	struct weir_object *object;
	struct weir_done done;

	late = true;
	open_ctx(0);
	object = pattern_in_memory(ctx, 4, SIZE);
	for (int i = 0; i < 20; i++) {
		requests = interim = beside = 0;
		done = read_all(object, NULL, NULL);
		check_dropped(&done, SIZE);
		check_int(requests, interim + 1);
		check_int(beside, 0);
		check_int(in_flight, 0);
	}
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	late = false;
}

static void nothing_is_written_from_it(void)
{
	struct weir_object *object;
	struct weir_plan *plan;

	open_ctx(0);
	check_int(weir_object_create(ctx, "memory://new", 10, NULL, &object, &err), 0);
	plan = new_plan();
	check_int(weir_plan_write_from(plan, object, 0, weir_dest_none(), 0, &err), WEIR_ARG);
	weir_plan_destroy(plan);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_file_is_counted_and_takes_little_memory),
		TEST(what_is_held_for_it_goes_back),
		TEST(without_budget_for_it_bytes_pass_through_staging),
		TEST(others_beside_it_get_what_is_theirs),
		TEST(strides_are_counted_too),
		TEST(the_end_is_the_end),
		TEST(a_file_that_changed_is_an_error),
		TEST(the_last_request_goes_when_the_others_have_landed),
		TEST(nothing_is_written_from_it),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
