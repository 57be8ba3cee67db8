/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory of CUDA devices, as one weir context uses it.
 *
 *	cuda      the driver, opened and started
 *	device    a device, in one CUDA context on it: nearly always its primary one, which frameworks use too
 *	place     what kind of memory an address is: asked once for a transfer, never guessed
 *	chunk     device memory of ours, counted
 *
 * No call needs a CUDA context to be current, and none leaves another one current than it found.  A context
 * is made on no device but those that destinations name.  A struct cuda is counted: device memory keeps
 * it alive after its weir context has gone.  In a forked child nothing here calls the driver.
 *
 * Copies, streams and their order are the engine's (engine/ferry.h).
 */
#ifndef MEM_CUDA_H
#define MEM_CUDA_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/list.h"
#include "base/thread.h"
#include "mem/cuda_driver.h"

/* What we pin, in all: more only takes it from others. */
#define CUDA_PINNED_MAX (UINT64_C(256) << 20)

/* What device memory of ours is aligned to. */
#define CUDA_ALIGN UINT64_C(256)

struct cuda {
	struct cuda_driver driver; /* a copy */
	pid_t pid;                 /* whose it is */
	int version;               /* of the driver: 12040 is CUDA 12.4 */
	_Atomic uint32_t refs;
	_Atomic uint64_t pinned_bytes;
	struct lock lock;
	struct list devices; /* under the lock */
};

struct cuda_device {
	struct cuda *cuda; /* which lives longer */
	int ordinal;
	cu_device handle;
	cu_context context;
	bool primary;      /* the context is retained, and released in the end */
	bool unified;      /* the processor reaches managed memory where it lies, at any time */
	bool coherent;     /* and device memory */
	_Atomic bool lost; /* its context does not exist any more */
	struct list link;
};

/* table NULL: the real driver (mem/cuda_driver.h).  WEIR_UNSUPPORTED where there is none to be used. */
must_use int cuda_create(const struct cuda_driver *table, struct cuda **out,
			 struct weir_error *err);
struct cuda *cuda_ref(struct cuda *cuda);
void cuda_unref(struct cuda *cuda); /* NULL is fine */

/* Of devices; those of other processes too. */
must_use int cuda_count(struct cuda *cuda, int *out, struct weir_error *err);

/* A device in its primary context.  WEIR_ARG where there is no such device. */
must_use int cuda_device_get(struct cuda *cuda, int ordinal, struct cuda_device **out,
			     struct weir_error *err);

/* What people are told of a device; makes no context on it. */
struct cuda_about {
	char name[128];
	uint64_t memory_bytes;
	bool unified, coherent; /* as in struct cuda_device */
};
must_use int cuda_describe(struct cuda *cuda, int ordinal, struct cuda_about *out,
			   struct weir_error *err);

struct cuda_place {
	struct cuda_device *device;
	bool reached; /* the processor writes to it itself: no copy is needed */
};

/*
 * What [at, at + bytes) is, which was named as memory of that device: in device memory, managed or
 * pinned.  Anything else is WEIR_ARG: another device's, the host's, freed, or longer than what is there.
 */
must_use int cuda_place(struct cuda *cuda, int ordinal, const void *at, uint64_t bytes,
			struct cuda_place *out, struct weir_error *err);

/* The device whose memory that is, managed memory included; -1: none's. */
int cuda_owner(struct cuda *cuda, const void *at);

/* Is that device memory, which the processor cannot touch? */
bool cuda_is_device_memory(struct cuda *cuda, const void *at);

/* Makes the device's context current for calls of the driver, and what was current before again. */
must_use int cuda_enter(struct cuda_device *device); /* an enum cu_result */
void cuda_leave(struct cuda_device *device);

/* ---- Memory ---- */

struct cuda_chunk {
	struct cuda_device *device;
	cu_pointer at;
	uint64_t bytes;
	_Atomic uint32_t refs;
};

/* WEIR_NOMEM with what the device has left. */
must_use int cuda_chunk_create(struct cuda_device *device, uint64_t bytes, struct cuda_chunk **out,
			       struct weir_error *err);
bool cuda_chunks_reached(const struct cuda_device *device); /* does the processor reach them? */
struct cuda_chunk *cuda_chunk_ref(struct cuda_chunk *chunk);
void cuda_chunk_unref(struct cuda_chunk *chunk); /* NULL is fine */

/* Bytes of a device's memory to the host, at once. */
must_use int cuda_read(struct cuda_device *device, const void *from, void *to, uint64_t bytes,
		       struct weir_error *err);

/* WEIR_NOMEM where the device has less left than that. */
must_use int cuda_check_memory(struct cuda_device *device, uint64_t bytes, struct weir_error *err);

/*
 * Pins host memory for all devices.  False: it is used as it is, and the driver copies it once more.
 * Unpinned before it is unmapped.
 */
bool cuda_pin(struct cuda_device *device, void *at, uint64_t bytes);
void cuda_unpin(struct cuda_device *device, void *at, uint64_t bytes);

/* ---- Failures ---- */

/* The class of a result, which is not CU_OK. */
int cuda_code(int result);

/* Could nothing of that context end any more? */
bool cuda_is_final(int result);

#define CUDA_TEXT_MAX 160
/* "CUDA_ERROR_OUT_OF_MEMORY (2): out of memory". */
const char *cuda_text(const struct cuda *cuda, int result, char to[CUDA_TEXT_MAX]);

/* Fills *err; returns the class. */
int cuda_failed(const struct cuda *cuda, int result, struct weir_error *err, const char *what)
	__attribute__((cold));

#endif
