/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tensors of GGUF headers, and how they are refused.
 */
#include <stdio.h>
#include <string.h>

#include "gguf_made.h"

static void GG_21_tensor_names(void)
{
	char name[65] = {0};

	memset(name, 'n', 64);
	header(3, 1, 0);
	vector(name, 1, 0);
	check_int(parse(1000), WEIR_G_STRING);
	name[63] = 0;
	header(3, 1, 0);
	vector(name, 1, 0);
	check_int(parse(1000), 0);
	header(3, 1, 0);
	u64(UINT64_MAX);
	check_int(parse(1000), WEIR_G_STRING);
	header(3, 1, 0);
	u64(2);
	put("a\0", 2);
	u32(0);
	u32(0);
	u64(0);
	check_int(parse(1000), WEIR_G_STRING);
}

static void GG_22_the_same_tensor_twice(void)
{
	header(3, 3, 0);
	vector("t", 8, 0);
	vector("u", 8, 32);
	vector("t", 8, 64);
	check_int(parse(1000), WEIR_G_DUP);
	check_has(err.message, "'t'");
}

/* Rank 0 is a scalar, as it is for the format's own library. */
static void GG_23_numbers_of_dimensions(void)
{
	static const uint64_t dims[5] = {1, 1, 1, 1, 1};

	check_int(parse_tensor(0, NULL, 0), 0);
	check_int(index_->tensors[0].size_bytes, 4);
	check_int(parse_tensor(4, dims, 0), 0);
	check_int(parse_tensor(5, dims, 0), WEIR_G_DIMS);
	header(3, 1, 0);
	text("t");
	u32(UINT32_MAX);
	u64(0);
	u64(0);
	check_int(parse(1000), WEIR_G_DIMS);
}

static void GG_24_a_negative_dimension(void)
{
	check_int(parse_tensor(1, DIMS(UINT64_C(1) << 63), 0), WEIR_G_DIMS);
	check_int(parse_tensor(2, DIMS(4, UINT64_MAX), 0), WEIR_G_DIMS);
}

static void GG_25_products_that_wrap(void)
{
	check_int(parse_tensor(2, DIMS(UINT64_C(1) << 32, UINT64_C(1) << 32), 0), WEIR_G_OVERFLOW);
	check_int(parse_tensor(2, DIMS(UINT64_C(1) << 62, 4), 24), WEIR_G_OVERFLOW);
	check_int(parse_tensor(2, DIMS((UINT64_C(1) << 42) + 1, UINT64_C(1) << 22), 24),
		  WEIR_G_OVERFLOW);
}

static void GG_26_a_zero_among_huge_dimensions(void)
{
	for (uint32_t zero = 0; zero < 4; zero++) {
		uint64_t dims[4], small[4] = {2, 2, 2, 2};

		for (uint32_t i = 0; i < 4; i++)
			dims[i] = UINT64_C(1) << 33;
		dims[zero] = 0;
		small[zero] = 0;
		check_int(parse_tensor(4, dims, 0), WEIR_G_OVERFLOW);
		check_int(parse_tensor(4, small, 0), 0);
		check_int(index_->tensors[0].size_bytes, 0);
	}
}

static void GG_27_element_types_that_are_none(void)
{
	static const uint32_t unknown[] = {
		UINT32_C(1) << 31, UINT32_MAX, 43, 4, 5, 31, 32, 33, 36, 37, 38};

	for (size_t i = 0; i < array_size(unknown); i++)
		check_int(parse_tensor(1, DIMS(256), unknown[i]), WEIR_G_TYPE);
	for (uint32_t type = 0; type < 43; type++)
		if (!memchr("\4\5\37\40\41\44\45\46", (int)type, 8))
			check_int(parse_tensor(1, DIMS(256), type), 0);
}

static void GG_28_rows_of_broken_blocks(void)
{
	check_int(parse_tensor(1, DIMS(33), 2), WEIR_G_BLOCK);
	check_int(parse_tensor(2, DIMS(128, 2), 12), WEIR_G_BLOCK);
	check_int(parse_tensor(0, NULL, 2), WEIR_G_BLOCK);
}

static void GG_29_sizes_in_bytes_that_wrap(void)
{
	check_int(parse_tensor(1, DIMS(UINT64_C(1) << 61), 28), WEIR_G_OVERFLOW);
	check_int(parse_tensor(1, DIMS(UINT64_C(1) << 62), 28), WEIR_G_OVERFLOW);
	check_int(parse_tensor(2, DIMS(UINT64_C(1) << 62, 3), 8), WEIR_G_OVERFLOW);
	check_int(parse_tensor(1, DIMS(UINT64_C(0x7fffffffffffffe0)), 8), WEIR_G_OVERFLOW);
}

static int parse_second_at(uint64_t offset)
{
	header(3, 2, 0);
	vector("a", 16, 0);
	vector("b", 16, offset);
	return parse(1000);
}

