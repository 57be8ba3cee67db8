/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir load: loads a model into memory and says what that took.
 *
 * Nothing is done with the tensors but digests, if asked for, once the clock has stopped.  With --repeat
 * the memory of one load is given back before the next and the pool keeps it, as a program that loads
 * one model after another would see it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "allowance.h"
#include "inputs.h"
#include "out.h"
#include "page.h"
#include "report.h"
#include "run.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"
#include "whole.h"

/* As many as a context has room for: of larger models the end is seen. */
#define TRACE_EVENTS 1000000u

/* Loads that a page can show. */
#define KEPT_MAX 20u

struct load_options {
	struct common common;
	struct input_options inputs;
	struct model_options model;
	struct select_options select;
	bool digest, map, discard, cold;
	uint64_t budget, repeat, lanes, depth, request;
	int64_t deadline;
	int direct, cache;
	const char *trace, *html, *note, *device;
};

static const struct option options[] = {
	{.name = "digest",
	 .kind = OPTION_FLAG,
	 .help = "checksum each tensor (XXH3, 64 bits), after the clock has stopped",
	 .at = offsetof(struct load_options, digest)},
	{.name = "budget",
	 .kind = OPTION_SIZE,
	 .positive = true,
	 .value = "SIZE",
	 .initial =
		 "WEIR_BUDGET, else what the machine has; with --discard 64MiB, or the largest tensor "
		 "and 8MiB",
	 .help = "all of weir's memory beyond the tensors; with --discard including them",
	 .at = offsetof(struct load_options, budget)},
	{.name = "deadline",
	 .kind = OPTION_TIME,
	 .positive = true,
	 .value = "TIME",
	 .initial = "none; 60 s without progress",
	 .help = "a load that takes longer fails",
	 .at = offsetof(struct load_options, deadline)},
	{.name = "repeat",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "1",
	 .help = "load N times in this process, memory kept; each is reported",
	 .at = offsetof(struct load_options, repeat)},
	{.name = "cold",
	 .kind = OPTION_FLAG,
	 .help = "drop the files from the page cache before each load",
	 .at = offsetof(struct load_options, cold)},
	{.name = "direct",
	 .kind = OPTION_CHOICE,
	 .value = "WHEN",
	 .choices = "auto|on|off",
	 .initial = "auto: all but what is cached",
	 .help = "read past the page cache",
	 .at = offsetof(struct load_options, direct)},
	{.name = "cache",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "leave|fill",
	 .initial = "leave",
	 .help = "fill: reads leave the files in the page cache, for the next reader",
	 .at = offsetof(struct load_options, cache)},
	{.name = "map",
	 .kind = OPTION_FLAG,
	 .help = "map what is cached instead of copying it",
	 .at = offsetof(struct load_options, map)},
	{.name = "discard",
	 .kind = OPTION_FLAG,
	 .help = "drop each tensor as it arrives, digested first with --digest",
	 .at = offsetof(struct load_options, discard)},
	{.name = "lanes",
	 .kind = OPTION_COUNT,
	 LANES_RANGE,
	 .value = "N",
	 .initial = "chosen",
	 .help = "threads that move bytes",
	 .at = offsetof(struct load_options, lanes)},
	{.name = "depth",
	 .kind = OPTION_COUNT,
	 DEPTH_RANGE,
	 .value = "N",
	 .initial = "starts at 32 and adapts",
	 .help = "requests in flight on a lane",
	 .at = offsetof(struct load_options, depth)},
	{.name = "request",
	 .kind = OPTION_SIZE,
	 REQUEST_RANGE,
	 .value = "SIZE",
	 .initial = "starts at 512KiB and adapts",
	 .help = "size of one request",
	 .at = offsetof(struct load_options, request)},
	{.name = "trace",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "write what happened when, as JSON in Chrome's trace-event format",
	 .at = offsetof(struct load_options, trace)},
	{.name = "html",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "write a page that shows the loads as timelines",
	 .at = offsetof(struct load_options, html)},
	{.name = "note",
	 .kind = OPTION_TEXT,
	 .value = "TEXT",
	 .help = "a line for the page: what else is to be known",
	 .at = offsetof(struct load_options, note)},
	{.name = "device",
	 .kind = OPTION_TEXT,
	 .value = "cpu|cuda:N",
	 .initial = "cpu",
	 .help = "where the tensors go: the processor's memory, or a GPU's",
	 .at = offsetof(struct load_options, device)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct load_options, common)},
	{select_options, offsetof(struct load_options, select)},
	{options, 0},
	{model_options, offsetof(struct load_options, model)},
	{input_options, offsetof(struct load_options, inputs)},
	{0},
};

