/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/fake_cuda_inside.h"

struct fake_cuda fake;
_Thread_local struct fake_stack fake_stack;

/* ---- Small things ---- */

void fake_wrong(const char *what)
{
	fprintf(stderr, "the driver was misused: %s\n", what);
	abort();
}
int64_t fake_now(void)
{
	struct timespec now;

	if (fake.how.now_ns)
		return fake.how.now_ns();
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static uint64_t chance(uint64_t below)
{
	fake.chance = fake.chance * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return below ? (fake.chance >> 33) % below : 0;
}

cu_context fake_context(void)
{
	return fake_stack.depth ? fake_stack.at[fake_stack.depth - 1] : NULL;
}

struct memory *fake_memory_at(const void *at, uint64_t bytes)
{
	list_for_each(link, &fake.memories) {
		struct memory *memory = list_entry(link, struct memory, link);
		uint64_t from = (uint64_t)(uintptr_t)at - (uint64_t)(uintptr_t)memory->at;

		if (from < memory->size && bytes <= memory->size - from && !memory->freed)
			return memory;
	}
	return NULL;
}

bool fake_is_pinned(const void *at, uint64_t bytes)
{
	const struct memory *memory = fake_memory_at(at, bytes);

	return memory && memory->kind == FAKE_PINNED;
}

/* ---- Streams, in time ---- */

cu_stream fake_default_stream(cu_context context)
{
	cu_stream stream = &fake.legacy[context->device];

	stream->context = context;
	if (!stream->link.next)
		list_push(&fake.streams, &stream->link);
	return stream;
}

cu_stream fake_stream_of(cu_stream stream)
{
	cu_context context = fake_context();

	if (stream != NULL && stream != CU_STREAM_LEGACY && stream != CU_STREAM_PER_THREAD)
		return stream;
	must(context, "a default stream, and no context is current");
	return fake_default_stream(context);
}

static void copy(struct op *op, cu_context context)
{
	struct memory *memory = fake_memory_at(op->device_at, op->bytes);
	char *device = memory ? memory->bytes + (op->device_at - memory->at) : NULL;

	must(memory && memory->kind != FAKE_PINNED, "a copy to or from memory that was freed");
	must(!op->pinned || fake_is_pinned(op->host_at, op->bytes),
	     "host memory was unpinned while a copy was under way");
	if (fake.break_after && --fake.break_after == 0) {
		context->broken = fake.break_with;
		return;
	}
	if (op->kind == OP_IN)
		memcpy(device, op->host_at, op->bytes);
	else
		memcpy(op->host_at, device, op->bytes);
}

static void carry_out(cu_stream stream, struct op *op)
{
	switch (op->kind) {
	case OP_IN:
	case OP_OUT:
		fake.counts.busy_ns += op->end_ns - op->from_ns;
		if (!stream->context->broken)
			copy(op, stream->context);
		break;
	case OP_RECORD:
		op->event->reached = max_of(op->event->reached, op->generation);
		op->event->reached_ns = op->end_ns;
		break;
	case OP_COMPUTE:
		if (op->device_at)
			memset(fake_cuda_bytes(op->device_at), op->byte, op->bytes);
		break;
	case OP_WAIT:
		break;
	}
	stream->free_ns = op->end_ns;
	list_remove(&op->link);
	free(op);
}

/* Gives the first of a stream its time, if it can begin; false: not yet. */
static bool begin(cu_stream stream, struct op *op)
{
	int device = stream->context->device;
	int64_t *engine = &fake.engine_free_ns[device][op->kind == OP_OUT];
	int64_t takes = 0;

	if (op->started)
		return true;
	op->from_ns = max_of(op->from_ns, stream->free_ns);
	if (op->kind == OP_WAIT) {
		if (op->event->reached < op->generation && !stream->context->broken)
			return false;
		op->from_ns = max_of(op->from_ns, op->event->reached_ns);
	}
	if (op->kind == OP_COMPUTE)
		takes = (int64_t)op->generation;
	if (op->kind == OP_IN || op->kind == OP_OUT) {
		op->from_ns = max_of(op->from_ns, *engine);
		takes = fake.how.latency_ns + (int64_t)chance((uint64_t)fake.how.jitter_ns);
		if (fake.how.bytes_per_second)
			takes += (int64_t)((double)op->bytes * 1e9 /
					   (double)fake.how.bytes_per_second);
		*engine = op->from_ns + takes;
	}
	op->end_ns = op->from_ns + takes;
	op->started = true;
	return true;
}

/* The stream whose first thing ends first; NULL: nothing can begin. */
static cu_stream next_stream(void)
{
	cu_stream next = NULL;

	list_for_each(link, &fake.streams) {
		cu_stream stream = list_entry(link, struct cu_stream_handle, link);
		struct op *op, *best;

		if (list_empty(&stream->ops))
			continue;
		op = list_entry(stream->ops.next, struct op, link);
		if (!begin(stream, op))
			continue;
		best = next ? list_entry(next->ops.next, struct op, link) : NULL;
		if (!best || op->end_ns < best->end_ns)
			next = stream;
	}
	return next;
}

void fake_forget_stream(cu_stream stream)
{
	list_remove(&stream->link);
	free(stream);
}

/* With the lock held. */
int64_t fake_run_due(void)
{
	int64_t now = fake_now();

	while (!fake.hang) {
		cu_stream stream = next_stream();
		struct op *op;

		if (!stream)
			return NEVER;
		op = list_entry(stream->ops.next, struct op, link);
		if (op->end_ns > now)
			return op->end_ns;
		carry_out(stream, op);
		if (stream->dropped && list_empty(&stream->ops))
			fake_forget_stream(stream);
	}
	return NEVER;
}

struct op *fake_push(cu_stream stream, enum op_kind kind)
{
	struct op *op = calloc(1, sizeof(*op));

	must(op, "no memory for the test itself");
	op->kind = kind;
	op->from_ns = fake_now();
	list_push(&stream->ops, &op->link);
	return op;
}

/* ---- What there is ---- */

cu_context fake_retain(int device)
{
	cu_context context = fake.primary[device];

	if (!context || (context->broken == CU_CONTEXT_IS_DESTROYED && context->refs == 0)) {
		context = calloc(1, sizeof(*context));
		must(context, "no memory for the test itself");
		*context = (struct cu_context_handle){.device = device, .primary = true};
		list_push(&fake.contexts, &context->link);
		fake.primary[device] = context;
		fake.counts.contexts++;
		fake.counts.context_made[device]++;
	}
	context->refs++;
	return context;
}

struct memory *fake_make_memory(cu_context context, uint64_t bytes, enum fake_memory kind)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	uint64_t mapped = round_up(bytes ? bytes : 1, (uint64_t)4096);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	must(memory, "no memory for the test itself");
	*memory = (struct memory){
		.size = bytes, .mapped = mapped, .context = context, .kind = kind};
	memory->bytes = mmap(NULL, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
	memory->at = memory->bytes;
	if (kind == FAKE_DEVICE && !fake.how.coherent && !fake.how.visible)
		memory->at = mmap(NULL, mapped, PROT_NONE, flags, -1, 0);
	must(memory->at != MAP_FAILED && memory->bytes != MAP_FAILED, "no memory for the test");
	list_push(&fake.memories, &memory->link);
	return memory;
}

cu_stream fake_make_stream(cu_context context)
{
	cu_stream stream = calloc(1, sizeof(*stream));

	must(stream, "no memory for the test itself");
	stream->context = context;
	list_init(&stream->ops);
	list_push(&fake.streams, &stream->link);
	return stream;
}
