/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-load - the engine, put where a yardstick stands
 *
 *	weir-load [OPTIONS] [FILE [OFFSET [LENGTH]]]
 *
 * Takes jobs and answers them as the yardsticks do (yard/yard.h), so that the two can be compared pair
 * by pair, in one process each, with memory kept between the jobs.  Sees the public headers alone.
 *
 *	-w range    the range of the file, in pieces of 64 MiB as tensors would be (default)
 *	   load     the tensors that begin in the range (of a directory: all)
 *	   open     only opens the model and plans a load of all of it, LENGTH times
 *	-m kept     weir's memory, kept from job to job (default)
 *	   fresh    weir's memory, given back before each job
 *	   host     memory of ours: touched huge pages, congruent with the file
 *	   odd      likewise, but no destination agrees with the file, nor is it aligned for anything
 *	-p BYTES    of kept memory are pinned, where the system allows it
 *	-M          map what is cached; -s sum what arrived, inside the window
 *	-d auto|on|off, -c leave|fill; -l LANES, -q DEPTH, -b REQUEST, as in weir/context.h
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "weir/weir.h"

#include "yard/yard.h"

#define PIECE     ((uint64_t)64 << 20)
#define BATCH     64
#define CONGRUENT 4096 /* more than any file's direct-I/O alignment in use */

enum what {
	RANGE,
	LOAD,
	OPEN
};
enum memory {
	KEPT,
	FRESH,
	HOST,
	ODD
};

struct loader {
	enum what what;
	enum memory memory;
	int map, sum, direct, cache;
	struct weir_ctx_opts ctx_opts;
	struct weir_ctx *ctx;
	struct yard_dest dest;
	struct weir_buffer **buffers; /* of the job under way */
	uint64_t buffer_count, buffer_room;
	char extra[1024];
};

static int complain(int code, const struct weir_error *err)
{
	errno = 0;
	return yard_fail("%s: %s", weir_code_name(code), err->message);
}

/* ---- Where the bytes go ---- */

/* The n-th destination: `at` bytes into our memory, for what lies at `offset` of its file. */
static struct weir_dest place(struct loader *loader, uint64_t *at, uint64_t offset, uint64_t size)
{
	if (loader->memory < HOST)
		return weir_dest_alloc();
	if (loader->memory == HOST)
		*at += (offset - *at) & (CONGRUENT - 1);
	else
		*at += ((offset ^ *at) & 1) ? 0 : 1;
	struct weir_dest dest = weir_dest_host(loader->dest.at + *at, size);
	*at += size;
	return dest;
}

static int make_room(struct loader *loader, uint64_t bytes, uint64_t count)
{
	if (loader->memory == FRESH)
		weir_ctx_trim(loader->ctx);
	if (loader->buffer_room < count) {
		free(loader->buffers);
		loader->buffers = calloc(count, sizeof(*loader->buffers));
		loader->buffer_room = loader->buffers ? count : 0;
		if (!loader->buffers)
			return yard_fail("%" PRIu64 " buffers", count);
	}
	loader->buffer_count = 0;
	return loader->memory < HOST ? 0 : yard_dest_get(&loader->dest, bytes + count * CONGRUENT);
}

static void give_back(struct loader *loader)
{
	while (loader->buffer_count > 0)
		weir_buffer_unref(loader->buffers[--loader->buffer_count]);
}

/* ---- A transfer ---- */

static int take(struct loader *loader, struct weir_transfer *transfer, struct yard_window *window,
		struct weir_error *err)
{
	struct weir_done done[BATCH];
	int count;

	while ((count = weir_transfer_wait(transfer, done, BATCH, WEIR_FOREVER, err)) > 0)
		for (int i = 0; i < count; i++) {
			if (done[i].status == 0 && loader->sum)
				window->sum += yard_sum(done[i].data, done[i].bytes);
			window->bytes += done[i].bytes;
			if (done[i].buffer)
				loader->buffers[loader->buffer_count++] = done[i].buffer;
		}
	return count;
}

static void describe(struct loader *loader, const char *path, const struct weir_counters *counters)
{
	struct weir_choice choice = {0};

	weir_ctx_choice(loader->ctx, path, &choice, NULL);
	snprintf(loader->extra, sizeof(loader->extra),
		 "\"bytes_requested\": %" PRIu64 ", \"bytes_copied\": %" PRIu64
		 ", \"bytes_direct\": %" PRIu64 ", \"bytes_cached\": %" PRIu64
		 ", \"bytes_over\": %" PRIu64 ", \"stall_seconds_memory\": %.6f"
		 ", \"memory_peak_bytes\": %" PRIu64 ", \"requests_pinned\": %" PRIu64
		 ", \"kind\": \"%s\", \"direct\": %d, \"lanes\": %u, \"depth\": %u"
		 ", \"request_bytes\": %" PRIu64,
		 counters->bytes_requested, counters->bytes_copied, counters->bytes_direct,
		 counters->bytes_cached, counters->bytes_over,
		 (double)counters->stall_ns_memory * 1e-9, counters->memory_peak_bytes,
		 counters->requests_pinned, choice.kind, choice.direct, choice.lanes, choice.depth,
		 choice.request_bytes);
}

