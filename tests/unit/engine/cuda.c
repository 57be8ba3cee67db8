/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans to and from the memory of devices, over a driver that is none (lib/fake_cuda.h): every byte where it
 * belongs, in the order that streams have, and a typed error where something fails.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define SIZE (5 * MIB + 1234)
#define SEED 7

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct fake_cuda_counts counts;

/* ---- Rig ---- */

static void start_with(const struct fake_cuda_how *how, const struct weir_ctx_opts *opts)
{
	struct ctx_seams seams = {.cuda = fake_cuda_start(how)};

	check_int(ctx_create_with(opts, &seams, &ctx, &err), 0);
}

static void put_object(uint64_t size)
{
	char *data = malloc(size);

	pattern_fill(data, SEED, 0, size);
	check_int(weir_memory_put(ctx, "thing", data, size, &err), 0);
	free(data);
	check_int(weir_object_open(ctx, "memory://thing", NULL, &object, &err), 0);
}

static void start(const struct fake_cuda_how *how)
{
	start_with(how, NULL);
	put_object(SIZE);
}

static void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cuda_counts(&counts);
	check_int(counts.events, 0);
	check_int(counts.streams, 0);
	check_int(counts.pins, 0);
	check_int(counts.allocations, 0);
}

static struct weir_plan *plan_range(uint64_t offset, uint64_t length, struct weir_dest dest)
{
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, offset, length, dest, 1, &err), 0);
	return plan;
}

static struct weir_transfer *begin(struct weir_plan *plan, const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;

	if (weir_transfer_start(plan, NULL, opts, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return transfer;
}

static struct weir_done wait_one(struct weir_transfer *transfer)
{
	struct weir_done done = {0};

	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	if (done.status)
		weir_transfer_error(transfer, &done, &err);
	return done;
}

static void finish(struct weir_transfer *transfer, int expected)
{
	struct weir_error why = WEIR_ERROR_INIT;

	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &why), expected);
}

/* A plan of one extent, to its end; its status. */
static int carry_out(struct weir_plan *plan, const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	int ret = weir_transfer_start(plan, NULL, opts, &transfer, &err);

	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	done = wait_one(transfer);
	weir_buffer_unref(done.buffer);
	finish(transfer, done.status);
	return done.status;
}

static void check_bytes(const void *at, uint64_t offset, uint64_t length)
{
	check_int(pattern_check(fake_cuda_bytes(at), SEED, offset, length), length);
}

/* ---- Where bytes land ---- */

static void a_destination_of_an_unknown_kind(void)
{
	struct fake_cuda_how how = {0};
	struct weir_dest dest;
	char host[64];
	void *at;

	start(&how);
	check_int(weir_dest_find(ctx, host, 64, NULL, &dest, &err), 0);
	check_int(dest.kind, WEIR_DEST_HOST);
	check(dest.memory == host && dest.size_bytes == 64);
	at = fake_cuda_alloc(1, SIZE, FAKE_DEVICE);
	check_int(weir_dest_find(ctx, at, SIZE, NULL, &dest, &err), 0);
	check_int(dest.kind, WEIR_DEST_CUDA);
	check_int(dest.device, 1);
	check_int(carry_out(plan_range(0, SIZE, dest), NULL), 0);
	check_bytes(at, 0, SIZE);
	fake_cuda_free(at);
	end();
}

/* Odd places of each kind of memory, on both devices, with the other one or none current. */
static void C_41_every_kind_at_odd_offsets(void)
{
	static const enum fake_memory kinds[] = {FAKE_DEVICE, FAKE_MANAGED, FAKE_PINNED};
	struct fake_cuda_how how = {.latency_ns = 50 * NS_PER_US, .jitter_ns = 200 * NS_PER_US};

	for (int current = -1; current < 2; current++)
		for (int device = 0; device < 2; device++)
			for (size_t i = 0; i < array_size(kinds); i++) {
				uint64_t length = SIZE - 100;
				char *at;

				start(&how);
				at = fake_cuda_alloc(device, SIZE + 64, kinds[i]);
				memset(fake_cuda_bytes(at), 0xA5, SIZE + 64);
				fake_cuda_use(current);
				if (carry_out(plan_range(33, length,
							 weir_dest_cuda(device, at + 13, length,
									NULL)),
					      NULL) != 0)
					check_failed(__FILE__, __LINE__, "%s", err.message);
				check_bytes(at + 13, 33, length);
				check_int(fake_cuda_bytes(at)[12], 0xA5);
				check_int(fake_cuda_bytes(at + 13)[length], 0xA5);
				check_int(fake_cuda_current(), current);
				fake_cuda_counts(&counts);
				check_int(counts.unpinned_copies, 0);
				check(counts.pinned_peak_bytes <= 64 * MIB);
				end();
			}
}

