/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir bench ring: reads or writes through the rings of a 3FS mount, with each combination of settings.
 *
 * With --library the same is done by a library with the C interface, in turns with weir's own client:
 * one run of each, then the next of each, so that both meet the same weather.  One run of each that is not
 * counted comes first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "grid.h"
#include "grid_tell.h"
#include "out.h"
#include "report.h"
#include "ring_bench.h"
#include "session.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

struct ring_options {
	struct common common;
	struct tell_options tell;
	struct texts threads, depth, block;
	int operation, order;
	uint64_t size_bytes, repeat;
	const char *library;
};

static const struct option options[] = {
	{.name = "op",
	 .kind = OPTION_CHOICE,
	 .value = "WHAT",
	 .choices = "read|write",
	 .initial = "read",
	 .help = "read the file, or write to one beside it that never gets a name",
	 .at = offsetof(struct ring_options, operation)},
	{.name = "order",
	 .kind = OPTION_CHOICE,
	 .value = "ORDER",
	 .choices = "sequential|random",
	 .initial = "sequential",
	 .help = "of the blocks",
	 .at = offsetof(struct ring_options, order)},
	{.name = "block",
	 .kind = OPTION_SIZES,
	 .positive = true,
	 .value = "SIZE,...",
	 .initial = "256KiB,512KiB,1MiB",
	 .help = "sizes of one request",
	 .at = offsetof(struct ring_options, block)},
	{.name = "depth",
	 .kind = OPTION_COUNTS,
	 .positive = true,
	 .value = "N,...",
	 .initial = "8,32",
	 .help = "requests in flight in each thread's ring",
	 .at = offsetof(struct ring_options, depth)},
	{.name = "threads",
	 .kind = OPTION_COUNTS,
	 .positive = true,
	 .value = "N,...",
	 .initial = "1",
	 .help = "threads, each with a ring of its own",
	 .at = offsetof(struct ring_options, threads)},
	{.name = "size",
	 .kind = OPTION_SIZE,
	 .positive = true,
	 .value = "SIZE",
	 .initial = "that of the file",
	 .help = "bytes that are moved in one run, by all threads together",
	 .at = offsetof(struct ring_options, size_bytes)},
	{.name = "repeat",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "5",
	 .help = "runs that are counted, for each setting",
	 .at = offsetof(struct ring_options, repeat)},
	{.name = "library",
	 .kind = OPTION_TEXT,
	 .value = "PATH",
	 .help = "do the same with this library, in turns (libhf3fs_api_shared.so)",
	 .at = offsetof(struct ring_options, library)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct ring_options, common)},
	{options, 0},
	{tell_options, offsetof(struct ring_options, tell)},
	{0},
};

struct bench {
	const struct ring_options *mine;
	const char *uri;
	struct grid grid;
	struct cell *others; /* the library's, with the grid's commands; NULL: no library */
	struct ring_library *library;
	uint64_t file_bytes, repeat;
};

/* ---- Running ---- */

static int look_at_file(struct bench *bench, struct weir_error *err)
{
	struct weir_stat stat = {0};
	struct session session;
	int ret = session_open(&session, NULL, err);

	if (!ret)
		ret = weir_stat(session.ctx, bench->uri, NULL, &stat, err);
	session_close(&session);
	bench->file_bytes = stat.size_bytes;
	return ret;
}

static struct ring_work work_of(const struct bench *bench, const struct cell *cell)
{
	uint64_t threads = cell->lanes ? cell->lanes : 1;
	uint64_t bytes = bench->mine->size_bytes ? bench->mine->size_bytes : bench->file_bytes;

	return (struct ring_work){
		.uri = bench->uri,
		.block_bytes = cell->request_bytes,
		.depth = cell->depth,
		.threads = threads,
		.blocks = bytes / cell->request_bytes / threads,
		.file_bytes = bench->file_bytes,
		.write = bench->mine->operation == 1,
		.random = bench->mine->order == 1,
	};
}

static int note(struct cell *cell, const struct ring_work *work, const struct ring_took *took,
		struct weir_error *err)
{
	double bytes = (double)work->blocks * (double)work->threads * (double)work->block_bytes;

