/* SPDX-License-Identifier: Apache-2.0 */
#include "loading.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "progress.h"
#include "report.h"
#include "signals.h"
#include "values.h"

#define BATCH    64
#define TICK_NS  INT64_C(50000000) /* how often signals and the progress bar get their turn */
#define WINDOW   ((size_t)1 << 20)
#define LEAVE_NS INT64_C(1000000000) /* how long stuck reads are waited for at the end */

int loading_open(struct loading *loading, struct weir_model *model,
		 const struct selection *selection, struct weir_error *err)
{
	uint64_t count = weir_model_tensor_count(model);

	*loading = (struct loading){
		.model = model,
		.selection = selection,
		.load = {.size = sizeof(loading->load)},
		.label = "load",
	};
	loading->arrived = calloc(count + 1, sizeof(*loading->arrived));
	if (!loading->arrived)
		return report_set(err, WEIR_NOMEM, NULL, "a table of %llu tensors: out of memory",
				  (unsigned long long)count);
	return 0;
}

int loading_to_device(struct loading *loading, int device, struct weir_error *err)
{
	uint64_t count = loading->selection->tensors ? loading->selection->count
						     : weir_model_tensor_count(loading->model);

	loading->dests = calloc(count + 1, sizeof(*loading->dests));
	loading->window = malloc(WINDOW);
	if (!loading->dests || !loading->window)
		return report_set(err, WEIR_NOMEM, NULL, "a table of %llu tensors: out of memory",
				  (unsigned long long)count);
	for (uint64_t n = 0; n < count; n++)
		loading->dests[n] = weir_dest_cuda_alloc(device);
	return 0;
}

static int64_t thread_cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void fail(struct loading *loading, const struct weir_error *err)
{
	if (loading->code)
		return;
	loading->code = err->code;
	loading->err = *err;
}

/* Through a window of host memory. */
static int digest_device(struct loading *loading, const struct arrived *arrived,
			 struct weir_digest *digest, struct weir_error *err)
{
	int ret = 0;

	for (uint64_t at = 0; ret == 0 && at < arrived->bytes; at += WINDOW) {
		uint64_t left = arrived->bytes - at, bytes = left < WINDOW ? left : WINDOW;

		ret = weir_buffer_read(arrived->buffer, at, loading->window, bytes, err);
		if (ret == 0)
			weir_digest_update(digest, loading->window, bytes);
	}
	return ret;
}

static uint64_t digest_of_device(struct loading *loading, const struct arrived *arrived)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_digest *digest = NULL;
	uint8_t bytes[WEIR_DIGEST_MAX] = {0};
	uint64_t value = 0;
	int ret = weir_digest_create(WEIR_DIGEST_XXH3_64, &digest, &err);

	if (ret == 0)
		ret = digest_device(loading, arrived, digest, &err);
	if (ret == 0)
		weir_digest_value(digest, bytes);
	else
		fail(loading, &err);
	for (int i = 0; i < 8; i++)
		value = value << 8 | bytes[i];
	weir_digest_destroy(digest);
	return value;
}

static void digest_one(struct loading *loading, struct arrived *arrived)
{
	int64_t start = thread_cpu_ns();

	if (loading->dests)
		arrived->digest = digest_of_device(loading, arrived);
	else
		arrived->digest = weir_xxh3_64(arrived->data, arrived->bytes);
	loading->digest_ns += thread_cpu_ns() - start;
}

static void take(struct loading *loading, struct weir_transfer *transfer,
		 const struct weir_done *done)
{
	struct arrived *arrived = &loading->arrived[done->tag];

	if (done->flags & WEIR_DONE_RELEASED)
		return;
	arrived->settled = true;
	arrived->status = done->status;
	arrived->bytes = done->bytes;
	if (done->status) {
		struct weir_error err = WEIR_ERROR_INIT;

		weir_transfer_error(transfer, done, &err);
		err.code = done->status;
		fail(loading, &err);
		weir_buffer_unref(done->buffer);
		return;
	}
	loading->figures.bytes += done->bytes;
	arrived->data = done->data;
	arrived->buffer = done->buffer;
	if (loading->digest && loading->discard)
		digest_one(loading, arrived);
	if (loading->discard) {
		weir_buffer_unref(done->buffer);
		arrived->data = NULL;
		arrived->buffer = NULL;
	}
}

/* Takes what arrives until all has, or until there is no point in it. */
static void drain(struct loading *loading, struct weir_transfer *transfer)
{
	struct weir_done done[BATCH];
	bool cancelled = false;

	for (;;) {
		struct weir_error err = WEIR_ERROR_INIT;
		uint64_t so_far, total;
		int n = weir_transfer_wait(transfer, done, BATCH, TICK_NS, &err);

		for (int i = 0; i < n; i++)
			take(loading, transfer, &done[i]);
		if (n == 0)
			return;
		if (n < 0 && n != WEIR_TIMEOUT) {
			fail(loading, &err);
			return;
		}
		if (signals_caught() && !cancelled) {
			cancelled = true;
			weir_transfer_cancel(transfer);
		}
		weir_transfer_progress(transfer, &so_far, &total);
		progress_show(so_far);
	}
}

/* Waits a little for what is stuck, then leaves it to the context. */
static void finish(struct loading *loading, struct weir_transfer *transfer)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = weir_transfer_finish(transfer, LEAVE_NS, &err);

	if (ret == WEIR_LENT)
		ret = weir_transfer_abandon(transfer, &err);
	if (ret)
		fail(loading, &err);
}

static void reset(struct loading *loading)
{
	loading_release(loading);
	loading->code = 0;
	loading->digest_ns = 0;
	loading->figures = (struct figures){0};
}

int loading_run(struct loading *loading)
{
	const struct selection *selection = loading->selection;
	struct weir_transfer *transfer = NULL;
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t wall, cpu;

	reset(loading);
	loading->load.tensors = selection->tensors;
	loading->load.tensor_count = selection->count;
	loading->load.slices = selection->cuts;
	loading->load.slice_count = selection->cut_count;
	loading->load.dests = loading->dests;
	progress_start(loading->label, selection->bytes);
	cpu = value_cpu_ns();
	wall = value_now_ns();
	if (weir_load_start(loading->model, &loading->load, &transfer, &err) != 0) {
		fail(loading, &err);
		return loading->code;
	}
	drain(loading, transfer);
	loading->figures.ended_ns = value_now_ns();
	loading->figures.wall_ns = loading->figures.ended_ns - wall;
	loading->figures.cpu_ns = value_cpu_ns() - cpu - loading->digest_ns;
	weir_transfer_counters(transfer, &loading->figures.counters);
	finish(loading, transfer);
	progress_finish(loading->figures.bytes);
	return loading->code;
}

void loading_digest(struct loading *loading)
{
	if (loading->discard)
		return;
	for (uint64_t n = 0; n < loading->selection->count; n++) {
		struct arrived *arrived = &loading->arrived[loading->selection->tensors[n]];

		if (arrived->settled && !arrived->status)
			digest_one(loading, arrived);
	}
}

void loading_release(struct loading *loading)
{
	uint64_t count = loading->model ? weir_model_tensor_count(loading->model) : 0;

	for (uint64_t n = 0; n < count; n++)
		weir_buffer_unref(loading->arrived[n].buffer);
	if (count)
		memset(loading->arrived, 0, count * sizeof(*loading->arrived));
}

void loading_close(struct loading *loading)
{
	if (loading->arrived)
		loading_release(loading);
	free(loading->arrived);
	free(loading->dests);
	free(loading->window);
	*loading = (struct loading){0};
}
