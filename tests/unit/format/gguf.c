/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF headers, byte by byte: what loads, and every way in which one must not.
 *
 * Headers are put together in one buffer; the size of the file is a number of its own, so files of any
 * size cost nothing.  parse() feeds the walker as well, one byte more at a time where the header is
 * short, and both ways have to agree.
 */
#include "format/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/size.h"
#include "lib/check.h"

#define FEED_MAX  4096 /* headers up to that length are fed byte by byte */
#define ALL_OF_IT UINT64_MAX

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_S 20 /* a sanitizer costs that much */
#else
#define LIMIT_S 2
#endif

static char *bytes;
static size_t len, room;

static struct weir_error err;
static struct format_index *index_;

/* ---- Writing ---- */

static void put(const void *from, size_t count)
{
	while (room - len < count) {
		room = room ? room * 2 : 4096;
		bytes = realloc(bytes, room);
		check(bytes);
	}
	if (count)
		memcpy(bytes + len, from, count);
	len += count;
}

static void u8(unsigned value)
{
	uint8_t byte = (uint8_t)value;

	put(&byte, 1);
}

static void u32(uint32_t value)
{
	put(&value, 4);
}

static void u64(uint64_t value)
{
	put(&value, 8);
}

static void text(const char *value)
{
	u64(strlen(value));
	put(value, strlen(value));
}

static void header(uint32_t version, uint64_t tensors, uint64_t pairs)
{
	len = 0;
	put("GGUF", 4);
	u32(version);
	u64(tensors);
	u64(pairs);
}

static void pair_u32(const char *key, uint32_t value)
{
	text(key);
	u32(GGUF_U32);
	u32(value);
}

static void tensor(const char *name, uint32_t rank, const uint64_t *dims, uint32_t type,
		   uint64_t offset)
{
	text(name);
	u32(rank);
	for (uint32_t i = 0; i < rank; i++)
		u64(dims[i]);
	u32(type);
	u64(offset);
}

#define DIMS(...)                                                                                  \
	(const uint64_t[])                                                                         \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

/* F32, a vector. */
static void vector(const char *name, uint64_t count, uint64_t offset)
{
	tensor(name, 1, &count, 0, offset);
}

static uint64_t data_start(void)
{
	return round_up(len, 32);
}

/* ---- Reading ---- */

static int feed(uint64_t file_bytes)
{
	struct gguf_walk walk;
	struct weir_error ignored = WEIR_ERROR_INIT;
	int ret = GGUF_MORE;

	gguf_walk_init(&walk, "fed.gguf", file_bytes);
	for (size_t have = 0; have <= len && ret == GGUF_MORE; have++) {
		char *copy = malloc(have + 1); /* its end is guarded by the sanitizer */

		check(copy);
		if (have)
			memcpy(copy, bytes, have);
		copy = realloc(copy, have ? have : 1);
		ret = gguf_walk(&walk, copy, have, &ignored);
		if (ret == GGUF_MORE)
			check(walk.need_bytes > have && walk.need_bytes <= file_bytes);
		free(copy);
	}
	return ret;
}

/* The first `have` bytes of what was put together, as the start of a file of file_bytes. */
static int parse_part(size_t have, uint64_t file_bytes)
{
	struct format_input input = {.label = "x.gguf", .file_bytes = file_bytes, .seed = 42};
	uint64_t need = 0;
	int ret;

	format_index_destroy(index_);
	index_ = NULL;
	input.text = malloc(have + 1);
	check(input.text);
	memcpy(input.text, bytes, have);
	input.text_bytes = have;
	err = (struct weir_error)WEIR_ERROR_INIT;
	ret = gguf_parse(&input, &index_, &need, &err);
	check((ret == 0) == (index_ != NULL));
	if (ret)
		free(input.text);
	check((ret == GGUF_MORE) == (need > have));
	if (ret < 0) {
		check_int(err.code, ret);
		check_str(err.object, "x.gguf");
		check_has(err.message, "x.gguf: ");
	}
	return ret;
}

static int parse(uint64_t file_bytes)
{
	int ret;

	if (file_bytes == ALL_OF_IT)
		file_bytes = len;
	ret = parse_part(len, file_bytes);
	if (len <= FEED_MAX) {
		int fed = feed(file_bytes);

		/* What takes the whole table is judged after the walk. */
		if (fed != ret)
			check(fed == 0 && (ret == WEIR_G_DUP || ret == WEIR_G_OFFSET ||
					   ret == WEIR_G_OVERFLOW || ret == WEIR_G_SHORT));
	}
	return ret;
}

/* One tensor of that type and those dimensions, in a file that is large enough for anything. */
static int parse_tensor(uint32_t rank, const uint64_t *dims, uint32_t type)
{
	header(3, 1, 0);
	tensor("t", rank, dims, type, 0);
	return parse(INT64_MAX);
}

static const char *meta(const char *key)
{
	const struct format_meta *found = format_index_meta(index_,
							    (struct bytes){key, strlen(key)});

	return found ? format_value(index_, found).at : NULL;
}

/* Two keys, two tensors: 3 x 4 of F32 and a scalar, whole. */
static uint64_t small_file(uint32_t version)
{
	header(version, 2, 2);
	text("general.architecture");
	u32(GGUF_STRING);
	text("llama");
	pair_u32("n", 7);
	tensor("a", 2, DIMS(4, 3), 0, 0);
	tensor("bb", 0, NULL, 0, 64);
	return data_start() + 64 + 4;
}

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

static void scalar(const char *key, uint32_t type, const void *value, size_t size)
{
	text(key);
	u32(type);
	put(value, size);
}

#define SCALAR(key, type, ctype, value) scalar(key, type, &(ctype){value}, sizeof(ctype))

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

/* ---- Keys and values ---- */

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

/* Of the processor, so that a busy machine does not count. */
static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
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

/* ---- Tensors ---- */

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