static void GG_30_offsets_that_are_not_the_sum(void)
{
	check_int(parse_second_at(64), 0);
	check_int(parse_second_at(65), WEIR_G_OFFSET);
	check_has(err.message, "not aligned");
	check_int(parse_second_at(128), WEIR_G_OFFSET);
	check_int(parse_second_at(UINT64_C(1) << 40), WEIR_G_OFFSET);
	check_int(parse_second_at(UINT64_MAX), WEIR_G_OFFSET);
	header(3, 1, 0);
	vector("a", 16, 32);
	check_int(parse(1000), WEIR_G_OFFSET);
}

static void GG_31_overlap_and_gap(void)
{
	check_int(parse_second_at(32), WEIR_G_OFFSET);
	check_int(parse_second_at(0), WEIR_G_OFFSET);
	check_int(parse_second_at(96), WEIR_G_OFFSET);
}

static void GG_32_a_running_sum_that_wraps(void)
{
	const uint64_t huge = (UINT64_C(1) << 63) - 64;

	header(3, 2, 0);
	tensor("a", 1, DIMS(huge), 24, 0);
	tensor("b", 1, DIMS(huge), 24, huge);
	check_int(parse(INT64_MAX), WEIR_G_OVERFLOW);
	header(3, 3, 0);
	for (uint64_t i = 0; i < 3; i++)
		tensor(i == 0 ? "a" : i == 1 ? "b" : "c", 1, DIMS(UINT64_C(1) << 62), 24, i << 62);
	check_int(parse(INT64_MAX), WEIR_G_OVERFLOW);
}

static void GG_33_padding_that_wraps(void)
{
	check_int(parse_tensor(1, DIMS(INT64_MAX), 24), WEIR_G_OVERFLOW);
	check_int(parse_tensor(1, DIMS(INT64_MAX - GGUF_ALIGN_MAX + 1), 24), WEIR_G_OVERFLOW);
	check_int(parse_tensor(1, DIMS((UINT64_C(1) << 61) - 1), 28), WEIR_G_OVERFLOW);
}

static void GG_34_the_last_tensor_reaches_past_the_end(void)
{
	uint64_t file_bytes = small_file(3);

	check_int(parse(file_bytes - 1), WEIR_G_SHORT);
	check_has(err.message, "'bb'");
	check_int(parse(file_bytes), 0);
}

static void GG_35_padding_at_the_end_may_be_missing(void)
{
	uint64_t file_bytes = small_file(3);

	check_int(parse(round_up(file_bytes, 32)), 0);
	check_int(parse(file_bytes), 0);
	check_int(parse(file_bytes + 1), 0);
}

static void GG_36_data_that_begin_past_the_end(void)
{
	header(3, 1, 0);
	vector("none", 0, 0);
	check(len % 32 != 0);
	check_int(parse(ALL_OF_IT), WEIR_G_SHORT);
	check_int(parse(data_start()), 0);
}

static void GG_38_a_million_scalars(void)
{
	const uint64_t count = 1000 * 1000;
	char name[16];
	double start;

	header(3, count, 0);
	for (uint64_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "t%u", (unsigned)i);
		tensor(name, 0, NULL, 0, i * 32);
	}
	start = seconds();
	check_int(parse(data_start() + count * 32), 0);
	check(seconds() - start < LIMIT_S);
	check_int(index_->tensor_count, count);
	check(format_index_find(index_, BYTES("t999999")) == &index_->tensors[count - 1]);
}

static void the_header_has_a_cap(void)
{
	header(3, 0, 3);
	for (int i = 0; i < 2; i++) {
		text(i ? "a" : "b");
		u32(GGUF_ARRAY);
		u32(GGUF_U8);
		u64(GGUF_HEADER_MAX);
	}
	check_int(parse(INT64_MAX), WEIR_LIMIT);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(GG_21_tensor_names),
		TEST(GG_22_the_same_tensor_twice),
		TEST(GG_23_numbers_of_dimensions),
		TEST(GG_24_a_negative_dimension),
		TEST(GG_25_products_that_wrap),
		TEST(GG_26_a_zero_among_huge_dimensions),
		TEST(GG_27_element_types_that_are_none),
		TEST(GG_28_rows_of_broken_blocks),
		TEST(GG_29_sizes_in_bytes_that_wrap),
		TEST(GG_30_offsets_that_are_not_the_sum),
		TEST(GG_31_overlap_and_gap),
		TEST(GG_32_a_running_sum_that_wraps),
		TEST(GG_33_padding_that_wraps),
		TEST(GG_34_the_last_tensor_reaches_past_the_end),
		TEST(GG_35_padding_at_the_end_may_be_missing),
		TEST(GG_36_data_that_begin_past_the_end),
		TEST(GG_38_a_million_scalars),
		TEST(the_header_has_a_cap),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