/*
 * Sees a started transfer through; the window ends when it is finished.  System calls and memory are
 * the context's, which does nothing else meanwhile.
 */
static int see_through(struct loader *loader, struct weir_transfer *transfer, const char *path,
		       struct yard_window *window, struct weir_error *err)
{
	struct weir_counters counters = {0}, before = {0}, after = {0};

	weir_ctx_counters(loader->ctx, &before);
	int taken = take(loader, transfer, window, err);
	weir_transfer_counters(transfer, &counters);
	int ret = weir_transfer_finish(transfer, WEIR_FOREVER, err);
	yard_end(window);
	weir_ctx_counters(loader->ctx, &after);
	counters.memory_peak_bytes = after.memory_peak_bytes;
	window->requests = counters.requests;
	window->enters = after.system_calls - before.system_calls;
	describe(loader, path, &counters);
	return taken < 0 ? taken : ret;
}

/* ---- The jobs ---- */

static int plan_pieces(struct loader *loader, const struct yard_job *job,
		       struct weir_object *object, struct weir_plan *plan, struct weir_error *err)
{
	uint64_t at = 0;
	int ret = 0;

	for (uint64_t from = 0; from < job->length && ret == 0; from += PIECE) {
		uint64_t left = job->length - from, size = left < PIECE ? left : PIECE;
		struct weir_dest dest = place(loader, &at, job->offset + from, size);
		ret = weir_plan_range(plan, object, job->offset + from, size, dest, from, err);
	}
	return ret;
}

static int read_range(struct loader *loader, const struct yard_job *job, struct yard_window *window,
		      struct weir_error *err)
{
	struct weir_object_opts opts = {
		.size = sizeof(opts), .direct = loader->direct, .cache = loader->cache};
	struct weir_transfer *transfer = NULL;
	struct weir_object *object = NULL;
	struct weir_plan *plan = NULL;

	if (make_room(loader, job->length, job->length / PIECE + 1) < 0)
		return -1;
	yard_begin(window);
	int ret = weir_object_open(loader->ctx, job->path, &opts, &object, err);
	if (ret == 0)
		ret = weir_plan_create(loader->ctx, &plan, err);
	if (ret == 0)
		ret = plan_pieces(loader, job, object, plan, err);
	if (ret == 0)
		ret = weir_transfer_start(plan, NULL, NULL, &transfer, err);
	if (ret == 0)
		ret = see_through(loader, transfer, job->path, window, err);
	else
		weir_plan_destroy(plan);
	weir_object_unref(object);
	give_back(loader);
	return ret < 0 ? complain(ret, err) : 0;
}

/* Chooses the tensors of the job; returns how many, or UINT64_MAX without memory. */
static uint64_t choose(struct loader *loader, const struct yard_job *job,
		       const struct weir_model *model, uint64_t **tensors, struct weir_dest **dests)
{
	uint64_t total = weir_model_tensor_count(model), count = 0, at = 0;
	int whole = weir_model_shard_count(model) > 1;

	*tensors = calloc(total + 1, sizeof(**tensors));
	*dests = calloc(total + 1, sizeof(**dests));
	if (!*tensors || !*dests)
		return UINT64_MAX;
	for (uint64_t i = 0; i < total; i++) {
		uint64_t index = weir_model_by_offset(model, i);
		const struct weir_tensor *tensor = weir_model_tensor(model, index);
		if (!whole && (tensor->offset_bytes < job->offset ||
			       tensor->offset_bytes - job->offset >= job->length))
			continue;
		(*tensors)[count] = index;
		(*dests)[count++] = place(loader, &at, tensor->offset_bytes, tensor->size_bytes);
	}
	return count;
}

/* Our own memory must be there before the window, so the model is looked at once before it. */
static int prepare_load(struct loader *loader, const struct yard_job *job, struct weir_error *err)
{
	struct weir_model *model = NULL;
	uint64_t bytes = 0, count;
	int ret = weir_model_open(loader->ctx, job->path, NULL, &model, err);

	if (ret < 0)
		return complain(ret, err);
	count = weir_model_tensor_count(model);
	for (uint64_t i = 0; i < count; i++)
		bytes += weir_model_tensor(model, i)->size_bytes;
	if (weir_model_shard_count(model) == 1)
		bytes = job->length + PIECE;
	weir_model_close(model);
	return make_room(loader, bytes, count + 1);
}

