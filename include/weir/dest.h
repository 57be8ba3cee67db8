/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/dest.h - where bytes may land
 */
#ifndef WEIR_DEST_H
#define WEIR_DEST_H

#include <stdint.h>

#include "weir/error.h"
#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_dest_kind {
	WEIR_DEST_ALLOC = 0,      /* weir allocates, and hands out a counted buffer */
	WEIR_DEST_HOST = 1,       /* the caller's memory */
	WEIR_DEST_CUDA = 2,       /* the caller's memory of a CUDA device */
	WEIR_DEST_CUDA_ALLOC = 3, /* likewise of a device; weir allocates, and hands out a buffer */
	WEIR_DEST_NONE = 4,       /* nobody: bytes are read, counted and dropped */
};

/* Nothing on any stream has to be waited for. */
#define WEIR_CUDA_NO_STREAM ((void *)(intptr_t)-1)

struct weir_dest {
	int kind;
	uint32_t align; /* both ALLOCs: at least this, a power of two; 0: as the type needs.  More
			      * than the file has costs a copy */
	void *memory;   /* HOST, CUDA: lent to weir until the extent's memory is released */
	uint64_t size_bytes; /* HOST, CUDA: must be the extent's */
	void *stream;        /* CUDA: what the program enqueued there comes first */
	int32_t device;      /* both CUDAs */
	uint32_t reserved;
};

WEIR_API struct weir_dest weir_dest_alloc(void);

/*
 * Bytes land without a copy where memory and file offset agree modulo the file's direct-I/O
 * alignment (weir/object.h); elsewhere they pass through staging.
 */
WEIR_API struct weir_dest weir_dest_host(void *memory, uint64_t size_bytes);

/*
 * Memory of a CUDA device: what cuMemAlloc, cudaMalloc or a framework's allocator gave, managed memory, or
 * pinned host memory.  stream is a CUstream (or cudaStream_t; NULL is the default one) on which that
 * memory was used last: no byte is written before what stands in it when the transfer starts has ended.
 * When an extent completes its bytes are there, for every stream.  No CUDA context needs to be current
 * in any thread, and none is left so.
 *
 * The driver is opened when a transfer with such a destination starts, which fails with WEIR_UNSUPPORTED
 * where there is none, and with WEIR_ARG where the address is not memory of that device.
 */
WEIR_API struct weir_dest weir_dest_cuda(int device, void *memory, uint64_t size_bytes,
					 void *stream);

struct weir_ctx;

/*
 * Memory of a kind that nobody said: a CUDA device's, or else the host's.  The driver is asked
 * where this process has it open; where it has not, there is no memory of a device.  stream: as
 * above.  Pinned memory counts as the host's.
 */
WEIR_API int weir_dest_find(struct weir_ctx *ctx, void *memory, uint64_t size_bytes, void *stream,
			    struct weir_dest *out, struct weir_error *err);

/* Memory that weir allocates on that device, aligned to 256 bytes or more. */
WEIR_API struct weir_dest weir_dest_cuda_alloc(int device);

/*
 * For who wants to know that bytes can be read, how fast, or to have them in a cache on the way.  They are
 * read like others and checked like others; the completion has their count, and neither data nor a
 * buffer.  What that takes of memory does not grow with the extent.
 */
WEIR_API struct weir_dest weir_dest_none(void);

#ifdef __cplusplus
}
#endif
#endif
