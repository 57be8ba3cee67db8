/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/cuda.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/size.h"

/* ---- Failures ---- */

int cuda_code(int result)
{
	return result == CU_OUT_OF_MEMORY ? WEIR_NOMEM : WEIR_IO;
}

bool cuda_is_final(int result)
{
	switch (result) {
	case CU_DEINITIALIZED:
	case CU_DEVICE_UNAVAILABLE:
	case CU_INVALID_CONTEXT:
	case CU_ECC_UNCORRECTABLE:
	case CU_ILLEGAL_ADDRESS:
	case CU_LAUNCH_TIMEOUT:
	case CU_CONTEXT_IS_DESTROYED:
	case CU_UNKNOWN:
		return true;
	default: /* what a computation broke stays broken: asserts, wild addresses, dead hardware */
		return result >= CU_COMPUTING_BROKE && result <= CU_LAUNCH_FAILED;
	}
}

const char *cuda_text(const struct cuda *cuda, int result, char to[CUDA_TEXT_MAX])
{
	const char *name = NULL, *text = NULL;
	bool ours = cuda->pid == getpid();

	if (ours && cuda->driver.error_name(result, &name) != CU_OK)
		name = NULL;
	if (ours && cuda->driver.error_string(result, &text) != CU_OK)
		text = NULL;
	snprintf(to, CUDA_TEXT_MAX, "%s (%d)%s%s", name ? name : "CUDA error", result,
		 text ? ": " : "", text ? text : "");
	return to;
}

int cuda_failed(const struct cuda *cuda, int result, struct weir_error *err, const char *what)
{
	char text[CUDA_TEXT_MAX];

	return error_set(err, cuda_code(result), NULL, "%s: %s", what,
			 cuda_text(cuda, result, text));
}

/* ---- The driver ---- */

/* A driver that is there and does not work: what the machine lacks is said, and that is not our failure. */
static int start(struct cuda *cuda, struct weir_error *err)
{
	char text[CUDA_TEXT_MAX];
	int count = 0, result = cuda->driver.init(0);

	if (result == CU_OK)
		result = cuda->driver.driver_version(&cuda->version);
	if (result == CU_OK && cuda->version < CUDA_DRIVER_MIN)
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA: the driver of the GPU is of CUDA %d.%d; the oldest that "
				 "is used is %d.%d: install a newer one",
				 cuda->version / 1000, cuda->version % 1000 / 10,
				 CUDA_DRIVER_MIN / 1000, CUDA_DRIVER_MIN % 1000 / 10);
	if (result == CU_OK)
		result = cuda->driver.device_count(&count);
	if (result == CU_OK && count > 0)
		return 0;
	if (result == CU_OK || result == CU_NO_DEVICE)
		return error_set(err, WEIR_UNSUPPORTED, NULL,
				 "CUDA: the driver is there, but no device that it may use; "
				 "CUDA_VISIBLE_DEVICES, or the container, may hide them");
	return error_set(err, WEIR_UNSUPPORTED, NULL, "CUDA: the driver does not start: %s%s",
			 cuda_text(cuda, result, text),
			 result == CU_NOT_INITIALIZED
				 ? "; a process that was forked from one with CUDA has none"
				 : "");
}

int cuda_create(const struct cuda_driver *table, struct cuda **out, struct weir_error *err)
{
	struct cuda *cuda = calloc(1, sizeof(*cuda));
	int ret = 0;

	if (!cuda)
		return error_nomem(err, NULL, "the driver of a GPU");
	cuda->pid = getpid();
	atomic_init(&cuda->refs, 1);
	lock_init(&cuda->lock);
	list_init(&cuda->devices);
	if (table)
		cuda->driver = *table;
	else
		ret = cuda_driver_load(NULL, &cuda->driver, err);
	if (ret == 0)
		ret = start(cuda, err);
	if (ret == 0)
		*out = cuda;
	else
		cuda_unref(cuda);
	return ret;
}

struct cuda *cuda_ref(struct cuda *cuda)
{
	atomic_fetch_add_explicit(&cuda->refs, 1, memory_order_relaxed);
	return cuda;
}

static void release(struct cuda_device *device)
{
	if (device->primary)
		device->cuda->driver.primary_release(device->handle);
	free(device);
}

