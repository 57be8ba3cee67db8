/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF headers that load, and what a file begins with.
 */
#include "gguf_made.h"

/* ---- What loads ---- */

static void GG_37_version_2_and_3_load(void)
{
	const struct format_tensor *t;

	for (uint32_t version = 2; version <= 3; version++) {
		uint64_t file_bytes = small_file(version);

		check_int(parse(file_bytes), 0);
		check_int(index_->kind, FORMAT_GGUF);
		check_int(index_->data_start, data_start());
		check_int(index_->file_bytes, file_bytes);
		check_int(index_->tensor_count, 2);
		t = format_index_find(index_, BYTES("a"));
		check(t == &index_->tensors[0]);
		check_int(t->rank, 2);
		check_int(format_shape(index_, t)[0], 3); /* C order: the file has 4, 3 */
		check_int(format_shape(index_, t)[1], 4);
		check_int(t->dtype, DTYPE_F32);
		check_int(t->size_bytes, 48);
		check_int(t->offset_bytes, data_start());
		check_str(format_name(index_, t).at, "a");
		t = format_index_find(index_, BYTES("bb"));
		check_int(t->rank, 0);
		check_int(t->size_bytes, 4);
		check_int(t->offset_bytes, data_start() + 64);
		check(!format_index_find(index_, BYTES("b")));
		check_int(index_->meta_count, 2);
		check_str(meta("general.architecture"), "llama");
		check_str(meta("n"), "7");
		check_str(gguf_meta_type_name(index_->metas[1].type), "uint32");
	}
}

static void values_of_every_type_become_text(void)
{
	header(3, 0, 14);
	SCALAR("u8", GGUF_U8, uint8_t, 255);
	SCALAR("i8", GGUF_I8, int8_t, -128);
	SCALAR("u16", GGUF_U16, uint16_t, 65535);
	SCALAR("i16", GGUF_I16, int16_t, -32768);
	SCALAR("u32", GGUF_U32, uint32_t, UINT32_MAX);
	SCALAR("i32", GGUF_I32, int32_t, INT32_MIN);
	SCALAR("u64", GGUF_U64, uint64_t, UINT64_MAX);
	SCALAR("i64", GGUF_I64, int64_t, INT64_MIN);
	SCALAR("f32", GGUF_F32, float, 1e-5f);
	SCALAR("f64", GGUF_F64, double, -0.1);
	SCALAR("b", GGUF_BOOL, uint8_t, 1);
	SCALAR("huge", GGUF_F64, double, -1.7976931348623157e308);
	text("s");
	u32(GGUF_STRING);
	text("two\nlines \xff \xc3\xa9");
	text("none");
	u32(GGUF_STRING);
	text("");
	check_int(parse(ALL_OF_IT), 0);
	check_str(meta("u8"), "255");
	check_str(meta("i8"), "-128");
	check_str(meta("u16"), "65535");
	check_str(meta("i16"), "-32768");
	check_str(meta("u32"), "4294967295");
	check_str(meta("i32"), "-2147483648");
	check_str(meta("u64"), "18446744073709551615");
	check_str(meta("i64"), "-9223372036854775808");
	check_str(meta("f32"), "1e-05");
	check_str(meta("f64"), "-0.1");
	check_str(meta("b"), "true");
	check_str(meta("huge"), "-1.7976931348623157e+308");
	check_str(meta("s"), "two\nlines \\xff \xc3\xa9");
	check_str(meta("none"), "");
	check(!meta("other"));
}

static void arrays_show_their_first_elements(void)
{
	header(3, 0, 4);
	text("short");
	u32(GGUF_ARRAY);
	u32(GGUF_I32);
	u64(2);
	u32((uint32_t)-1);
	u32(2);
	text("long");
	u32(GGUF_ARRAY);
	u32(GGUF_STRING);
	u64(10);
	for (int i = 0; i < 10; i++)
		text("x");
	text("empty");
	u32(GGUF_ARRAY);
	u32(GGUF_F64);
	u64(0);
	text("flags");
	u32(GGUF_ARRAY);
	u32(GGUF_BOOL);
	u64(2);
	u8(0);
	u8(1);
	check_int(parse(ALL_OF_IT), 0);
	check_str(meta("short"), "[-1, 2]");
	check_str(meta("long"),
		  "[\"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", \"x\", ... 10 in all]");
	check_str(meta("empty"), "[]");
	check_str(meta("flags"), "[false, true]");
	check_str(gguf_meta_type_name(index_->metas[0].type), "array");
}

