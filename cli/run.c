/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <inttypes.h>

#include "out.h"
#include "report.h"
#include "values.h"

void run_files(const struct weir_model *model, struct run_files *out)
{
	*out = (struct run_files){.told = true};
	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		struct weir_stat stat = {0};
		struct weir_error err = WEIR_ERROR_INIT;

		if (weir_object_stat(weir_model_object(model, n), &stat, &err) ||
		    stat.cached_bytes == UINT64_MAX)
			out->told = false;
		else
			out->cached_bytes += stat.cached_bytes;
		out->size_bytes += weir_model_shard(model, n)->size_bytes;
	}
}

int run_open(const struct session *session, const struct texts *uris, struct weir_model_opts *how,
	     struct weir_model **out, struct weir_error *err)
{
	return session_open_model(session, (const char *const *)uris->items, uris->count, how, out,
				  err);
}

double run_seconds(int64_t ns)
{
	return (double)ns / 1e9;
}

double run_rate(const struct figures *figures)
{
	return figures->wall_ns > 0 ? (double)figures->bytes / run_seconds(figures->wall_ns) : 0;
}

double run_cpu_per_gib(const struct figures *figures)
{
	double gib = (double)figures->bytes / (double)WEIR_GIB;

	return gib > 0 ? run_seconds(figures->cpu_ns) / gib : 0;
}

static void json_counters(struct json *json, const struct weir_counters *counters)
{
	json_object(json, "counters");
	json_uint(json, "requests", counters->requests);
	json_uint(json, "bytes_requested", counters->bytes_requested);
	json_uint(json, "bytes_delivered", counters->bytes_delivered);
	json_uint(json, "bytes_copied", counters->bytes_copied);
	json_uint(json, "bytes_device", counters->bytes_device);
	json_uint(json, "bytes_cufile", counters->bytes_cufile);
	json_uint(json, "cufile_redone", counters->cufile_redone);
	json_uint(json, "bytes_direct", counters->bytes_direct);
	json_uint(json, "bytes_cached", counters->bytes_cached);
	json_uint(json, "bytes_over", counters->bytes_over);
	json_uint(json, "retries", counters->retries);
	json_uint(json, "short_reads", counters->short_reads);
	json_uint(json, "extents", counters->extents);
	json_uint(json, "extents_failed", counters->extents_failed);
	json_uint(json, "system_calls", counters->system_calls);
	json_real(json, "stall_seconds_source", run_seconds((int64_t)counters->stall_ns_source));
	json_real(json, "stall_seconds_memory", run_seconds((int64_t)counters->stall_ns_memory));
	json_real(json, "stall_seconds_budget", run_seconds((int64_t)counters->stall_ns_budget));
	json_uint(json, "memory_peak_bytes", counters->memory_peak_bytes);
	json_end(json);
}

void run_json_load(struct json *json, const struct figures *figures)
{
	json_real(json, "wall_seconds", run_seconds(figures->wall_ns));
	json_real(json, "cpu_seconds", run_seconds(figures->cpu_ns));
	json_real(json, "bytes_per_second", run_rate(figures));
	json_real(json, "cpu_seconds_per_gib", run_cpu_per_gib(figures));
	json_uint(json, "bytes", figures->bytes);
	json_counters(json, &figures->counters);
}

static double cached_share(const struct run_files *files)
{
	return files->size_bytes ? (double)files->cached_bytes / (double)files->size_bytes : 0;
}

void run_json_source(struct json *json, const struct weir_choice *choice,
		     const struct run_files *files)
{
	json_object(json, "source");
	json_text(json, "kind", choice->kind);
	if (choice->library)
		json_text(json, "library", choice->library);
	json_bool(json, "direct", choice->direct != 0);
	if (files->told) {
		json_uint(json, "cached_bytes", files->cached_bytes);
		json_real(json, "cached_share", cached_share(files));
	}
	json_uint(json, "lanes", choice->lanes);
	json_uint(json, "depth", choice->depth);
	json_uint(json, "request_bytes", choice->request_bytes);
	json_end(json);
}

void run_text_load(const struct figures *figures, unsigned number)
{
	char size[VALUE_MAX], time[VALUE_MAX], rate[VALUE_MAX], cpu[VALUE_MAX];

	out_text("load %u: %s in %s, %s; processor %s (%.3f s/GiB)\n", number,
		 value_print_size(size, figures->bytes),
		 value_print_seconds(time, run_seconds(figures->wall_ns)),
		 value_print_rate(rate, run_rate(figures)),
		 value_print_seconds(cpu, run_seconds(figures->cpu_ns)), run_cpu_per_gib(figures));
}

void run_text_source(const struct weir_choice *choice, const struct run_files *files)
{
	char request[VALUE_MAX];

	out_text("source: %s, %s; %u lane%s x %u requests of %s", choice->kind,
		 choice->direct ? "past the page cache" : "through the page cache", choice->lanes,
		 choice->lanes == 1 ? "" : "s", choice->depth,
		 value_print_exact(request, choice->request_bytes));
	if (files->told)
		out_text("; %.0f%% of the files was cached", cached_share(files) * 100);
	out_text("\n");
}
