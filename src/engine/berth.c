/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/berth.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"

/* ---- While the plan is filled ---- */

static int add_berth(struct weir_plan *plan, const struct berth *like, struct berth **out,
		     struct weir_error *err)
{
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return error_nomem(err, NULL, "the devices of a plan");
	(*out)->ordinal = like->ordinal;
	(*out)->stream = like->stream;
	(*out)->allocate = like->allocate;
	(*out)->next = plan->berths;
	plan->berths = *out;
	return 0;
}

int berth_find(struct weir_plan *plan, const struct weir_dest *dest, struct berth **out,
	       struct weir_error *err)
{
	struct berth like = {.ordinal = dest->device,
			     .stream = dest->stream,
			     .allocate = dest->kind == WEIR_DEST_CUDA_ALLOC};

	*out = NULL;
	if (dest->kind != WEIR_DEST_CUDA && dest->kind != WEIR_DEST_CUDA_ALLOC)
		return 0;
	if (dest->device < 0)
		return error_set(err, WEIR_ARG, NULL, "cuda:%d: there is no such device",
				 dest->device);
	if (like.allocate)
		like.stream = NULL;
	for (struct berth *berth = plan->berths; berth; berth = berth->next)
		if (berth->ordinal == like.ordinal && berth->stream == like.stream &&
		    berth->allocate == like.allocate) {
			*out = berth;
			return 0;
		}
	return add_berth(plan, &like, out, err);
}

static void drop_gate(struct berth *berth)
{
	const struct cuda_driver *driver;
	cu_context before;

	if (!berth->gate)
		return;
	driver = &berth->device->cuda->driver;
	if (driver->context_push(berth->gate_context) ==
	    CU_OK) { /* else it went with its context */
		driver->event_destroy(berth->gate);
		driver->context_pop(&before);
	}
	berth->gate = NULL;
}

void berths_destroy(struct weir_plan *plan)
{
	bool ours = ctx_alive(plan->ctx, NULL) == 0;

	while (plan->berths) {
		struct berth *berth = plan->berths;

		plan->berths = berth->next;
		if (ours) /* in a forked child the driver is the parent's */
			drop_gate(berth);
		free(berth);
	}
}

/* ---- When its transfer starts ---- */

/* The message names the object, as all do. */
static void blame(const struct extent *extent, struct weir_error *err)
{
	char why[sizeof(err->message)];

	if (!err)
		return;
	snprintf(why, sizeof(why), "%s", err->message);
	error_at(err, err->code, extent->object->core->uri, extent->offset, extent->length,
		 "%s: %s", extent->object->core->uri, why);
}

/* One device may have several contexts, and each of them is a berth of its own. */
static int moor(struct weir_plan *plan, struct extent *extent, struct cuda_device *device,
		struct weir_error *err)
{
	struct berth *named = extent->berth;
	int ret;

	if (!named->device)
		named->device = device;
	if (named->device == device)
		return 0;
	for (struct berth *berth = plan->berths; berth; berth = berth->next)
		if (berth->device == device && berth->stream == named->stream &&
		    berth->allocate == named->allocate) {
			extent->berth = berth;
			return 0;
		}
	ret = add_berth(plan, named, &extent->berth, err);
	if (ret == 0)
		extent->berth->device = device;
	else
		extent->berth = named;
	return ret;
}

static int open_extent(struct cuda *cuda, struct weir_plan *plan, struct extent *extent,
		       struct weir_error *err)
{
	struct cuda_place place = {NULL};
	int ret;

	if (!extent->berth) {
		if (!extent->memory || extent->mapped ||
		    !cuda_is_device_memory(cuda, extent->memory))
			return 0;
		return error_set(err, WEIR_ARG, NULL,
				 "%p is memory of a device, and was named as the host's",
				 (void *)extent->memory);
	}
	if (extent->length == 0)
		return 0;
	if (extent->allocate) {
		ret = cuda_device_get(cuda, extent->berth->ordinal, &place.device, err);
		place.reached = ret == 0 && cuda_chunks_reached(place.device);
	} else {
		ret = cuda_place(cuda, extent->berth->ordinal, extent->memory, extent->length,
				 &place, err);
	}
	if (ret == 0)
		ret = moor(plan, extent, place.device, err);
	extent->far = !place.reached;
	return ret;
}