/* All that one command holds, so that one place can let go of it. */
struct load {
	const struct load_options *mine;
	struct texts uris; /* owned copies */
	struct session session;
	struct weir_model *model;
	struct selection selection;
	struct loading loading;
	struct run_files files;
	struct weir_choice choice;
	int64_t open_ns;
	int device;                    /* -1: the processor's memory */
	unsigned done;                 /* repetitions */
	struct figures kept[KEPT_MAX]; /* of the first ones, for the page */
	struct json json;
};

/* *out: the number of the GPU, or -1. */
static int find_device(const char *device, int *out, struct weir_error *err)
{
	uint64_t number = 0;

	*out = -1;
	if (!device || strcmp(device, "cpu") == 0)
		return 0;
	if (strcmp(device, "cuda") == 0 ||
	    (strncmp(device, "cuda:", 5) == 0 && value_count(device + 5, &number) &&
	     number <= INT32_MAX)) {
		*out = (int)number;
		return 0;
	}
	return report_set(err, WEIR_ARG, NULL, "--device '%.64s': not cpu or cuda:N", device);
}

static uint32_t to_32(uint64_t value)
{
	return value > UINT32_MAX ? UINT32_MAX : (uint32_t)value;
}

static int open_session(struct load *load, uint64_t budget, struct weir_error *err)
{
	const struct load_options *mine = load->mine;

	return session_open(&load->session,
			    &(struct weir_ctx_opts){
				    .size = sizeof(struct weir_ctx_opts),
				    .budget_bytes = budget,
				    .lanes = to_32(mine->lanes),
				    .depth = to_32(mine->depth),
				    .request_bytes = mine->request,
				    .trace_events = mine->trace || mine->html ? TRACE_EVENTS : 0,
			    },
			    err);
}

static int open_model(struct load *load, struct weir_error *err)
{
	struct weir_model_opts how = session_model(&load->session, &load->mine->model);
	int64_t start = value_now_ns();
	int ret;

	how.direct = load->mine->direct;
	how.cache = load->mine->cache;
	ret = run_open(&load->session, &load->uris, &how, &load->model, err);
	load->open_ns = value_now_ns() - start;
	return ret;
}

/*
 * The budget of a context covers the tensors that are handed out; --budget without --discard is meant
 * beyond them.  How large they are is known when the headers have been read, so the model is opened
 * once to see, and again within its budget.
 */
static int open_within(struct load *load, struct weir_error *err)
{
	const struct load_options *mine = load->mine;
	int ret = open_session(load, mine->discard ? mine->budget : 0, err);

	if (!ret)
		ret = open_model(load, err);
	if (!ret)
		ret = select_tensors(load->model, &mine->select, &load->selection, err);
	if (ret || !mine->budget || mine->discard)
		return ret;
	weir_model_close(load->model);
	load->model = NULL;
	session_close(&load->session);
	ret = open_session(load, allowance_beside(mine->budget, &load->selection), err);
	return ret ? ret : open_model(load, err);
}

static int prepare(struct load *load, struct weir_error *err)
{
	const struct load_options *mine = load->mine;
	const struct allowance allowance = {mine->budget, mine->lanes, mine->discard, mine->map};
	int ret = loading_open(&load->loading, load->model, &load->selection, err);

	if (ret)
		return ret;
	if (load->device >= 0 && (ret = loading_to_device(&load->loading, load->device, err)))
		return ret;
	load->loading.discard = mine->discard;
	load->loading.digest = mine->digest;
	load->loading.load.flags = mine->map ? (uint32_t)WEIR_LOAD_MAP : 0u;
	load->loading.load.timeout_ns = mine->deadline;
	if (mine->discard)
		load->loading.load.budget_bytes = mine->budget ? mine->budget
							       : allowance_stream(&load->selection);
	return allowance_check(&allowance, load->model, &load->selection, err);
}

