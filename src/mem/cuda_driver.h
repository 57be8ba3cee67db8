/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA driver as a table of functions: the seam behind which a GPU is, or a test's idea of one.
 *
 * libcuda.so.1 comes with the GPU's driver and is opened when somebody first names a device, never
 * before; nothing of CUDA is needed to build, so the few types and numbers that we use are declared here,
 * as the driver's binary interface has had them since CUDA 11.  A library that is opened is never closed:
 * it has threads of its own.
 */
#ifndef MEM_CUDA_DRIVER_H
#define MEM_CUDA_DRIVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "weir/error.h"

/* ---- Types ---- */

typedef struct cu_context_handle *cu_context;
typedef struct cu_stream_handle *cu_stream;
typedef struct cu_event_handle *cu_event;
typedef unsigned long long cu_pointer; /* an address in a device's memory */
typedef int cu_device;

/* What calls answer: the numbers that we treat each in a way of its own. */
enum cu_result {
	CU_OK = 0,
	CU_INVALID_VALUE = 1,
	CU_OUT_OF_MEMORY = 2,
	CU_NOT_INITIALIZED = 3,
	CU_DEINITIALIZED = 4, /* the process is ending */
	CU_DEVICE_UNAVAILABLE = 46,
	CU_NO_DEVICE = 100,
	CU_INVALID_DEVICE = 101,
	CU_INVALID_CONTEXT = 201,
	CU_ECC_UNCORRECTABLE = 214,
	CU_INVALID_HANDLE = 400,
	CU_NOT_READY = 600,
	CU_ILLEGAL_ADDRESS = 700,
	CU_LAUNCH_TIMEOUT = 702,
	CU_CONTEXT_IS_DESTROYED = 709,
	CU_ALREADY_REGISTERED = 712,
	CU_COMPUTING_BROKE = 714, /* the first of several */
	CU_LAUNCH_FAILED = 719,   /* the last of them */
	CU_UNKNOWN = 999,
};

enum cu_device_attribute {
	CU_DEVICE_INTEGRATED = 18, /* shares its memory with the processor */
	CU_DEVICE_CONCURRENT_MANAGED =
		89, /* the processor may touch managed memory while it computes */
	CU_DEVICE_HOST_TABLES =
		100, /* walks the processor's page tables: each reaches the other's memory */
	CU_DEVICE_MANAGED_FROM_HOST =
		101, /* the processor reaches device memory without moving it */
};

enum cu_pointer_attribute {
	CU_POINTER_CONTEXT = 1,
	CU_POINTER_MEMORY_TYPE = 2, /* enum cu_memory_type, as unsigned */
	CU_POINTER_IS_MANAGED = 8,  /* as a byte that is 0 or 1 */
	CU_POINTER_DEVICE = 9,      /* as int */
	CU_POINTER_RANGE_START = 11,
	CU_POINTER_RANGE_SIZE = 12,
};

enum cu_memory_type {
	CU_MEMORY_UNKNOWN = 0, /* not memory that the driver knows (any more) */
	CU_MEMORY_HOST = 1,    /* pinned */
	CU_MEMORY_DEVICE = 2,
};

#define CU_STREAM_NON_BLOCKING 1u /* does not wait for the legacy default stream, nor it for us */
#define CU_EVENT_NO_TIMING     2u
#define CU_REGISTER_PORTABLE   1u /* pinned for every context, not just the current one */
#define CU_ATTACH_GLOBAL       1u
#define CU_STREAM_LEGACY       ((cu_stream)1)
#define CU_STREAM_PER_THREAD   ((cu_stream)2)

/* ---- The table ---- */

/*
 * Each function with the name of its symbol: where the driver has several versions of a call, the one whose
 * signature stands here.
 */
