/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A context over a driver that is none (lib/fake_cuda.h), and an object to read to devices.
 */
#ifndef TESTS_UNIT_ENGINE_CUDA_RIG_H
#define TESTS_UNIT_ENGINE_CUDA_RIG_H

#include <stdlib.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

#define SIZE (5 * MIB + 1234)
#define SEED 7

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct fake_cuda_counts counts;

static inline void start_with(const struct fake_cuda_how *how, const struct weir_ctx_opts *opts)
{
	struct ctx_seams seams = {.cuda = fake_cuda_start(how)};

	check_int(ctx_create_with(opts, &seams, &ctx, &err), 0);
}

static inline void start(const struct fake_cuda_how *how)
{
	start_with(how, NULL);
	object = pattern_in_memory(ctx, SEED, SIZE);
}

static inline void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cuda_counts(&counts);
	check_int(counts.events, 0);
	check_int(counts.streams, 0);
	check_int(counts.pins, 0);
	check_int(counts.allocations, 0);
}

static inline struct weir_plan *plan_range(uint64_t offset, uint64_t length, struct weir_dest dest)
{
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, offset, length, dest, 1, &err), 0);
	return plan;
}

static inline struct weir_transfer *begin(struct weir_plan *plan,
					  const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;

	if (weir_transfer_start(plan, NULL, opts, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return transfer;
}

static inline struct weir_done wait_one(struct weir_transfer *transfer)
{
	struct weir_done done = {0};

	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	if (done.status)
		weir_transfer_error(transfer, &done, &err);
	return done;
}

static inline void finish(struct weir_transfer *transfer, int expected)
{
	struct weir_error why = WEIR_ERROR_INIT;

	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &why), expected);
}

/* A plan of one extent, to its end; its status. */
static inline int carry_out(struct weir_plan *plan, const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	int ret = weir_transfer_start(plan, NULL, opts, &transfer, &err);

	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	done = wait_one(transfer);
	weir_buffer_unref(done.buffer);
	finish(transfer, done.status);
	return done.status;
}

static inline void check_bytes(const void *at, uint64_t offset, uint64_t length)
{
	check_int(pattern_check(fake_cuda_bytes(at), SEED, offset, length), length);
}

#endif
