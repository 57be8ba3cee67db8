/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies to devices that take their time, and those who have no more of it: children, cancels,
 * deadlines, ends.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cuda_rig.h"

static char *at; /* where copies that hang go */

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

/* A transfer to the device, whose copies hang. */
static struct weir_transfer *begin_to_hang(const struct weir_transfer_opts *opts)
{
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
	fake_cuda_hang(true);
	return begin(plan_range(0, SIZE, weir_dest_cuda(0, at, SIZE, NULL)), opts);
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

	start(NULL);
	transfer = begin_to_hang(NULL);
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

	start(NULL);
	transfer = begin_to_hang(&opts);
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

	start(NULL);
	transfer = begin_to_hang(&opts);
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

	start(NULL);
	transfer = begin_to_hang(NULL);
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

	start_with(NULL, WEIR_CTX_OPTS(.lanes = 1)); /* others would pin theirs, and let go of it */
	object = pattern_in_memory(ctx, SEED, SIZE);
	transfer = begin_to_hang(NULL);
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
	object = pattern_in_memory(ctx, SEED, 60 * MIB);
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
		TEST(PR_25_a_child_calls_no_driver),
		TEST(PR_26_cancel_with_copies_in_flight),
		TEST(PR_26_memory_is_lent_while_a_copy_hangs),
		TEST(PR_26_guarded_memory_is_not_written_once_it_settled),
		TEST(PR_26_a_transfer_that_hangs_is_abandoned),
		TEST(PR_26_a_context_ends_while_a_copy_hangs),
		TEST(budgets_hold_for_device_memory),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
