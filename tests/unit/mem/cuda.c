/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of a GPU: found or not, whole or not; what kind of memory an address is.
 */
#include "mem/cuda.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"

static struct weir_error err = WEIR_ERROR_INIT;

/* ---- The library ---- */

static const char *missing; /* the symbol that the library lacks */

static void *open_library(const char *name)
{
	check_str(name, "libcuda.so.1");
	return &missing;
}

static void *open_nothing(const char *name)
{
	(void)name;
	return NULL;
}

static void *find_symbol(void *library, const char *name)
{
	static char function;

	(void)library;
	return missing && strcmp(name, missing) == 0 ? NULL : &function;
}

static void PR_23_no_library(void)
{
	static const struct cuda_loader loader = {open_nothing, find_symbol, NULL};
	struct cuda_driver driver;

	check_int(cuda_driver_load(&loader, &driver, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "libcuda.so.1");
	check_has(err.message, "install the driver");
}

static void PR_23_each_symbol_missing_in_turn(void)
{
	static const struct cuda_loader loader = {open_library, find_symbol, NULL};
	static const char *const symbols[] = {
#define SYMBOL(name, symbol, arguments) symbol,
		CUDA_FUNCTIONS(SYMBOL)
#undef SYMBOL
	};
	struct cuda_driver driver;

	for (size_t i = 0; i < array_size(symbols); i++) {
		missing = symbols[i];
		check_int(cuda_driver_load(&loader, &driver, &err), WEIR_UNSUPPORTED);
		check_has(err.message, missing);
	}
	missing = NULL;
	check_int(cuda_driver_load(&loader, &driver, &err), 0);
	check(driver.init && driver.event_query);
}

static void PR_23_driver_too_old(void)
{
	const struct cuda_driver *table = fake_cuda_start(
		&(struct fake_cuda_how){.version = 10020});
	struct cuda *cuda;

	check_int(cuda_create(table, &cuda, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "CUDA 10.2");
	check_has(err.message, "newer");
}

static void PR_23_init_fails(void)
{
	const struct cuda_driver *table = fake_cuda_start(NULL);
	struct cuda *cuda;

	fake_cuda_fail("init", 1, 1, CU_NOT_INITIALIZED);
	check_int(cuda_create(table, &cuda, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "(3)");
	fake_cuda_fail("driver_version", 1, 1, CU_UNKNOWN);
	check_int(cuda_create(table, &cuda, &err), WEIR_UNSUPPORTED);
	fake_cuda_fail("device_count", 1, 1, CU_UNKNOWN);
	check_int(cuda_create(table, &cuda, &err), WEIR_UNSUPPORTED);
	check_int(cuda_create(table, &cuda, &err), 0);
	cuda_unref(cuda);
}

static void PR_23_no_device(void)
{
	const struct cuda_driver *table = fake_cuda_start(NULL);
	struct cuda *cuda;

	fake_cuda_fail("init", 1, 1, CU_NO_DEVICE);
	check_int(cuda_create(table, &cuda, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "no device");
}

/* ---- Devices and addresses ---- */

static struct cuda *cuda;
static struct fake_cuda_counts counts;

static void start(const struct fake_cuda_how *how)
{
	check_int(cuda_create(fake_cuda_start(how), &cuda, &err), 0);
}

static void devices_are_opened_once_and_released(void)
{
	struct cuda_device *first, *again, *other;

	start(NULL);
	check_int(cuda_device_get(cuda, 1, &first, &err), 0);
	check_int(cuda_device_get(cuda, 1, &again, &err), 0);
	check_int(cuda_device_get(cuda, 0, &other, &err), 0);
	check(first == again && first != other);
	check_int(cuda_device_get(cuda, 7, &other, &err), WEIR_ARG);
	check_has(err.message, "cuda:7");
	fake_cuda_counts(&counts);
	check_int(counts.contexts, 2);
	cuda_unref(cuda);
	fake_cuda_counts(&counts);
	check_int(counts.contexts, 0);
}

static void C_46_asking_makes_no_context_elsewhere(void)
{
	struct cuda_place place;
	void *at;

	start(NULL);
	at = fake_cuda_alloc(1, 4096, FAKE_DEVICE);
	check_int(cuda_place(cuda, 1, at, 4096, &place, &err), 0);
	check_int(place.device->ordinal, 1);
	check(!place.reached);
	fake_cuda_counts(&counts);
	check_int(counts.context_made[0], 0);
	check_int(fake_cuda_current(), -1);
	cuda_unref(cuda);
}

static void C_44_addresses_that_are_none_of_the_device(void)
{
	struct cuda_place place;
	char *at, *host = malloc(100);

	start(NULL);
	at = fake_cuda_alloc(0, 5000, FAKE_DEVICE);
	check_int(cuda_place(cuda, 1, at, 5000, &place, &err), WEIR_ARG);
	check_has(err.message, "memory of cuda:0");
	check_int(cuda_place(cuda, 0, host, 100, &place, &err), WEIR_ARG);
	check_has(err.message, "not memory that CUDA knows");
	check_int(cuda_place(cuda, 0, at + 1, 5000, &place, &err), WEIR_ARG);
	check_has(err.message, "last byte");
	check_int(cuda_place(cuda, 0, at + 1, 4999, &place, &err), 0);
	fake_cuda_free(at);
	check_int(cuda_place(cuda, 0, at, 10, &place, &err), WEIR_ARG);
	check_has(err.message, "freed");
	fake_cuda_fail("pointer_attributes", 1, 1, CU_INVALID_VALUE);
	check_int(cuda_place(cuda, 0, at, 10, &place, &err), WEIR_IO);
	free(host);
	cuda_unref(cuda);
}

static void who_reaches_what(void)
{
	static const struct {
		bool integrated, coherent, device, managed, pinned;
	} cases[] = {
		{false, false, false, false, true},
		{true, false, false, true, true},
		{false, true, true, true, true},
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct fake_cuda_how how = {.integrated = cases[i].integrated,
					    .coherent = cases[i].coherent};
		struct cuda_place place;
		struct cuda_chunk *chunk;

		start(&how);
		check_int(
			cuda_place(cuda, 0, fake_cuda_alloc(0, 10, FAKE_DEVICE), 10, &place, &err),
			0);
		check_int(place.reached, cases[i].device);
		check_int(
			cuda_place(cuda, 0, fake_cuda_alloc(1, 10, FAKE_MANAGED), 10, &place, &err),
			0);
		check_int(place.reached, cases[i].managed);
		check_int(
			cuda_place(cuda, 0, fake_cuda_alloc(0, 10, FAKE_PINNED), 10, &place, &err),
			0);
		check_int(place.reached, cases[i].pinned);
		/* What we allocate is reached where anything is. */
		check_int(cuda_chunks_reached(place.device), cases[i].managed);
		check_int(cuda_chunk_create(place.device, 100, &chunk, &err), 0);
		if (cuda_chunks_reached(place.device))
			memset((void *)(uintptr_t)chunk->at, 1, 100);
		cuda_chunk_unref(chunk);
		cuda_unref(cuda);
	}
}

static void PR_24_out_of_memory_says_how_much_is_left(void)
{
	struct fake_cuda_how how = {.memory_bytes = 10000};
	struct cuda_device *device;
	struct cuda_chunk *chunk;

	start(&how);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_chunk_create(device, 10001, &chunk, &err), WEIR_NOMEM);
	check_has(err.message, "10001 bytes");
	check_has(err.message, "10000 of 10000 left");
	check_int(cuda_check_memory(device, 10001, &err), WEIR_NOMEM);
	check_int(cuda_check_memory(device, 10000, &err), 0);
	cuda_unref(cuda);
}

static void memory_outlives_who_made_it(void)
{
	struct cuda_device *device;
	struct cuda_chunk *chunk;

	start(NULL);
	fake_cuda_use(1);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_chunk_create(device, 1000, &chunk, &err), 0);
	check_int(chunk->at % CUDA_ALIGN, 0);
	cuda_unref(cuda);
	fake_cuda_counts(&counts);
	check_int(counts.allocations, 1);
	cuda_chunk_unref(cuda_chunk_ref(chunk));
	cuda_chunk_unref(chunk);
	fake_cuda_counts(&counts);
	check_int(counts.allocations, 0);
	check_int(fake_cuda_current(), 1);
}

static void PR_25_a_child_calls_no_driver(void)
{
	struct cuda_device *device;
	struct cuda_chunk *chunk;
	uint64_t calls;
	int status;
	pid_t pid;

	start(NULL);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_chunk_create(device, 1000, &chunk, &err), 0);
	fake_cuda_counts(&counts);
	calls = counts.calls;
	pid = fork();
	if (pid == 0) {
		cuda_chunk_unref(chunk);
		cuda_unref(cuda);
		fake_cuda_counts(&counts);
		_exit(counts.calls != calls);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	cuda_chunk_unref(chunk);
	cuda_unref(cuda);
}

static void a_lost_device_is_opened_anew(void)
{
	struct cuda_device *device, *again;

	start(NULL);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	fake_cuda_reset(0);
	check_int(cuda_enter(device), CU_CONTEXT_IS_DESTROYED);
	check_int(cuda_device_get(cuda, 0, &again, &err), 0);
	check(again != device);
	check_int(cuda_enter(again), CU_OK);
	cuda_leave(again);
	cuda_unref(cuda);
}

static void the_real_driver_is_there_or_not(void)
{
	struct cuda_device *device;
	struct cuda_chunk *chunk;
	char bytes[4096];
	int count;

	if (cuda_create(NULL, &cuda, &err) < 0) {
		check_int(err.code, WEIR_UNSUPPORTED);
		check_has(err.message, "CUDA");
		skip("no CUDA device here");
	}
	check_int(cuda_count(cuda, &count, &err), 0);
	check(count > 0);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_chunk_create(device, sizeof(bytes), &chunk, &err), 0);
	check_int(chunk->at % CUDA_ALIGN, 0);
	check_int(cuda_read(device, (void *)(uintptr_t)chunk->at, bytes, sizeof(bytes), &err), 0);
	cuda_chunk_unref(chunk);
	cuda_unref(cuda);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_23_no_library),
		TEST(PR_23_each_symbol_missing_in_turn),
		TEST(PR_23_driver_too_old),
		TEST(PR_23_init_fails),
		TEST(PR_23_no_device),
		TEST(devices_are_opened_once_and_released),
		TEST(C_46_asking_makes_no_context_elsewhere),
		TEST(C_44_addresses_that_are_none_of_the_device),
		TEST(who_reaches_what),
		TEST(PR_24_out_of_memory_says_how_much_is_left),
		TEST(memory_outlives_who_made_it),
		TEST(PR_25_a_child_calls_no_driver),
		TEST(a_lost_device_is_opened_anew),
		TEST(the_real_driver_is_there_or_not),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
