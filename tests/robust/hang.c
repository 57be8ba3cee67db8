/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storage that does not answer, answers late, slowly, or with errors: over objects in RAM with a source
 * in front that misbehaves on request.
 */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "source/fault.h"
#include "weir/weir.h"

#define SIZE    (4 * MIB)
#define REQUEST (64 * KIB)
#define SEED    6

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct source *fault;

static int wrap(struct source **source, void *arg, struct weir_error *error)
{
	int ret = source_fault_create(*source, 1, &fault, error);

	(void)arg;
	if (ret == 0)
		*source = fault;
	return ret;
}

static void set_rule(struct fault_rule rule)
{
	source_fault_set(fault, &rule, 1);
}

static void open_all(uint64_t request)
{
	struct ctx_seams seams = {.wrap = wrap};

	check_int(ctx_create_with(WEIR_CTX_OPTS(.request_bytes = request, .depth = 128), &seams,
				  &ctx, &err),
		  0);
	object = pattern_in_memory(ctx, SEED, SIZE);
}

static void close_all(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static int64_t now(void)
{
	return sys_real()->now_ns();
}

/* `count` pieces of a request each, one after another, to memory + i * REQUEST; NULL: weir's own. */
static struct weir_transfer *start_pieces(char *memory, uint64_t count,
					  const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < count; i++) {
		struct weir_dest dest = weir_dest_alloc();

		if (memory)
			dest = weir_dest_host(memory + i * REQUEST, REQUEST);
		check_int(weir_plan_range(plan, object, i * REQUEST, REQUEST, dest, i, &err), 0);
	}
	if (weir_transfer_start(plan, NULL, opts, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return transfer;
}

static uint64_t stuck(void)
{
	struct weir_counters counters;

	weir_ctx_counters(ctx, &counters);
	return counters.stuck;
}

static struct fault_rule stuck_rule(uint64_t offset, int64_t delay_ns)
{
	return (struct fault_rule){.calls = FAULT_READ,
				   .offset = offset,
				   .length = 1,
				   .action = FAULT_STUCK,
				   .delay_ns = delay_ns};
}

/* The stuck one times out and is lent, the others arrive. */
static void take_with_one_stuck(struct weir_transfer *transfer, uint64_t count, uint64_t which,
				uint32_t flags)
{
	struct weir_done done;

	for (uint64_t i = 0; i < count; i++) {
		check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
		check_int(done.status, done.tag == which ? WEIR_TIMEOUT : 0);
		check_int(done.flags, done.tag == which ? flags : 0);
		weir_buffer_unref(done.buffer);
	}
}

static void ST_16_a_read_that_hangs_is_timed_out_lent_and_abandoned(void)
{
	char *memory = calloc(8, REQUEST);
	struct weir_transfer *transfer;
	int64_t start = now();

	open_all(REQUEST);
	set_rule(stuck_rule(3 * REQUEST, 3 * NS_PER_SEC));
	transfer = start_pieces(memory, 8, WEIR_TRANSFER_OPTS(.timeout_ns = 100 * NS_PER_MS));
	take_with_one_stuck(transfer, 8, 3, WEIR_DONE_LENT);
	check(now() - start < 1500 * NS_PER_MS);
	check_int(weir_transfer_finish(transfer, 10 * NS_PER_MS, &err), WEIR_LENT);
	check_int(weir_transfer_abandon(transfer, &err), 0);
	check_int(stuck(), 1);
	/* The context serves others meanwhile. */
	source_fault_set(fault, NULL, 0);
	transfer = start_pieces(NULL, 8, NULL);
	take_with_one_stuck(transfer, 8, UINT64_MAX, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	/* Its late bytes land where they were lent to. */
	while (stuck() > 0)
		usleep(10000);
	check_int(pattern_check(memory + 3 * REQUEST, SEED, 3 * REQUEST, REQUEST), REQUEST);
	close_all();
	free(memory);
}

static void ST_16_guarded_memory_is_never_touched_late(void)
{
	char *memory = mmap(NULL, 8 * REQUEST, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			    -1, 0);
	struct weir_transfer *transfer;

	open_all(REQUEST);
	set_rule(stuck_rule(2 * REQUEST, NS_PER_SEC));
	transfer = start_pieces(
		memory, 8,
		WEIR_TRANSFER_OPTS(.timeout_ns = 100 * NS_PER_MS, .flags = WEIR_TRANSFER_GUARDED));
	take_with_one_stuck(transfer, 8, 2, 0);
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_TIMEOUT);
	check_int(munmap(memory, 8 * REQUEST), 0);
	check_int(stuck(), 1);
	while (stuck() > 0)
		usleep(10000);
	close_all();
}

static void ST_16_memory_of_ours_is_not_lent(void)
{
	struct weir_transfer *transfer;

	open_all(REQUEST);
	set_rule(stuck_rule(0, NS_PER_SEC));
	transfer = start_pieces(NULL, 8, WEIR_TRANSFER_OPTS(.timeout_ns = 100 * NS_PER_MS));
	for (int i = 0; i < 8; i++) {
		struct weir_done done;

		check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
		check_int(done.flags, 0);
		weir_buffer_unref(done.buffer);
	}
	check_int(weir_transfer_finish(transfer, 0, &err), WEIR_TIMEOUT);
	close_all();
}

static void ST_16_no_more_than_64_stuck_transfers_are_kept(void)
{
	char *memory = malloc(REQUEST);
	struct weir_transfer *transfer;
	struct weir_plan *plan;

	open_all(REQUEST);
	set_rule(stuck_rule(0, 4 * NS_PER_SEC));
	for (int i = 0; i < 64; i++) {
		transfer = start_pieces(memory, 1, NULL);
		while (weir_transfer_finish(transfer, 0, &err) != WEIR_LENT)
			transfer = start_pieces(memory, 1, NULL);
		check_int(weir_transfer_abandon(transfer, &err), 0);
	}
	check_int(stuck(), 64);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), WEIR_LIMIT);
	while (stuck() > 0)
		usleep(10000);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	close_all();
	free(memory);
}