static void memory_of_weir_is_aligned_and_goes_with_its_buffer(void)
{
	struct weir_plan *plan;
	struct weir_transfer *transfer;
	struct weir_done done[3];
	struct weir_counters counters;

	start(NULL);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < 3; i++)
		check_int(weir_plan_range(plan, object, 1 + i * 100001, 100001,
					  weir_dest_cuda_alloc(1), i, &err),
			  0);
	transfer = begin(plan, NULL);
	for (int i = 0; i < 3; i++) {
		char byte;

		done[i] = wait_one(transfer);
		check_int(done[i].status, 0);
		check_int((uintptr_t)done[i].data % 256, 0);
		check_int(weir_buffer_device(done[i].buffer), 1);
		check_bytes(done[i].data, 1 + done[i].tag * 100001, 100001);
		check_int(weir_buffer_read(done[i].buffer, 100000, &byte, 1, &err), 0);
		check_int(byte, *(char *)fake_cuda_bytes((char *)done[i].data + 100000));
		check_int(weir_buffer_read(done[i].buffer, 100000, &byte, 2, &err), WEIR_ARG);
	}
	weir_transfer_counters(transfer, &counters);
	check_int(counters.bytes_device, 300003);
	check_int(counters.bytes_delivered, 300003);
	finish(transfer, 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	for (int i = 0; i < 3; i++) {
		fake_cuda_counts(&counts);
		check_int(counts.allocations, 1); /* neighbours share one */
		weir_buffer_unref(done[i].buffer);
	}
	fake_cuda_counts(&counts);
	check_int(counts.allocations, 0);
	check_int(counts.context_made[0], 0);
	check_int(counts.contexts, 0);
}

/* A cut through a matrix: one copy for each slot that it came in, not one for each row. */
static void strided_extents_cross_packed(void)
{
	struct weir_stride rows = {.stride_bytes = 4096, .count = 1000};
	char *at, *wanted = malloc(100000);
	struct weir_plan *plan;

	start(NULL);
	at = fake_cuda_alloc(0, 100000, FAKE_DEVICE);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_strided(plan, object, 777, 100, &rows, 1,
				    weir_dest_cuda(0, at, 100000, NULL), 1, &err),
		  0);
	check_int(carry_out(plan, NULL), 0);
	for (uint64_t i = 0; i < 1000; i++)
		pattern_fill(wanted + i * 100, SEED, 777 + i * 4096, 100);
	check(memcmp(fake_cuda_bytes(at), wanted, 100000) == 0);
	fake_cuda_counts(&counts);
	check(counts.copies_in < 20);
	free(wanted);
	end();
}

/* Small and large, host and both devices, in one plan, over a file: in place, staged and crossing. */
static void hosts_and_devices_in_one_plan(void)
{
	struct fake_cuda_how how = {.latency_ns = 20 * NS_PER_US, .jitter_ns = 300 * NS_PER_US};
	char *path = pattern_file("mixed", SEED, SIZE);
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;
	char *at[60];
	uint64_t offset = 0;

	start_with(&how, NULL);
	check_int(weir_object_open(ctx, path, NULL, &object, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (unsigned i = 0; i < 60; i++) {
		uint64_t length = i % 7 ? 1000 + i * 37 : 500000;
		int to = (int)(i % 3) - 1;

		at[i] = to < 0 ? malloc(length) : fake_cuda_alloc(to, length, FAKE_DEVICE);
		check_int(weir_plan_range(plan, object, offset, length,
					  to < 0 ? weir_dest_host(at[i], length)
						 : weir_dest_cuda(to, at[i], length, NULL),
					  offset, &err),
			  0);
		offset += length;
	}
	check(offset < SIZE);
	transfer = begin(plan, NULL);
	for (unsigned i = 0; i < 60; i++) {
		done = wait_one(transfer);
		if (done.status)
			check_failed(__FILE__, __LINE__, "%s", err.message);
	}
	finish(transfer, 0);
	offset = 0;
	for (unsigned i = 0; i < 60; i++) {
		uint64_t length = i % 7 ? 1000 + i * 37 : 500000;
		const void *bytes = i % 3 ? fake_cuda_bytes(at[i]) : (unsigned char *)at[i];

		check_int(pattern_check(bytes, SEED, offset, length), length);
		if (i % 3 == 0)
			free(at[i]);
		offset += length;
	}
	unlink(path);
	free(path);
	end();
}

static void unified_memory_is_read_in_place(void)
{
	struct fake_cuda_how how = {.coherent = true};
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(&how);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), 0);
	check_bytes(at, 0, SIZE);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda_alloc(0)), NULL);
	done = wait_one(transfer);
	check_int(done.status, 0);
	check_bytes(done.data, 0, SIZE);
	weir_buffer_unref(done.buffer);
	finish(transfer, 0);
	fake_cuda_counts(&counts);
	check_int(counts.copies_in, 0);
	end();
}

