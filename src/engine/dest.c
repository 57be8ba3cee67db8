/* SPDX-License-Identifier: Apache-2.0 */
#include "weir/dest.h"

#include <stddef.h>

#include "engine/context.h"
#include "mem/cuda.h"

struct weir_dest weir_dest_alloc(void)
{
	return (struct weir_dest){.kind = WEIR_DEST_ALLOC};
}

struct weir_dest weir_dest_host(void *memory, uint64_t size_bytes)
{
	return (struct weir_dest){
		.kind = WEIR_DEST_HOST, .memory = memory, .size_bytes = size_bytes};
}

struct weir_dest weir_dest_cuda(int device, void *memory, uint64_t size_bytes, void *stream)
{
	return (struct weir_dest){.kind = WEIR_DEST_CUDA,
				  .memory = memory,
				  .size_bytes = size_bytes,
				  .stream = stream,
				  .device = device};
}

struct weir_dest weir_dest_cuda_alloc(int device)
{
	return (struct weir_dest){
		.kind = WEIR_DEST_CUDA_ALLOC, .stream = WEIR_CUDA_NO_STREAM, .device = device};
}

struct weir_dest weir_dest_none(void)
{
	return (struct weir_dest){.kind = WEIR_DEST_NONE};
}

int weir_dest_find(struct weir_ctx *ctx, void *memory, uint64_t size_bytes, void *stream,
		   struct weir_dest *out, struct weir_error *err)
{
	int device = -1, ret = ctx_alive(ctx, err);
	struct cuda *cuda;

	if (ret < 0)
		return ret;
	if ((ctx->cuda_table || cuda_driver_is_open()) && ctx_cuda(ctx, &cuda, NULL) == 0)
		device = cuda_owner(cuda, memory);
	*out = device < 0 ? weir_dest_host(memory, size_bytes)
			  : weir_dest_cuda(device, memory, size_bytes, stream);
	return 0;
}