/* ---- What is told ---- */

static void json_begin(struct load *load)
{
	json_open(&load->json, stdout);
	json_object(&load->json, NULL);
	json_array(&load->json, "uri");
	for (size_t n = 0; n < load->uris.count; n++)
		json_text(&load->json, NULL, load->uris.items[n]);
	json_end(&load->json);
	json_uint(&load->json, "tensor_count", load->selection.count);
	json_uint(&load->json, "bytes", load->selection.bytes);
	json_real(&load->json, "open_seconds", run_seconds(load->open_ns));
	json_array(&load->json, "loads");
}

/* The code is that of what ended it all, be it no tensor's own. */
static void json_failed(struct load *load, int code)
{
	json_array(&load->json, "failed");
	for (uint64_t n = 0; load->loading.arrived && n < load->selection.count; n++) {
		uint64_t index = load->selection.tensors[n];
		const struct arrived *arrived = &load->loading.arrived[index];
		const struct weir_tensor *tensor = weir_model_tensor(load->model, index);

		if (arrived->settled && !arrived->status)
			continue;
		json_object(&load->json, NULL);
		json_text_len(&load->json, "name", tensor->name, tensor->name_len);
		json_text(&load->json, "class",
			  weir_code_name(arrived->settled ? arrived->status : code));
		json_end(&load->json);
	}
	json_end(&load->json);
}

static void json_tensors(struct load *load)
{
	json_array(&load->json, "tensors");
	for (uint64_t n = 0; n < load->selection.count; n++) {
		uint64_t index = load->selection.tensors[n];
		const struct arrived *arrived = &load->loading.arrived[index];
		const struct weir_tensor *tensor = weir_model_tensor(load->model, index);
		char digest[20];

		if (!arrived->settled || arrived->status)
			continue;
		snprintf(digest, sizeof(digest), "%016" PRIx64, arrived->digest);
		json_object(&load->json, NULL);
		json_text_len(&load->json, "name", tensor->name, tensor->name_len);
		json_uint(&load->json, "size_bytes", arrived->bytes);
		json_text(&load->json, "xxh3_64", digest);
		json_end(&load->json);
	}
	json_end(&load->json);
}

static uint64_t peak_rss_bytes(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_maxrss * 1024;
}

static void json_finish(struct load *load, int code, const struct weir_error *err)
{
	json_end(&load->json); /* loads */
	json_uint(&load->json, "peak_rss_bytes", peak_rss_bytes());
	if (load->done)
		run_json_source(&load->json, &load->choice, &load->files);
	if (load->mine->digest && load->done)
		json_tensors(load);
	if (code) {
		json_failed(load, code);
		report_json(&load->json, err);
	}
	json_end(&load->json);
	json_close(&load->json);
}

static void text_digests(const struct load *load)
{
	for (uint64_t n = 0; n < load->selection.count; n++) {
		uint64_t index = load->selection.tensors[n];
		const struct arrived *arrived = &load->loading.arrived[index];
		const struct weir_tensor *tensor = weir_model_tensor(load->model, index);

		if (!arrived->settled || arrived->status)
			continue;
		out_text("%016" PRIx64 "  ", arrived->digest);
		out_safe(stdout, tensor->name, tensor->name_len);
		out_text("\n");
	}
}

static void text_finish(const struct load *load)
{
	char size[VALUE_MAX];

	if (!load->done)
		return;
	run_text_source(&load->choice, &load->files);
	out_text("memory: %s at most\n", value_print_size(size, peak_rss_bytes()));
	if (load->mine->digest)
		text_digests(load);
}

/* ---- What is done ---- */

