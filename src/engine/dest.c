/* SPDX-License-Identifier: Apache-2.0 */
#include "weir/dest.h"

#include <stddef.h>

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
