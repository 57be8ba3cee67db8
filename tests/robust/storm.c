/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cancelling, dropping, finishing and destroying at random moments, by several threads, thousands of
 * times; destinations stand between pages that nobody may touch, and are taken away as soon as finish()
 * has come back, so that a late write ends the program.
 */
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

#define PAGE        4096u
#define OBJECT_SIZE (3 * MIB + 777)
#define EXTENTS     24
#define AREA        (256 * KIB)

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define ROUNDS 400
#else
#define ROUNDS 1500
#endif

/* ---- Memory between guards ---- */

struct area {
	char *mapping;
	char *memory; /* AREA bytes, a page that cannot be touched on either side */
};

static void area_make(struct area *area)
{
	area->mapping = mmap(NULL, AREA + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(area->mapping != MAP_FAILED);
	area->memory = area->mapping + PAGE;
	check_int(mprotect(area->memory, AREA, PROT_READ | PROT_WRITE), 0);
}

/* From here on a write to it is the end. */
static void area_close(const struct area *area)
{
	check_int(mprotect(area->memory, AREA, PROT_NONE), 0);
}

static void area_open(const struct area *area)
{
	check_int(mprotect(area->memory, AREA, PROT_READ | PROT_WRITE), 0);
}

static void area_free(struct area *area)
{
	munmap(area->mapping, AREA + 2 * PAGE);
}

/* ---- One transfer that comes to a bad end ---- */

struct target {
	uint64_t offset, length;
	char *at; /* NULL: weir's own memory */
};

struct storm {
	struct weir_ctx *ctx;
	struct weir_object *object;
	uint64_t content;
	uint64_t chance;
	unsigned rounds;
};

static struct weir_plan *make_plan(struct storm *storm, const struct area *area,
				   struct target targets[EXTENTS])
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_plan *plan;
	uint64_t used = 0;

	check_int(weir_plan_create(storm->ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < EXTENTS; i++) {
		struct target *target = &targets[i];
		uint64_t most = min_of((uint64_t)AREA - used, (uint64_t)(40 * KIB));
		struct weir_dest dest = weir_dest_alloc();

		target->length = chance_below(&storm->chance, most + 1);
		target->offset = chance_below(&storm->chance, OBJECT_SIZE - target->length);
		target->at = NULL;
		if (chance_below(&storm->chance, 3)) {
			target->at = area->memory + used;
			dest = weir_dest_host(target->at, target->length);
			used += target->length;
		}
		check_int(weir_plan_class(plan, (int)chance_below(&storm->chance, 3), &err), 0);
		check_int(weir_plan_range(plan, storm->object, target->offset, target->length, dest,
					  i, &err),
			  0);
	}
	return plan;
}

static void check_done(const struct storm *storm, const struct target *targets,
		       const struct weir_done *done)
{
	const struct target *target = &targets[done->tag];

	check(done->status == 0 || done->status == WEIR_CANCELLED || done->status == WEIR_TIMEOUT);
	if (done->status == 0 && target->length)
		check_int(pattern_check(done->data, storm->content, target->offset, target->length),
			  target->length);
	weir_buffer_unref(done->buffer);
}

static void some_harm(struct storm *storm, struct weir_transfer *transfer)
{
	switch (chance_below(&storm->chance, 6)) {
	case 0:
		weir_transfer_cancel(transfer);
		break;
	case 1:
		for (unsigned i = 0; i < 5; i++)
			weir_transfer_drop(transfer, chance_below(&storm->chance, EXTENTS));
		break;
	case 2:
		for (unsigned i = 0; i < 5; i++)
			weir_transfer_promote(transfer, chance_below(&storm->chance, EXTENTS),
					      (int)chance_below(&storm->chance, 3));
		break;
	case 3:
		usleep((useconds_t)chance_below(&storm->chance, 800));
		break;
	default:
		break;
	}
}

static void one_round(struct storm *storm, const struct area *area)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_transfer_opts opts = {.size = sizeof(opts)};
	struct weir_transfer *transfer;
	struct target targets[EXTENTS];
	struct weir_done done[8];
	int n, ret;

	if (chance_below(&storm->chance, 4) == 0)
		opts.timeout_ns = 1 + (int64_t)chance_below(&storm->chance, 2000000);
	if (chance_below(&storm->chance, 3) == 0)
		opts.flags |= WEIR_TRANSFER_GUARDED;
	check_int(
		weir_transfer_start(make_plan(storm, area, targets), NULL, &opts, &transfer, &err),
		0);
	for (uint64_t i = chance_below(&storm->chance, 5); i > 0; i--) {
		some_harm(storm, transfer);
		n = weir_transfer_wait(transfer, done, 8, (int64_t)i * 100000, &err);
		check(n >= 0 || n == WEIR_TIMEOUT);
		for (int k = 0; k < n; k++)
			check_done(storm, targets, &done[k]);
	}
	do {
		ret = weir_transfer_finish(transfer, (int64_t)chance_below(&storm->chance, 300000),
					   &err);
	} while (ret == WEIR_LENT);
	check(ret == 0 || ret == WEIR_CANCELLED || ret == WEIR_TIMEOUT);
	area_close(area);
	if (chance_below(&storm->chance, 8) == 0)
		usleep(300);
	area_open(area);
}

