/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of every piece of work fails once; then all from each one on.
 */
#include "lib/check.h"
#include "rig.h"

static void sweep(unsigned piece, enum fail_mode mode)
{
	rig_prepare();
	/* Fewer would mean that nothing is interposed. */
	check(sweep_allocations(&pieces[piece], mode) > 5);
}

#define PIECE(index, name)                                                                         \
	static void PR_07_once_##name(void)                                                        \
	{                                                                                          \
		sweep(index, FAIL_ONCE);                                                           \
	}                                                                                          \
	static void PR_07_from_then_on_##name(void)                                                \
	{                                                                                          \
		sweep(index, FAIL_FROM);                                                           \
	}                                                                                          \
	static void PR_07_without_rings_##name(void)                                               \
	{                                                                                          \
		rig_forbid_rings();                                                                \
		sweep(index, FAIL_ONCE);                                                           \
	}

PIECE(0, load_model)
PIECE(1, read_ranges)
PIECE(2, cancel_reads)
PIECE(3, write_object)
PIECE(4, look_around)
PIECE(5, post_requests)

#define TESTS(name)                                                                                \
	TEST(PR_07_once_##name), TEST(PR_07_from_then_on_##name), TEST(PR_07_without_rings_##name)

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TESTS(load_model),   TESTS(read_ranges), TESTS(cancel_reads),
		TESTS(write_object), TESTS(look_around), TESTS(post_requests),
	};

	check_int(piece_count, 6);
	return tests_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
