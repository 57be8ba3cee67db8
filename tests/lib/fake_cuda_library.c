/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver that is none as a library of the name that programs open: what stands between them and a GPU
 * can be tried from outside, with LD_LIBRARY_PATH, where there is no GPU.  The same file under libcufile's
 * name is the libcufile that is none: one library, since it reads into that driver's memory.
 */
#include <unistd.h>

#include "base/size.h"
#include "lib/fake_cuda_inside.h"
#include "lib/fake_cufile.h"

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

/* ---- cuFile ---- */

static const struct cufile_driver *cufile;

PROGRAMS struct cufile_status cuFileDriverOpen(void);
struct cufile_status cuFileDriverOpen(void)
{
	return cufile->driver_open();
}

PROGRAMS struct cufile_status cuFileDriverClose(void);
struct cufile_status cuFileDriverClose(void)
{
	return cufile->driver_close();
}

PROGRAMS struct cufile_status cuFileDriverGetProperties(struct cufile_properties *out);
struct cufile_status cuFileDriverGetProperties(struct cufile_properties *out)
{
	return cufile->driver_properties(out);
}

PROGRAMS struct cufile_status cuFileGetVersion(int *out);
struct cufile_status cuFileGetVersion(int *out)
{
	return cufile->version(out);
}

PROGRAMS struct cufile_status cuFileHandleRegister(cufile_handle *out, struct cufile_file *file);
struct cufile_status cuFileHandleRegister(cufile_handle *out, struct cufile_file *file)
{
	return cufile->file_register(out, file);
}

PROGRAMS void cuFileHandleDeregister(cufile_handle file);
void cuFileHandleDeregister(cufile_handle file)
{
	cufile->file_deregister(file);
}

PROGRAMS ssize_t cuFileRead(cufile_handle file, void *base, size_t bytes, off_t file_offset,
			    off_t device_offset);
ssize_t cuFileRead(cufile_handle file, void *base, size_t bytes, off_t file_offset,
		   off_t device_offset)
{
	return cufile->read(file, base, bytes, file_offset, device_offset);
}

__attribute__((constructor)) static void start(void)
{
	cufile = fake_cufile_start(&(struct fake_cufile_how){.latency_ns = 10000});
	fake_cuda_start(&(struct fake_cuda_how){.latency_ns = 10000,
						.jitter_ns = 20000,
						.bytes_per_second = 4 * GIB,
						.memory_bytes = 8 * GIB});
}
