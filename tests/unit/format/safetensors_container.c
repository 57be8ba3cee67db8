/* SPDX-License-Identifier: Apache-2.0 */
/* The size prefix, and how header and data fill the file: SF-01 to SF-19. */
#include "judge.h"

/* What do the first bytes of a file say, given whole or one at a time? */
static int feed(const void *first, size_t have, uint64_t file_bytes, uint64_t *need)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = safetensors_need(JUDGE_LABEL, first, have, file_bytes, need, &err);

	if (ret < 0) {
		check_int(err.code, ret);
		check_str(err.object, JUDGE_LABEL);
	}
	return ret;
}

/* A file of just these bytes, given as it is. */
static void refuse_bytes(const void *bytes, size_t len, int expected)
{
	for (unsigned flags = 0; flags <= FORMAT_LENIENT; flags++) {
		char *text = malloc(len ? len : 1);
		struct verdict verdict;

		check(text);
		memcpy(text, bytes, len);
		verdict = judge_input((struct format_input){.label = JUDGE_LABEL,
							    .text = text,
							    .text_bytes = len,
							    .file_bytes = len,
							    .flags = flags});
		check_str(weir_code_name(verdict.code), weir_code_name(expected));
	}
}

/* The prefix alone says no, before anybody could allocate by it. */
static void refuse_prefix(uint64_t n, uint64_t file_bytes, int expected)
{
	char prefix[10] = {0};
	uint64_t need = 0;

	store_le64(prefix, n);
	check_str(weir_code_name(feed(prefix, 8, file_bytes, &need)), weir_code_name(expected));
	refuse_bytes(prefix, sizeof(prefix), expected);
}

static void SF_01_empty_file(void)
{
	uint64_t need;

	check_int(feed("", 0, 0, &need), WEIR_H_SHORT);
	refuse_bytes("", 0, WEIR_H_SHORT);
}

static void SF_02_seven_bytes(void)
{
	uint64_t need;

	check_int(feed("\2\0\0\0\0\0\0", 7, 7, &need), WEIR_H_SHORT);
	refuse_bytes("\2\0\0\0\0\0\0", 7, WEIR_H_SHORT);
}

static void SF_03_no_header(void)
{
	refuse_bytes("\0\0\0\0\0\0\0\0", 8, WEIR_H_JSON);
}

static void SF_04_header_behind_the_end(void)
{
	refuse_bytes("\2\0\0\0\0\0\0\0", 8, WEIR_H_LEN);
}

static void SF_05_braces_where_the_data_would_be(void)
{
	refuse_bytes("\0\0\0\0\0\0\0\0{}", 10, WEIR_H_JSON);
}

static void SF_06_length_wraps_to_seven(void)
{
	refuse_prefix(UINT64_MAX, 10, WEIR_H_LIMIT);
}

static void SF_07_length_wraps_to_zero(void)
{
	refuse_prefix(UINT64_MAX - 7, 10, WEIR_H_LIMIT);
	refuse_prefix(UINT64_MAX - 4, 10, WEIR_H_LIMIT);
}

static void SF_08_length_negative_if_signed(void)
{
	refuse_prefix(UINT64_C(1) << 63, 10, WEIR_H_LIMIT);
}

static void SF_09_length_small_in_32_bits(void)
{
	refuse_prefix((UINT64_C(1) << 32) + 2, 10, WEIR_H_LIMIT);
}

static void SF_10_length_one_above_the_cap(void)
{
	refuse_prefix(100000001, 10, WEIR_H_LIMIT);
	refuse_prefix(100000001, 1000000000, WEIR_H_LIMIT);
}

static void SF_11_length_at_the_cap_in_a_tiny_file(void)
{
	refuse_prefix(100000000, 10, WEIR_H_LEN);
}

static void SF_12_length_one_past_the_end(void)
{
	refuse_bytes("\3\0\0\0\0\0\0\0{}", 10, WEIR_H_LEN);
}

