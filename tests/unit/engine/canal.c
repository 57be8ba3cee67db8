/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads by cuFile, over a library and a driver that are none (lib/fake_cufile.h): every byte where
 * it belongs, whatever the library does, and nothing of it left behind.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/fake_cufile.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define SIZE (9 * MIB + 1234)
#define SEED 7

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static char *path;
static char *at;
static struct weir_counters counters;
static struct fake_cufile_counts counts;

/* ---- Rig ---- */

static bool can_go_direct(void)
{
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static void open_object(void)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .direct = WEIR_DIRECT_ON};

	check_int(weir_object_open(ctx, path, &opts, &object, &err), 0);
}

static void start(const struct fake_cufile_how *how, int wish)
{
	struct ctx_seams seams = {.cuda = fake_cuda_start(NULL), .cufile = fake_cufile_start(how)};
	struct weir_ctx_opts opts = {.size = sizeof(opts), .cufile = wish, .trace_events = 1000};

	check_int(ctx_create_with(&opts, &seams, &ctx, &err), 0);
	open_object();
	at = fake_cuda_alloc(0, SIZE + 64, FAKE_DEVICE);
	memset(fake_cuda_bytes(at), 0xA5, SIZE + 64);
}

static void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cufile_counts(&counts);
	check_int(counts.files, 0);
	check_int(counts.opens, counts.closes);
	check_int(counts.running, 0);
}

static struct weir_transfer *begin(uint64_t offset, uint64_t length, char *to,
				   const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer = NULL;
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, offset, length,
				  weir_dest_cuda(0, to, length, WEIR_CUDA_NO_STREAM), 1, &err),
		  0);
	if (weir_transfer_start(plan, NULL, opts, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return transfer;
}

static int carry_out(uint64_t offset, uint64_t length, char *to)
{
	struct weir_transfer *transfer = begin(offset, length, to, NULL);
	struct weir_done done = {0};

	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	weir_transfer_counters(transfer, &counters);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, NULL), done.status);
	return done.status;
}

/* All of it to an odd place, with nothing written beside it. */
static void carry_all(void)
{
	uint64_t length = SIZE - 100;

	memset(fake_cuda_bytes(at), 0xA5, SIZE + 64);
	check_int(carry_out(33, length, at + 13), 0);
	check_int(pattern_check(fake_cuda_bytes(at + 13), SEED, 33, length), length);
	check_int(fake_cuda_bytes(at)[12], 0xA5);
	check_int(fake_cuda_bytes(at + 13)[length], 0xA5);
}

/* The library is opened, and the file looked at, while the first bytes go by copies: until cuFile is used. */
static bool carry_until_used(void)
{
	for (int i = 0; i < 100; i++) {
		carry_all();
		if (counters.bytes_cufile || counters.cufile_redone)
			return true;
		usleep(1000);
	}
	return false;
}

/* ---- Where bytes land ---- */

static void whole_blocks_go_straight_and_the_rest_is_copied(void)
{
	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	carry_all();
	check(counters.bytes_cufile > SIZE / 2);
	check_int(counters.bytes_cufile + counters.bytes_device, SIZE - 100);
	check(counters.bytes_device > 0);
	check_int(counters.cufile_redone, 0);
	check_int(counters.bytes_delivered, SIZE - 100);
	end();
}

static void many_lanes_and_slow_reads(void)
{
	struct fake_cufile_how how = {.latency_ns = 500 * NS_PER_US, .bytes_per_second = GIB};

	start(&how, WEIR_CUFILE_ON);
	check(carry_until_used());
	for (int i = 0; i < 5; i++) {
		carry_all();
		check_int(counters.cufile_redone, 0);
	}
	end();
}

/* Matters of people: the trace says which reads they were. */
static void the_trace_names_them(void)
{
	char *name, text[200000] = "";
	FILE *file;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	check(asprintf(&name, "%s.trace", path) > 0);
	check_int(weir_ctx_trace_write(ctx, name, &err), 0);
	file = fopen(name, "re");
	check(file && fread(text, 1, sizeof(text) - 1, file) > 0);
	fclose(file);
	check(strstr(text, "\"cufile\"") != NULL);
	unlink(name);
	free(name);
	end();
}

