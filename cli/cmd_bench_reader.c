/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir bench reader: measures readers of safetensors files.
 *
 * They are Python's, so the Python package measures them (python/weir/bench), and this verb hands its
 * options on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handing.h"
#include "out.h"
#include "report.h"
#include "verbs.h"

/* Says what to do where the package is not there; the rest is its own. */
static const char start[] =
	"import sys\n"
	"try:\n"
	"    from weir.bench.__main__ import main\n"
	"except ImportError as error:\n"
	"    sys.exit(f'weir: bench reader: {error}\\n      it is done by the Python package: pip install "
	"weir-io, for the interpreter that WEIR_PYTHON names (python3 otherwise)')\n"
	"sys.exit(main(sys.argv[1:]))\n";

struct reader_options {
	struct common common;
	bool download_only, no_equal, decouple, no_charts, verbose;
	int operation, mode, cache, verify;
	struct texts uris;
	const char *mount_point, *pattern, *device, *backends, *buffers, *chunks, *processes,
		*batches, *threads, *depth, *iterations, *warmup, *timeout, *output_dir, *csv,
		*html;
};

#define AT(member) .at = offsetof(struct reader_options, member)

static const struct option options[] = {
	{.name = "mount-point",
	 .kind = OPTION_TEXT,
	 .value = "DIR",
	 .help = "a 3FS mount, or any directory; must be given, or --uri",
	 AT(mount_point)},
	{.name = "file-pattern",
	 .kind = OPTION_TEXT,
	 .value = "GLOB",
	 .initial = "DIR/*.safetensors",
	 .help = "which files are read",
	 AT(pattern)},
	{.name = "uri",
	 .kind = OPTION_LIST,
	 .value = "URI",
	 .help = "a file or a model to read instead: file://, 3fs://, or a path; may be given many "
		 "times",
	 AT(uris)},
	{.name = "backends",
	 .kind = OPTION_TEXT,
	 .value = "NAME,...",
	 .initial = "mock,python,cpp",
	 .help = "which readers; MODULE:FACTORY is one, too",
	 AT(backends)},
	{.name = "buffer-sizes",
	 .kind = OPTION_TEXT,
	 .value = "MIB,...",
	 .initial = "64,128,256,512,1024",
	 .help = "staging of a reader",
	 AT(buffers)},
	{.name = "chunk-sizes",
	 .kind = OPTION_TEXT,
	 .value = "MIB,...",
	 .initial = "64,128,256,512,1024",
	 .help = "most that one request has",
	 AT(chunks)},
	{.name = "no-equal-chunk-buffer",
	 .kind = OPTION_FLAG,
	 .help = "all chunks up to the buffer's size, not only equal ones",
	 AT(no_equal)},
	{.name = "decouple-chunk-buffer",
	 .kind = OPTION_FLAG,
	 .help = "all pairs of sizes",
	 AT(decouple)},
	{.name = "num-processes",
	 .kind = OPTION_TEXT,
	 .value = "N,...",
	 .initial = "1,2,4,8",
	 .help = "processes that read at once",
	 AT(processes)},
	{.name = "benchmark-op",
	 .kind = OPTION_CHOICE,
	 .value = "OP",
	 .choices = "read_chunked|headers_batch|both",
	 .initial = "read_chunked",
	 .help = "what is measured",
	 AT(operation)},
	{.name = "batch-sizes",
	 .kind = OPTION_TEXT,
	 .value = "N,...",
	 .initial = "8,16,32,64,128",
	 .help = "headers: files in a call",
	 AT(batches)},
	{.name = "num-threads",
	 .kind = OPTION_TEXT,
	 .value = "N,...",
	 .initial = "4,8,16",
	 .help = "headers: threads of a call",
	 AT(threads)},
	{.name = "depth",
	 .kind = OPTION_TEXT,
	 .value = "N",
	 .initial = "64",
	 .help = "requests in flight of a reader",
	 AT(depth)},
	{.name = "mode",
	 .kind = OPTION_CHOICE,
	 .value = "MODE",
	 .choices = "grid|single",
	 .initial = "grid",
	 .help = "single: the first of each list",
	 AT(mode)},
	{.name = "cache",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "keep|cold|warm",
	 .initial = "keep: as it is",
	 .help = "before each iteration files leave the page cache, or are read into it",
	 AT(cache)},
	{.name = "device",
	 .kind = OPTION_TEXT,
	 .value = "DEVICE",
	 .initial = "auto: a GPU where torch has one",
	 .help = "cpu, cuda, cuda:N: where to",
	 AT(device)},
	{.name = "download-only",
	 .kind = OPTION_FLAG,
	 .help = "nothing is copied to a destination",
	 AT(download_only)},
	{.name = "verify",
	 .kind = OPTION_CHOICE,
	 .value = "WHAT",
	 .choices = "first|all|none",
	 .initial = "first: each process's first file",
	 .help = "whose bytes are compared, in a pass without a clock",
	 AT(verify)},
	{.name = "iterations",
	 .kind = OPTION_TEXT,
	 .value = "N",
	 .initial = "3",
	 .help = "that are counted",
	 AT(iterations)},
	{.name = "warmup",
	 .kind = OPTION_TEXT,
	 .value = "N",
	 .initial = "1",
	 .help = "iterations that are not counted",
	 AT(warmup)},
	{.name = "timeout",
	 .kind = OPTION_TEXT,
	 .value = "SECONDS",
	 .initial = "600",
	 .help = "one iteration takes no longer",
	 AT(timeout)},
	{.name = "output-dir",
	 .kind = OPTION_TEXT,
	 .value = "DIR",
	 .initial = "./benchmark_results",
	 .help = "where the tables and report.html go",
	 AT(output_dir)},
	{.name = "csv",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "the summary there, too",
	 AT(csv)},
	{.name = "html",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .initial = "report.html in the output directory",
	 .help = "the page",
	 AT(html)},
	{.name = "no-charts", .kind = OPTION_FLAG, .help = "no page", AT(no_charts)},
	{.name = "verbose", .kind = OPTION_FLAG, .help = "each iteration is told", AT(verbose)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct reader_options, common)},
	{options, 0},
	{0},
};

