/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What fails on the way to a device, and the typed error that comes of it.
 */
#include <string.h>

#include "cuda_rig.h"

static void C_44_addresses_are_judged_when_it_starts(void)
{
	char *at, *host = malloc(100);

	start(NULL);
	at = fake_cuda_alloc(0, 100, FAKE_DEVICE);
	check_int(carry_out(plan_range(0, 100, weir_dest_cuda(1, at, 100, NULL)), NULL), WEIR_ARG);
	check_has(err.message, "memory://pattern");
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
	check_has(err.message, "memory://pattern");
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

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(C_43_a_copy_that_is_refused_is_an_error),
		TEST(C_44_addresses_are_judged_when_it_starts),
		TEST(C_45_without_a_driver_the_host_is_served),
		TEST(PR_24_copies_that_break_their_context),
		TEST(PR_24_out_of_memory),
		TEST(PR_24_the_program_resets_the_device),
		TEST(PR_24_each_call_fails_in_turn),
		TEST(ST_22_memory_that_cannot_be_pinned_is_used_as_it_is),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
