/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do reads and copies to a device overlap?  In simulated time, over a source and a device of known speed:
 * the time in which the slower of the two was busy, as a share of all of it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/pattern.h"
#include "sim/one_lane.h"
#include "source/memory.h"
#include "weir/weir.h"

#define SLAB  (512 * KIB)
#define SLABS 64
#define LEAST 0.97

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct sys sys;

struct speeds {
	uint64_t source, device; /* bytes a second */
	int64_t source_latency_ns, device_latency_ns;
	uint32_t depth;
};

static void set_up(const struct speeds *speeds)
{
	struct fake_cuda_how how = {.now_ns = now_ns,
				    .latency_ns = speeds->device_latency_ns,
				    .bytes_per_second = speeds->device};
	struct memory_behaviour behaviour = {.bytes_per_second = speeds->source,
					     .latency_ns = speeds->source_latency_ns};
	struct ctx_seams seams = {
		.sys = &sys, .simulated = true, .idle = idle, .cuda = fake_cuda_start(&how)};
	struct weir_ctx_opts opts = {.size = sizeof(opts), .lanes = 1, .depth = speeds->depth};
	char *data = malloc(SLABS * SLAB);

	clock_ns = NS_PER_SEC;
	sys = *sys_real();
	sys.now_ns = now_ns;
	check_int(ctx_create_with(&opts, &seams, &ctx, &err), 0);
	pattern_fill(data, 1, 0, SLABS * SLAB);
	check_int(weir_memory_put(ctx, "slabs", data, SLABS * SLAB, &err), 0);
	source_memory_behave(ctx->groups[0]->core, &behaviour);
	free(data);
}

/* Busy time of the slower stage, as a share of the whole. */
static double run(const struct speeds *speeds)
{
	uint64_t slower = min_of(speeds->source, speeds->device);
	double busy = (double)(SLABS * SLAB) / (double)slower, took;
	struct weir_transfer *transfer;
	struct fake_cuda_counts counts;
	struct weir_object *object;
	struct weir_plan *plan;
	struct weir_done done;
	int64_t began;
	void *at;

	set_up(speeds);
	at = fake_cuda_alloc(0, SLABS * SLAB, FAKE_DEVICE);
	check_int(weir_object_open(ctx, "memory://slabs", NULL, &object, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(
		weir_plan_object(plan, object, weir_dest_cuda(0, at, SLABS * SLAB, NULL), 0, &err),
		0);
	began = clock_ns;
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, 0);
	took = (double)(clock_ns - began) / NS_PER_SEC;
	check_int(pattern_check(fake_cuda_bytes(at), 1, 0, SLABS * SLAB), SLABS * SLAB);
	fake_cuda_counts(&counts);
	check_int(counts.copies_in, SLABS);
	check_int(counts.unpinned_copies, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	printf("# source %llu, device %llu MiB/s: %.3f\n",
	       (unsigned long long)(speeds->source / MIB),
	       (unsigned long long)(speeds->device / MIB), busy / took);
	return busy / took;
}

static void as_fast_as_each_other(void)
{
	double share = run(&(struct speeds){.source = GIB, .device = GIB});

	if (share < LEAST)
		check_failed(__FILE__, __LINE__, "%.4f of the time were used", share);
}

static void a_source_that_is_slower(void)
{
	double share = run(&(struct speeds){.source = GIB, .device = 8 * GIB});

	if (share < LEAST)
		check_failed(__FILE__, __LINE__, "%.4f of the time were used", share);
}

static void a_device_that_is_slower(void)
{
	double share = run(&(struct speeds){.source = 8 * GIB, .device = GIB});

	if (share < LEAST)
		check_failed(__FILE__, __LINE__, "%.4f of the time were used", share);
}

/* Latencies of some requests' worth are hidden behind those that fly beside them. */
static void latencies_are_hidden(void)
{
	double share = run(&(struct speeds){.source = GIB,
					    .device = GIB,
					    .source_latency_ns = 100 * NS_PER_US,
					    .device_latency_ns = 1 * NS_PER_US});

	if (share < LEAST)
		check_failed(__FILE__, __LINE__, "%.4f of the time were used", share);
}

/* What the figure is where nothing can overlap: the measure itself is tried. */
static void one_at_a_time_overlaps_nothing(void)
{
	check(run(&(struct speeds){.source = GIB, .device = GIB, .depth = 1}) < 0.6);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(as_fast_as_each_other),          TEST(a_source_that_is_slower),
		TEST(a_device_that_is_slower),        TEST(latencies_are_hidden),
		TEST(one_at_a_time_overlaps_nothing),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
