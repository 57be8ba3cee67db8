/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of io_depth and timeout, by themselves.
 */
#include "mount/rings/batch.h"

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"

#define START (5 * NS_PER_SEC)

static uint32_t batches;
static int64_t look_ns;

static uint32_t grant(const struct batch_rule *rule, struct batch_wait *wait, uint32_t queued,
		      bool waiting, int64_t ms)
{
	return batch_grant(rule, wait, queued, waiting, START + ms * NS_PER_MS, &batches, &look_ns);
}

static void UB_30_positive_depth_waits_for_full_batches_when_strict(void)
{
	struct batch_rule rule = {.depth = 4, .strict = true};
	struct batch_wait wait = {0};

	for (int ms = 0; ms <= 1000; ms += 10)
		check_int(grant(&rule, &wait, 3, true, ms), 0);
	check_int(look_ns, NEVER);
	check_int(grant(&rule, &wait, 4, false, 1001), 4);
	check_int(batches, 1);
	check_int(grant(&rule, &wait, 11, true, 1002), 8);
	check_int(batches, 2);
}

static void UB_30_positive_depth_lets_a_sleeper_go_when_relaxed(void)
{
	struct batch_rule rule = {.depth = 4, .timeout_ms = 50};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 3, true, 0), 0);
	check_int(look_ns, START + 150 * NS_PER_MS);
	check_int(grant(&rule, &wait, 3, true, 149), 0);
	check_int(grant(&rule, &wait, 3, false, 151), 0); /* its client is awake: it may fill it */
	check_int(grant(&rule, &wait, 3, true, 152), 3);
	check_int(grant(&rule, &wait, 1, true, 153), 0); /* another partial batch: its own time */
	check_int(grant(&rule, &wait, 1, true, 303), 1);
}

static void UB_31_a_partial_batch_without_timeout_goes_at_once(void)
{
	struct batch_rule rule = {.depth = -2};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 5, false, 0), 5);
	check_int(batches, 3);
}

static void UB_32_a_partial_batch_goes_at_its_timeout(void)
{
	struct batch_rule rule = {.depth = -4, .timeout_ms = 200};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 2, false, 0), 0);
	check_int(look_ns, START + 200 * NS_PER_MS);
	check_int(grant(&rule, &wait, 2, false, 100), 0); /* looking again does not start it anew */
	check_int(look_ns, START + 200 * NS_PER_MS);
	check_int(grant(&rule, &wait, 2, false, 200), 2);
	check_int(grant(&rule, &wait, 5, false, 300), 4);
	check_int(grant(&rule, &wait, 1, false, 301), 0);
	check_int(grant(&rule, &wait, 1, false, 501), 1);
}

static void RG_32_the_rest_behind_a_full_batch_has_its_own_time(void)
{
	struct batch_rule rule = {.depth = -4, .timeout_ms = 200};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 2, false, 0), 0);
	check_int(grant(&rule, &wait, 6, false, 190), 4);
	check_int(grant(&rule, &wait, 2, false, 201), 0);
	check_int(grant(&rule, &wait, 2, false, 390), 2);
}

static void depth_0_is_one_batch(void)
{
	struct batch_rule rule = {.depth = 0, .timeout_ms = 200};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 640, false, 0), 640);
	check_int(batches, 1);
	check_int(grant(&rule, &wait, 0, false, 0), 0);
	check_int(batches, 0);
}

static void no_more_than_32_batches_go_in_one_look(void)
{
	struct batch_rule rule = {.depth = -2}, full = {.depth = 3};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 100, false, 0), 64);
	check_int(grant(&full, &wait, 1000, false, 0), 96);
	check_int(grant(&full, &wait, 97, false, 0), 96);
}

static void RG_19_the_depth_is_never_negated(void)
{
	struct batch_rule rule = {.depth = INT32_MIN, .timeout_ms = 10};
	struct batch_wait wait = {0};

	check_int(grant(&rule, &wait, 65536, false, 0), 0);
	check_int(grant(&rule, &wait, 65536, false, 10), 65536);
	rule = (struct batch_rule){.depth = INT32_MAX, .timeout_ms = UINT32_MAX};
	check_int(grant(&rule, &wait, 65536, true, 0), 0);
	check_int(look_ns, START + (UINT32_MAX + INT64_C(100)) * NS_PER_MS);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_30_positive_depth_waits_for_full_batches_when_strict),
		TEST(UB_30_positive_depth_lets_a_sleeper_go_when_relaxed),
		TEST(UB_31_a_partial_batch_without_timeout_goes_at_once),
		TEST(UB_32_a_partial_batch_goes_at_its_timeout),
		TEST(RG_32_the_rest_behind_a_full_batch_has_its_own_time),
		TEST(depth_0_is_one_batch),
		TEST(no_more_than_32_batches_go_in_one_look),
		TEST(RG_19_the_depth_is_never_negated),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