static int refuse(bool json, int code, const char *why, const char *more)
{
	struct weir_error err = WEIR_ERROR_INIT;

	report_set(&err, code, NULL, "bench reader: %s%s", why, more);
	report_failure(&err, json);
	return code == WEIR_ARG ? STATUS_USAGE : STATUS_NO;
}

static int run(const struct command *command)
{
	const struct reader_options *mine = command->options;
	const char *python = getenv("WEIR_PYTHON");
	struct handing handing = {.count = 0};

	if (!mine->mount_point && mine->uris.count == 0)
		return refuse(mine->common.json, WEIR_ARG,
			      "--mount-point DIR must be given, or --uri URI", "");
	handing_add(&handing, python && *python ? python : "python3", "");
	handing_add(&handing, "-c", "");
	handing_add(&handing, start, "");
	handing_options(&handing, options, mine);
	if (mine->common.json)
		handing_add(&handing, "--json", "");
	if (mine->common.quiet)
		handing_add(&handing, "--quiet", "");
	out_flush();
	execvp(handing.words[0], handing.words);
	handing_fini(&handing);
	return refuse(mine->common.json, WEIR_UNSUPPORTED,
		      "there is no Python to run: ", strerror(errno));
}

static const struct field fields[] = {
	{"kind", "`reader`."},
	{"mount_point, files, iterations, cache, device",
	 "How it was measured; with `--uri`, `uris`, too, and the mount point that they lie on."},
	{"cells",
	 "A list of `backend`, `operation`, `buffer_mib`, `chunk_mib`, `processes`, `batch`, `threads`; "
	 "`bytes_per_second` or `headers_per_second`, each with `median`, `min`, `max`, `p5` and `p95`; "
	 "`latency_seconds` of single calls, likewise; `cpu_seconds_per_gib`, `peak_rss_bytes`, "
	 "`verified_bytes`; and `error` where it failed."},
	{NULL, NULL},
};

const struct verb verb_bench_reader = {
	.name = "bench reader",
	.arguments = "",
	.summary = "measures readers of safetensors files, in several processes at once",
	.story =
		"Files are dealt to the processes, which are made ready, parked, and released together; an "
		"iteration lasts from the last release to the last end. CSV files and a page with charts "
		"are left in the output directory. Rates are in GB/s, 10^9 bytes a second; sizes in MiB.\n\n"
		"Readers open files by their paths. So `--uri` takes what stands for files of this machine: "
		"a file or a model by `file://` or by `3fs://`, which demands a mount of 3FS. Which of them "
		"is read by rings is the reader's own matter. Page cache and comparison are those of the "
		"path. What other URIs name is measured by `weir bench load`.\n\n"
		"It is done by the Python package `weir-io`, for the readers are Python's: those of "
		"`fastsafetensor_3fs_reader`, weir's own or another, and any that has the same two calls.",
	.sets = sets,
	.options_size = sizeof(struct reader_options),
	.json = fields,
	.arguments_min = 0,
	.arguments_max = 0,
	.examples = {{"weir bench reader --mount-point /mnt/3fs --backends cpp,python "
		      "--num-processes 1,2,4,8 --download-only",
		      "into host memory only, as large as the mount allows"},
		     {"weir bench reader --uri file:///models/llama --backends mock,cpp "
		      "--buffer-sizes 8 --chunk-sizes 8 --cache cold",
		      "one model, from the disk"}},
	.run = run,
};
