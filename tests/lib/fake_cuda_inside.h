/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the driver that is none share: its state, and streams in time.
 *
 *	fake_cuda.c       the calls of the table
 *	fake_cuda_time.c  contexts, memory, and streams whose contents take time
 *	fake_cuda_rig.c   what tests do with it
 */
#ifndef TESTS_LIB_FAKE_CUDA_INSIDE_H
#define TESTS_LIB_FAKE_CUDA_INSIDE_H

#include "base/list.h"
#include "base/thread.h"
#include "lib/fake_cuda.h"

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
	bool freed;
	bool foreign; /* not ours to unmap: pinned by a call, or adopted */
	bool registered;
};

enum function {
#define NAME(name, symbol, arguments) FN_##name,
	CUDA_FUNCTIONS(NAME)
#undef NAME
	FN_COUNT
};
struct fake_cuda {
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
};
extern struct fake_cuda fake;

struct fake_stack {
	cu_context at[STACK_MAX];
	int depth;
};
extern _Thread_local struct fake_stack fake_stack;

extern const struct cuda_driver fake_table;

void fake_wrong(const char *what) __attribute__((noreturn));
#define must(condition, what)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fake_wrong(what);                                                          \
	} while (0)

int64_t fake_now(void);
cu_context fake_context(void); /* the current one, or NULL */
cu_context fake_retain(int device);

/* What is alive and holds all of a range; NULL: nothing. */
struct memory *fake_memory_at(const void *at, uint64_t bytes);
struct memory *fake_make_memory(cu_context context, uint64_t bytes, enum fake_memory kind);
bool fake_is_pinned(const void *at, uint64_t bytes);

cu_stream fake_make_stream(cu_context context);
cu_stream fake_default_stream(cu_context context);
cu_stream fake_stream_of(cu_stream stream); /* the default ones too */
void fake_forget_stream(cu_stream stream);
struct op *fake_push(cu_stream stream, enum op_kind kind);

/* With the lock held: carries out what has had its time; when the next has. */
int64_t fake_run_due(void);

#endif
