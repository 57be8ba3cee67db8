/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lanes that sleep, and who wakes them.  The lanes are simulated: a step never waits, and the test drives
 * each when it likes; what counts is which of them were woken meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/lane.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "source/memory.h"
#include "weir/weir.h"

#define LANES 2
#define SIZE  (16 * MIB)
#define HALF  (SIZE / 2)

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static char *landed;
static int64_t clock_ns;

/* ---- A source whose first lane alone reads the second half, and which sees wakes ---- */

static struct source *store;
static const struct source_ops *store_ops;
static struct source_ops ops;
static struct source_lane *cores[LANES];
static unsigned core_count, wakes[LANES];

static int64_t now_ns(void)
{
	return clock_ns;
}

static int way(struct source_object *of, uint64_t offset, uint64_t length, uint64_t *until)
{
	(void)of;
	(void)length;
	*until = offset < HALF ? HALF : SIZE;
	return offset < HALF ? WAY_BUFFERED : WAY_DIRECT;
}

static int make_core(struct source *source, const struct lane_how *how, struct source_lane **out,
		     struct weir_error *error)
{
	check_int(store_ops->lane_create(source, how, out, error), 0);
	check(core_count < LANES);
	cores[core_count++] = *out;
	return 0;
}

static void wake(struct source_lane *core)
{
	for (unsigned i = 0; i < core_count; i++)
		wakes[i] += cores[i] == core;
	store_ops->wake(core);
}

static void answer_after(int64_t latency_ns)
{
	const struct memory_behaviour how = {.latency_ns = latency_ns};

	source_memory_behave(store, &how);
}

static int wrap(struct source **source, void *arg, struct weir_error *error)
{
	(void)arg;
	(void)error;
	store = *source;
	answer_after(NS_PER_MS);
	store_ops = (*source)->ops;
	ops = *store_ops;
	ops.features |= SOURCE_ONE_DIRECT_LANE;
	ops.way = way;
	ops.lane_create = make_core;
	ops.wake = wake;
	(*source)->ops = &ops;
	return 0;
}

static void begin(void)
{
	static struct sys sys;
	struct weir_ctx_opts opts = {.size = sizeof(opts), .lanes = LANES};
	struct ctx_seams seams = {.sys = &sys, .simulated = true, .wrap = wrap};

	sys = *sys_real();
	sys.now_ns = now_ns;
	clock_ns = NS_PER_SEC;
	core_count = 0;
	landed = malloc(SIZE);
	pattern_fill(landed, 5, 0, SIZE);
	check_int(ctx_create_with(&opts, &seams, &ctx, &err), 0);
	check_int(weir_memory_put(ctx, "a", landed, SIZE, &err), 0);
	check_int(weir_object_open(ctx, "memory://a", NULL, &object, &err), 0);
	memset(landed, 0, SIZE);
}

static void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	free(landed);
}

static bool step(uint32_t lane)
{
	return lane_step(ctx->groups[0]->lanes[lane], 0);
}

/* Until it has nothing to do, however long that takes. */
static void drive(uint32_t lane)
{
	unsigned before;

	do {
		before = wakes[lane];
		clock_ns += NS_PER_MS;
	} while (step(lane) || wakes[lane] != before ||
		 lane_next_ns(ctx->groups[0]->lanes[lane]) < clock_ns + NS_PER_SEC);
}

static struct weir_plan *plan_of(int class_)
{
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_class(plan, class_, &err), 0);
	return plan;
}

/* ---- Cases ---- */