/* Waiting for ever ends with the transfer's patience, for completions and for releases. */
static void ST_16_nothing_waits_without_an_end(void)
{
	char *memory = malloc(REQUEST);
	struct weir_transfer *transfer;
	struct weir_done done;

	open_all(REQUEST);
	set_rule(stuck_rule(0, 3 * NS_PER_SEC));
	transfer = start_pieces(memory, 1, WEIR_TRANSFER_OPTS(.stall_ns = 200 * NS_PER_MS));
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, WEIR_TIMEOUT);
	check_int(done.flags, WEIR_DONE_LENT);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), WEIR_TIMEOUT);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_TIMEOUT);
	close_all();
	free(memory);
}

static void ST_16_exit_does_not_wait(void)
{
	char *memory = malloc(REQUEST);
	int64_t start = now();
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		open_all(REQUEST);
		set_rule(stuck_rule(0, 30 * NS_PER_SEC));
		start_pieces(memory, 1, NULL);
		usleep(50000);
		exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	check(now() - start < 10 * NS_PER_SEC);
	free(memory);
}

/* An open that hangs; the context is gone when it returns, and it must not notice. */
static void open_that_hangs(void)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .timeout_ns = 100 * NS_PER_MS};
	struct weir_object *never;

	open_all(REQUEST);
	set_rule((struct fault_rule){
		.calls = FAULT_OPEN, .action = FAULT_STUCK, .delay_ns = 1500 * NS_PER_MS});
	check_int(weir_object_open(ctx, "memory://pattern", &opts, &never, &err), WEIR_TIMEOUT);
	check_int(stuck(), 1);
	close_all();
	nanosleep(&(struct timespec){2, 500000000}, NULL);
	_exit(0); /* what is left behind on purpose is no leak */
}

static void ST_16_an_open_that_hangs_outlives_its_context(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		open_that_hangs();
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
}

/* ---- Errors, and slowness ---- */