static int load_once(struct load *load, struct weir_error *err)
{
	struct loading *loading = &load->loading;
	int ret;

	loading_release(loading);
	if (load->mine->cold && (ret = session_drop_model(load->model, err)))
		return ret;
	run_files(load->model, &load->files);
	ret = loading_run(loading);
	if (ret)
		*err = loading->err;
	if (load->done < KEPT_MAX)
		load->kept[load->done] = loading->figures;
	load->done++;
	if (!weir_model_shard_count(load->model)) /* nothing to choose for */
		load->choice = (struct weir_choice){.kind = "none"};
	else
		weir_ctx_choice(load->session.ctx, weir_model_shard(load->model, 0)->uri,
				&load->choice, NULL);
	if (load->mine->common.json) {
		json_object(&load->json, NULL);
		run_json_load(&load->json, &loading->figures);
		json_end(&load->json);
	} else {
		run_text_load(&loading->figures, load->done);
	}
	return ret;
}

static int load_all(struct load *load, struct weir_error *err)
{
	uint64_t repeat = load->mine->repeat ? load->mine->repeat : 1;
	int ret = 0;

	for (uint64_t n = 0; n < repeat && !ret && !signals_caught(); n++)
		ret = load_once(load, err);
	if (load->mine->digest && load->done)
		loading_digest(&load->loading);
	return ret;
}

static int write_page(const struct load *load, const char *trace, struct weir_error *err)
{
	struct page page;
	int ret = page_open(&page, load->mine->html, "weir load", err);

	if (ret)
		return ret;
	json_text(&page.json, "page", "load");
	json_text(&page.json, "uri", load->uris.items[0]);
	json_uint(&page.json, "tensor_count", load->selection.count);
	json_uint(&page.json, "shard_count", weir_model_shard_count(load->model));
	json_text(&page.json, "version", weir_version());
	if (load->mine->note)
		json_text(&page.json, "note", load->mine->note);
	json_array(&page.json, "loads");
	for (unsigned n = 0; n < load->done && n < KEPT_MAX; n++) {
		json_object(&page.json, NULL);
		json_real(&page.json, "before_end_seconds",
			  run_seconds(load->loading.figures.ended_ns - load->kept[n].ended_ns));
		run_json_load(&page.json, &load->kept[n]);
		json_end(&page.json);
	}
	json_end(&page.json);
	run_json_source(&page.json, &load->choice, &load->files);
	return page_close(&page, trace, err);
}

/* Under a name of its own until it is whole; the page is drawn from what stands there. */
static int write_trace(struct load *load, struct weir_error *err)
{
	struct weir_error late = WEIR_ERROR_INIT;
	struct whole whole;
	const char *path = load->mine->trace, *at;
	int ret = whole_open(&whole, path, "the trace", err), closed;
	bool written;

	if (ret)
		return ret;
	at = whole.temporary ? whole.temporary : path;
	ret = weir_ctx_trace_write(load->session.ctx, at, err);
	written = ret == 0;
	if (ret)
		ret = report_set(err, err->code, path, "%s: cannot write the trace: %s", path,
				 strerror(err->os_errno));
	if (!ret && load->mine->html)
		ret = write_page(load, at, err);
	closed = whole_close(&whole, written, &late);
	if (!ret && closed)
		*err = late;
	return ret ? ret : closed;
}

/* From a trace that goes again. */
static int write_page_alone(struct load *load, struct weir_error *err)
{
	char trace[] = "/tmp/weir-trace-XXXXXX";
	int ret, fd = mkstemp(trace);

	if (fd < 0)
		return report_set(err, WEIR_IO, trace, "%s: cannot make a temporary file: %s",
				  trace, strerror(errno));
	ret = weir_ctx_trace_write(load->session.ctx, trace, err);
	if (!ret)
		ret = write_page(load, trace, err);
	close(fd);
	unlink(trace);
	return ret;
}

static int write_pictures(struct load *load, struct weir_error *err)
{
	if (load->mine->trace)
		return write_trace(load, err);
	return load->mine->html ? write_page_alone(load, err) : 0;
}

