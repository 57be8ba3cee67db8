/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers that are handed out.
 *
 * The buffers of one plan stand in one array, allocated when the transfer starts, so that handing one
 * out allocates nothing; the array goes when the transfer and the last buffer have gone.
 */
#ifndef ENGINE_BUFFER_H
#define ENGINE_BUFFER_H

#include <stdatomic.h>
#include <stdint.h>

#include "engine/budget.h"
#include "mem/cuda.h"
#include "mem/pool.h"
#include "weir/buffer.h"

struct buffer_block;

struct weir_buffer {
	void *data;
	uint64_t size_bytes;
	struct buffer_block *block;
	struct pool *pool; /* counted, where it is another than the block's */
	struct cuda_chunk
		*chunk; /* counted; the device memory that it is part of; NULL: host memory */
	_Atomic uint32_t refs;
	uint32_t mapped; /* data stands in a mapping of a file */
};

/* Keeps pool and budget alive; the caller holds it until buffer_block_unref(). */
int buffer_block_create(struct pool *pool, struct budget *budget, uint64_t count,
			struct buffer_block **out, struct weir_error *err);
void buffer_block_unref(struct buffer_block *block);

/*
 * The index-th buffer, over memory of a pool: holds its units, and has one reference.  Its bytes
 * were taken from the budget before and are the buffer's to give back.
 */
struct weir_buffer *buffer_make(struct buffer_block *block, uint64_t index, struct pool *pool,
				void *data, uint64_t bytes);

/* Likewise over memory of a device: holds the chunk. */
struct weir_buffer *buffer_make_device(struct buffer_block *block, uint64_t index,
				       struct cuda_chunk *chunk, void *data, uint64_t bytes);

/* One buffer by itself, over a mapping that its last unref undoes. */
int buffer_map(const struct sys *sys, void *mapping, uint64_t mapping_bytes, void *data,
	       uint64_t bytes, struct weir_buffer **out, struct weir_error *err);

#endif