	return grid_add(cell, bytes / took->wall_seconds,
			took->cpu_seconds / (bytes / (double)WEIR_GIB), err);
}

static int run_once(struct bench *bench, size_t number, const struct ring_work *work,
		    struct ring_ours *ours, bool counts, struct weir_error *err)
{
	struct ring_took took;
	int ret = ring_ours_run(ours, &took, err);

	if (!ret && counts)
		ret = note(&bench->grid.cells[number], work, &took, err);
	if (ret || !bench->library)
		return ret;
	ret = ring_library_run(bench->library, work, &took, err);
	return ret || !counts ? ret : note(&bench->others[number], work, &took, err);
}

static int run_cell(struct bench *bench, size_t number, struct weir_error *err)
{
	const struct cell *cell = &bench->grid.cells[number];
	struct ring_work work = work_of(bench, cell);
	struct ring_ours *ours = NULL;
	int ret;

	if (work.blocks == 0 || work.threads * work.depth > bench->file_bytes / work.block_bytes)
		return report_set(err, WEIR_ARG, bench->uri,
				  "%s: %" PRIu64 " bytes are too few for %" PRIu64 " threads with "
				  "%" PRIu64 " requests of %" PRIu64 " bytes",
				  bench->uri, bench->file_bytes, work.threads, work.depth,
				  work.block_bytes);
	ret = ring_ours_open(&work, &ours, err);
	for (uint64_t n = 0; n <= bench->repeat && !ret; n++) {
		if (signals_caught())
			ret = report_set(err, WEIR_CANCELLED, NULL, "interrupted");
		else
			ret = run_once(bench, number, &work, ours, n > 0, err);
	}
	ring_ours_close(ours);
	return ret;
}

/* ---- What is told ---- */

static const char *operation_of(const struct bench *bench)
{
	return bench->mine->operation ? "write" : "read";
}

static const char *order_of(const struct bench *bench)
{
	return bench->mine->order ? "random" : "sequential";
}

/* The command that repeats a figure, malloc()ed; NULL where memory ends. */
static char *command_of(const struct bench *bench, const struct cell *cell)
{
	char *text = NULL, size[VALUE_MAX];
	size_t len = 0;
	FILE *file = open_memstream(&text, &len);

	if (!file)
		return NULL;
	fprintf(file,
		"weir bench ring --op %s --order %s --block %s --depth %" PRIu64
		" --threads %" PRIu64 " --repeat %" PRIu64,
		operation_of(bench), order_of(bench), value_print_exact(size, cell->request_bytes),
		cell->depth, cell->lanes ? cell->lanes : 1, bench->repeat);
	if (bench->library) {
		fputs(" --library ", file);
		grid_argument(file, bench->mine->library);
	}
	putc(' ', file);
	grid_argument(file, bench->uri);
	return fclose(file) == 0 ? text : NULL;
}

static void write_json(void *arg, struct json *json)
{
	const struct bench *bench = arg;

	json_text(json, "kind", "ring");
	json_array(json, "uri");
	json_text(json, NULL, bench->uri);
	json_end(json);
	json_text(json, "op", operation_of(bench));
	json_text(json, "order", order_of(bench));
	json_uint(json, "bytes",
		  bench->mine->size_bytes ? bench->mine->size_bytes : bench->file_bytes);
	json_uint(json, "repeat", bench->repeat);
	grid_json(json, "cells", bench->grid.cells, bench->grid.count);
	if (!bench->library)
		return;
	json_text(json, "library", bench->mine->library);
	grid_json(json, "library_cells", bench->others, bench->grid.count);
}

static void write_lines(const struct bench *bench, FILE *file, const char *client,
			const struct cell *cells)
{
	for (size_t n = 0; n < bench->grid.count; n++) {
		fprintf(file, "%s,", client);
		grid_csv(file, &cells[n]);
	}
}

static void write_csv(void *arg, FILE *file)
{
	const struct bench *bench = arg;

	fputs("client,", file);
	grid_csv_head(file);
	write_lines(bench, file, "weir", bench->grid.cells);
	if (bench->library)
		write_lines(bench, file, "library", bench->others);
}