void cuda_unref(struct cuda *cuda)
{
	/* Acquire-release: whoever frees sees what the others wrote. */
	if (!cuda || atomic_fetch_sub_explicit(&cuda->refs, 1, memory_order_acq_rel) != 1)
		return;
	if (cuda->pid != getpid()) /* the driver is the parent's */
		return;
	for (struct list *link = list_pop(&cuda->devices); link; link = list_pop(&cuda->devices))
		release(list_entry(link, struct cuda_device, link));
	lock_fini(&cuda->lock);
	free(cuda);
}

int cuda_count(struct cuda *cuda, int *out, struct weir_error *err)
{
	int result = cuda->driver.device_count(out);

	return result == CU_OK ? 0 : cuda_failed(cuda, result, err, "CUDA: counting devices");
}

/* ---- Devices ---- */

static int attribute(const struct cuda *cuda, cu_device device, int which)
{
	int value = 0;

	return cuda->driver.device_attribute(&value, which, device) == CU_OK ? value : 0;
}

static void look_at_memory(const struct cuda *cuda, cu_device device, bool *unified, bool *coherent)
{
	bool tables = attribute(cuda, device, CU_DEVICE_HOST_TABLES);

	*coherent = tables && attribute(cuda, device, CU_DEVICE_MANAGED_FROM_HOST);
	*unified = (tables || attribute(cuda, device, CU_DEVICE_INTEGRATED)) &&
		   attribute(cuda, device, CU_DEVICE_CONCURRENT_MANAGED);
}

int cuda_describe(struct cuda *cuda, int ordinal, struct cuda_about *out, struct weir_error *err)
{
	const struct cuda_driver *driver = &cuda->driver;
	size_t bytes = 0;
	cu_device device;
	int result = driver->device_get(&device, ordinal);

	*out = (struct cuda_about){{0}};
	if (result == CU_OK)
		result = driver->device_name(out->name, sizeof(out->name), device);
	if (result == CU_OK)
		result = driver->device_memory(&bytes, device);
	if (result != CU_OK)
		return cuda_failed(cuda, result, err, "CUDA: describing a device");
	out->memory_bytes = bytes;
	look_at_memory(cuda, device, &out->unified, &out->coherent);
	return 0;
}

/* With the lock held. */
static int add_device(struct cuda *cuda, int ordinal, cu_context context, struct cuda_device **out,
		      struct weir_error *err)
{
	struct cuda_device *device;
	cu_device handle;
	int result = cuda->driver.device_get(&handle, ordinal);

	if (result == CU_INVALID_DEVICE || result == CU_INVALID_VALUE)
		return error_set(err, WEIR_ARG, NULL, "cuda:%d: there is no such device", ordinal);
	if (result != CU_OK)
		return cuda_failed(cuda, result, err, "CUDA: opening a device");
	device = calloc(1, sizeof(*device));
	if (!device)
		return error_nomem(err, NULL, "a device");
	*device = (struct cuda_device){.cuda = cuda,
				       .ordinal = ordinal,
				       .handle = handle,
				       .context = context,
				       .primary = !context};
	if (device->primary)
		result = cuda->driver.primary_retain(&device->context, handle);
	if (result != CU_OK) {
		free(device);
		return cuda_failed(cuda, result, err, "CUDA: the context of a device");
	}
	look_at_memory(cuda, handle, &device->unified, &device->coherent);
	list_push(&cuda->devices, &device->link);
	*out = device;
	return 0;
}

/* context NULL: the primary one.  Those that were lost are not looked at again. */
static int find_device(struct cuda *cuda, int ordinal, cu_context context, struct cuda_device **out,
		       struct weir_error *err)
{
	struct cuda_device *found = NULL;
	int ret = 0;

	lock_take(&cuda->lock);
	list_for_each(link, &cuda->devices) {
		struct cuda_device *device = list_entry(link, struct cuda_device, link);

		if (device->ordinal == ordinal &&
		    (context ? device->context == context : device->primary) &&
		    !atomic_load_explicit(&device->lost, memory_order_relaxed))
			found = device;
	}
	if (!found)
		ret = add_device(cuda, ordinal, context, &found, err);
	lock_drop(&cuda->lock);
	*out = found;
	return ret;
}

int cuda_device_get(struct cuda *cuda, int ordinal, struct cuda_device **out,
		    struct weir_error *err)
{
	return find_device(cuda, ordinal, NULL, out, err);
}