static void SF_13_length_big_endian(void)
{
	refuse_bytes("\0\0\0\0\0\0\0\2{}", 10, WEIR_H_LIMIT);
}

static void SF_14_length_cuts_the_last_brace(void)
{
	refuse_bytes("\1\0\0\0\0\0\0\0{}", 10, WEIR_H_JSON);
}

static void SF_15_length_swallows_data_as_padding(void)
{
	REFUSED(WEIR_H_COVER, {"{" A_F32 "}    ", 0});
}

static void SF_16_one_byte_too_many(void)
{
	REFUSED(WEIR_H_COVER, {"{" A_F32 "}", 5});
}

/* To a parser that sees no data, an archive's directory is 22 bytes like any others. */
static void SF_17_archive_behind_the_last_tensor(void)
{
	REFUSED(WEIR_H_COVER, {"{" A_F32 "}", 4 + 22});
}

static void SF_18_last_byte_missing(void)
{
	REFUSED(WEIR_H_COVER, {"{" A_F32 "}", 3}, {"{" A_F32 "}", 0});
}

static void SF_19_data_but_no_tensors(void)
{
	REFUSED(WEIR_H_COVER, {"{}", 8});
}

static void need_grows_from_prefix_to_header(void)
{
	char text[] = "\x32\0\0\0\0\0\0\0";
	uint64_t need;

	for (size_t have = 0; have < 8; have++) {
		check_int(feed(text, have, 1000, &need), 0);
		check_int(need, 8);
	}
	check_int(feed(text, 8, 1000, &need), 0);
	check_int(need, 58);
	check_int(feed(text, 8, 58, &need), 0);
	check_int(feed(text, 8, 57, &need), WEIR_H_LEN);
}

static void parse_without_the_whole_header_is_misuse(void)
{
	struct format_input in = make_input("{}", 2, 0, 0, 0);
	struct format_index *index = NULL;
	struct weir_error err;

	in.text_bytes = 9;
	check_int(safetensors_parse(&in, &index, &err), WEIR_ARG);
	free(in.text);
}

static void trailing_bytes_pass_only_behind_their_switch(void)
{
	static const struct file more = {"{" A_F32 "}", 5, 0}, less = {"{" A_F32 "}", 3, 0};
	static const struct file hole = {"{\"a\":" ENTRY("F32", "[1]", 4, 8) "}", 8, 0};

	expect(&more, 0, FORMAT_TRAILING, 0);
	expect(&more, 0, FORMAT_TRAILING | FORMAT_LENIENT, 0);
	expect(&less, 0, FORMAT_TRAILING, WEIR_H_COVER);
	expect(&hole, 0, FORMAT_TRAILING, WEIR_H_OFFSET);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(SF_01_empty_file),
		TEST(SF_02_seven_bytes),
		TEST(SF_03_no_header),
		TEST(SF_04_header_behind_the_end),
		TEST(SF_05_braces_where_the_data_would_be),
		TEST(SF_06_length_wraps_to_seven),
		TEST(SF_07_length_wraps_to_zero),
		TEST(SF_08_length_negative_if_signed),
		TEST(SF_09_length_small_in_32_bits),
		TEST(SF_10_length_one_above_the_cap),
		TEST(SF_11_length_at_the_cap_in_a_tiny_file),
		TEST(SF_12_length_one_past_the_end),
		TEST(SF_13_length_big_endian),
		TEST(SF_14_length_cuts_the_last_brace),
		TEST(SF_15_length_swallows_data_as_padding),
		TEST(SF_16_one_byte_too_many),
		TEST(SF_17_archive_behind_the_last_tensor),
		TEST(SF_18_last_byte_missing),
		TEST(SF_19_data_but_no_tensors),
		TEST(need_grows_from_prefix_to_header),
		TEST(parse_without_the_whole_header_is_misuse),
		TEST(trailing_bytes_pass_only_behind_their_switch),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