static int load_model(struct load *load, struct weir_error *err)
{
	int ret = open_within(load, err);

	if (!ret) {
		session_warn(load->model);
		ret = prepare(load, err);
	}
	if (load->mine->common.json)
		json_begin(load);
	if (!ret)
		ret = load_all(load, err);
	if (!ret && !signals_caught())
		ret = write_pictures(load, err);
	return ret;
}

static int run(const struct command *command)
{
	struct load load = {.mine = command->options};
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = inputs_all(command, &load.mine->inputs, &load.uris, &err);

	if (!ret && !load.uris.count)
		ret = report_set(&err, WEIR_ARG, NULL, "there is nothing to load");
	if (!ret && (find_device(load.mine->device, &load.device, &err) ||
		     select_check(&load.mine->select, &err)))
		ret = STATUS_USAGE;
	if (ret) {
		report_failure(&err, load.mine->common.json);
		inputs_free(&load.uris);
		return ret == STATUS_USAGE ? ret : report_status(ret);
	}
	ret = load_model(&load, &err);
	if (ret)
		report_error(&err);
	if (load.mine->common.json)
		json_finish(&load, ret, &err);
	else
		text_finish(&load);
	loading_close(&load.loading);
	select_fini(&load.selection);
	weir_model_close(load.model);
	session_close(&load.session);
	inputs_free(&load.uris);
	return report_status(ret);
}

static const struct field fields[] = {
	{"uri", "A list: the arguments."},
	{"tensor_count, bytes", "Of what was to be loaded, cut as the slices say."},
	{"open_seconds", "For reading the headers, before the loads."},
	{"loads",
	 "A list with one object for each repetition: `wall_seconds`, `cpu_seconds` (user and system time "
	 "of the process in that load, digests not counted), `bytes_per_second`, `cpu_seconds_per_gib`, "
	 "`bytes` (that arrived) and `counters`."},
	{"counters",
	 "`requests`, `bytes_requested`, `bytes_delivered`, `bytes_copied` (by the processor), "
	 "`bytes_device` (by a GPU), `bytes_cufile` (by storage, to a GPU), `cufile_redone` (reads of "
	 "that kind that failed and were made again), "
	 "`bytes_direct` (by the device), `bytes_cached`, `bytes_over` (read beyond what was asked), "
	 "`retries`, `short_reads`, `extents`, `extents_failed`, `system_calls`, `stall_seconds_source`, "
	 "`stall_seconds_memory`, `stall_seconds_budget`, `memory_peak_bytes`."},
	{"peak_rss_bytes", "Of the process, all repetitions together."},
	{"source",
	 "What was chosen: `kind`, `library` (of rings of 3FS: `native`, or the path of the vendor's), "
	 "`direct`, `cached_bytes` and `cached_share` (before the last load), `lanes`, `depth`, "
	 "`request_bytes`."},
	{"tensors",
	 "With `--digest`: a list of `name`, `size_bytes`, `xxh3_64` (16 hexadecimal digits; "
	 "of the slice where one was asked for)."},
	{"failed",
	 "Where the load failed: a list of `name` and `class` of the tensors that did not "
	 "arrive."},
	{NULL, NULL},
};

const struct verb verb_load = {
	.name = "load",
	.arguments = "URI...",
	.summary = "loads a model into memory and says what that took",
	.story =
		"Loads the tensors of a file, of a directory, of the shards of an index, or of several "
		"files as one model. The time is that from the start to the last tensor; headers "
		"have been read before it.\n\n"
		"Memory is allocated by weir: fresh in the first load, kept for the next ones.\n\n"
		"`--map` hands out views of the page cache. They change, and end the process that "
		"reads them, when the file is written or cut; nobody can guard against that.",
	.sets = sets,
	.options_size = sizeof(struct load_options),
	.json = fields,
	.arguments_min = 1,
	.examples = {{"weir load --cold --html load.html model",
		      "what the disk gives, and a page that shows how"},
		     {"weir load --discard --digest --budget 256MiB model",
		      "checksums of all tensors within 256 MiB"}},
	.run = run,
};