/* The default streams are those of the device's context, as the caller's thread has them. */
static bool is_default(const struct berth *berth)
{
	cu_stream stream = berth->stream;

	return !stream || stream == CU_STREAM_LEGACY || stream == CU_STREAM_PER_THREAD;
}

static int close_gate(struct berth *berth, struct weir_error *err)
{
	static _Atomic uint64_t serials;
	const struct cuda_driver *driver = &berth->device->cuda->driver;
	cu_context before;
	int result = CU_OK;

	berth->gate_context = berth->device->context;
	if (!is_default(berth))
		result = driver->stream_context(berth->stream, &berth->gate_context);
	if (result == CU_OK)
		result = driver->context_push(berth->gate_context);
	if (result == CU_OK) {
		result = driver->event_create(&berth->gate, CU_EVENT_NO_TIMING);
		if (result == CU_OK)
			result = driver->event_record(berth->gate, berth->stream);
		else
			berth->gate = NULL;
		driver->context_pop(&before);
	}
	berth->serial = atomic_fetch_add_explicit(&serials, 1, memory_order_relaxed) + 1;
	if (result == CU_OK)
		return 0;
	drop_gate(berth);
	return cuda_failed(berth->device->cuda, result, err,
			   "CUDA: an event in the caller's stream");
}

static int open_berth(const struct weir_plan *plan, struct berth *berth, uint64_t limit_bytes,
		      struct weir_error *err)
{
	uint64_t bytes = 0;

	if (!berth->device) /* of empty extents alone */
		return 0;
	if (!berth->allocate)
		return berth->stream == WEIR_CUDA_NO_STREAM ? 0 : close_gate(berth, err);
	for (uint64_t i = 0; i < plan->count; i++)
		if (plan->extents[i].berth == berth && !plan->extents[i].hopeless &&
		    !size_add(bytes, plan->extents[i].length, &bytes))
			bytes = UINT64_MAX;
	return cuda_check_memory(berth->device, min_of(bytes, limit_bytes), err);
}

int berths_open(struct weir_plan *plan, uint64_t limit_bytes, struct weir_error *err)
{
	struct cuda *cuda = atomic_load_explicit(&plan->ctx->cuda, memory_order_acquire);
	int ret = 0;

	if (plan->berths)
		ret = ctx_cuda(plan->ctx, &cuda, err);
	if (ret < 0 || !cuda) /* nobody here uses a device */
		return ret;
	for (struct berth *berth = plan->berths; berth; berth = berth->next) {
		drop_gate(berth); /* of a start that failed */
		berth->device = NULL;
		atomic_store_explicit(&berth->passed, false, memory_order_relaxed);
	}
	for (uint64_t i = 0; ret == 0 && i < plan->count; i++) {
		ret = open_extent(cuda, plan, &plan->extents[i], err);
		if (ret < 0)
			blame(&plan->extents[i], err);
	}
	for (struct berth *berth = plan->berths; ret == 0 && berth; berth = berth->next)
		ret = open_berth(plan, berth, limit_bytes, err);
	return ret;
}

bool berth_passed(struct berth *berth)
{
	const struct cuda_driver *driver;
	cu_context before;
	int result;

	if (!berth->gate || atomic_load_explicit(&berth->passed, memory_order_relaxed))
		return true;
	driver = &berth->device->cuda->driver;
	result = driver->context_push(berth->gate_context);
	if (result == CU_OK) {
		result = driver->event_query(berth->gate);
		driver->context_pop(&before);
	}
	/* A context that is gone has nothing under way. */
	if (result == CU_OK || cuda_is_final(result))
		atomic_store_explicit(&berth->passed, true, memory_order_relaxed);
	return result == CU_OK || cuda_is_final(result);
}
