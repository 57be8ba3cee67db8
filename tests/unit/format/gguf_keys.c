/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys and values of GGUF headers, and how they are refused.
 */
#include "gguf_made.h"

static void GG_07_key_lengths(void)
{
	header(3, 0, 1);
	u64(UINT64_MAX);
	check_int(parse(1000), WEIR_G_STRING);
	header(3, 0, 1);
	u64(1001);
	check_int(parse(1000), WEIR_G_STRING);
	header(3, 0, 1);
	u64(GGUF_KEY_MAX + 1);
	check_int(parse(INT64_MAX), WEIR_LIMIT);
	header(3, 0, 1);
	u64(GGUF_KEY_MAX);
	check_int(parse(INT64_MAX), GGUF_MORE);
}

static void GG_08_an_empty_key(void)
{
	header(3, 0, 1);
	pair_u32("", 1);
	check_int(parse(ALL_OF_IT), WEIR_G_STRING);
}

static void GG_09_keys_that_are_no_text(void)
{
	header(3, 0, 1);
	pair_u32("a\xff", 1);
	check_int(parse(ALL_OF_IT), WEIR_G_STRING);
	check_has(err.message, "a\\xff");
	header(3, 0, 1);
	u64(3);
	put("a\0b", 3);
	u32(GGUF_U32);
	u32(1);
	check_int(parse(ALL_OF_IT), WEIR_G_STRING);
}

static void GG_10_the_same_key_twice(void)
{
	header(3, 0, 3);
	pair_u32("key", 1);
	pair_u32("other", 1);
	pair_u32("key", 1);
	check_int(parse(ALL_OF_IT), WEIR_G_DUP);
	check_has(err.message, "'key'");
}

static void GG_11_value_types_that_are_none(void)
{
	static const uint32_t unknown[] = {13, UINT32_MAX, UINT32_C(1) << 31};

	for (size_t i = 0; i < array_size(unknown); i++) {
		header(3, 0, 1);
		text("k");
		u32(unknown[i]);
		u64(0);
		check_int(parse(ALL_OF_IT), WEIR_G_TYPE);
	}
}

static void GG_12_a_truth_value_of_2(void)
{
	header(3, 0, 1);
	SCALAR("k", GGUF_BOOL, uint8_t, 2);
	check_int(parse(ALL_OF_IT), WEIR_G_TYPE);
	header(3, 0, 1);
	text("k");
	u32(GGUF_ARRAY);
	u32(GGUF_BOOL);
	u64(2);
	u8(1);
	u8(2);
	check_int(parse(ALL_OF_IT), WEIR_G_TYPE);
}

static int parse_string_of(uint64_t length, uint64_t file_bytes)
{
	header(3, 0, 1);
	text("k");
	u32(GGUF_STRING);
	u64(length);
	return parse(file_bytes);
}

static void GG_13_string_lengths(void)
{
	check_int(parse_string_of(UINT64_MAX, 1000), WEIR_G_STRING);
	check_int(parse_string_of(1001, 1000), WEIR_G_STRING);
	check_int(parse_string_of(999, 1000), WEIR_G_SHORT);
	check_int(parse_string_of(GGUF_TEXT_MAX + 1, INT64_MAX), WEIR_LIMIT);
	check_int(parse_string_of(GGUF_TEXT_MAX, INT64_MAX), GGUF_MORE);
}

static int parse_array_of(uint32_t type, uint64_t count, uint64_t file_bytes)
{
	header(3, 0, 1);
	text("k");
	u32(GGUF_ARRAY);
	u32(type);
	u64(count);
	return parse(file_bytes);
}

static void GG_14_an_array_of_arrays(void)
{
	check_int(parse_array_of(GGUF_ARRAY, 1, 1000), WEIR_G_TYPE);
	check_int(parse_array_of(GGUF_TYPES, 1, 1000), WEIR_G_TYPE);
}

static void GG_15_an_array_whose_size_wraps(void)
{
	check_int(parse_array_of(GGUF_F64, UINT64_C(1) << 61, 1000), WEIR_G_OVERFLOW);
	check_int(parse_array_of(GGUF_STRING, UINT64_C(1) << 61, 1000), WEIR_G_OVERFLOW);
}

static void GG_16_more_elements_than_bytes(void)
{
	check_int(parse_array_of(GGUF_U64, 126, 1000), WEIR_G_SHORT);
	check_int(parse_array_of(GGUF_U8, 1000, 1000), WEIR_G_SHORT);
}

static void GG_17_a_billion_strings_in_a_kilobyte(void)
{
	check_int(parse_array_of(GGUF_STRING, UINT64_C(1) << 30, 1024), WEIR_G_SHORT);
}

static void GG_18_ten_million_empty_strings(void)
{
	const uint64_t count = 10 * 1000 * 1000;
	double start;

	header(3, 0, 1);
	text("k");
	u32(GGUF_ARRAY);
	u32(GGUF_STRING);
	u64(count);
	for (uint64_t i = 0; i < count; i++)
		u64(0);
	start = seconds();
	check_int(parse(ALL_OF_IT), 0);
	check(seconds() - start < LIMIT_S);
	check_has(meta("k"), "10000000 in all");
}

static int parse_align(uint32_t align)
{
	header(3, 0, 1);
	pair_u32("general.alignment", align);
	return parse(ALL_OF_IT);
}

static void GG_19_alignments_that_are_none(void)
{
	static const uint32_t wrong[] = {0, 13, 3, UINT32_C(1) << 31, 65537, 131072};

	for (size_t i = 0; i < array_size(wrong); i++)
		check_int(parse_align(wrong[i]), WEIR_G_ALIGN);
	check_int(parse_align(65536), 0);
	check_int(parse_align(1), 0);
}

static void GG_20_an_alignment_of_another_type(void)
{
	header(3, 0, 1);
	SCALAR("general.alignment", GGUF_I32, int32_t, 32);
	check_int(parse(ALL_OF_IT), WEIR_G_ALIGN);
	header(3, 0, 1);
	text("general.alignment");
	u32(GGUF_STRING);
	text("32");
	check_int(parse(ALL_OF_IT), WEIR_G_ALIGN);
	header(3, 0, 1);
	text("general.alignment");
	u32(GGUF_ARRAY);
	u32(GGUF_U32);
	u64(1);
	u32(32);
	check_int(parse(ALL_OF_IT), WEIR_G_ALIGN);
}

static void the_alignment_is_used(void)
{
	header(3, 2, 1);
	pair_u32("general.alignment", 4096);
	vector("a", 1, 0);
	vector("b", 1, 4096);
	check_int(parse(3 * 4096), 0);
	check_int(index_->data_start, 4096);
	check_int(index_->tensors[1].offset_bytes, 8192);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(GG_07_key_lengths),
		TEST(GG_08_an_empty_key),
		TEST(GG_09_keys_that_are_no_text),
		TEST(GG_10_the_same_key_twice),
		TEST(GG_11_value_types_that_are_none),
		TEST(GG_12_a_truth_value_of_2),
		TEST(GG_13_string_lengths),
		TEST(GG_14_an_array_of_arrays),
		TEST(GG_15_an_array_whose_size_wraps),
		TEST(GG_16_more_elements_than_bytes),
		TEST(GG_17_a_billion_strings_in_a_kilobyte),
		TEST(GG_18_ten_million_empty_strings),
		TEST(GG_19_alignments_that_are_none),
		TEST(GG_20_an_alignment_of_another_type),
		TEST(the_alignment_is_used),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
