/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/clock.h"
#include "base/list.h"
#include "base/size.h"
#include "base/thread.h"

#define STACK_MAX 8

struct cu_context_handle {
	struct list link;
	int device, broken; /* broken: what every call answers from then on */
	bool primary;
	unsigned refs;
};

struct cu_event_handle {
	struct list link; /* all there ever were: streams may refer to them */
	cu_context context;
	uint64_t recorded, reached; /* generations: in the stream, and carried out */
	int64_t reached_ns;
	bool dropped;
};

enum op_kind {
	OP_IN,
	OP_OUT,
	OP_RECORD,
	OP_WAIT,
	OP_COMPUTE
};
struct op {
	struct list link;
	enum op_kind kind;
	bool started;
	int64_t from_ns, end_ns;
	char *device_at, *host_at; /* COMPUTE: device_at is filled */
	uint64_t bytes;
	int byte;
	cu_event event;
	uint64_t generation;
	bool pinned;
};

struct cu_stream_handle {
	struct list link, ops;
	cu_context context;
	int64_t free_ns;
	bool dropped;
};

struct memory {
	struct list link;
	char *at, *bytes;
	uint64_t size, mapped;
	cu_context context;
	enum fake_memory kind;
	bool freed, registered; /* registered: pinned by a call, not allocated so */
};

enum function {
#define NAME(name, symbol, arguments) FN_##name,
	CUDA_FUNCTIONS(NAME)
#undef NAME
	FN_COUNT
};
static const char *const names[] = {
#define NAME(name, symbol, arguments) #name,
	CUDA_FUNCTIONS(NAME)
#undef NAME
};

static struct {
	struct lock lock;
	bool made;
	struct fake_cuda_how how;
	uint64_t chance;
	struct list contexts, streams, memories, events;
	cu_context primary[FAKE_DEVICES];
	struct cu_stream_handle legacy[FAKE_DEVICES];
	int64_t engine_free_ns[FAKE_DEVICES][2];
	uint64_t device_bytes[FAKE_DEVICES];
	bool hang;
	unsigned break_after;
	int break_with;
	struct fake_cuda_counts counts;
	struct {
		uint64_t calls;
		unsigned skip, times;
		int result;
	} functions[FN_COUNT];
} fake;

static _Thread_local struct {
	cu_context at[STACK_MAX];
	int depth;
} stack;

/* ---- Small things ---- */

static void wrong(const char *what)
{
	fprintf(stderr, "the driver was misused: %s\n", what);
	abort();
}
#define must(condition, what)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			wrong(what);                                                               \
	} while (0)

static int64_t now_ns(void)
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

static cu_context current(void)
{
	return stack.depth ? stack.at[stack.depth - 1] : NULL;
}

static struct memory *memory_of(const void *at, uint64_t bytes)
{
	list_for_each(link, &fake.memories) {
		struct memory *memory = list_entry(link, struct memory, link);
		uint64_t from = (uint64_t)(uintptr_t)at - (uint64_t)(uintptr_t)memory->at;

		if (from < memory->size && bytes <= memory->size - from && !memory->freed)
			return memory;
	}
	return NULL;
}

static bool is_pinned(const void *at, uint64_t bytes)
{
	const struct memory *memory = memory_of(at, bytes);

	return memory && memory->kind == FAKE_PINNED;
}

/* ---- Streams, in time ---- */

static cu_stream default_stream(cu_context context)
{
	cu_stream stream = &fake.legacy[context->device];

	stream->context = context;
	if (!stream->link.next)
		list_push(&fake.streams, &stream->link);
	return stream;
}

static cu_stream stream_of(cu_stream stream)
{
	cu_context context = current();

	if (stream != NULL && stream != CU_STREAM_LEGACY && stream != CU_STREAM_PER_THREAD)
		return stream;
	must(context, "a default stream, and no context is current");
	return default_stream(context);
}

