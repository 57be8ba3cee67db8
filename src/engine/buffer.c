/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/buffer.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/size.h"

struct buffer_block {
	struct pool *pool;     /* counted; NULL: one buffer, mapped */
	struct budget *budget; /* counted */
	const struct sys *sys; /* for unmapping */
	void *mapping;
	uint64_t mapping_bytes;
	_Atomic uint64_t refs; /* the transfer, and each buffer that is out */
	pid_t pid;             /* whose pool and budget they are */
	struct weir_buffer buffers[];
};

static int block_alloc(uint64_t count, struct buffer_block **out, struct weir_error *err)
{
	struct buffer_block *block = NULL;
	uint64_t bytes;

	if (size_mul(count, sizeof(block->buffers[0]), &bytes) &&
	    size_add(bytes, sizeof(*block), &bytes))
		block = calloc(1, bytes);
	if (!block)
		return error_nomem(err, NULL, "the table of buffers");
	atomic_init(&block->refs, 1);
	block->pid = getpid();
	*out = block;
	return 0;
}

int buffer_block_create(struct pool *pool, struct budget *budget, uint64_t count,
			struct buffer_block **out, struct weir_error *err)
{
	int ret = block_alloc(count, out, err);

	if (ret < 0)
		return ret;
	(*out)->pool = pool_ref(pool);
	(*out)->budget = budget_ref(budget);
	return 0;
}

void buffer_block_unref(struct buffer_block *block)
{
	/* Acquire-release: whoever frees sees what the others wrote. */
	if (!block || atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (block->pool) {
		pool_unref(block->pool);
		budget_unref(block->budget);
	} else if (block->mapping) {
		block->sys->munmap(block->mapping, (size_t)block->mapping_bytes);
	}
	free(block);
}

struct weir_buffer *buffer_make(struct buffer_block *block, uint64_t index, struct pool *pool,
				void *data, uint64_t bytes)
{
	struct weir_buffer *buffer = &block->buffers[index];

	atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
	if (bytes)
		pool_hold(pool, data, bytes);
	*buffer = (struct weir_buffer){.data = data, .size_bytes = bytes, .block = block};
	if (pool != block->pool)
		buffer->pool = pool_ref(pool);
	atomic_init(&buffer->refs, 1);
	return buffer;
}

struct weir_buffer *buffer_make_device(struct buffer_block *block, uint64_t index,
				       struct cuda_chunk *chunk, void *data, uint64_t bytes)
{
	struct weir_buffer *buffer = &block->buffers[index];

	atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
	*buffer = (struct weir_buffer){
		.data = data, .size_bytes = bytes, .block = block, .chunk = cuda_chunk_ref(chunk)};
	atomic_init(&buffer->refs, 1);
	return buffer;
}

int buffer_map(const struct sys *sys, void *mapping, uint64_t mapping_bytes, void *data,
	       uint64_t bytes, struct weir_buffer **out, struct weir_error *err)
{
	struct buffer_block *block;
	int ret = block_alloc(1, &block, err);

	if (ret < 0)
		return ret;
	block->sys = sys;
	block->mapping = mapping;
	block->mapping_bytes = mapping_bytes;
	block->buffers[0] = (struct weir_buffer){
		.data = data, .size_bytes = bytes, .block = block, .mapped = 1};
	atomic_init(&block->buffers[0].refs, 1);
	*out = &block->buffers[0];
	return 0;
}

struct weir_buffer *weir_buffer_ref(struct weir_buffer *buffer)
{
	atomic_fetch_add_explicit(&buffer->refs, 1, memory_order_relaxed);
	return buffer;
}

void weir_buffer_unref(struct weir_buffer *buffer)
{
	struct buffer_block *block;

	/* Acquire-release, as above: the memory goes back only after the last reader's reads. */
	if (!buffer || atomic_fetch_sub_explicit(&buffer->refs, 1, memory_order_acq_rel) != 1)
		return;
	block = buffer->block;
	if (block->pid != getpid()) /* a forked child: its parent's threads may hold the locks */
		return;
	if (buffer->chunk) {
		cuda_chunk_unref(buffer->chunk);
		budget_give(block->budget, buffer->size_bytes);
	} else if (block->pool && buffer->size_bytes) {
		pool_drop(buffer->pool ? buffer->pool : block->pool, buffer->data,
			  buffer->size_bytes);
		budget_give(block->budget, buffer->size_bytes);
	}
	if (buffer->pool)
		pool_unref(buffer->pool);
	buffer_block_unref(block);
}

void *weir_buffer_data(const struct weir_buffer *buffer)
{
	return buffer->data;
}

uint64_t weir_buffer_size(const struct weir_buffer *buffer)
{
	return buffer->size_bytes;
}

int weir_buffer_device(const struct weir_buffer *buffer)
{
	return buffer->chunk ? buffer->chunk->device->ordinal : -1;
}

int weir_buffer_read(const struct weir_buffer *buffer, uint64_t offset, void *to, uint64_t length,
		     struct weir_error *err)
{
	const char *from = (const char *)buffer->data + offset;

	if (buffer->block->pid != getpid())
		return error_set(err, WEIR_CLOSED, NULL, "this buffer belongs to process %d",
				 (int)buffer->block->pid);
	if (!size_inside(offset, length, buffer->size_bytes))
		return error_set(err, WEIR_ARG, NULL, "%llu bytes at %llu of a buffer of %llu",
				 (unsigned long long)length, (unsigned long long)offset,
				 (unsigned long long)buffer->size_bytes);
	if (buffer->chunk)
		return cuda_read(buffer->chunk->device, from, to, length, err);
	memcpy(to, from, length);
	return 0;
}

int weir_buffer_is_mapped(const struct weir_buffer *buffer)
{
	return (int)buffer->mapped;
}
