/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The same promises as tests/unit/engine/cuda.c, held against a real driver and a real GPU: what can be
 * seen without ordering failures.  Without a GPU every case is left out by name.
 */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "mem/cuda.h"
#include "mem/cufile.h"
#include "weir/weir.h"

#define SIZE (37 * MIB + 1234)
#define SEED 11

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct cuda *cuda;
static int devices;

/* What the library has no use for, and a program has. */
static struct {
	int (*host_alloc)(void **out, size_t bytes, unsigned flags);
	int (*set)(cu_pointer at, unsigned char byte, size_t bytes, cu_stream stream);
	int (*current)(cu_context *out);
	int (*set_current)(cu_context context);
	int (*primary_state)(cu_device device, unsigned *flags, int *active);
} program;

static void find(void *library, const char *name, void *function)
{
	void *found = dlsym(library, name);

	check(found);
	memcpy(function, &found, sizeof(found));
}

static void open_driver(void)
{
	void *library;

	if (cuda_create(NULL, &cuda, &err) < 0)
		skip("no CUDA device here");
	library = dlopen("libcuda.so.1", RTLD_NOW);
	check(library);
	find(library, "cuMemHostAlloc", &program.host_alloc);
	find(library, "cuMemsetD8Async", &program.set);
	find(library, "cuCtxGetCurrent", &program.current);
	find(library, "cuCtxSetCurrent", &program.set_current);
	find(library, "cuDevicePrimaryCtxGetState", &program.primary_state);
	check_int(cuda_count(cuda, &devices, &err), 0);
}

static void start(const struct weir_ctx_opts *opts)
{
	open_driver();
	check_int(weir_ctx_create(opts, &ctx, &err), 0);
	object = pattern_on_disk(ctx, SEED, SIZE);
}

static void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	cuda_unref(cuda);
}

enum kind {
	DEVICE,
	MANAGED,
	PINNED
};

static char *allocate(int device, uint64_t bytes, enum kind kind)
{
	struct cuda_device *opened;
	void *host = NULL;
	cu_pointer at = 0;

	check_int(cuda_device_get(cuda, device, &opened, &err), 0);
	check_int(cuda_enter(opened), CU_OK);
	if (kind == PINNED)
		check_int(program.host_alloc(&host, bytes, 0), CU_OK);
	else if (kind == MANAGED)
		check_int(cuda->driver.memory_alloc_managed(&at, bytes, CU_ATTACH_GLOBAL), CU_OK);
	else
		check_int(cuda->driver.memory_alloc(&at, bytes), CU_OK);
	cuda_leave(opened);
	return host ? host : (char *)(uintptr_t)at;
}

static unsigned char *bytes_of(int device, const void *at, uint64_t bytes)
{
	struct cuda_device *opened;
	unsigned char *to = malloc(bytes);

	check_int(cuda_device_get(cuda, device, &opened, &err), 0);
	check_int(cuda_read(opened, at, to, bytes, &err), 0);
	return to;
}

static void check_bytes(int device, const void *at, uint64_t offset, uint64_t length)
{
	unsigned char *bytes = bytes_of(device, at, length);

	check_int(pattern_check(bytes, SEED, offset, length), length);
	free(bytes);
}

static struct weir_plan *plan_range(uint64_t offset, uint64_t length, struct weir_dest dest)
{
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, offset, length, dest, 1, &err), 0);
	return plan;
}

static int carry_out(struct weir_plan *plan)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	int ret = weir_transfer_start(plan, NULL, NULL, &transfer, &err);

	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	while (weir_transfer_wait(transfer, &done, 1, 60 * NS_PER_SEC, &err) > 0)
		weir_buffer_unref(done.buffer);
	return weir_transfer_finish(transfer, 60 * NS_PER_SEC, &err);
}

static void must_succeed(struct weir_plan *plan)
{
	if (carry_out(plan) != 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
}

/* ---- Cases ---- */

static void C_41_every_kind_on_every_device_at_odd_offsets(void)
{
	start(NULL);
	for (int device = 0; device < devices; device++)
		for (enum kind kind = DEVICE; kind <= PINNED; kind++) {
			char *at = allocate(device, SIZE + 64, kind);

			must_succeed(plan_range(33, SIZE - 100,
						weir_dest_cuda(device, at + 13, SIZE - 100, NULL)));
			check_bytes(device, at + 13, 33, SIZE - 100);
		}
	end();
}

static void C_41_the_context_of_the_thread_stays(void)
{
	cu_context before, after;
	struct cuda_device *device;
	char *at;

	start(NULL);
	at = allocate(0, SIZE, DEVICE);
	check_int(program.set_current(NULL), CU_OK);
	must_succeed(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)));
	check_int(program.current(&after), CU_OK);
	check(!after);
	check_int(cuda_device_get(cuda, devices - 1, &device, &err), 0);
	before = device->context;
	check_int(program.set_current(before), CU_OK);
	must_succeed(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)));
	check_int(program.current(&after), CU_OK);
	check(after == before);
	end();
}

