/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir bench load: loads a model again and again, with each combination of settings.
 *
 * Each setting has a context of its own: one load that is not counted makes its memory, the counted ones
 * keep it.  The first setting comes once more at the end: what it reaches then, against what it reached
 * first, is the noise of the machine, and no difference smaller than that means anything.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "grid_tell.h"
#include "inputs.h"
#include "out.h"
#include "report.h"
#include "run.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

struct bench_options {
	struct common common;
	struct input_options inputs;
	struct model_options model;
	struct tell_options tell;
	struct texts lanes, depth, request, direct;
	uint64_t repeat;
	bool warm;
};

static const struct option options[] = {
	{.name = "lanes",
	 .kind = OPTION_COUNTS,
	 LANES_RANGE,
	 .value = "N,...",
	 .initial = "chosen",
	 .help = "threads that move bytes",
	 .at = offsetof(struct bench_options, lanes)},
	{.name = "depth",
	 .kind = OPTION_COUNTS,
	 DEPTH_RANGE,
	 .value = "N,...",
	 .initial = "8,32",
	 .help = "requests in flight on a lane",
	 .at = offsetof(struct bench_options, depth)},
	{.name = "request",
	 .kind = OPTION_SIZES,
	 REQUEST_RANGE,
	 .value = "SIZE,...",
	 .initial = "256KiB,512KiB,1MiB",
	 .help = "sizes of one request",
	 .at = offsetof(struct bench_options, request)},
	{.name = "direct",
	 .kind = OPTION_CHOICES,
	 .value = "WHEN,...",
	 .choices = "auto|on|off",
	 .initial = "auto",
	 .help = "read past the page cache",
	 .at = offsetof(struct bench_options, direct)},
	{.name = "repeat",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "5",
	 .help = "loads that are counted, for each setting",
	 .at = offsetof(struct bench_options, repeat)},
	{.name = "warm",
	 .kind = OPTION_FLAG,
	 .help = "leave the files in the page cache; else they are dropped before each load",
	 .at = offsetof(struct bench_options, warm)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct bench_options, common)},
	{options, 0},
	{tell_options, offsetof(struct bench_options, tell)},
	{model_options, offsetof(struct bench_options, model)},
	{input_options, offsetof(struct bench_options, inputs)},
	{0},
};

struct bench {
	const struct bench_options *mine;
	struct texts uris; /* owned copies */
	struct grid grid;
	uint64_t repeat;
	char label[64];
};

/* ---- One setting ---- */

static int one_load(const struct bench *bench, struct loading *loading, struct weir_error *err)
{
	int ret;

	loading_release(loading);
	if (!bench->mine->warm && (ret = session_drop_model(loading->model, err)))
		return ret;
	ret = loading_run(loading);
	if (ret)
		*err = loading->err;
	return ret;
}

static int load_times(struct bench *bench, struct cell *cell, struct loading *loading,
		      struct weir_error *err)
{
	int ret = one_load(bench, loading, err); /* makes the memory */

	for (uint64_t n = 0; n < bench->repeat && !ret; n++) {
		if (signals_caught())
			return report_set(err, WEIR_CANCELLED, NULL, "interrupted");
		ret = one_load(bench, loading, err);
		if (!ret)
			ret = grid_add(cell, run_rate(&loading->figures),
				       run_cpu_per_gib(&loading->figures), err);
	}
	return ret;
}

static int run_cell(struct bench *bench, struct cell *cell, struct weir_error *err)
{
	struct weir_ctx_opts opts = {
		.size = sizeof(opts),
		.lanes = (uint32_t)cell->lanes,
		.depth = (uint32_t)cell->depth,
		.request_bytes = cell->request_bytes,
	};
	struct selection selection = {0};
	struct loading loading = {0};
	struct weir_model *model = NULL;
	struct weir_model_opts how;
	struct session session;
	int ret = session_open(&session, &opts, err);

	how = session_model(&session, &bench->mine->model);
	how.direct = cell->direct;
	if (!ret)
		ret = run_open(&session, &bench->uris, &how, &model, err);
	if (!ret)
		ret = select_tensors(model, &(struct select_options){0}, &selection, err);
	if (!ret)
		ret = loading_open(&loading, model, &selection, err);
	if (!ret) {
		loading.label = bench->label;
		ret = load_times(bench, cell, &loading, err);
		bench->grid.bytes = selection.bytes;
	}
	loading_close(&loading);
	select_fini(&selection);
	weir_model_close(model);
	session_close(&session);
	return ret;
}

/* ---- What is told ---- */

