/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole of our test framework.
 *
 * A test program lists its cases and runs them; a case fails at its first failed check, by ending the
 * process after it said where.  Case IDs of the specifications stand in the names: SF_41_same_name.
 *
 *	static void SF_41_same_name_twice(void) { check_int(parse(...), WEIR_H_DUP); }
 *
 *	int main(int argc, char **argv)
 *	{
 *		static const struct test tests[] = {
 *			TEST(SF_41_same_name_twice),
 *		};
 *		return tests_run(argc, argv, tests, array_size(tests));
 *	}
 *
 * Run with a name (or a part of one) it runs just those; `--list` lists them.  The last line printed
 * is "N passed, N failed, N skipped".  skip("why") leaves a case out, loudly.
 */
#ifndef TESTS_LIB_CHECK_H
#define TESTS_LIB_CHECK_H

#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct test {
	const char *name;
	void (*run)(void);
};
#define TEST(function)                                                                             \
	{                                                                                          \
#function, function                                                                \
	}

int tests_run(int argc, char **argv, const struct test *tests, size_t count);

void check_failed(const char *file, int line, const char *format, ...)
	__attribute__((format(printf, 3, 4), noreturn));
void skip(const char *why) __attribute__((noreturn));

#define check(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			check_failed(__FILE__, __LINE__, "%s", #condition);                        \
	} while (0)

#define check_int(actual, expected)                                                                \
	do {                                                                                       \
		intmax_t actual_ = (intmax_t)(actual), expected_ = (intmax_t)(expected);           \
		if (actual_ != expected_)                                                          \
			check_failed(__FILE__, __LINE__, "%s is %jd, not %jd (%s)", #actual,       \
				     actual_, expected_, #expected);                               \
	} while (0)

#define check_str(actual, expected)                                                                \
	do {                                                                                       \
		const char *actual_ = (actual), *expected_ = (expected);                           \
		if (!check_same_text(actual_, expected_))                                          \
			check_failed(__FILE__, __LINE__, "%s is \"%s\", not \"%s\"", #actual,      \
				     actual_, expected_);                                          \
	} while (0)

#define check_has(text, part)                                                                      \
	do {                                                                                       \
		const char *text_ = (text), *part_ = (part);                                       \
		if (!check_contains(text_, part_))                                                 \
			check_failed(__FILE__, __LINE__, "\"%s\" lacks \"%s\"", text_, part_);     \
	} while (0)

bool check_same_text(const char *a, const char *b);
bool check_contains(const char *text, const char *part);

#endif
