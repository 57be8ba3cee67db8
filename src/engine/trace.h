/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happened when: for people who want to see reads and copies overlap.
 *
 * Room for the events is made with the context; tracing one is an atomic increment and a store.  When
 * the room is full the oldest are overwritten.
 */
#ifndef ENGINE_TRACE_H
#define ENGINE_TRACE_H

#include <stdint.h>

#include "base/sys.h"
#include "weir/error.h"

enum trace_kind {
	TRACE_READ, /* a request, from submit to reap */
	TRACE_WRITE,
	TRACE_CACHED,   /* a request that the page cache answered */
	TRACE_COPY,     /* out of staging */
	TRACE_DEVICE,   /* copies to or from a device */
	TRACE_CUFILE,   /* a read that storage sent to a device by itself */
	TRACE_POPULATE, /* memory made to exist */
};

/* The row of what no lane does. */
#define TRACE_LANE_POPULATE 1000

struct trace; /* every function takes NULL for "no trace" */

int trace_create(const struct sys *sys, uint32_t events, struct trace **out,
		 struct weir_error *err);
void trace_destroy(struct trace *trace);

void trace_add(struct trace *trace, int kind, uint32_t lane, int64_t start_ns, int64_t end_ns,
	       uint64_t offset, uint64_t bytes);

int trace_write(struct trace *trace, const char *path, struct weir_error *err);

#endif