static void *run_storm(void *arg)
{
	struct storm *storm = arg;
	struct area area;

	area_make(&area);
	for (unsigned i = 0; i < storm->rounds; i++)
		one_round(storm, &area);
	area_free(&area);
	return NULL;
}

/* ---- Several at once, over one context ---- */

static void storms(struct weir_ctx *ctx, struct weir_object *object, uint64_t content)
{
	struct storm storm[3];
	pthread_t threads[3];

	for (unsigned i = 0; i < 3; i++) {
		storm[i] = (struct storm){.ctx = ctx,
					  .object = object,
					  .content = content,
					  .chance = i * 1000 + 17,
					  .rounds = ROUNDS / 3};
		check_int(pthread_create(&threads[i], NULL, run_storm, &storm[i]), 0);
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

static struct weir_object *open_object(struct weir_ctx *ctx, bool file)
{
	return file ? pattern_on_disk(ctx, 5, OBJECT_SIZE) : pattern_in_memory(ctx, 5, OBJECT_SIZE);
}

static void in_one_context(bool file)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_memory_opts slow = {
		.size = sizeof(slow), .latency_ns = 50000, .jitter_ns = 300000};
	struct weir_object *object;
	struct weir_ctx *ctx;

	check_int(weir_ctx_create(WEIR_CTX_OPTS(.lanes = 3, .request_bytes = 16 * KIB), &ctx, &err),
		  0);
	object = open_object(ctx, file);
	if (!file)
		check_int(weir_memory_behave(ctx, &slow, &err), 0);
	storms(ctx, object, 5);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void PR_27_cancel_storm_over_files(void)
{
	in_one_context(true);
}

static void PR_27_cancel_storm_over_memory(void)
{
	in_one_context(false);
}

/* A context that is made, used and destroyed, with a thousand requests under way. */
static void PR_27_contexts_destroyed_with_requests_under_way(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct storm storm = {.chance = 9, .content = 5};
	struct area area;

	area_make(&area);
	for (unsigned i = 0; i < ROUNDS / 20; i++) {
		bool file = i % 2;

		check_int(weir_ctx_create(WEIR_CTX_OPTS(.lanes = 1 + i % 3, .depth = 64,
							.request_bytes = 4 * KIB),
					  &storm.ctx, &err),
			  0);
		storm.object = open_object(storm.ctx, file);
		one_round(&storm, &area);
		weir_object_unref(storm.object);
		weir_ctx_destroy(storm.ctx);
	}
	area_free(&area);
}

/* ---- One queue, two transfers, finished by another thread than the one that drains ---- */

struct drain {
	struct weir_queue *queue;
	_Atomic int stop;
};

static void *drain(void *arg)
{
	struct drain *drain = arg;
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_done done[4];

	while (!drain->stop) {
		int n = weir_queue_wait(drain->queue, done, 4, 1000000, &err);

		check(n > 0 || n == WEIR_TIMEOUT);
		for (int i = 0; i < n; i++)
			weir_buffer_unref(done[i].buffer);
	}
	return NULL;
}

static void PR_27_transfers_finished_while_their_queue_is_drained(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct storm storm = {.chance = 3, .content = 5};
	struct target targets[EXTENTS];
	struct drain drained = {NULL};
	pthread_t thread;
	struct area area;

	check_int(weir_ctx_create(NULL, &storm.ctx, &err), 0);
	storm.object = open_object(storm.ctx, false);
	check_int(weir_queue_create(storm.ctx, 4, &drained.queue, &err), 0);
	check_int(pthread_create(&thread, NULL, drain, &drained), 0);
	area_make(&area);
	for (unsigned i = 0; i < ROUNDS / 4; i++) {
		struct weir_transfer *transfer;
		int ret;

		check_int(weir_transfer_start(make_plan(&storm, &area, targets), drained.queue,
					      NULL, &transfer, &err),
			  0);
		usleep((useconds_t)chance_below(&storm.chance, 400));
		ret = weir_transfer_finish(transfer, WEIR_FOREVER, &err);
		check(ret == 0 || ret == WEIR_CANCELLED);
		area_close(&area);
		area_open(&area);
	}
	drained.stop = 1;
	pthread_join(thread, NULL);
	area_free(&area);
	weir_queue_destroy(drained.queue);
	weir_object_unref(storm.object);
	weir_ctx_destroy(storm.ctx);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_27_cancel_storm_over_files),
		TEST(PR_27_cancel_storm_over_memory),
		TEST(PR_27_contexts_destroyed_with_requests_under_way),
		TEST(PR_27_transfers_finished_while_their_queue_is_drained),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