/* ---- What does not use it ---- */

static void check_unused(void)
{
	for (int i = 0; i < 5; i++) {
		carry_all();
		check_int(counters.bytes_cufile, 0);
		check_int(counters.bytes_device, SIZE - 100);
		usleep(2000);
	}
}

static void off_calls_nothing(void)
{
	start(NULL, WEIR_CUFILE_OFF);
	check_unused();
	fake_cufile_counts(&counts);
	check_int(counts.calls, 0);
	end();
}

static void auto_leaves_its_compatibility_mode_alone(void)
{
	struct fake_cufile_how how = {.compat = true};

	start(&how, WEIR_CUFILE_AUTO);
	check_unused();
	fake_cufile_counts(&counts);
	check_int(counts.opens, 1);
	check_int(counts.closes, 1);
	end();
}

static void auto_leaves_file_systems_alone_that_it_does_not_serve(void)
{
	struct fake_cufile_how how = {.status = 1u << CUFILE_LUSTRE};

	start(&how, WEIR_CUFILE_AUTO);
	check_unused();
	fake_cufile_counts(&counts);
	check_int(counts.opens, 1);
	end();
}

static void on_takes_the_compatibility_mode_too(void)
{
	struct fake_cufile_how how = {.compat = true, .old = true};

	start(&how, WEIR_CUFILE_ON);
	check(carry_until_used());
	end();
}

static void what_somebody_else_opened_is_not_closed(void)
{
	struct fake_cufile_how how = {.open_already = true};

	start(&how, WEIR_CUFILE_ON);
	check(carry_until_used());
	end();
	check_int(counts.closes, 0);
}

static void what_stands_in_the_callers_stream_comes_first(void)
{
	cu_stream stream;
	struct weir_plan *plan;
	struct weir_transfer *transfer;
	struct weir_done done;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	stream = fake_cuda_stream(0);
	fake_cuda_compute(stream, 50 * NS_PER_MS, at, SIZE, 0x11);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 0, SIZE, weir_dest_cuda(0, at, SIZE, stream), 1,
				  &err),
		  0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(pattern_check(fake_cuda_bytes(at), SEED, 0, SIZE), SIZE);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &err), 0);
	end();
}

/* ---- What goes wrong ---- */

static void reads_that_fail_are_made_again(void)
{
	static const int answers[] = {-1, -CUFILE_KERNEL, -CUFILE_CUDA, 4096, 511, 1 << 30};

	for (size_t i = 0; i < array_size(answers); i++) {
		start(NULL, WEIR_CUFILE_ON);
		check(carry_until_used());
		fake_cufile_fail("read", 2, 1, answers[i]);
		carry_all();
		check_int(counters.cufile_redone, 1);
		check(counters.bytes_cufile > 0);
		check_int(counters.extents_failed, 0);
		end();
	}
}

static void after_some_failures_in_a_row_none_is_tried(void)
{
	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	fake_cufile_fail("read", 1, 1000, -CUFILE_INTERNAL);
	carry_all();
	check(counters.cufile_redone >= 3);
	check_int(counters.bytes_cufile, 0);
	carry_all();
	check_int(counters.cufile_redone, 0);
	check_int(counters.bytes_cufile, 0);
	end();
}

/* Of every function, every call in turn. */
static void PR_24_each_call_fails_in_turn(void)
{
	static const char *const functions[] = {"driver_open", "driver_properties", "file_register",
						"read"};

	for (size_t i = 0; i < array_size(functions); i++)
		for (unsigned nth = 1; nth <= 3; nth++) {
			start(NULL, WEIR_CUFILE_ON);
			fake_cufile_fail(functions[i], nth, 1,
					 i == 3 ? -CUFILE_KERNEL : CUFILE_KERNEL);
			for (int round = 0; round < 4; round++) {
				carry_all();
				usleep(1000);
			}
			end();
		}
}

