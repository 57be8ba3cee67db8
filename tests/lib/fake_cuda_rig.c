/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/fake_cuda_inside.h"

static const char *const names[] = {
#define NAME(name, symbol, arguments) #name,
	CUDA_FUNCTIONS(NAME)
#undef NAME
};

void fake_cuda_run(void)
{
	lock_take(&fake.lock);
	fake_run_due();
	lock_drop(&fake.lock);
}

int64_t fake_cuda_next_ns(void)
{
	int64_t next;

	lock_take(&fake.lock);
	next = fake_run_due();
	lock_drop(&fake.lock);
	return next;
}

/* ---- For tests ---- */

void fake_cuda_behave(const struct fake_cuda_how *how)
{
	lock_take(&fake.lock);
	fake.how.latency_ns = how->latency_ns;
	fake.how.jitter_ns = how->jitter_ns;
	fake.how.bytes_per_second = how->bytes_per_second;
	lock_drop(&fake.lock);
}

static void forget_all(struct list *list, size_t offset)
{
	for (struct list *link = list_pop(list); link; link = list_pop(list))
		free((char *)link - offset);
}

/* What an earlier start left behind. */
static void forget(void)
{
	list_for_each(link, &fake.streams)
		forget_all(&list_entry(link, struct cu_stream_handle, link)->ops,
			   offsetof(struct op, link));
	for (int i = 0; i < FAKE_DEVICES; i++)
		if (fake.legacy[i].link.next)
			list_remove(&fake.legacy[i].link);
	list_for_each(link, &fake.memories) {
		struct memory *memory = list_entry(link, struct memory, link);

		if (!memory->foreign && memory->at != memory->bytes)
			munmap(memory->at, memory->mapped);
		if (!memory->foreign)
			munmap(memory->bytes, memory->mapped);
	}
	forget_all(&fake.memories, offsetof(struct memory, link));
	forget_all(&fake.streams, offsetof(struct cu_stream_handle, link));
	forget_all(&fake.contexts, offsetof(struct cu_context_handle, link));
	forget_all(&fake.events, offsetof(struct cu_event_handle, link));
	lock_fini(&fake.lock);
}

const struct cuda_driver *fake_cuda_start(const struct fake_cuda_how *how)
{
	static const struct fake_cuda_how defaults = {0};

	if (fake.made)
		forget();
	memset(&fake, 0, sizeof(fake));
	fake.made = true;
	lock_init(&fake.lock);
	fake.how = how ? *how : defaults;
	fake.how.devices = fake.how.devices ? fake.how.devices : 2;
	fake.how.version = fake.how.version ? fake.how.version : 12040;
	fake.how.memory_bytes = fake.how.memory_bytes ? fake.how.memory_bytes : GIB;
	fake.chance = fake.how.seed + 1;
	fake_stack.depth = 0;
	list_init(&fake.contexts);
	list_init(&fake.streams);
	list_init(&fake.memories);
	list_init(&fake.events);
	for (int i = 0; i < FAKE_DEVICES; i++)
		list_init(&fake.legacy[i].ops);
	return &fake_table;
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
	fake_wrong("there is no such function to fail");
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
		fake.engine_free_ns[device][0] = fake.engine_free_ns[device][1] = 0;
		list_for_each(link, &fake.memories) {
			struct memory *memory = list_entry(link, struct memory, link);

			if (memory->context == fake.primary[device] && !memory->freed) {
				memory->freed = true;
				fake.counts.pins -= memory->registered;
				fake.counts.pinned_bytes -= memory->registered ? memory->size : 0;
			}
		}
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
		context = fake_retain(device);
	fake_default_stream(context);
	return context;
}

void *fake_cuda_alloc(int device, uint64_t bytes, enum fake_memory kind)
{
	void *at;

	lock_take(&fake.lock);
	at = fake_make_memory(programs(device), bytes, kind)->at;
	lock_drop(&fake.lock);
	return at;
}

void fake_cuda_adopt(int device, void *at, uint64_t bytes)
{
	struct memory *memory = calloc(1, sizeof(*memory));

	must(memory, "no memory for the test itself");
	lock_take(&fake.lock);
	*memory = (struct memory){.at = at,
				  .bytes = at,
				  .size = bytes,
				  .context = programs(device),
				  .kind = FAKE_DEVICE,
				  .foreign = true};
	list_push(&fake.memories, &memory->link);
	lock_drop(&fake.lock);
}

void fake_cuda_free(void *at)
{
	lock_take(&fake.lock);
	fake_memory_at(at, 1)->freed = true;
	lock_drop(&fake.lock);
}

unsigned char *fake_cuda_bytes(const void *at)
{
	const struct memory *memory = fake_memory_at(at, 1);

	must(memory, "the test looks at memory that is none");
	return (unsigned char *)memory->bytes + ((const char *)at - memory->at);
}

cu_stream fake_cuda_stream(int device)
{
	cu_stream stream;

	lock_take(&fake.lock);
	stream = fake_make_stream(programs(device));
	lock_drop(&fake.lock);
	return stream;
}

void fake_cuda_compute(cu_stream stream, int64_t ns, void *fill, uint64_t bytes, int byte)
{
	struct op *op;

	lock_take(&fake.lock);
	op = fake_push(stream ? stream : &fake.legacy[0], OP_COMPUTE);
	op->generation = (uint64_t)ns;
	op->device_at = fill;
	op->bytes = bytes;
	op->byte = byte;
	lock_drop(&fake.lock);
}

void fake_cuda_use(int device)
{
	lock_take(&fake.lock);
	fake_stack.depth = 0;
	if (device >= 0)
		fake_stack.at[fake_stack.depth++] = programs(device);
	lock_drop(&fake.lock);
}

int fake_cuda_current(void)
{
	return fake_context() ? fake_context()->device : -1;
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
