/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/trace.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"

struct event {
	int64_t start_ns, end_ns;
	uint64_t offset, bytes;
	uint32_t kind, lane;
};

struct trace {
	const struct sys *sys;
	int64_t origin_ns;
	uint32_t room;
	_Atomic uint64_t next;
	struct event events[];
};

static const char *const kind_names[] = {
	[TRACE_READ] = "read",         [TRACE_WRITE] = "write",   [TRACE_CACHED] = "cached",
	[TRACE_COPY] = "copy",         [TRACE_DEVICE] = "device", [TRACE_CUFILE] = "cufile",
	[TRACE_POPULATE] = "populate",
};

/* Most room that is asked for in earnest: 48 MB. */
#define EVENTS_MAX 1000000

int trace_create(const struct sys *sys, uint32_t events, struct trace **out, struct weir_error *err)
{
	struct trace *trace;

	if (events > EVENTS_MAX)
		return error_set(err, WEIR_LIMIT, NULL, "room for %u trace events: at most %u",
				 events, EVENTS_MAX);
	trace = calloc(1, sizeof(*trace) + events * sizeof(trace->events[0]));
	if (!trace)
		return error_nomem(err, NULL, "the trace");
	trace->sys = sys;
	trace->origin_ns = sys->now_ns();
	trace->room = events;
	*out = trace;
	return 0;
}

void trace_destroy(struct trace *trace)
{
	free(trace);
}

void trace_add(struct trace *trace, int kind, uint32_t lane, int64_t start_ns, int64_t end_ns,
	       uint64_t offset, uint64_t bytes)
{
	uint64_t at;

	if (!trace)
		return;
	at = atomic_fetch_add_explicit(&trace->next, 1, memory_order_relaxed) % trace->room;
	trace->events[at] = (struct event){.start_ns = start_ns,
					   .end_ns = end_ns,
					   .offset = offset,
					   .bytes = bytes,
					   .kind = (uint32_t)kind,
					   .lane = lane};
}

/* Microseconds with three decimals; never by %f, which a locale may give a comma. */
struct micros {
	int64_t whole;
	int rest;
};

static struct micros micros(int64_t ns)
{
	return (struct micros){ns / 1000, (int)(ns % 1000)};
}

static void write_event(FILE *file, const struct trace *trace, const struct event *event,
			const char *before)
{
	struct micros start = micros(event->start_ns - trace->origin_ns);
	struct micros took = micros(event->end_ns - event->start_ns);

	fprintf(file,
		"%s\n{\"name\":\"%s\",\"cat\":\"weir\",\"ph\":\"X\",\"pid\":1,\"tid\":%" PRIu32
		",\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64
		".%03d,\"args\":{\"offset_bytes\":%" PRIu64 ",\"size_bytes\":%" PRIu64 "}}",
		before, kind_names[event->kind], event->lane, start.whole, start.rest, took.whole,
		took.rest, event->offset, event->bytes);
}

int trace_write(struct trace *trace, const char *path, struct weir_error *err)
{
	uint64_t next = atomic_load_explicit(&trace->next, memory_order_relaxed);
	uint64_t first = next > trace->room ? next - trace->room : 0;
	FILE *file = fopen(path, "we");
	int failed;

	if (!file)
		return error_sys(err, errno, path, "%s: cannot write the trace", path);
	fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", file);
	for (uint64_t i = first; i < next; i++)
		write_event(file, trace, &trace->events[i % trace->room], i > first ? "," : "");
	fputs("\n]}\n", file);
	failed = ferror(file);
	if (fclose(file) != 0 || failed)
		return error_sys(err, errno ? errno : EIO, path, "%s: cannot write the trace",
				 path);
	return 0;
}
