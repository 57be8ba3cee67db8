/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA driver that is none: a table (mem/cuda_driver.h) over host memory.
 *
 * Streams are queues of copies, computations, events and waits.  Everything in them takes time on a clock
 * that a test may replace, in order within a stream and in any order between them; what has had its time
 * is carried out when the table is next called, or fake_cuda_run() is.  Device memory has addresses that
 * nobody can touch, and its bytes elsewhere (fake_cuda_bytes()).
 *
 * A call that no correct program makes (another context current, memory that is freed, another stream's
 * context) ends the test and says so.
 */
#ifndef TESTS_LIB_FAKE_CUDA_H
#define TESTS_LIB_FAKE_CUDA_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/cuda_driver.h"

#define FAKE_DEVICES 4

struct fake_cuda_how {
	int devices;               /* 0: 2 of them */
	int version;               /* 0: 12040 */
	int64_t (*now_ns)(void);   /* NULL: the monotonic clock */
	int64_t latency_ns;        /* of each copy */
	int64_t jitter_ns;         /* up to that much more, at random */
	uint64_t bytes_per_second; /* of each device's copies together, each way; 0: no limit */
	uint64_t memory_bytes;     /* of each device; 0: 1 GiB */
	uint64_t seed;
	bool visible; /* device memory is where its addresses say, for tests that look */
	bool integrated, coherent; /* shares its memory with the processor; and all of it */
};

/* Forgets all that was.  how NULL: defaults. */
const struct cuda_driver *fake_cuda_start(const struct fake_cuda_how *how);
void fake_cuda_behave(const struct fake_cuda_how *how); /* times only */

/* Carries out what has had its time; when the next thing has, or NEVER. */
void fake_cuda_run(void);
int64_t fake_cuda_next_ns(void);

/* ---- What goes wrong ---- */

/* The nth call (1: the next) of a function, by its name in the table, answers that; `times` of them. */
void fake_cuda_fail(const char *function, unsigned nth, unsigned times, int result);
/* The nth copy that is carried out from here on breaks its context with that. */
void fake_cuda_break_copy(unsigned nth, int result);
/* Nothing in a stream is carried out any more; or is again. */
void fake_cuda_hang(bool hang);
/* The program resets a device: its contexts are gone. */
void fake_cuda_reset(int device);

/* ---- What a program does beside weir ---- */

enum fake_memory {
	FAKE_DEVICE,
	FAKE_MANAGED,
	FAKE_PINNED
};
void *fake_cuda_alloc(int device, uint64_t bytes, enum fake_memory kind);
void fake_cuda_free(void *at);
/* Memory of the test's, which is the device's from here on. */
void fake_cuda_adopt(int device, void *at, uint64_t bytes);
unsigned char *fake_cuda_bytes(const void *at); /* where its bytes are */
cu_stream fake_cuda_stream(int device);
/* A computation that takes so long and fills memory in its end. */
void fake_cuda_compute(cu_stream stream, int64_t ns, void *fill, uint64_t bytes, int byte);
/* Makes a device's primary context current for this thread, or none (-1). */
void fake_cuda_use(int device);
int fake_cuda_current(void); /* the device of the current context; -1: none */

/* ---- What was done ---- */

struct fake_cuda_counts {
	uint64_t copies_in, copies_out, bytes_in, bytes_out;
	uint64_t streams, events, pins, allocations, contexts; /* alive now, weir's and ours */
	uint64_t pinned_bytes, pinned_peak_bytes;
	uint64_t unpinned_copies;
	uint64_t context_made[FAKE_DEVICES]; /* how often a primary context came to be */
	int64_t busy_ns;                     /* that copies took */
	uint64_t calls;
};
void fake_cuda_counts(struct fake_cuda_counts *out);
uint64_t fake_cuda_called(const char *function);

#endif