/* All lanes together have a number of background requests; which of them has them all is chance. */
static void a_lane_without_room_for_background_is_woken_when_there_is(void)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;

	begin();
	plan = plan_of(WEIR_CLASS_BACKGROUND);
	check_int(weir_plan_object(plan, object, weir_dest_host(landed, SIZE), 1, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check(step(1));
	step(0); /* the other one has as many as there may be */
	memset(wakes, 0, sizeof(wakes));
	drive(1); /* up to what only the first may read */
	check(wakes[0] > 0);
	drive(0);
	check_int(weir_transfer_wait(transfer, &done, 1, 0, &err), 1);
	check_int(done.status, 0);
	check_int(pattern_check(landed, 5, 0, SIZE), SIZE);
	check_int(weir_transfer_finish(transfer, 0, &err), 0);
	end();
}

/* As many as there may be are stuck, and nobody waits for them any more. */
static void background_that_is_stuck_leaves_its_place_to_others(void)
{
	struct weir_transfer *stuck, *transfer;
	struct weir_plan *plan;
	struct weir_done done;

	begin();
	answer_after(1000 * NS_PER_SEC);
	plan = plan_of(WEIR_CLASS_BACKGROUND);
	check_int(weir_plan_object(plan, object, weir_dest_alloc(), 1, &err), 0);
	check_int(weir_transfer_start(plan, NULL, WEIR_TRANSFER_OPTS(.timeout_ns = NS_PER_SEC),
				      &stuck, &err),
		  0);
	step(0);
	clock_ns += 2 * NS_PER_SEC;
	step(0);
	check_int(weir_transfer_wait(stuck, &done, 1, 0, &err), 1);
	check_int(done.status, WEIR_TIMEOUT);
	answer_after(NS_PER_MS);
	plan = plan_of(WEIR_CLASS_BACKGROUND);
	check_int(weir_plan_object(plan, object, weir_dest_host(landed, SIZE), 1, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	drive(0);
	check_int(weir_transfer_wait(transfer, &done, 1, 0, &err), 1);
	check_int(done.status, 0);
	check_int(pattern_check(landed, 5, 0, SIZE), SIZE);
	check_int(weir_transfer_finish(transfer, 0, &err), 0);
	clock_ns += 1000 * NS_PER_SEC;
	drive(0);
	check_int(weir_transfer_finish(stuck, 0, &err), WEIR_TIMEOUT);
	end();
}

/* What is dropped waited for bytes of the budget, and what stands behind it needs none. */
static void what_stands_behind_a_dropped_extent_goes_on(void)
{
	const struct weir_transfer_opts opts = WEIR_TRANSFER_OPTS(.budget_bytes = 4 * MIB)[0];
	struct weir_transfer *transfer;
	struct weir_done first, last;
	struct weir_plan *plan;

	begin();
	plan = plan_of(WEIR_CLASS_NORMAL);
	check_int(weir_plan_range(plan, object, 0, MIB, weir_dest_alloc(), 1, &err), 0);
	check_int(weir_plan_range(plan, object, MIB, 3 * MIB, weir_dest_alloc(), 2, &err), 0);
	check_int(weir_plan_range(plan, object, 4 * MIB, MIB, weir_dest_host(landed, MIB), 3, &err),
		  0);
	check_int(weir_transfer_start(plan, NULL, &opts, &transfer, &err), 0);
	drive(0);
	check_int(weir_transfer_wait(transfer, &first, 1, 0, &err), 1);
	check_int(first.tag, 1);
	check_int(weir_transfer_wait(transfer, &last, 1, 0, &err), WEIR_TIMEOUT);
	memset(wakes, 0, sizeof(wakes));
	check_int(weir_transfer_drop(transfer, 2), 1);
	check(wakes[0] > 0);
	drive(0);
	check_int(weir_transfer_wait(transfer, &last, 1, 0, &err), 1);
	check_int(last.tag, 2);
	check_int(weir_transfer_wait(transfer, &last, 1, 0, &err), 1);
	check_int(last.tag, 3);
	check_int(pattern_check(landed, 5, 4 * MIB, MIB), MIB);
	weir_buffer_unref(first.buffer);
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_CANCELLED);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_lane_without_room_for_background_is_woken_when_there_is),
		TEST(background_that_is_stuck_leaves_its_place_to_others),
		TEST(what_stands_behind_a_dropped_extent_goes_on),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