#define CUDA_FUNCTIONS(X)                                                                          \
	X(init, "cuInit", (unsigned flags))                                                        \
	X(driver_version, "cuDriverGetVersion", (int *out))                                        \
	X(error_name, "cuGetErrorName", (int result, const char **out))                            \
	X(error_string, "cuGetErrorString", (int result, const char **out))                        \
	X(device_count, "cuDeviceGetCount", (int *out))                                            \
	X(device_get, "cuDeviceGet", (cu_device * out, int ordinal))                               \
	X(device_name, "cuDeviceGetName", (char *to, int size, cu_device device))                  \
	X(device_memory, "cuDeviceTotalMem_v2", (size_t * out, cu_device device))                  \
	X(device_attribute, "cuDeviceGetAttribute", (int *out, int attribute, cu_device device))   \
	X(primary_retain, "cuDevicePrimaryCtxRetain", (cu_context * out, cu_device device))        \
	X(primary_release, "cuDevicePrimaryCtxRelease_v2", (cu_device device))                     \
	X(context_push, "cuCtxPushCurrent_v2", (cu_context context))                               \
	X(context_pop, "cuCtxPopCurrent_v2", (cu_context * out))                                   \
	X(memory_alloc, "cuMemAlloc_v2", (cu_pointer * out, size_t bytes))                         \
	X(memory_alloc_managed, "cuMemAllocManaged",                                               \
	  (cu_pointer * out, size_t bytes, unsigned flags))                                        \
	X(memory_free, "cuMemFree_v2", (cu_pointer at))                                            \
	X(memory_info, "cuMemGetInfo_v2", (size_t * free_bytes, size_t * total_bytes))             \
	X(memory_register, "cuMemHostRegister_v2", (void *at, size_t bytes, unsigned flags))       \
	X(memory_unregister, "cuMemHostUnregister", (void *at))                                    \
	X(pointer_attributes, "cuPointerGetAttributes",                                            \
	  (unsigned count, int *attributes, void **out, cu_pointer at))                            \
	X(copy_to_device, "cuMemcpyHtoDAsync_v2",                                                  \
	  (cu_pointer to, const void *from, size_t bytes, cu_stream stream))                       \
	X(copy_to_host, "cuMemcpyDtoHAsync_v2",                                                    \
	  (void *to, cu_pointer from, size_t bytes, cu_stream stream))                             \
	X(copy_to_host_now, "cuMemcpyDtoH_v2", (void *to, cu_pointer from, size_t bytes))          \
	X(stream_create, "cuStreamCreate", (cu_stream * out, unsigned flags))                      \
	X(stream_destroy, "cuStreamDestroy_v2", (cu_stream stream))                                \
	X(stream_query, "cuStreamQuery", (cu_stream stream))                                       \
	X(stream_context, "cuStreamGetCtx", (cu_stream stream, cu_context * out))                  \
	X(stream_wait, "cuStreamWaitEvent", (cu_stream stream, cu_event event, unsigned flags))    \
	X(event_create, "cuEventCreate", (cu_event * out, unsigned flags))                         \
	X(event_destroy, "cuEventDestroy_v2", (cu_event event))                                    \
	X(event_record, "cuEventRecord", (cu_event event, cu_stream stream))                       \
	X(event_query, "cuEventQuery", (cu_event event))

struct cuda_driver {
#define CUDA_FIELD(name, symbol, arguments) int(*name) arguments;
	CUDA_FUNCTIONS(CUDA_FIELD)
#undef CUDA_FIELD
};

/* The oldest driver that we take: CUDA 11.0. */
#define CUDA_DRIVER_MIN 11000

/* How a library is opened and looked into; tests stand here too. */
struct cuda_loader {
	void *(*open)(const char *name); /* NULL: it is not there */
	void *(*symbol)(void *library, const char *name);
	const char *(*why)(void); /* of the last failure; may be NULL */
};
extern const struct cuda_loader cuda_loader_real;

/* A function, and its place in a table; for other libraries of the same maker, too. */
struct cuda_symbol {
	const char *name;
	size_t at;
};

void cuda_put(void *table, size_t at, void *function);

/* All of them; the name of the first that the library lacks, or NULL. */
must_use const char *cuda_fill(const struct cuda_loader *loader, void *library,
			       const struct cuda_symbol *symbols, size_t count, void *table);

/*
 * Fills the table.  loader NULL: the dynamic linker, by fixed names only, and not at all in a process with
 * raised privileges.  WEIR_UNSUPPORTED, with what to do about it.
 */
must_use int cuda_driver_load(const struct cuda_loader *loader, struct cuda_driver *out,
			      struct weir_error *err);

/* Has somebody in this process opened it?  If not, there is no device memory here. */
bool cuda_driver_is_open(void);

/* Could the library be opened?  Nothing in it is called. */
bool cuda_driver_found(void);

#endif