/* The command that repeats a figure, malloc()ed; NULL where memory ends. */
static char *command_of(const struct bench *bench, const struct cell *cell)
{
	char *text = NULL, size[VALUE_MAX];
	size_t len = 0;
	FILE *file = open_memstream(&text, &len);

	if (!file)
		return NULL;
	fprintf(file, "weir load%s --repeat %" PRIu64, bench->mine->warm ? "" : " --cold",
		bench->repeat + 1);
	if (cell->lanes)
		fprintf(file, " --lanes %" PRIu64, cell->lanes);
	fprintf(file, " --depth %" PRIu64 " --request %s --direct %s", cell->depth,
		value_print_exact(size, cell->request_bytes), grid_direct(cell->direct));
	for (size_t n = 0; n < bench->uris.count; n++) {
		putc(' ', file);
		grid_argument(file, bench->uris.items[n]);
	}
	return fclose(file) == 0 ? text : NULL;
}

static void write_json(void *arg, struct json *json)
{
	const struct bench *bench = arg;

	json_text(json, "kind", "load");
	json_array(json, "uri");
	for (size_t n = 0; n < bench->uris.count; n++)
		json_text(json, NULL, bench->uris.items[n]);
	json_end(json);
	json_uint(json, "bytes", bench->grid.bytes);
	json_uint(json, "repeat", bench->repeat);
	json_bool(json, "cold", !bench->mine->warm);
	json_real(json, "first_again_ratio", grid_again(&bench->grid));
	grid_json(json, "cells", bench->grid.cells, bench->grid.count);
}

static void write_csv(void *arg, FILE *file)
{
	const struct bench *bench = arg;

	grid_csv_head(file);
	for (size_t n = 0; n < bench->grid.count; n++)
		grid_csv(file, &bench->grid.cells[n]);
}

static void write_text(void *arg)
{
	const struct bench *bench = arg;

	grid_text_head("LANES", "REQUEST", "DIRECT");
	for (size_t n = 0; n < bench->grid.count; n++)
		grid_text(&bench->grid.cells[n]);
	out_text("the first setting again, at the end: %.3f of what it reached first\n",
		 grid_again(&bench->grid));
}

/* ---- The whole ---- */

static int run_grid(struct bench *bench, struct weir_error *err)
{
	struct grid_axes axes = {
		.lanes = &bench->mine->lanes,
		.depth = &bench->mine->depth,
		.request = &bench->mine->request,
		.direct = &bench->mine->direct,
	};
	int ret = grid_make(&bench->grid, &axes, err);

	for (size_t n = 0; n < bench->grid.count && !ret; n++) {
		struct cell *cell = &bench->grid.cells[n];

		snprintf(bench->label, sizeof(bench->label), "setting %zu of %zu", n + 1,
			 bench->grid.count + 1);
		cell->command = command_of(bench, cell);
		ret = run_cell(bench, cell, err);
	}
	snprintf(bench->label, sizeof(bench->label), "first again");
	return ret ? ret : run_cell(bench, &bench->grid.again, err);
}

static int run(const struct command *command)
{
	struct bench bench = {.mine = command->options};
	const struct grid_told told = {
		.title = "weir bench load",
		.bench = &bench,
		.json = write_json,
		.csv = write_csv,
		.text = write_text,
	};
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = inputs_all(command, &bench.mine->inputs, &bench.uris, &err);

	bench.repeat = bench.mine->repeat ? bench.mine->repeat : 5;
	if (!ret && !bench.uris.count)
		ret = report_set(&err, WEIR_ARG, NULL, "there is nothing to load");
	if (!ret)
		ret = run_grid(&bench, &err);
	if (!ret)
		ret = grid_tell(&told, &bench.mine->tell, bench.mine->common.json, &err);
	if (ret)
		report_failure(&err, bench.mine->common.json);
	grid_fini(&bench.grid);
	inputs_free(&bench.uris);
	return report_status(ret);
}

static const struct field fields[] = {
	{"kind", "`load`."},
	{"uri", "A list: the arguments."},
	{"bytes", "Of all tensors."},
	{"repeat, cold", "How each figure was taken."},
	{"first_again_ratio",
	 "What the first setting reached at the end, against what it reached first: "
	 "the noise of the machine."},
	{"cells",
	 "A list of `lanes` (left out where weir chose), `depth`, `request_bytes`, `direct`, "
	 "`bytes_per_second` and `cpu_seconds_per_gib`, both with `median`, `min` and `max`, "
	 "and `command`, which repeats the figure."},
	{NULL, NULL},
};

const struct verb verb_bench_load = {
	.name = "bench load",
	.arguments = "URI...",
	.summary = "measures loads over a grid of settings",
	.story =
		"Loads a model with each combination of lanes, depth, size of a request and direct "
		"reads; one load that is not counted, then `--repeat` counted ones, memory kept. "
		"Figures are medians, with the smallest and the largest beside them.\n\n"
		"The first setting is measured once more at the end. Where that differs, other "
		"differences of the same size mean nothing.",
	.sets = sets,
	.options_size = sizeof(struct bench_options),
	.json = fields,
	.arguments_min = 1,
	.examples = {{"weir bench load --depth 16,64 --html bench.html model",
		      "two depths, three sizes of a request, and a page with charts"},
		     {"weir bench load --warm --direct off --request 1MiB model",
		      "what the page cache gives"}},
	.run = run,
};