int cuda_enter(struct cuda_device *device)
{
	int result = device->cuda->driver.context_push(device->context);

	if (cuda_is_final(result))
		atomic_store_explicit(&device->lost, true, memory_order_relaxed);
	return result;
}

void cuda_leave(struct cuda_device *device)
{
	cu_context before;

	device->cuda->driver.context_pop(&before);
}

/* ---- What an address is ---- */

struct answer {
	unsigned type; /* enum cu_memory_type */
	unsigned managed;
	int ordinal;
	cu_context context;
};

/* What the driver does not know is no failure of the call. */
static int ask(struct cuda *cuda, const void *at, struct answer *out)
{
	int attributes[] = {CU_POINTER_MEMORY_TYPE, CU_POINTER_IS_MANAGED, CU_POINTER_DEVICE,
			    CU_POINTER_CONTEXT};
	void *to[] = {&out->type, &out->managed, &out->ordinal, &out->context};

	*out = (struct answer){.ordinal = -1};
	return cuda->driver.pointer_attributes(array_size(attributes), attributes, to,
					       (cu_pointer)(uintptr_t)at);
}

/* Is the answer one that the named device can serve? */
static int judge(const struct answer *answer, int ordinal, const void *at, uint64_t bytes,
		 const char *which, struct weir_error *err)
{
	if (answer->type == CU_MEMORY_UNKNOWN && !answer->managed)
		return error_set(err, WEIR_ARG, NULL,
				 "cuda:%d: the %s byte of the %llu at %p is not memory that CUDA "
				 "knows: the host's, freed, or past the end",
				 ordinal, which, (unsigned long long)bytes, at);
	if (answer->type == CU_MEMORY_DEVICE && !answer->managed && answer->ordinal != ordinal)
		return error_set(err, WEIR_ARG, NULL,
				 "cuda:%d: the %s byte of the %llu at %p is memory of cuda:%d",
				 ordinal, which, (unsigned long long)bytes, at, answer->ordinal);
	return 0;
}

int cuda_place(struct cuda *cuda, int ordinal, const void *at, uint64_t bytes,
	       struct cuda_place *out, struct weir_error *err)
{
	const char *last = (const char *)at + (bytes ? bytes - 1 : 0);
	struct answer first, end;
	cu_context context;
	int ret, result = ask(cuda, at, &first);

	if (result == CU_OK)
		result = ask(cuda, last, &end);
	if (result != CU_OK)
		return cuda_failed(cuda, result, err, "CUDA: asking what kind of memory it is");
	if ((ret = judge(&first, ordinal, at, bytes, "first", err)) < 0 ||
	    (ret = judge(&end, ordinal, at, bytes, "last", err)) < 0)
		return ret;
	if (first.type != end.type || first.managed != end.managed)
		return error_set(err, WEIR_ARG, NULL,
				 "cuda:%d: the %llu bytes at %p end in memory of another kind",
				 ordinal, (unsigned long long)bytes, at);
	/* A context of the program's own is used as it is; all others share the primary one. */
	context = first.type == CU_MEMORY_DEVICE && !first.managed ? first.context : NULL;
	ret = cuda_device_get(cuda, ordinal, &out->device, err);
	if (ret == 0 && context && context != out->device->context)
		ret = find_device(cuda, ordinal, context, &out->device, err);
	if (ret < 0)
		return ret;
	out->reached = first.type == CU_MEMORY_HOST ? true
		       : first.managed              ? out->device->unified
						    : out->device->coherent;
	return 0;
}

int cuda_owner(struct cuda *cuda, const void *at)
{
	struct answer answer;

	if (ask(cuda, at, &answer) != CU_OK || answer.type != CU_MEMORY_DEVICE)
		return -1;
	return answer.ordinal;
}

bool cuda_is_device_memory(struct cuda *cuda, const void *at)
{
	struct answer answer;

	return ask(cuda, at, &answer) == CU_OK && answer.type == CU_MEMORY_DEVICE &&
	       !answer.managed;
}

/* ---- Memory ---- */