static void bytes_past_the_end_are_left_alone(void)
{
	struct weir_transfer_opts opts = {.size = sizeof(opts), .flags = WEIR_TRANSFER_AT_END};
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, 1000, FAKE_DEVICE);
	memset(fake_cuda_bytes(at), 0x11, 1000);
	transfer = begin(plan_range(SIZE - 400, 1000, weir_dest_cuda(0, at, 1000, NULL)), &opts);
	done = wait_one(transfer);
	check_int(done.status, 0);
	check_int(done.bytes, 400);
	check_bytes(at, SIZE - 400, 400);
	check_int(fake_cuda_bytes(at)[400], 0x11);
	finish(transfer, 0);
	end();
}

static void memory_of_a_device_is_written_to_a_file(void)
{
	struct fake_cuda_how how = {.latency_ns = 20 * NS_PER_US, .jitter_ns = 300 * NS_PER_US};
	char *path = pattern_file("written", SEED + 1, 10), *at, *back = malloc(SIZE);
	struct weir_plan *plan;

	start_with(&how, NULL);
	at = fake_cuda_alloc(1, SIZE, FAKE_DEVICE);
	/* What is still being computed when the transfer starts is what is written. */
	fake_cuda_use(1);
	fake_cuda_compute(fake_cuda_stream(0), NS_PER_MS, NULL, 0, 0);
	pattern_fill(fake_cuda_bytes(at), SEED, 0, SIZE);
	check_int(weir_object_create(ctx, path, SIZE, NULL, &object, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_write_from(plan, object, 0, weir_dest_cuda(1, at, SIZE, NULL), 1, &err),
		  0);
	if (carry_out(plan, NULL) != 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_int(weir_object_commit(object, WEIR_DURABLE_NO, &err), 0);
	weir_object_unref(object);
	check_int(weir_object_open(ctx, path, NULL, &object, &err), 0);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_host(back, SIZE)), NULL), 0);
	check_int(pattern_check(back, SEED, 0, SIZE), SIZE);
	free(back);
	unlink(path);
	free(path);
	end();
}

/* ---- Order ---- */

/* A long computation still uses the memory: it must not overwrite what is read. */
static void C_42_nothing_is_written_before_the_callers_stream(void)
{
	struct fake_cuda_how how = {.coherent = false};
	struct weir_dest dest;

	for (int kind = FAKE_DEVICE; kind <= FAKE_PINNED; kind++)
		for (int named = 0; named < 2; named++) {
			cu_stream stream;
			clock_t used;
			char *at;

			start(&how);
			fake_cuda_use(0);
			at = fake_cuda_alloc(0, SIZE, (enum fake_memory)kind);
			stream = named ? fake_cuda_stream(0) : NULL;
			fake_cuda_compute(stream, 50 * NS_PER_MS, at, SIZE, 0xEE);
			fake_cuda_use(-1);
			dest = weir_dest_cuda(0, at, SIZE, stream);
			check_int(carry_out(plan_range(0, SIZE, dest), NULL), 0);
			/* The computation has ended then in any case; and lanes sleep meanwhile. */
			used = clock();
			usleep(60000);
			check(clock() - used < CLOCKS_PER_SEC / 50);
			fake_cuda_run();
			check_bytes(at, 0, SIZE);
			end();
		}
}