/* One tensor after another, each by itself. */
static void ST_03_other_tensors_are_still_readable(void)
{
	uint64_t bad = 5 * REQUEST + 4096;
	char *memory = malloc(REQUEST);

	open_all(4096);
	set_rule((struct fault_rule){.calls = FAULT_READ,
				     .offset = bad,
				     .length = 512,
				     .action = FAULT_ERROR,
				     .code = WEIR_IO,
				     .os_errno = 5});
	for (uint64_t i = 0; i < 16; i++) {
		int ret = weir_object_read(object, i * REQUEST, REQUEST, memory, WEIR_FOREVER,
					   &err);

		check_int(ret, i == 5 ? WEIR_IO : 0);
		if (i == 5)
			check(err.os_errno == 5 && err.offset_bytes >= 5 * REQUEST &&
			      err.offset_bytes <= bad);
		else
			check_int(pattern_check(memory, SEED, i * REQUEST, REQUEST), REQUEST);
	}
	close_all();
	free(memory);
}

/* The bytes before a failure are not taken down by it. */
static void ST_03_a_request_that_fails_half_way_delivers_what_came(void)
{
	struct fault_rule rules[] = {
		{.calls = FAULT_READ, .times = 1, .action = FAULT_SHORT, .bytes = 3 * 1000},
		{.calls = FAULT_READ,
		 .skip = 1,
		 .action = FAULT_ERROR,
		 .code = WEIR_IO,
		 .os_errno = 5},
	};
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;
	char memory[10][1000];

	open_all(REQUEST);
	source_fault_set(fault, rules, array_size(rules));
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < 10; i++) /* all in one request, through staging */
		check_int(weir_plan_range(plan, object, i * 1000, 1000,
					  weir_dest_host(memory[i], 1000), i, &err),
			  0);
	check_int(weir_transfer_start(plan, NULL,
				      WEIR_TRANSFER_OPTS(.flags = WEIR_TRANSFER_GUARDED), &transfer,
				      &err),
		  0);
	for (int i = 0; i < 10; i++) {
		check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
		check_int(done.status, done.tag < 3 ? 0 : WEIR_IO);
		if (done.status == 0)
			check_int(pattern_check(done.data, SEED, done.tag * 1000, 1000), 1000);
	}
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_IO);
	close_all();
}

static void ST_24_an_object_is_closed_while_it_is_read(void)
{
	struct weir_transfer *transfer;

	open_all(REQUEST);
	set_rule((struct fault_rule){
		.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 50 * NS_PER_MS});
	transfer = start_pieces(NULL, 8, NULL);
	weir_object_unref(object);
	take_with_one_stuck(transfer, 8, UINT64_MAX, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_ctx_destroy(ctx);
}

static void ST_25_a_slow_disk_is_asked_once(void)
{
	struct weir_memory_opts slow = {
		.size = sizeof(slow), .latency_ns = 500 * NS_PER_MS, .bytes_per_second = MIB};
	struct weir_transfer *transfer;
	struct weir_counters counters;

	open_all(REQUEST);
	check_int(weir_memory_behave(ctx, &slow, &err), 0);
	transfer = start_pieces(NULL, 24, NULL);
	take_with_one_stuck(transfer, 24, UINT64_MAX, 0);
	weir_transfer_counters(transfer, &counters);
	check(counters.requests <= 24);
	check_int(counters.bytes_requested, 24 * REQUEST);
	check_int(counters.retries, 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	close_all();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_16_a_read_that_hangs_is_timed_out_lent_and_abandoned),
		TEST(ST_16_guarded_memory_is_never_touched_late),
		TEST(ST_16_memory_of_ours_is_not_lent),
		TEST(ST_16_no_more_than_64_stuck_transfers_are_kept),
		TEST(ST_16_nothing_waits_without_an_end),
		TEST(ST_16_exit_does_not_wait),
		TEST(ST_16_an_open_that_hangs_outlives_its_context),
		TEST(ST_03_other_tensors_are_still_readable),
		TEST(ST_03_a_request_that_fails_half_way_delivers_what_came),
		TEST(ST_24_an_object_is_closed_while_it_is_read),
		TEST(ST_25_a_slow_disk_is_asked_once),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