static void memory_of_weir(void)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	char *bytes = malloc(SIZE);

	start(NULL);
	check_int(weir_transfer_start(plan_range(1, SIZE - 1, weir_dest_cuda_alloc(0)), NULL, NULL,
				      &transfer, &err),
		  0);
	check_int(weir_transfer_wait(transfer, &done, 1, 60 * NS_PER_SEC, &err), 1);
	check_int(done.status, 0);
	check_int((uintptr_t)done.data % 256, 0);
	check_int(weir_buffer_device(done.buffer), 0);
	check_int(weir_buffer_read(done.buffer, 0, bytes, SIZE - 1, &err), 0);
	check_int(pattern_check(bytes, SEED, 1, SIZE - 1), SIZE - 1);
	weir_buffer_unref(done.buffer);
	check_int(weir_transfer_finish(transfer, 60 * NS_PER_SEC, &err), 0);
	free(bytes);
	end();
}

static void rows_of_a_matrix(void)
{
	struct weir_stride rows = {.stride_bytes = 16384, .count = 2000};
	unsigned char *bytes, *wanted = malloc(2000 * 300);
	struct weir_plan *plan;
	char *at;

	start(NULL);
	at = allocate(0, 2000 * 300, DEVICE);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_strided(plan, object, 777, 300, &rows, 1,
				    weir_dest_cuda(0, at, 2000 * 300, NULL), 1, &err),
		  0);
	must_succeed(plan);
	for (uint64_t i = 0; i < 2000; i++)
		pattern_fill(wanted + i * 300, SEED, 777 + i * 16384, 300);
	bytes = bytes_of(0, at, 2000 * 300);
	check(memcmp(bytes, wanted, 2000 * 300) == 0);
	free(bytes);
	free(wanted);
	end();
}

static void many_small_ones_and_hosts_between(void)
{
	struct weir_plan *plan;
	char *at[300], *host;

	start(NULL);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	host = calloc(300, 1000);
	for (uint64_t i = 0; i < 300; i++) {
		at[i] = i % 3 ? allocate(0, 1000, DEVICE) : host + i * 1000;
		check_int(weir_plan_range(plan, object, i * 1003, 1000,
					  i % 3 ? weir_dest_cuda(0, at[i], 1000, NULL)
						: weir_dest_host(at[i], 1000),
					  i, &err),
			  0);
	}
	must_succeed(plan);
	for (uint64_t i = 0; i < 300; i++)
		if (i % 3)
			check_bytes(0, at[i], i * 1003, 1000);
		else
			check_int(pattern_check(at[i], SEED, i * 1003, 1000), 1000);
	free(host);
	end();
}

/* Work that takes longer than the load stands in the caller's stream, and writes where the load does. */
static void C_42_what_the_callers_stream_holds_comes_first(void)
{
	uint64_t big = 256 * MIB;
	struct cuda_device *device;
	cu_stream stream;
	char *at, *work;

	start(NULL);
	at = allocate(0, SIZE, DEVICE);
	work = allocate(0, big, DEVICE);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_enter(device), CU_OK);
	check_int(cuda->driver.stream_create(&stream, CU_STREAM_NON_BLOCKING), CU_OK);
	for (int i = 0; i < 900; i++)
		check_int(program.set((cu_pointer)(uintptr_t)work, (unsigned char)i, big, stream),
			  CU_OK);
	check_int(program.set((cu_pointer)(uintptr_t)at, 0xEE, SIZE, stream), CU_OK);
	cuda_leave(device);
	must_succeed(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, stream)));
	check_bytes(0, at, 0, SIZE);
	end();
}

static void C_44_addresses_that_are_none(void)
{
	char *at, *host = malloc(4096);

	start(NULL);
	at = allocate(0, 4096, DEVICE);
	check_int(carry_out(plan_range(0, 4096, weir_dest_cuda(0, host, 4096, NULL))), WEIR_ARG);
	check_int(carry_out(plan_range(0, 4096, weir_dest_host(at, 4096))), WEIR_ARG);
	if (devices > 1)
		check_int(carry_out(plan_range(0, 4096, weir_dest_cuda(1, at, 4096, NULL))),
			  WEIR_ARG);
	check_int(carry_out(plan_range(0, 4096, weir_dest_cuda(devices, at, 4096, NULL))),
		  WEIR_ARG);
	must_succeed(plan_range(0, 4096, weir_dest_cuda(0, at, 4096, NULL)));
	free(host);
	end();
}

static void C_44_memory_that_was_freed(void)
{
	struct cuda_device *device;
	char *at;

	start(NULL);
	at = allocate(0, 64 * MIB, DEVICE);
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_enter(device), CU_OK);
	check_int(cuda->driver.memory_free((cu_pointer)(uintptr_t)at), CU_OK);
	cuda_leave(device);
	check_int(carry_out(plan_range(0, 4096, weir_dest_cuda(0, at, 4096, NULL))), WEIR_ARG);
	end();
}

static void C_46_no_context_elsewhere(void)
{
	cu_device device;
	unsigned flags;
	int active = 0;

	start(NULL);
	if (devices < 2)
		skip("one device only");
	must_succeed(plan_range(0, SIZE, weir_dest_cuda_alloc(1)));
	check_int(cuda->driver.device_get(&device, 0), CU_OK);
	check_int(program.primary_state(device, &flags, &active), CU_OK);
	check_int(active, 0);
	end();
}