static void C_42_no_stream_waits_for_nothing(void)
{
	cu_stream stream;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	stream = fake_cuda_stream(0);
	fake_cuda_compute(stream, 3600 * NS_PER_SEC, NULL, 0, 0);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, WEIR_CUDA_NO_STREAM)),
			    NULL),
		  0);
	check_bytes(at, 0, SIZE);
	end();
}

/* ---- What fails ---- */

static void C_44_addresses_are_judged_when_it_starts(void)
{
	char *at, *host = malloc(100);

	start(NULL);
	at = fake_cuda_alloc(0, 100, FAKE_DEVICE);
	check_int(carry_out(plan_range(0, 100, weir_dest_cuda(1, at, 100, NULL)), NULL), WEIR_ARG);
	check_has(err.message, "memory://thing");
	check_has(err.message, "memory of cuda:0");
	check_int(carry_out(plan_range(0, 100, weir_dest_cuda(0, host, 100, NULL)), NULL),
		  WEIR_ARG);
	check_int(carry_out(plan_range(0, 200, weir_dest_cuda(0, at, 200, NULL)), NULL), WEIR_ARG);
	check_int(carry_out(plan_range(0, 100, weir_dest_host(at, 100)), NULL), WEIR_ARG);
	check_has(err.message, "named as the host's");
	check_int(carry_out(plan_range(0, 100, weir_dest_cuda(5, at, 100, NULL)), NULL), WEIR_ARG);
	fake_cuda_free(at);
	check_int(carry_out(plan_range(0, 100, weir_dest_cuda(0, at, 100, NULL)), NULL), WEIR_ARG);
	check_has(err.message, "freed");
	free(host);
	end();
}

static void C_45_without_a_driver_the_host_is_served(void)
{
	char *host = malloc(SIZE);

	start(NULL);
	fake_cuda_fail("init", 1, 1000, CU_NO_DEVICE);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_host(host, SIZE)), NULL), 0);
	check_int(pattern_check(host, SEED, 0, SIZE), SIZE);
	fake_cuda_counts(&counts);
	check_int(counts.calls, 0);
	check_int(carry_out(plan_range(0, 10, weir_dest_cuda_alloc(0)), NULL), WEIR_UNSUPPORTED);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_host(host, SIZE)), NULL), 0);
	free(host);
	end();
}

static void C_43_a_copy_that_is_refused_is_an_error(void)
{
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_fail("copy_to_device", 3, 1, CU_INVALID_VALUE);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), WEIR_IO);
	check_has(err.message, "memory://thing");
	check_has(err.message, "(1)");
	check_int(err.os_errno, 0);
	/* And that is over then. */
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), 0);
	check_bytes(at, 0, SIZE);
	end();
}

static void PR_24_copies_that_break_their_context(void)
{
	char *at;

	start(&(struct fake_cuda_how){.latency_ns = NS_PER_MS});
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_break_copy(2, CU_ILLEGAL_ADDRESS);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), WEIR_IO);
	check_has(err.message, "CUDA_ERROR_ILLEGAL_ADDRESS (700)");
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void PR_24_out_of_memory(void)
{
	start(&(struct fake_cuda_how){.memory_bytes = 4 * MIB});
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda_alloc(0)), NULL), WEIR_NOMEM);
	check_has(err.message, "left");
	fake_cuda_fail("memory_alloc", 1, 1, CU_OUT_OF_MEMORY);
	check_int(carry_out(plan_range(0, MIB, weir_dest_cuda_alloc(0)), NULL), WEIR_NOMEM);
	check_int(carry_out(plan_range(0, MIB, weir_dest_cuda_alloc(0)), NULL), 0);
	end();
}