static void write_text(void *arg)
{
	const struct bench *bench = arg;

	grid_text_head("THRDS", "BLOCK", "");
	for (size_t n = 0; n < bench->grid.count; n++) {
		grid_text(&bench->grid.cells[n]);
		if (!bench->library)
			continue;
		grid_text(&bench->others[n]);
		out_text("       the second line is the library's; weir reaches %.3f of it\n",
			 grid_ratio(&bench->grid.cells[n], &bench->others[n]));
	}
}

/* ---- The whole ---- */

static int run_grid(struct bench *bench, struct weir_error *err)
{
	struct grid_axes axes = {
		.lanes = &bench->mine->threads,
		.depth = &bench->mine->depth,
		.request = &bench->mine->block,
		.direct = &(struct texts){NULL, 0},
	};
	int ret = grid_make(&bench->grid, &axes, err);

	if (!ret && bench->library) {
		bench->others = calloc(bench->grid.count, sizeof(*bench->others));
		if (!bench->others)
			return report_set(err, WEIR_NOMEM, NULL, "out of memory");
		memcpy(bench->others, bench->grid.cells,
		       bench->grid.count * sizeof(*bench->others));
	}
	for (size_t n = 0; n < bench->grid.count && !ret; n++) {
		struct cell *cell = &bench->grid.cells[n];

		cell->command = command_of(bench, cell);
		if (bench->others)
			bench->others[n].command = cell->command;
		ret = run_cell(bench, n, err);
	}
	return ret;
}

static int run(const struct command *command)
{
	struct bench bench = {.mine = command->options, .uri = command->arguments.items[0]};
	const struct grid_told told = {
		.title = "weir bench ring",
		.bench = &bench,
		.json = write_json,
		.csv = write_csv,
		.text = write_text,
	};
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = look_at_file(&bench, &err);

	bench.repeat = bench.mine->repeat ? bench.mine->repeat : 5;
	if (!ret && bench.mine->library)
		ret = ring_library_open(bench.mine->library, &bench.library, &err);
	if (!ret)
		ret = run_grid(&bench, &err);
	if (!ret)
		ret = grid_tell(&told, &bench.mine->tell, bench.mine->common.json, &err);
	if (ret)
		report_failure(&err, bench.mine->common.json);
	grid_fini(&bench.grid);
	free(bench.others);
	free(bench.library);
	return report_status(ret);
}

static const struct field fields[] = {
	{"kind", "`ring`."},
	{"uri", "A list: the argument."},
	{"op, order, bytes, repeat", "How each figure was taken."},
	{"cells",
	 "A list of `lanes` (threads; left out where it is 1 by default), `depth`, `request_bytes`, "
	 "`direct`, `bytes_per_second` and `cpu_seconds_per_gib`, both with `median`, `min` and "
	 "`max`, and `command`, which repeats the figure: weir's own client."},
	{"library, library_cells", "With `--library`: its path, and the same for it."},
	{NULL, NULL},
};

const struct verb verb_bench_ring = {
	.name = "bench ring",
	.arguments = "URI",
	.summary = "measures reads and writes through the rings of a 3FS mount",
	.story =
		"Keeps `--depth` requests of one block in flight in each thread, over one file of a 3FS "
		"mount, until `--size` bytes are moved; one run that is not counted, then `--repeat` "
		"counted ones. Processor time is the client's, not the daemon's.\n\n"
		"With `--library` a library with the C interface of 3FS does the same, in turns.",
	.sets = sets,
	.options_size = sizeof(struct ring_options),
	.json = fields,
	.arguments_min = 1,
	.arguments_max = 1,
	.examples = {{"weir bench ring --block 1MiB --depth 16,64 /mnt/3fs/file",
		      "two depths, with weir's own client"},
		     {"weir bench ring --block 4KiB --order random --library "
		      "/usr/lib/libhf3fs_api_shared.so /mnt/3fs/file",
		      "small reads, compared with a library"}},
	.run = run,
};
