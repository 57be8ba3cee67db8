/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A berth: a device as the extents of one plan name it, and the caller's stream there.
 *
 * While a plan is filled a berth is only remembered.  When its transfer starts, the driver is opened, each
 * address is asked once what kind of memory it is, and an event, the *gate*, is recorded in the
 * caller's stream: nothing is written before it has passed.
 */
#ifndef ENGINE_BERTH_H
#define ENGINE_BERTH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/plan.h"
#include "mem/cuda.h"

struct berth {
	struct berth *next;
	int ordinal;
	void *stream;
	bool allocate; /* no stream knows the memory yet */

	/* From the start of the transfer on. */
	struct cuda_device *device;
	cu_event gate;           /* owned; NULL: nothing is waited for */
	cu_context gate_context; /* the stream's */
	uint64_t serial;         /* of the gate: no other gate of the process has it */
	_Atomic bool passed;
};

/* The berth of a destination; *out NULL where that is host memory. */
int berth_find(struct weir_plan *plan, const struct weir_dest *dest, struct berth **out,
	       struct weir_error *err);
void berths_destroy(struct weir_plan *plan);

/*
 * The transfer starts: what is each address, and is there room?  limit_bytes: more than that is never
 * held at once.
 */
int berths_open(struct weir_plan *plan, uint64_t limit_bytes, struct weir_error *err);

/* Has what was in the caller's stream ended?  For memory that the processor writes itself. */
bool berth_passed(struct berth *berth);

#endif