/* The context that reads go by is gone: the copies say so. */
static void PR_24_the_program_resets_the_device(void)
{
	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	fake_cufile_hang(true);
	{
		struct weir_transfer *transfer = begin(0, SIZE, at, NULL);
		struct weir_done done;

		do
			fake_cufile_counts(&counts);
		while (counts.running == 0);
		fake_cufile_fail("read", 1, 1000, -CUFILE_CUDA);
		fake_cuda_reset(0);
		weir_transfer_cancel(transfer);
		fake_cufile_hang(false);
		check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
		check(done.status != 0);
		check(weir_transfer_finish(transfer, 20 * NS_PER_SEC, NULL) != 0);
	}
	end();
}

static void PR_25_a_child_calls_no_library(void)
{
	uint64_t calls;
	int status;
	pid_t child;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	fake_cufile_counts(&counts);
	calls = counts.calls;
	child = fork();
	if (child == 0) {
		weir_object_unref(object);
		weir_ctx_destroy(ctx);
		fake_cufile_counts(&counts);
		_exit(counts.calls == calls ? 0 : 1);
	}
	check_int(waitpid(child, &status, 0), child);
	check(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	carry_all();
	check(counters.bytes_cufile > 0);
	end();
}

static void wait_running(void)
{
	do {
		usleep(100);
		fake_cufile_counts(&counts);
	} while (counts.running == 0);
}

/* Does one of its reads run before it has settled?  On a busy machine its time may have passed by then. */
static bool comes_to_run(struct weir_transfer *transfer)
{
	struct weir_done done;

	do {
		usleep(100);
		fake_cufile_counts(&counts);
		if (counts.running > 0)
			return true;
	} while (weir_transfer_wait(transfer, &done, 1, 0, &err) == WEIR_TIMEOUT);
	return false;
}

/* A transfer with a read that hangs; with more time, where that was over before it read. */
static struct weir_transfer *begin_one_that_hangs(struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	fake_cufile_hang(true);
	while (!comes_to_run(transfer = begin(0, SIZE, at, opts))) {
		fake_cufile_hang(false);
		check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &err), WEIR_TIMEOUT);
		fake_cufile_hang(true);
		opts->timeout_ns *= 2;
	}
	return transfer;
}

static void PR_26_memory_is_lent_while_a_read_hangs(void)
{
	struct weir_transfer_opts opts = {.size = sizeof(opts), .timeout_ns = 50 * NS_PER_MS};
	struct weir_transfer *transfer = begin_one_that_hangs(&opts);
	struct weir_done done;

	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(done.status, WEIR_TIMEOUT);
	check(done.flags & WEIR_DONE_LENT);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_MS, &err), WEIR_LENT);
	fake_cufile_hang(false);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &err), WEIR_TIMEOUT);
	end();
}

static void PR_26_guarded_memory_is_not_written_once_it_settled(void)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts), .timeout_ns = 50 * NS_PER_MS, .flags = WEIR_TRANSFER_GUARDED};
	struct weir_transfer *transfer = begin_one_that_hangs(&opts);
	struct weir_done done;

	usleep((useconds_t)(2 * opts.timeout_ns / NS_PER_US));
	fake_cufile_hang(false);
	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(done.status, WEIR_TIMEOUT);
	check(!(done.flags & WEIR_DONE_LENT));
	memset(fake_cuda_bytes(at), 0x5A, SIZE);
	check_int(weir_transfer_finish(transfer, 20 * NS_PER_SEC, &err), WEIR_TIMEOUT);
	for (uint64_t i = 0; i < SIZE; i++)
		if (fake_cuda_bytes(at)[i] != 0x5A)
			check_failed(__FILE__, __LINE__, "byte %llu", (unsigned long long)i);
	end();
}

static void PR_26_a_transfer_that_hangs_is_abandoned(void)
{
	struct weir_transfer_opts opts = {.size = sizeof(opts), .timeout_ns = 50 * NS_PER_MS};
	struct weir_transfer *transfer = begin_one_that_hangs(&opts);
	struct weir_done done;

	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(weir_transfer_abandon(transfer, &err), 0);
	usleep(20000);
	fake_cufile_hang(false);
	end();
}

