/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver that is none as a library of the name that programs open: what stands between them and a GPU
 * can be tried from outside, with LD_LIBRARY_PATH, where there is no GPU.
 */
#include <unistd.h>

#include "base/size.h"
#include "lib/fake_cuda_inside.h"

/* The symbol of each function jumps to where the table says, whatever its arguments. */
#define EXPORT(name, symbol, arguments)                                                            \
	int export_##name arguments __asm__(symbol)                                                \
		__attribute__((ifunc("find_" #name), visibility("default")));                      \
	static __typeof__(export_##name) *find_##name(void) __attribute__((used));                 \
	static __typeof__(export_##name) *find_##name(void)                                        \
	{                                                                                          \
		return fake_table.name;                                                            \
	}
CUDA_FUNCTIONS(EXPORT)

/* ---- What programs call and weir does not ---- */

#define PROGRAMS __attribute__((visibility("default")))

PROGRAMS int cuCtxGetCurrent(cu_context *out);
int cuCtxGetCurrent(cu_context *out)
{
	*out = fake_context();
	return CU_OK;
}

PROGRAMS int cuCtxSetCurrent(cu_context context);
int cuCtxSetCurrent(cu_context context)
{
	fake_stack.depth = context != NULL;
	fake_stack.at[0] = context;
	return CU_OK;
}

PROGRAMS int cuDevicePrimaryCtxGetState(cu_device device, unsigned *flags, int *active);
int cuDevicePrimaryCtxGetState(cu_device device, unsigned *flags, int *active)
{
	cu_context context = fake.primary[device - 100];

	*flags = 0;
	*active = context && !context->broken;
	return CU_OK;
}

PROGRAMS int cuMemHostAlloc(void **out, size_t bytes, unsigned flags);
int cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
	*out = fake_cuda_alloc(fake_context()->device, bytes, FAKE_PINNED);
	return flags ? CU_INVALID_VALUE : CU_OK;
}

PROGRAMS int cuMemFreeHost(void *at);
int cuMemFreeHost(void *at)
{
	fake_cuda_free(at);
	return CU_OK;
}

PROGRAMS int cuMemsetD8Async(cu_pointer at, unsigned char byte, size_t bytes, cu_stream stream);
int cuMemsetD8Async(cu_pointer at, unsigned char byte, size_t bytes, cu_stream stream)
{
	fake_cuda_compute(stream, 100000, (void *)(uintptr_t)at, bytes, byte);
	return CU_OK;
}

PROGRAMS int cuStreamSynchronize(cu_stream stream);
int cuStreamSynchronize(cu_stream stream)
{
	int result;

	while ((result = fake_table.stream_query(stream)) == CU_NOT_READY)
		usleep(10);
	return result;
}

__attribute__((constructor)) static void start(void)
{
	fake_cuda_start(&(struct fake_cuda_how){.latency_ns = 10000,
						.jitter_ns = 20000,
						.bytes_per_second = 4 * GIB,
						.memory_bytes = 8 * GIB});
}