static int load_tensors(struct loader *loader, const struct yard_job *job,
			struct yard_window *window, struct weir_error *err)
{
	struct weir_model_opts opts = {
		.size = sizeof(opts), .direct = loader->direct, .cache = loader->cache};
	struct weir_load_opts load = {.size = sizeof(load)};
	struct weir_transfer *transfer = NULL;
	struct weir_model *model = NULL;
	struct weir_dest *dests = NULL;
	uint64_t *tensors = NULL;

	if (prepare_load(loader, job, err) < 0)
		return -1;
	yard_begin(window);
	int ret = weir_model_open(loader->ctx, job->path, &opts, &model, err);
	if (ret == 0) {
		load.tensor_count = choose(loader, job, model, &tensors, &dests);
		load.tensors = tensors;
		load.dests = dests;
		load.flags = loader->map ? WEIR_LOAD_MAP : 0;
		ret = load.tensor_count == UINT64_MAX ? WEIR_NOMEM : 0;
	}
	if (ret == 0)
		ret = weir_load_start(model, &load, &transfer, err);
	if (ret == 0)
		ret = see_through(loader, transfer, job->path, window, err);
	give_back(loader);
	weir_model_close(model);
	free(tensors);
	free(dests);
	return ret < 0 ? complain(ret, err) : 0;
}

static int open_model(struct loader *loader, const struct yard_job *job, struct weir_error *err)
{
	struct weir_model *model = NULL;
	struct weir_plan *plan = NULL;
	int ret = weir_model_open(loader->ctx, job->path, NULL, &model, err);

	if (ret == 0)
		ret = weir_plan_create(loader->ctx, &plan, err);
	for (uint64_t i = 0; ret == 0 && i < weir_model_tensor_count(model); i++)
		ret = weir_plan_tensor(plan, model, weir_model_by_offset(model, i),
				       weir_dest_alloc(), i, err);
	weir_plan_destroy(plan);
	weir_model_close(model);
	return ret;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	struct loader *loader = arg;
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = 0;

	loader->extra[0] = '\0';
	window->extra = loader->extra;
	if (loader->what == RANGE)
		return read_range(loader, job, window, &err);
	if (loader->what == LOAD)
		return load_tensors(loader, job, window, &err);
	yard_begin(window);
	for (uint64_t i = 0; i < job->length && ret == 0; i++)
		ret = open_model(loader, job, &err);
	yard_end(window);
	return ret < 0 ? complain(ret, &err) : 0;
}

/* ---- The command line ---- */

static int word(const char *text, const char *const *words)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(text, words[i]) == 0)
			return i;
	fprintf(stderr, "weir-load: what is %s?\n", text);
	exit(2);
}

static void set(struct loader *loader, int option, const char *value)
{
	static const char *const what[] = {"range", "load", "open", NULL};
	static const char *const memory[] = {"kept", "fresh", "host", "odd", NULL};
	static const char *const direct[] = {"auto", "on", "off", NULL};
	static const char *const cache[] = {"leave", "fill", NULL};

	switch (option) {
	case 'w':
		loader->what = (enum what)word(value, what);
		break;
	case 'm':
		loader->memory = (enum memory)word(value, memory);
		break;
	case 'd':
		loader->direct = word(value, direct);
		break;
	case 'c':
		loader->cache = word(value, cache);
		break;
	case 'M':
		loader->map = 1;
		break;
	case 's':
		loader->sum = 1;
		break;
	case 'p':
		loader->ctx_opts.pin_bytes = yard_size(value);
		break;
	case 'l':
		loader->ctx_opts.lanes = (uint32_t)yard_size(value);
		break;
	case 'q':
		loader->ctx_opts.depth = (uint32_t)yard_size(value);
		break;
	case 'b':
		loader->ctx_opts.request_bytes = yard_size(value);
		break;
	default:
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct loader loader = {.ctx_opts = {.size = sizeof(loader.ctx_opts)}};
	struct weir_error err = WEIR_ERROR_INIT;
	int option;

	while ((option = getopt(argc, argv, "w:m:d:c:p:Msl:q:b:")) != -1)
		set(&loader, option, optarg);
	int ret = weir_ctx_create(&loader.ctx_opts, &loader.ctx, &err);
	if (ret < 0) {
		complain(ret, &err);
		return 1;
	}
	ret = yard_serve(argc - optind, argv + optind, run, &loader);
	yard_dest_drop(&loader.dest);
	free(loader.buffers);
	weir_ctx_destroy(loader.ctx);
	return ret;
}