static void PR_24_the_program_resets_the_device(void)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(&(struct fake_cuda_how){.latency_ns = 3600 * NS_PER_SEC});
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL);
	do
		fake_cuda_counts(&counts);
	while (counts.copies_in == 0);
	fake_cuda_reset(0);
	done = wait_one(transfer);
	check_int(done.status, WEIR_IO);
	check_has(err.message, "CUDA_ERROR_CONTEXT_IS_DESTROYED (709)");
	finish(transfer, WEIR_IO);
	/* And goes on, in a context that is a new one. */
	fake_cuda_behave(&(struct fake_cuda_how){.latency_ns = NS_PER_MS});
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), 0);
	check_bytes(at, 0, SIZE);
	fake_cuda_counts(&counts);
	check_int(counts.unpinned_copies, 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

/* Each call of the driver fails once: an error or a load, never a crash, a hang or a leak. */
static void PR_24_each_call_fails_in_turn(void)
{
	static const char *const functions[] = {
#define NAME(name, symbol, arguments) #name,
		CUDA_FUNCTIONS(NAME)
#undef NAME
	};
	unsigned failures = 0;

	for (size_t i = 0; i < array_size(functions); i++)
		for (unsigned nth = 1; nth < 4; nth++) {
			int ret;
			char *at;

			/* These say that the driver has lost what was made. */
			if (strstr(functions[i], "error_") || strstr(functions[i], "destroy") ||
			    strstr(functions[i], "release") || strstr(functions[i], "unregister") ||
			    strcmp(functions[i], "context_pop") == 0 ||
			    strcmp(functions[i], "memory_free") == 0)
				continue;
			start(&(struct fake_cuda_how){.latency_ns = 100 * NS_PER_US});
			at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
			fake_cuda_fail(functions[i], nth, 1, CU_OUT_OF_MEMORY);
			ret = carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)),
					NULL);
			if (ret == 0)
				check_bytes(at, 0, SIZE);
			failures += ret != 0;
			if (ret != 0)
				check(err.code == WEIR_NOMEM || err.code == WEIR_UNSUPPORTED);
			ret = carry_out(plan_range(0, SIZE, weir_dest_cuda_alloc(1)), NULL);
			failures += ret != 0;
			fake_cuda_fail(functions[i], 1, 0, 0);
			check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda_alloc(1)), NULL), 0);
			end();
		}
	check(failures > 20);
}

static void ST_22_memory_that_cannot_be_pinned_is_used_as_it_is(void)
{
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_fail("memory_register", 1, 1000, CU_OUT_OF_MEMORY);
	check_int(carry_out(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL), 0);
	check_bytes(at, 0, SIZE);
	fake_cuda_counts(&counts);
	check(counts.unpinned_copies > 0);
	end();
}

/* ---- Time, and those who have no more of it ---- */

static void PR_25_a_child_calls_no_driver(void)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	uint64_t calls;
	int status;
	pid_t pid;

	start(NULL);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda_alloc(0)), NULL);
	done = wait_one(transfer);
	fake_cuda_counts(&counts);
	calls = counts.calls;
	pid = fork();
	if (pid == 0) {
		struct weir_plan *plan;
		bool closed = weir_plan_create(ctx, &plan, &err) == WEIR_CLOSED &&
			      weir_transfer_finish(transfer, 0, &err) == WEIR_CLOSED;

		weir_buffer_unref(done.buffer);
		weir_ctx_destroy(ctx);
		fake_cuda_counts(&counts);
		_exit(!closed || counts.calls != calls);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	weir_buffer_unref(done.buffer);
	finish(transfer, 0);
	end();
}

static void wait_for_copies(uint64_t copies)
{
	do
		fake_cuda_counts(&counts);
	while (counts.copies_in < copies);
}

static void PR_26_cancel_with_copies_in_flight(void)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL);
	wait_for_copies(1);
	weir_transfer_cancel(transfer);
	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_MS, &err), WEIR_TIMEOUT);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_MS, &err), WEIR_LENT);
	fake_cuda_hang(false);
	finish(transfer, 0);
	end();
}

static void PR_26_memory_is_lent_while_a_copy_hangs(void)
{
	struct weir_transfer_opts opts = {.size = sizeof(opts), .timeout_ns = 50 * NS_PER_MS};
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), &opts);
	done = wait_one(transfer);
	check_int(done.status, WEIR_TIMEOUT);
	check_int(done.flags, WEIR_DONE_LENT);
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_LENT);
	fake_cuda_hang(false);
	finish(transfer, WEIR_TIMEOUT);
	end();
}

