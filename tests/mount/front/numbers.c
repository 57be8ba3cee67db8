/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of files: stable while the file is, never given out twice, bounded. */
#include "mount/numbers.h"

#include <stdlib.h>

#include "base/compiler.h"
#include "lib/check.h"

static bool none_in_use(void *arg, uint64_t number)
{
	(void)arg;
	(void)number;
	return false;
}

static bool below_in_use(void *arg, uint64_t number)
{
	return number < *(uint64_t *)arg;
}

static struct identity file(uint64_t ino, uint64_t generation)
{
	return (struct identity){.dev = 9, .ino = ino, .generation = generation};
}

static uint64_t number(struct numbers *numbers, uint64_t ino, uint64_t generation)
{
	struct identity identity = file(ino, generation);

	return numbers_of(numbers, &identity);
}

static void UB_18_a_number_stays(void)
{
	struct numbers numbers;

	check_int(numbers_init(&numbers, 0, none_in_use, NULL), 0);
	check_int(number(&numbers, 2, 0), NUMBERS_ROOT);
	for (uint64_t ino = 3; ino < 100000; ino++)
		check_int(number(&numbers, ino, 1), ino - 1);
	for (uint64_t ino = 3; ino < 100000; ino++)
		check_int(number(&numbers, ino, 1), ino - 1);
	numbers_fini(&numbers);
}

static void UB_18_another_file_of_the_same_inode_number(void)
{
	struct numbers numbers;

	check_int(numbers_init(&numbers, 0, none_in_use, NULL), 0);
	check_int(number(&numbers, 5, 1), 1);
	check_int(number(&numbers, 5, 2), 2);
	check_int(number(&numbers, 5, 1), 1);
	numbers_retire(&numbers, &(struct identity){9, 5, 1});
	check_int(number(&numbers, 5, 1), 3);
	check_int(number(&numbers, 5, 2), 2);
	numbers_retire(&numbers, &(struct identity){9, 77, 1}); /* unknown: nothing */
	numbers_fini(&numbers);
}

/* Against an array: which number each file has, 0 where it is retired. */
static void many_come_and_go(void)
{
	enum {
		FILES = 3000
	};
	uint64_t expected[FILES] = {0}, last = 0;
	struct numbers numbers;
	unsigned seed = 1;

	check_int(numbers_init(&numbers, 0, none_in_use, NULL), 0);
	for (int step = 0; step < 300000; step++) {
		uint64_t ino = (uint64_t)rand_r(&seed) % FILES;
		struct identity identity = file(ino * 1024, 7);

		if (rand_r(&seed) % 2) {
			numbers_retire(&numbers, &identity);
			expected[ino] = 0;
			continue;
		}
		if (!expected[ino])
			expected[ino] = ++last;
		check_int(numbers_of(&numbers, &identity), expected[ino]);
	}
	numbers_fini(&numbers);
}

static void a_full_table_forgets_what_nobody_uses(void)
{
	struct numbers numbers;
	uint64_t used = 101;

	check_int(numbers_init(&numbers, 1000, below_in_use, &used), 0);
	for (uint64_t ino = 1; ino <= 5000; ino++)
		check_int(number(&numbers, ino, 1), ino);
	check(numbers.used <= 1000);
	check_int(number(&numbers, 100, 1), 100);  /* in use: it kept its number */
	check_int(number(&numbers, 101, 1), 5001); /* not: it gets one that nobody had */
	numbers_fini(&numbers);
}

static void more_in_use_than_planned(void)
{
	struct numbers numbers;
	uint64_t used = UINT64_MAX;

	check_int(numbers_init(&numbers, 1000, below_in_use, &used), 0);
	for (uint64_t ino = 1; ino <= 5000; ino++)
		check_int(number(&numbers, ino, 1), ino);
	for (uint64_t ino = 1; ino <= 5000; ino++)
		check_int(number(&numbers, ino, 1), ino);
	numbers_fini(&numbers);
}

static void they_end_before_the_virtual_ones(void)
{
	struct numbers numbers;

	check_int(numbers_init(&numbers, 0, none_in_use, NULL), 0);
	numbers.next = NUMBERS_LAST;
	check_int(number(&numbers, 1, 1), NUMBERS_LAST);
	check_int(number(&numbers, 2, 1), 0);
	check_int(number(&numbers, 1, 1), NUMBERS_LAST);
	numbers_fini(&numbers);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_18_a_number_stays),     TEST(UB_18_another_file_of_the_same_inode_number),
		TEST(many_come_and_go),         TEST(a_full_table_forgets_what_nobody_uses),
		TEST(more_in_use_than_planned), TEST(they_end_before_the_virtual_ones),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