static int out_of_memory(struct cuda_device *device, uint64_t bytes, struct weir_error *err)
{
	size_t left = 0, all = 0;

	if (cuda_enter(device) == CU_OK) {
		device->cuda->driver.memory_info(&left, &all);
		cuda_leave(device);
	}
	return error_set(err, WEIR_NOMEM, NULL,
			 "cuda:%d: %llu bytes are asked for, and the device has %llu of %llu left",
			 device->ordinal, (unsigned long long)bytes, (unsigned long long)left,
			 (unsigned long long)all);
}

int cuda_check_memory(struct cuda_device *device, uint64_t bytes, struct weir_error *err)
{
	size_t left = 0, all = 0;
	int result = cuda_enter(device);

	if (result == CU_OK) {
		result = device->cuda->driver.memory_info(&left, &all);
		cuda_leave(device);
	}
	if (result != CU_OK)
		return cuda_failed(device->cuda, result, err, "CUDA: asking for the memory left");
	return bytes > left ? out_of_memory(device, bytes, err) : 0;
}

bool cuda_chunks_reached(const struct cuda_device *device)
{
	return device->unified || device->coherent;
}

int cuda_chunk_create(struct cuda_device *device, uint64_t bytes, struct cuda_chunk **out,
		      struct weir_error *err)
{
	const struct cuda_driver *driver = &device->cuda->driver;
	struct cuda_chunk *chunk = calloc(1, sizeof(*chunk));
	bool managed = device->unified && !device->coherent;
	int result;

	if (!chunk)
		return error_nomem(err, NULL, "the books of device memory");
	result = cuda_enter(device);
	if (result == CU_OK) {
		result = managed ? driver->memory_alloc_managed(&chunk->at, bytes, CU_ATTACH_GLOBAL)
				 : driver->memory_alloc(&chunk->at, bytes);
		cuda_leave(device);
	}
	if (result != CU_OK) {
		free(chunk);
		return result == CU_OUT_OF_MEMORY
			       ? out_of_memory(device, bytes, err)
			       : cuda_failed(device->cuda, result, err, "CUDA: device memory");
	}
	chunk->device = device;
	chunk->bytes = bytes;
	atomic_init(&chunk->refs, 1);
	cuda_ref(device->cuda);
	*out = chunk;
	return 0;
}

struct cuda_chunk *cuda_chunk_ref(struct cuda_chunk *chunk)
{
	atomic_fetch_add_explicit(&chunk->refs, 1, memory_order_relaxed);
	return chunk;
}

void cuda_chunk_unref(struct cuda_chunk *chunk)
{
	struct cuda_device *device;

	/* Acquire-release, as in cuda_unref(). */
	if (!chunk || atomic_fetch_sub_explicit(&chunk->refs, 1, memory_order_acq_rel) != 1)
		return;
	device = chunk->device;
	if (device->cuda->pid != getpid())
		return;
	if (cuda_enter(device) == CU_OK) { /* else it went with its context */
		device->cuda->driver.memory_free(chunk->at);
		cuda_leave(device);
	}
	free(chunk);
	cuda_unref(device->cuda);
}

int cuda_read(struct cuda_device *device, const void *from, void *to, uint64_t bytes,
	      struct weir_error *err)
{
	int result = cuda_enter(device);

	if (result == CU_OK) {
		result = device->cuda->driver.copy_to_host_now(to, (cu_pointer)(uintptr_t)from,
							       bytes);
		cuda_leave(device);
	}
	return result == CU_OK
		       ? 0
		       : cuda_failed(device->cuda, result, err, "CUDA: copying to the host");
}

bool cuda_pin(struct cuda_device *device, void *at, uint64_t bytes)
{
	struct cuda *cuda = device->cuda;
	bool pinned;

	if (cuda_enter(device) != CU_OK)
		return false;
	pinned = cuda->driver.memory_register(at, bytes, CU_REGISTER_PORTABLE) == CU_OK;
	cuda_leave(device);
	if (pinned)
		atomic_fetch_add_explicit(&cuda->pinned_bytes, bytes, memory_order_relaxed);
	return pinned;
}

void cuda_unpin(struct cuda_device *device, void *at, uint64_t bytes)
{
	struct cuda *cuda = device->cuda;

	if (cuda_enter(device) == CU_OK) { /* else it went with its context */
		cuda->driver.memory_unregister(at);
		cuda_leave(device);
	}
	atomic_fetch_sub_explicit(&cuda->pinned_bytes, bytes, memory_order_relaxed);
}