static void quantised_tensors_have_the_size_of_their_blocks(void)
{
	check_int(parse_tensor(2, DIMS(256, 3), 12), 0); /* Q4_K */
	check_int(index_->tensors[0].size_bytes, 3 * 144);
	check_int(index_->tensors[0].dtype, DTYPE_Q4_K);
	check_int(parse_tensor(1, DIMS(64), 8), 0); /* Q8_0 */
	check_int(index_->tensors[0].size_bytes, 2 * 34);
}

static void nothing_but_a_header_loads(void)
{
	header(3, 0, 0);
	check_int(parse(ALL_OF_IT), 0);
	check_int(index_->data_start, 24); /* no padding is asked for where no data follow */
	check(!index_->has_metadata);
	check(!format_index_find(index_, BYTES("")));
}

static void a_long_header_is_asked_for(void)
{
	uint64_t file_bytes = small_file(3);

	for (size_t have = 0; have < len; have++)
		check_int(parse_part(have, file_bytes), GGUF_MORE);
	check_int(parse_part(len, file_bytes), 0);
}

/* ---- The start ---- */

static void GG_01_empty_short_or_something_else(void)
{
	len = 0;
	put("FUGG", 4);
	check_int(parse_part(0, 0), WEIR_G_SHORT);
	check_int(parse_part(3, 3), WEIR_G_SHORT);
	check_int(parse_part(4, 4), WEIR_G_MAGIC);
	check_int(parse_part(4, 100), WEIR_G_MAGIC);
}

static void GG_02_versions_that_are_none(void)
{
	static const uint32_t versions[] = {0, 1, 4, UINT32_MAX};

	for (size_t i = 0; i < array_size(versions); i++) {
		header(versions[i], 0, 0);
		check_int(parse(ALL_OF_IT), WEIR_G_VERSION);
	}
}

static void GG_03_big_endian_is_named(void)
{
	header(UINT32_C(3) << 24, 0, 0);
	check_int(parse(ALL_OF_IT), WEIR_G_VERSION);
	check_has(err.message, "byte order");
	header(0, 0, 0);
	check_int(parse(ALL_OF_IT), WEIR_G_VERSION);
	check(!check_contains(err.message, "byte order"));
}

static void GG_04_tensor_counts_that_cannot_be(void)
{
	static const uint64_t counts[] = {UINT64_MAX, UINT64_C(1) << 63, 11};

	for (size_t i = 0; i < array_size(counts); i++) {
		header(3, counts[i], 0);
		check_int(parse(GGUF_PREFIX + 10 * 24), WEIR_G_COUNT);
	}
	header(3, GGUF_TENSORS_MAX + 1, 0);
	check_int(parse(INT64_MAX), WEIR_LIMIT);
}

static void GG_05_key_counts_that_cannot_be(void)
{
	header(3, 0, UINT64_MAX);
	check_int(parse(1000), WEIR_G_COUNT);
	header(3, 0, 11);
	check_int(parse(GGUF_PREFIX + 10 * 13), WEIR_G_COUNT);
	header(3, 0, GGUF_PAIRS_MAX + 1);
	check_int(parse(INT64_MAX), WEIR_LIMIT);
}

static void GG_06_cut_after_every_byte(void)
{
	small_file(3);
	for (size_t k = 0; k < len; k++) {
		int ret = parse_part(k, k);

		/* Where two tensors, or two keys, cannot follow any more, their count says so. */
		if (k >= GGUF_PREFIX && k < GGUF_PREFIX + 2 * 24)
			check_int(ret, WEIR_G_COUNT);
		else
			check_int(ret, WEIR_G_SHORT);
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(GG_37_version_2_and_3_load),
		TEST(values_of_every_type_become_text),
		TEST(arrays_show_their_first_elements),
		TEST(quantised_tensors_have_the_size_of_their_blocks),
		TEST(nothing_but_a_header_loads),
		TEST(a_long_header_is_asked_for),
		TEST(GG_01_empty_short_or_something_else),
		TEST(GG_02_versions_that_are_none),
		TEST(GG_03_big_endian_is_named),
		TEST(GG_04_tensor_counts_that_cannot_be),
		TEST(GG_05_key_counts_that_cannot_be),
		TEST(GG_06_cut_after_every_byte),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