static void copy(struct op *op, cu_context context)
{
	struct memory *memory = memory_of(op->device_at, op->bytes);
	char *device = memory ? memory->bytes + (op->device_at - memory->at) : NULL;

	must(memory && memory->kind != FAKE_PINNED, "a copy to or from memory that was freed");
	must(!op->pinned || is_pinned(op->host_at, op->bytes),
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

static void forget_stream(cu_stream stream)
{
	list_remove(&stream->link);
	free(stream);
}

/* With the lock held. */
static int64_t run(void)
{
	int64_t now = now_ns();

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
			forget_stream(stream);
	}
	return NEVER;
}

void fake_cuda_run(void)
{
	lock_take(&fake.lock);
	run();
	lock_drop(&fake.lock);
}

int64_t fake_cuda_next_ns(void)
{
	int64_t next;

	lock_take(&fake.lock);
	next = run();
	lock_drop(&fake.lock);
	return next;
}

static struct op *push(cu_stream stream, enum op_kind kind)
{
	struct op *op = calloc(1, sizeof(*op));

	must(op, "no memory for the test itself");
	op->kind = kind;
	op->from_ns = now_ns();
	list_push(&stream->ops, &op->link);
	return op;
}

/* ---- Calls ---- */

/* Counts; what was ordered to fail, fails; then what has had its time is carried out. */
static int enter(enum function function)
{
	int result = CU_OK;

	lock_take(&fake.lock);
	fake.counts.calls++;
	fake.functions[function].calls++;
	if (fake.functions[function].times) {
		if (fake.functions[function].skip) {
			fake.functions[function].skip--;
		} else {
			fake.functions[function].times--;
			result = fake.functions[function].result;
		}
	}
	run();
	return result;
}

static int leave(int result)
{
	lock_drop(&fake.lock);
	return result;
}

/* For calls that need a context: the one that is current, in health. */
static int enter_context(enum function function)
{
	int result = enter(function);

	must(current(), "no context is current");
	if (result == CU_OK && current()->broken)
		result = current()->broken;
	return result;
}

#define begin_call(name)                                                                           \
	do {                                                                                       \
		int forced_ = enter(FN_##name);                                                    \
		if (forced_)                                                                       \
			return leave(forced_);                                                     \
	} while (0)
#define begin_context_call(name)                                                                   \
	do {                                                                                       \
		int forced_ = enter_context(FN_##name);                                            \
		if (forced_)                                                                       \
			return leave(forced_);                                                     \
	} while (0)

static int do_init(unsigned flags)
{
	begin_call(init);
	return leave(flags ? CU_INVALID_VALUE : CU_OK);
}

static int do_driver_version(int *out)
{
	begin_call(driver_version);
	*out = fake.how.version;
	return leave(CU_OK);
}

static int do_error_name(int result, const char **out)
{
	*out = result == CU_OUT_OF_MEMORY          ? "CUDA_ERROR_OUT_OF_MEMORY"
	       : result == CU_ILLEGAL_ADDRESS      ? "CUDA_ERROR_ILLEGAL_ADDRESS"
	       : result == CU_CONTEXT_IS_DESTROYED ? "CUDA_ERROR_CONTEXT_IS_DESTROYED"
						   : NULL;
	return *out ? CU_OK : CU_INVALID_VALUE;
}

static int do_error_string(int result, const char **out)
{
	*out = "as the test ordered";
	return result ? CU_OK : CU_INVALID_VALUE;
}

static int do_device_count(int *out)
{
	begin_call(device_count);
	*out = fake.how.devices;
	return leave(CU_OK);
}

static int do_device_get(cu_device *out, int ordinal)
{
	begin_call(device_get);
	*out = ordinal + 100;
	return leave(ordinal < 0 || ordinal >= fake.how.devices ? CU_INVALID_DEVICE : CU_OK);
}

static int do_device_name(char *to, int size, cu_device device)
{
	begin_call(device_name);
	snprintf(to, (size_t)size, "Fake %d", device - 100);
	return leave(CU_OK);
}

static int do_device_memory(size_t *out, cu_device device)
{
	begin_call(device_memory);
	*out = fake.how.memory_bytes;
	return leave(device >= 100 ? CU_OK : CU_INVALID_DEVICE);
}

static int do_device_attribute(int *out, int attribute, cu_device device)
{
	begin_call(device_attribute);
	*out = attribute == CU_DEVICE_INTEGRATED    ? fake.how.integrated
	       : attribute == CU_DEVICE_HOST_TABLES ? fake.how.coherent
	       : attribute == CU_DEVICE_MANAGED_FROM_HOST
		       ? fake.how.coherent
		       : attribute == CU_DEVICE_CONCURRENT_MANAGED;
	return leave(device >= 100 ? CU_OK : CU_INVALID_DEVICE);
}

static cu_context retain(int device)
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

static int do_primary_retain(cu_context *out, cu_device device)
{
	begin_call(primary_retain);
	*out = retain(device - 100);
	return leave(CU_OK);
}

static int do_primary_release(cu_device device)
{
	cu_context context = fake.primary[device - 100];

	begin_call(primary_release);
	if (context && context->refs && --context->refs == 0 && !context->broken) {
		context->broken = CU_CONTEXT_IS_DESTROYED;
		fake.counts.contexts--;
	}
	return leave(CU_OK);
}

static int do_context_push(cu_context context)
{
	begin_call(context_push);
	if (context->broken == CU_CONTEXT_IS_DESTROYED)
		return leave(CU_CONTEXT_IS_DESTROYED);
	must(stack.depth < STACK_MAX, "contexts are pushed and not popped");
	stack.at[stack.depth++] = context;
	return leave(CU_OK);
}

static int do_context_pop(cu_context *out)
{
	begin_call(context_pop);
	must(stack.depth > 0, "a context is popped that was not pushed");
	*out = stack.at[--stack.depth];
	return leave(CU_OK);
}

static struct memory *make_memory(cu_context context, uint64_t bytes, enum fake_memory kind)
{
	struct memory *memory = calloc(1, sizeof(*memory));
	uint64_t mapped = round_up(bytes ? bytes : 1, (uint64_t)4096);
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;

	must(memory, "no memory for the test itself");
	*memory = (struct memory){
		.size = bytes, .mapped = mapped, .context = context, .kind = kind};
	memory->bytes = mmap(NULL, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
	memory->at = memory->bytes;
	if (kind == FAKE_DEVICE && !fake.how.coherent)
		memory->at = mmap(NULL, mapped, PROT_NONE, flags, -1, 0);
	must(memory->at != MAP_FAILED && memory->bytes != MAP_FAILED, "no memory for the test");
	list_push(&fake.memories, &memory->link);
	return memory;
}

static int allocate(cu_pointer *out, uint64_t bytes, enum fake_memory kind)
{
	cu_context context = current();
	uint64_t *used = &fake.device_bytes[context->device];

	if (bytes == 0)
		return CU_INVALID_VALUE;
	if (*used + bytes > fake.how.memory_bytes)
		return CU_OUT_OF_MEMORY;
	*used += bytes;
	fake.counts.allocations++;
	*out = (cu_pointer)(uintptr_t)make_memory(context, bytes, kind)->at;
	return CU_OK;
}

static int do_memory_alloc(cu_pointer *out, size_t bytes)
{
	begin_context_call(memory_alloc);
	return leave(allocate(out, bytes, FAKE_DEVICE));
}

static int do_memory_alloc_managed(cu_pointer *out, size_t bytes, unsigned flags)
{
	begin_context_call(memory_alloc_managed);
	return leave(flags == CU_ATTACH_GLOBAL ? allocate(out, bytes, FAKE_MANAGED)
					       : CU_INVALID_VALUE);
}

static int do_memory_free(cu_pointer at)
{
	struct memory *memory;

	begin_context_call(memory_free);
	memory = memory_of((const void *)(uintptr_t)at, 1);
	must(memory && (cu_pointer)(uintptr_t)memory->at == at, "memory is freed that is none");
	must(memory->context == current(), "memory is freed in another context");
	fake.device_bytes[memory->context->device] -= memory->size;
	memory->freed = true; /* its addresses are not used again */
	fake.counts.allocations--;
	return leave(CU_OK);
}

static int do_memory_info(size_t *left, size_t *all)
{
	begin_context_call(memory_info);
	*all = fake.how.memory_bytes;
	*left = fake.how.memory_bytes - fake.device_bytes[current()->device];
	return leave(CU_OK);
}

static int do_memory_register(void *at, size_t bytes, unsigned flags)
{
	struct memory *memory;

	begin_context_call(memory_register);
	if (memory_of(at, 1))
		return leave(CU_ALREADY_REGISTERED);
	must(flags == CU_REGISTER_PORTABLE, "pinned for one context alone");
	memory = calloc(1, sizeof(*memory));
	must(memory, "no memory for the test itself");
	*memory = (struct memory){.at = at,
				  .bytes = at,
				  .size = bytes,
				  .context = current(),
				  .kind = FAKE_PINNED,
				  .registered = true};
	list_push(&fake.memories, &memory->link);
	fake.counts.pins++;
	fake.counts.pinned_bytes += bytes;
	fake.counts.pinned_peak_bytes = max_of(fake.counts.pinned_peak_bytes,
					       fake.counts.pinned_bytes);
	return leave(CU_OK);
}

static int do_memory_unregister(void *at)
{
	struct memory *memory;

	begin_context_call(memory_unregister);
	memory = memory_of(at, 1);
	must(memory && memory->registered && memory->at == at, "memory is unpinned that was not");
	fake.counts.pins--;
	fake.counts.pinned_bytes -= memory->size;
	list_remove(&memory->link);
	free(memory);
	return leave(CU_OK);
}

static int do_pointer_attributes(unsigned count, int *attributes, void **out, cu_pointer at)
{
	const struct memory *memory;

	begin_call(pointer_attributes);
	memory = memory_of((const void *)(uintptr_t)at, 1);
	for (unsigned i = 0; i < count; i++)
		switch (attributes[i]) {
		case CU_POINTER_MEMORY_TYPE:
			*(unsigned *)out[i] = !memory                       ? CU_MEMORY_UNKNOWN
					      : memory->kind == FAKE_PINNED ? CU_MEMORY_HOST
									    : CU_MEMORY_DEVICE;
			break;
		case CU_POINTER_IS_MANAGED:
			*(bool *)out[i] = memory && memory->kind == FAKE_MANAGED;
			break;
		case CU_POINTER_DEVICE:
			*(int *)out[i] = memory ? memory->context->device : -2;
			break;
		case CU_POINTER_CONTEXT:
			*(cu_context *)out[i] = memory ? memory->context : NULL;
			break;
		default:
			return leave(CU_INVALID_VALUE);
		}
	return leave(CU_OK);
}

static int queue_copy(enum op_kind kind, cu_pointer device, char *host, size_t bytes,
		      cu_stream stream)
{
	const void *at = (const void *)(uintptr_t)device;
	struct memory *memory = memory_of(at, bytes);
	struct op *op;

	stream = stream_of(stream);
	must(stream->context == current(), "a stream is used in another context");
	must(!stream->dropped, "a stream is used that was destroyed");
	if (!memory || memory->kind == FAKE_PINNED)
		return CU_INVALID_VALUE;
	must(memory->kind == FAKE_MANAGED || memory->context->device == current()->device,
	     "a copy from the context of another device");
	op = push(stream, kind);
	op->device_at = memory->at + ((const char *)at - memory->at);
	op->host_at = host;
	op->bytes = bytes;
	op->pinned = is_pinned(host, bytes);
	fake.counts.unpinned_copies += !op->pinned;
	if (kind == OP_IN) {
		fake.counts.copies_in++;
		fake.counts.bytes_in += bytes;
	} else {
		fake.counts.copies_out++;
		fake.counts.bytes_out += bytes;
	}
	return CU_OK;
}

static int do_copy_to_device(cu_pointer to, const void *from, size_t bytes, cu_stream stream)
{
	char *host;

	begin_context_call(copy_to_device);
	memcpy(&host, &from, sizeof(host)); /* only read: the cast takes no promise back */
	return leave(queue_copy(OP_IN, to, host, bytes, stream));
}

static int do_copy_to_host(void *to, cu_pointer from, size_t bytes, cu_stream stream)
{
	begin_context_call(copy_to_host);
	return leave(queue_copy(OP_OUT, from, to, bytes, stream));
}

static int do_copy_to_host_now(void *to, cu_pointer from, size_t bytes)
{
	const char *at = (const char *)(uintptr_t)from;
	struct memory *memory;

	begin_context_call(copy_to_host_now);
	memory = memory_of(at, bytes);
	must(memory, "bytes are read from memory that is none");
	memcpy(to, memory->bytes + (at - memory->at), bytes);
	return leave(CU_OK);
}

static cu_stream make_stream(cu_context context)
{
	cu_stream stream = calloc(1, sizeof(*stream));

	must(stream, "no memory for the test itself");
	stream->context = context;
	list_init(&stream->ops);
	list_push(&fake.streams, &stream->link);
	return stream;
}

static int do_stream_create(cu_stream *out, unsigned flags)
{
	begin_context_call(stream_create);
	must(flags == CU_STREAM_NON_BLOCKING, "a stream that waits for the default one");
	*out = make_stream(current());
	fake.counts.streams++;
	return leave(CU_OK);
}

static int do_stream_destroy(cu_stream stream)
{
	begin_context_call(stream_destroy);
	must(!stream->dropped, "a stream is destroyed twice");
	stream->dropped = true;
	fake.counts.streams--;
	if (list_empty(&stream->ops))
		forget_stream(stream);
	return leave(CU_OK);
}

static int do_stream_query(cu_stream stream)
{
	begin_context_call(stream_query);
	return leave(list_empty(&stream_of(stream)->ops) ? CU_OK : CU_NOT_READY);
}

static int do_stream_context(cu_stream stream, cu_context *out)
{
	begin_call(stream_context);
	*out = stream_of(stream)->context;
	return leave(CU_OK);
}

static int do_stream_wait(cu_stream stream, cu_event event, unsigned flags)
{
	struct op *op;

	begin_context_call(stream_wait);
	must(flags == 0 && !event->dropped, "a wait for an event that was destroyed");
	op = push(stream_of(stream), OP_WAIT);
	op->event = event;
	op->generation = event->recorded;
	return leave(CU_OK);
}

static int do_event_create(cu_event *out, unsigned flags)
{
	begin_context_call(event_create);
	must(flags == CU_EVENT_NO_TIMING, "an event that measures time");
	*out = calloc(1, sizeof(**out));
	must(*out, "no memory for the test itself");
	list_push(&fake.events, &(*out)->link);
	(*out)->context = current();
	fake.counts.events++;
	return leave(CU_OK);
}

static int do_event_destroy(cu_event event)
{
	begin_context_call(event_destroy);
	must(!event->dropped, "an event is destroyed twice");
	event->dropped = true;
	fake.counts.events--;
	return leave(CU_OK);
}

static int do_event_record(cu_event event, cu_stream stream)
{
	struct op *op;

	begin_context_call(event_record);
	stream = stream_of(stream);
	must(!event->dropped && !stream->dropped, "an event or a stream that was destroyed");
	must(event->context == stream->context, "an event in a stream of another context");
	op = push(stream, OP_RECORD);
	op->event = event;
	op->generation = ++event->recorded;
	return leave(CU_OK);
}

static int do_event_query(cu_event event)
{
	begin_context_call(event_query);
	must(!event->dropped, "an event is asked that was destroyed");
	return leave(event->reached == event->recorded ? CU_OK : CU_NOT_READY);
}

static const struct cuda_driver table = {
#define ENTRY(name, symbol, arguments) .name = do_##name,
	CUDA_FUNCTIONS(ENTRY)
#undef ENTRY
};

/* ---- For tests ---- */

void fake_cuda_behave(const struct fake_cuda_how *how)
{
	lock_take(&fake.lock);
	fake.how.latency_ns = how->latency_ns;
	fake.how.jitter_ns = how->jitter_ns;
	fake.how.bytes_per_second = how->bytes_per_second;
	lock_drop(&fake.lock);
}

const struct cuda_driver *fake_cuda_start(const struct fake_cuda_how *how)
{
	static const struct fake_cuda_how defaults;

	memset(&fake, 0, sizeof(fake)); /* what was, is left where it is */
	lock_init(&fake.lock);
	fake.how = how ? *how : defaults;
	fake.how.devices = fake.how.devices ? fake.how.devices : 2;
	fake.how.version = fake.how.version ? fake.how.version : 12040;
	fake.how.memory_bytes = fake.how.memory_bytes ? fake.how.memory_bytes : GIB;
	fake.chance = fake.how.seed + 1;
	stack.depth = 0;
	list_init(&fake.contexts);
	list_init(&fake.streams);
	list_init(&fake.memories);
	list_init(&fake.events);
	for (int i = 0; i < FAKE_DEVICES; i++)
		list_init(&fake.legacy[i].ops);
	return &table;
}

void fake_cuda_fail(const char *function, unsigned nth, unsigned times, int result)
{
	lock_take(&fake.lock);
	for (int i = 0; i < FN_COUNT; i++)
		if (strcmp(names[i], function) == 0) {
			fake.functions[i].skip = nth - 1;
			fake.functions[i].times = times;
			fake.functions[i].result = result;
			lock_drop(&fake.lock);
			return;
		}
	wrong("there is no such function to fail");
}

void fake_cuda_break_copy(unsigned nth, int result)
{
	lock_take(&fake.lock);
	fake.break_after = nth;
	fake.break_with = result;
	lock_drop(&fake.lock);
}

void fake_cuda_hang(bool hang)
{
	lock_take(&fake.lock);
	fake.hang = hang;
	lock_drop(&fake.lock);
}

void fake_cuda_reset(int device)
{
	lock_take(&fake.lock);
	if (fake.primary[device]) {
		fake.primary[device]->broken = CU_CONTEXT_IS_DESTROYED;
		fake.primary[device]->refs = 0;
		fake.counts.contexts--;
	}
	lock_drop(&fake.lock);
}

/* The program's own hold on a primary context is never given up. */
static cu_context programs(int device)
{
	cu_context context = fake.primary[device];

	if (!context || context->broken)
		context = retain(device);
	default_stream(context);
	return context;
}

void *fake_cuda_alloc(int device, uint64_t bytes, enum fake_memory kind)
{
	void *at;

	lock_take(&fake.lock);
	at = make_memory(programs(device), bytes, kind)->at;
	lock_drop(&fake.lock);
	return at;
}

void fake_cuda_free(void *at)
{
	lock_take(&fake.lock);
	memory_of(at, 1)->freed = true;
	lock_drop(&fake.lock);
}

unsigned char *fake_cuda_bytes(const void *at)
{
	const struct memory *memory = memory_of(at, 1);

	must(memory, "the test looks at memory that is none");
	return (unsigned char *)memory->bytes + ((const char *)at - memory->at);
}

cu_stream fake_cuda_stream(int device)
{
	cu_stream stream;

	lock_take(&fake.lock);
	stream = make_stream(programs(device));
	lock_drop(&fake.lock);
	return stream;
}

void fake_cuda_compute(cu_stream stream, int64_t ns, void *fill, uint64_t bytes, int byte)
{
	struct op *op;

	lock_take(&fake.lock);
	op = push(stream ? stream : &fake.legacy[0], OP_COMPUTE);
	op->generation = (uint64_t)ns;
	op->device_at = fill;
	op->bytes = bytes;
	op->byte = byte;
	lock_drop(&fake.lock);
}

void fake_cuda_use(int device)
{
	lock_take(&fake.lock);
	stack.depth = 0;
	if (device >= 0)
		stack.at[stack.depth++] = programs(device);
	lock_drop(&fake.lock);
}

int fake_cuda_current(void)
{
	return current() ? current()->device : -1;
}

void fake_cuda_counts(struct fake_cuda_counts *out)
{
	lock_take(&fake.lock);
	*out = fake.counts;
	lock_drop(&fake.lock);
}

uint64_t fake_cuda_called(const char *function)
{
	uint64_t calls = 0;

	lock_take(&fake.lock);
	for (int i = 0; i < FN_COUNT; i++)
		if (strcmp(names[i], function) == 0)
			calls = fake.functions[i].calls;
	lock_drop(&fake.lock);
	return calls;
}