/* What a read may still write to is left behind with it, and what it needs to end. */
static void PR_26_a_context_ends_while_a_read_hangs(void)
{
	struct weir_transfer *transfer;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	fake_cufile_hang(true);
	transfer = begin(0, SIZE, at, NULL);
	wait_running();
	check_int(weir_transfer_abandon(transfer, &err), 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	fake_cufile_counts(&counts);
	check_int(counts.files, 1);
	check_int(counts.closes, 0);
	fake_cufile_hang(false);
	do {
		usleep(1000);
		fake_cufile_counts(&counts);
	} while (counts.running);
	usleep(20000); /* it finds all that it needs */
}

static void PR_26_cancel_with_reads_in_flight(void)
{
	struct fake_cufile_how how = {.latency_ns = 2 * NS_PER_MS};

	start(&how, WEIR_CUFILE_ON);
	check(carry_until_used());
	for (int i = 0; i < 20; i++) {
		struct weir_transfer *transfer = begin(0, SIZE, at, NULL);

		usleep((unsigned)i * 300);
		weir_transfer_cancel(transfer);
		weir_transfer_finish(transfer, 20 * NS_PER_SEC, &err);
	}
	end();
}

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	check(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void objects_that_come_and_go_leave_nothing(void)
{
	unsigned before;

	start(NULL, WEIR_CUFILE_ON);
	check(carry_until_used());
	weir_object_unref(object);
	before = descriptors();
	for (int i = 0; i < 100; i++) {
		open_object();
		carry_all();
		if (i % 2)
			usleep(1000);
		weir_object_unref(object);
	}
	for (int i = 0; i < 1000 && descriptors() != before; i++)
		usleep(1000); /* one may still be looked at */
	check_int(descriptors(), before);
	open_object();
	end();
}

static void the_environment_chooses(void)
{
	struct ctx_seams seams = {NULL};

	setenv("WEIR_CUFILE", "perhaps", 1);
	check_int(ctx_create_with(NULL, &seams, &ctx, &err), WEIR_ARG);
	check(strstr(err.message, "WEIR_CUFILE is 'perhaps'") != NULL);
	setenv("WEIR_CUFILE", "off", 1);
	start(NULL, WEIR_CUFILE_AUTO);
	check_int(ctx->opts.cufile, WEIR_CUFILE_OFF);
	check(!ctx->canal);
	end();
	start(NULL, WEIR_CUFILE_ON); /* the caller's word is the last */
	check_int(ctx->opts.cufile, WEIR_CUFILE_ON);
	end();
	unsetenv("WEIR_CUFILE");
	check_int(ctx_create_with(WEIR_CTX_OPTS(.cufile = 3), &seams, &ctx, &err), WEIR_ARG);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(whole_blocks_go_straight_and_the_rest_is_copied),
		TEST(many_lanes_and_slow_reads),
		TEST(the_trace_names_them),
		TEST(off_calls_nothing),
		TEST(auto_leaves_its_compatibility_mode_alone),
		TEST(auto_leaves_file_systems_alone_that_it_does_not_serve),
		TEST(on_takes_the_compatibility_mode_too),
		TEST(what_somebody_else_opened_is_not_closed),
		TEST(what_stands_in_the_callers_stream_comes_first),
		TEST(reads_that_fail_are_made_again),
		TEST(after_some_failures_in_a_row_none_is_tried),
		TEST(PR_24_each_call_fails_in_turn),
		TEST(PR_24_the_program_resets_the_device),
		TEST(PR_25_a_child_calls_no_library),
		TEST(PR_26_memory_is_lent_while_a_read_hangs),
		TEST(PR_26_guarded_memory_is_not_written_once_it_settled),
		TEST(PR_26_a_transfer_that_hangs_is_abandoned),
		TEST(PR_26_a_context_ends_while_a_read_hangs),
		TEST(PR_26_cancel_with_reads_in_flight),
		TEST(objects_that_come_and_go_leave_nothing),
		TEST(the_environment_chooses),
	};
	int ret;

	path = pattern_file("canal", SEED, SIZE);
	if (!can_go_direct()) {
		printf("# %s: no direct I/O there\n", path);
		unlink(path);
		free(path);
		return 77;
	}
	ret = tests_run(argc, argv, tests, array_size(tests));
	unlink(path);
	free(path);
	return ret;
}
