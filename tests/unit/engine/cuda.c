/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans to and from the memory of devices, over a driver that is none: every byte where it belongs, in the
 * order that streams have.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cuda_rig.h"

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
		TEST(a_destination_of_an_unknown_kind),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