static void PR_26_guarded_memory_is_not_written_once_it_settled(void)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts), .flags = WEIR_TRANSFER_GUARDED, .timeout_ns = 50 * NS_PER_MS};
	struct weir_transfer *transfer;
	struct weir_done done;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), &opts);
	wait_for_copies(1);
	check_int(weir_transfer_wait(transfer, &done, 1, 100 * NS_PER_MS, &err), WEIR_TIMEOUT);
	fake_cuda_hang(false);
	done = wait_one(transfer);
	check_int(done.status, WEIR_TIMEOUT);
	check_int(done.flags, 0);
	memset(fake_cuda_bytes(at), 0x22, SIZE);
	fake_cuda_run();
	usleep(20000);
	fake_cuda_run();
	for (uint64_t i = 0; i < SIZE; i++)
		check_int(fake_cuda_bytes(at)[i], 0x22);
	finish(transfer, WEIR_TIMEOUT);
	end();
}

static void PR_26_a_transfer_that_hangs_is_abandoned(void)
{
	struct weir_transfer *transfer;
	struct weir_counters counters;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL);
	wait_for_copies(1);
	check_int(weir_transfer_abandon(transfer, &err), 0);
	weir_ctx_counters(ctx, &counters);
	check(counters.stuck > 0);
	/* Others are served on. */
	check_int(carry_out(plan_range(0, 10, weir_dest_alloc()), NULL), 0);
	fake_cuda_hang(false);
	end();
}

/* What a copy may still touch is left behind with it: its slot, its stream, its books. */
static void PR_26_a_context_ends_while_a_copy_hangs(void)
{
	struct weir_transfer *transfer;
	uint64_t pins;
	char *at;

	start(NULL);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	transfer = begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), NULL);
	wait_for_copies(1);
	fake_cuda_counts(&counts);
	pins = counts.pins;
	check_int(weir_transfer_abandon(transfer, &err), 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cuda_counts(&counts);
	check_int(counts.pins, pins);
	check(counts.streams > 0);
	fake_cuda_hang(false);
	fake_cuda_run(); /* finds all that it needs */
}

/* Ten times the budget, through it: chunks go back as buffers do. */
static void budgets_hold_for_device_memory(void)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .budget_bytes = 16 * MIB};
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;

	start_with(&(struct fake_cuda_how){.memory_bytes = 16 * MIB}, &opts);
	put_object(60 * MIB);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < 60; i++)
		check_int(weir_plan_range(plan, object, i * MIB, MIB, weir_dest_cuda_alloc(0), i,
					  &err),
			  0);
	transfer = begin(plan, NULL);
	for (int i = 0; i < 60; i++) {
		done = wait_one(transfer);
		if (done.status)
			check_failed(__FILE__, __LINE__, "%s", err.message);
		check_bytes(done.data, done.tag * MIB, MIB);
		weir_buffer_unref(done.buffer);
	}
	finish(transfer, 0);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(C_41_every_kind_at_odd_offsets),
		TEST(memory_of_weir_is_aligned_and_goes_with_its_buffer),
		TEST(strided_extents_cross_packed),
		TEST(hosts_and_devices_in_one_plan),
		TEST(unified_memory_is_read_in_place),
		TEST(bytes_past_the_end_are_left_alone),
		TEST(memory_of_a_device_is_written_to_a_file),
		TEST(C_42_nothing_is_written_before_the_callers_stream),
		TEST(C_42_no_stream_waits_for_nothing),
		TEST(C_43_a_copy_that_is_refused_is_an_error),
		TEST(C_44_addresses_are_judged_when_it_starts),
		TEST(C_45_without_a_driver_the_host_is_served),
		TEST(PR_24_copies_that_break_their_context),
		TEST(PR_24_out_of_memory),
		TEST(PR_24_the_program_resets_the_device),
		TEST(PR_24_each_call_fails_in_turn),
		TEST(ST_22_memory_that_cannot_be_pinned_is_used_as_it_is),
		TEST(PR_25_a_child_calls_no_driver),
		TEST(PR_26_cancel_with_copies_in_flight),
		TEST(PR_26_memory_is_lent_while_a_copy_hangs),
		TEST(PR_26_guarded_memory_is_not_written_once_it_settled),
		TEST(PR_26_a_transfer_that_hangs_is_abandoned),
		TEST(PR_26_a_context_ends_while_a_copy_hangs),
		TEST(a_destination_of_an_unknown_kind),
		TEST(budgets_hold_for_device_memory),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