static void PR_24_more_than_the_device_has(void)
{
	struct cuda_about about;
	struct weir_plan *plan;

	start(NULL);
	check_int(cuda_describe(cuda, 0, &about, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t bytes = 0; bytes <= about.memory_bytes; bytes += SIZE)
		check_int(weir_plan_range(plan, object, 0, SIZE, weir_dest_cuda_alloc(0), 1, &err),
			  0);
	check_int(carry_out(plan), WEIR_NOMEM);
	check_has(err.message, "left");
	end();
}

static void PR_26_cancelled_under_way(void)
{
	struct weir_transfer *transfer;
	char *at;

	start(NULL);
	at = allocate(0, SIZE, DEVICE);
	for (int i = 0; i < 50; i++) {
		check_int(
			weir_transfer_start(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)),
					    NULL, NULL, &transfer, &err),
			0);
		usleep((unsigned)i * 200);
		weir_transfer_cancel(transfer);
		check_int(weir_transfer_finish(transfer, 60 * NS_PER_SEC, NULL) == WEIR_LENT, 0);
	}
	must_succeed(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)));
	check_bytes(0, at, 0, SIZE);
	end();
}

static void memory_of_a_device_is_written(void)
{
	struct weir_object *copy;
	struct weir_plan *plan;
	char *path, *back = malloc(SIZE), *at;

	start(NULL);
	path = pattern_file("gpu-written", 1, 10);
	at = allocate(0, SIZE, DEVICE);
	must_succeed(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)));
	check_int(weir_object_create(ctx, path, SIZE, NULL, &copy, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_write_from(plan, copy, 0, weir_dest_cuda(0, at, SIZE, NULL), 1, &err),
		  0);
	must_succeed(plan);
	check_int(weir_object_commit(copy, WEIR_DURABLE_NO, &err), 0);
	weir_object_unref(copy);
	check_int(weir_object_open(ctx, path, NULL, &copy, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, copy, weir_dest_host(back, SIZE), 1, &err), 0);
	must_succeed(plan);
	check_int(pattern_check(back, SEED, 0, SIZE), SIZE);
	weir_object_unref(copy);
	unlink(path);
	free(path);
	free(back);
	end();
}

static void budgets_hold(void)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .budget_bytes = 24 * MIB};
	struct weir_plan *plan;

	start(&opts);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < 36; i++)
		check_int(weir_plan_range(plan, object, i * MIB, MIB, weir_dest_cuda_alloc(0), i,
					  &err),
			  0);
	must_succeed(plan);
	end();
}

/* Where its library is: with its compatibility mode, too. */
static void storage_that_writes_to_the_device_by_itself(void)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .cufile = WEIR_CUFILE_ON};
	struct weir_object_opts direct = {.size = sizeof(direct), .direct = WEIR_DIRECT_ON};
	struct weir_counters counters = {0};
	struct cuda_device *device;
	struct cufile cufile;
	char *at, *path;

	open_driver();
	check_int(cuda_device_get(cuda, 0, &device, &err), 0);
	check_int(cuda_enter(device), CU_OK);
	if (cufile_open(NULL, &cufile, &err) < 0)
		skip("no cuFile here");
	cufile_close(&cufile);
	cuda_leave(device);
	path = pattern_file("gpu", SEED, SIZE);
	check_int(weir_ctx_create(&opts, &ctx, &err), 0);
	if (weir_object_open(ctx, path, &direct, &object, &err) < 0) {
		unlink(path);
		skip("no direct I/O here");
	}
	unlink(path);
	free(path);
	at = allocate(0, SIZE + 64, DEVICE);
	for (int i = 0; i < 200 && counters.bytes_cufile == 0; i++) {
		must_succeed(
			plan_range(33, SIZE - 33, weir_dest_cuda(0, at + 13, SIZE - 33, NULL)));
		check_bytes(0, at + 13, 33, SIZE - 33);
		weir_ctx_counters(ctx, &counters);
		usleep(10000); /* files are looked at meanwhile */
	}
	printf("# %llu bytes by cuFile, %llu reads made again\n",
	       (unsigned long long)counters.bytes_cufile,
	       (unsigned long long)counters.cufile_redone);
	if (counters.bytes_cufile == 0)
		skip("cuFile does not take files of this place");
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(C_41_every_kind_on_every_device_at_odd_offsets),
		TEST(C_41_the_context_of_the_thread_stays),
		TEST(memory_of_weir),
		TEST(rows_of_a_matrix),
		TEST(many_small_ones_and_hosts_between),
		TEST(C_42_what_the_callers_stream_holds_comes_first),
		TEST(C_44_addresses_that_are_none),
		TEST(C_44_memory_that_was_freed),
		TEST(C_46_no_context_elsewhere),
		TEST(PR_24_more_than_the_device_has),
		TEST(PR_26_cancelled_under_way),
		TEST(memory_of_a_device_is_written),
		TEST(budgets_hold),
		TEST(storage_that_writes_to_the_device_by_itself),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
