/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that reaches only memory of its own kind: what lies elsewhere passes through staging, both
 * ways; what weir allocates for it lies where it reaches.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/front.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static _Atomic unsigned outside; /* requests that named memory which is not reached */

/* ---- A front whose reach is one pool's memory ---- */

static bool is_near(const void *memory, uint64_t length)
{
	struct group *group;

	if (ctx_group(ctx, "memory", NULL, &group, NULL) < 0)
		return false;
	return pool_slab(group->pool, memory, length) != NULL;
}

static bool reaches(struct source *source, const void *memory, uint64_t length)
{
	(void)source;
	return is_near(memory, length);
}

static int begin(struct front *front, struct front_slot *slot)
{
	(void)front;
	outside += !is_near(slot->inner.memory, slot->inner.length);
	return 0;
}

static const struct front_hooks hooks = {begin, front_holds_nothing};

static int wrap(struct source **source, void *arg, struct weir_error *error)
{
	(void)arg;
	(void)error;
	front_put(source, "near", &hooks)->ops.reaches = reaches;
	return 0;
}

static void open_ctx_with(const struct cuda_driver *driver)
{
	struct pool_opts opts = {.sys = sys_real(), .keep_bytes = UINT64_MAX, .shared = true};
	struct ctx_seams seams = {.wrap = wrap, .cuda = driver};
	struct group *group;

	check_int(ctx_create_with(NULL, &seams, &ctx, &err), 0);
	check_int(ctx_group(ctx, "memory", NULL, &group, &err), 0);
	check_int(pool_create(&opts, &group->pool, &err), 0);
}

static void open_ctx(void)
{
	open_ctx_with(NULL);
}

#define SIZE (9 * MIB + 777)

static void run(struct weir_plan *plan, struct weir_counters *counters, struct weir_done *last)
{
	struct weir_transfer *transfer;
	struct weir_done done;

	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	while (weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err) > 0) {
		if (done.status)
			weir_transfer_error(transfer, &done, &err);
		if (done.status)
			check_failed(__FILE__, __LINE__, "%s", err.message);
		*last = done;
	}
	weir_transfer_counters(transfer, counters);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
}

static void what_weir_allocates_is_reached(void)
{
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;

	open_ctx();
	object = pattern_in_memory(ctx, 3, SIZE);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_alloc(), 0, &err), 0);
	run(plan, &counters, &done);
	check_int(pattern_check(done.data, 3, 0, SIZE), SIZE);
	check(is_near(done.data, SIZE));
	check_int(counters.bytes_copied, SIZE); /* by the store itself: an object in RAM */
	check_int(outside, 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	/* The buffer keeps the slab. */
	check_int(pattern_check(done.data, 3, 0, SIZE), SIZE);
	weir_buffer_unref(done.buffer);
}

static void the_callers_memory_is_staged(void)
{
	char *memory = malloc(SIZE);
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;

	open_ctx();
	object = pattern_in_memory(ctx, 4, SIZE);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_host(memory, SIZE), 0, &err), 0);
	run(plan, &counters, &done);
	check_int(pattern_check(memory, 4, 0, SIZE), SIZE);
	check_int(counters.bytes_copied, 2 * SIZE); /* by the store, and out of staging */
	check_int(outside, 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	free(memory);
}

static void what_is_written_is_staged(void)
{
	char *memory = malloc(SIZE);
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;

	open_ctx();
	pattern_fill(memory, 6, 0, SIZE);
	check_int(weir_object_create(ctx, "memory://new", SIZE, NULL, &object, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_write(plan, object, 0, memory, SIZE, 0, &err), 0);
	run(plan, &counters, &done);
	check_int(counters.bytes_copied, SIZE);
	check_int(outside, 0);
	check_int(weir_object_commit(object, WEIR_DURABLE_NO, &err), 0);
	weir_object_unref(object);
	memset(memory, 0, SIZE);
	check_int(weir_object_open(ctx, "memory://new", NULL, &object, &err), 0);
	check_int(weir_object_read(object, 0, SIZE, memory, WEIR_FOREVER, &err), 0);
	check_int(pattern_check(memory, 6, 0, SIZE), SIZE);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	free(memory);
}

/* No room in shared memory: reading goes on, through staging. */
static int full_fstatfs(int fd, struct statfs *out)
{
	check_int(fstatfs(fd, out), 0);
	out->f_bavail = (12 * MIB) / (uint64_t)out->f_bsize; /* staging fits, the object does not */
	return 0;
}

static void without_room_what_weir_allocates_is_staged(void)
{
	struct sys sys = *sys_real();
	struct pool_opts opts = {.sys = &sys, .keep_bytes = UINT64_MAX, .shared = true};
	const uint64_t size = 20 * MIB + 5;
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;
	struct group *group;

	sys.fstatfs = full_fstatfs;
	open_ctx();
	check_int(ctx_group(ctx, "memory", NULL, &group, &err), 0);
	pool_unref(group->pool);
	check_int(pool_create(&opts, &group->pool, &err), 0);
	object = pattern_in_memory(ctx, 8, size);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_alloc(), 0, &err), 0);
	run(plan, &counters, &done);
	check_int(outside, 0);
	check(!is_near(done.data, size));
	check_int(pattern_check(done.data, 8, 0, size), size);
	weir_buffer_unref(done.buffer);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

/* Slots for a device are of shared memory too, and pinned where they are: one copy, the device's. */
static void what_goes_to_a_device_passes_through_shared_memory_that_is_pinned(void)
{
	struct fake_cuda_how how = {.latency_ns = 100000};
	struct fake_cuda_counts counts;
	struct weir_counters counters;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;
	void *at;

	open_ctx_with(fake_cuda_start(&how));
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	object = pattern_in_memory(ctx, 3, SIZE);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_cuda(0, at, SIZE, NULL), 0, &err), 0);
	run(plan, &counters, &done);
	check_int(pattern_check(fake_cuda_bytes(at), 3, 0, SIZE), SIZE);
	check_int(outside, 0);
	check_int(counters.bytes_device, SIZE);
	check(counters.pinned_bytes > 0);
	fake_cuda_counts(&counts);
	check_int(counts.unpinned_copies, 0);
	check(counts.pins > 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cuda_counts(&counts);
	check_int(counts.pins, 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(what_goes_to_a_device_passes_through_shared_memory_that_is_pinned),
		TEST(what_weir_allocates_is_reached),
		TEST(the_callers_memory_is_staged),
		TEST(what_is_written_is_staged),
		TEST(without_room_what_weir_allocates_is_staged),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
