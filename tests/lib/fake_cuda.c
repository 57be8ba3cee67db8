/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fake_cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/size.h"
#include "lib/fake_cuda_inside.h"

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
	fake_run_due();
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

	must(fake_context(), "no context is current");
	if (result == CU_OK && fake_context()->broken)
		result = fake_context()->broken;
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

static int do_primary_retain(cu_context *out, cu_device device)
{
	begin_call(primary_retain);
	*out = fake_retain(device - 100);
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
	must(fake_stack.depth < STACK_MAX, "contexts are pushed and not popped");
	fake_stack.at[fake_stack.depth++] = context;
	return leave(CU_OK);
}

static int do_context_pop(cu_context *out)
{
	begin_call(context_pop);
	must(fake_stack.depth > 0, "a context is popped that was not pushed");
	*out = fake_stack.at[--fake_stack.depth];
	return leave(CU_OK);
}

static int allocate(cu_pointer *out, uint64_t bytes, enum fake_memory kind)
{
	cu_context context = fake_context();
	uint64_t *used = &fake.device_bytes[context->device];

	if (bytes == 0)
		return CU_INVALID_VALUE;
	if (*used + bytes > fake.how.memory_bytes)
		return CU_OUT_OF_MEMORY;
	*used += bytes;
	fake.counts.allocations++;
	*out = (cu_pointer)(uintptr_t)fake_make_memory(context, bytes, kind)->at;
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
	memory = fake_memory_at((const void *)(uintptr_t)at, 1);
	must(memory && (cu_pointer)(uintptr_t)memory->at == at, "memory is freed that is none");
	must(memory->context == fake_context(), "memory is freed in another context");
	fake.device_bytes[memory->context->device] -= memory->size;
	memory->freed = true; /* its addresses are not used again */
	fake.counts.allocations--;
	return leave(CU_OK);
}

static int do_memory_info(size_t *left, size_t *all)
{
	begin_context_call(memory_info);
	*all = fake.how.memory_bytes;
	*left = fake.how.memory_bytes - fake.device_bytes[fake_context()->device];
	return leave(CU_OK);
}

static int do_memory_register(void *at, size_t bytes, unsigned flags)
{
	struct memory *memory;

	begin_context_call(memory_register);
	if (fake_memory_at(at, 1))
		return leave(CU_ALREADY_REGISTERED);
	must(flags == CU_REGISTER_PORTABLE, "pinned for one context alone");
	memory = calloc(1, sizeof(*memory));
	must(memory, "no memory for the test itself");
	*memory = (struct memory){.at = at,
				  .bytes = at,
				  .size = bytes,
				  .context = fake_context(),
				  .kind = FAKE_PINNED,
				  .foreign = true,
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
	memory = fake_memory_at(at, 1);
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
	memory = fake_memory_at((const void *)(uintptr_t)at, 1);
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
	struct memory *memory = fake_memory_at(at, bytes);
	struct op *op;

	stream = fake_stream_of(stream);
	must(stream->context == fake_context(), "a stream is used in another context");
	must(!stream->dropped, "a stream is used that was destroyed");
	if (!memory || memory->kind == FAKE_PINNED)
		return CU_INVALID_VALUE;
	must(memory->kind == FAKE_MANAGED || memory->context->device == fake_context()->device,
	     "a copy from the context of another device");
	op = fake_push(stream, kind);
	op->device_at = memory->at + ((const char *)at - memory->at);
	op->host_at = host;
	op->bytes = bytes;
	op->pinned = fake_is_pinned(host, bytes);
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
	memory = fake_memory_at(at, bytes);
	must(memory, "bytes are read from memory that is none");
	memcpy(to, memory->bytes + (at - memory->at), bytes);
	return leave(CU_OK);
}

static int do_stream_create(cu_stream *out, unsigned flags)
{
	begin_context_call(stream_create);
	must(flags == CU_STREAM_NON_BLOCKING, "a stream that waits for the default one");
	*out = fake_make_stream(fake_context());
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
		fake_forget_stream(stream);
	return leave(CU_OK);
}

static int do_stream_query(cu_stream stream)
{
	begin_context_call(stream_query);
	return leave(list_empty(&fake_stream_of(stream)->ops) ? CU_OK : CU_NOT_READY);
}

static int do_stream_context(cu_stream stream, cu_context *out)
{
	begin_call(stream_context);
	*out = fake_stream_of(stream)->context;
	return leave(CU_OK);
}

static int do_stream_wait(cu_stream stream, cu_event event, unsigned flags)
{
	struct op *op;

	begin_context_call(stream_wait);
	must(flags == 0 && !event->dropped, "a wait for an event that was destroyed");
	op = fake_push(fake_stream_of(stream), OP_WAIT);
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
	(*out)->context = fake_context();
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
	stream = fake_stream_of(stream);
	must(!event->dropped && !stream->dropped, "an event or a stream that was destroyed");
	must(event->context == stream->context, "an event in a stream of another context");
	op = fake_push(stream, OP_RECORD);
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

const struct cuda_driver fake_table = {
#define ENTRY(name, symbol, arguments) .name = do_##name,
	CUDA_FUNCTIONS(ENTRY)
#undef ENTRY
};
