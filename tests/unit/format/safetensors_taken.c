/* SPDX-License-Identifier: Apache-2.0 */
/* What is odd but legal, and what the index then holds: OK-01 to OK-15. */
#include "judge.h"

#define U8(name, size, begin, end) "\"" name "\":" ENTRY("U8", "[" #size "]", begin, end)

static struct format_index *take(const struct file *file, unsigned flags)
{
	struct verdict verdict = judge(file, 0, flags);

	if (verdict.code < 0)
		check_failed(__FILE__, __LINE__, "%s", verdict.err.message);
	return verdict.index;
}

static void OK_01_one_tensor_or_none(void)
{
	static const struct file one = {"{" A_F32 "}", 4, 0};
	struct format_index *index = take(&one, 0);
	const struct format_tensor *a = format_index_find(index, BYTES("a"));

	check_int(index->kind, FORMAT_SAFETENSORS);
	check_int(index->tensor_count, 1);
	check(a == &index->tensors[0]);
	check_int(a->offset_bytes, index->data_start);
	check_int(a->size_bytes, 4);
	check_int(a->dtype, DTYPE_F32);
	check_int(a->rank, 1);
	check_int(format_shape(index, a)[0], 1);
	check_int(index->data_start, 8 + strlen(one.header));
	check(!format_index_find(index, BYTES("b")));
	check(!index->has_metadata && index->meta_count == 0 && !index->by_offset);
	format_index_destroy(index);
	TAKEN({"{}", 0}, {"{" A_F32 "}", 4});
}

static void OK_02_blanks_before_the_brace(void)
{
	TAKEN({" \t\r\n{" A_F32 "}", 4});
}

static void OK_03_blanks_behind_the_brace(void)
{
	TAKEN({"{" A_F32 "} \t\r\n", 4});
}

static void OK_04_header_of_any_length(void)
{
	struct builder b = {0};

	for (unsigned blanks = 0; blanks < 90; blanks++) {
		build(&b, "{" A_F32 "}%*s", (int)blanks, "");
		build_judge(&b, 4, 0, 0);
	}
}

static void OK_05_scalar(void)
{
	TAKEN({"{\"a\":" ENTRY("F64", "[]", 0, 8) "}", 8});
}

static void OK_06_empty_tensors(void)
{
	struct builder b = {0};

	TAKEN({"{" A_F32 "," U8("b", 0, 4, 4) "}", 4});
	build(&b, "{" A_F32);
	for (unsigned i = 0; i < 1000; i++)
		build(&b, ",\"e%u\":" ENTRY("I64", "[3,0]", 0, 0), i);
	build(&b, "}");
	build_judge(&b, 4, 0, 0);
}

static void OK_07_entries_in_any_order(void)
{
	static const struct file file = {"{" U8("c", 3, 6, 9) "," U8("a", 4, 0, 4) "," U8(
						 "e", 0, 4, 4) "," U8("b", 2, 4, 6) "}",
					 9, 0};
	static const char *const names[] = {"a", "e", "b", "c"};
	struct format_index *index = take(&file, 0);

	check(index->by_offset);
	check_int(index->tensors[0].name.len, 1);
	check_int(*format_name(index, &index->tensors[0]).at, 'c');
	for (size_t i = 0; i < array_size(names); i++)
		check_int(*format_name(index, format_by_offset(index, i)).at, *names[i]);
	format_index_destroy(index);
	expect(&file, 0, 0, 0);
	expect(&file, 0, FORMAT_LENIENT, 0);
}

static void OK_08_tensor_at_an_odd_place(void)
{
	static const struct file file = {
		"{" U8("a", 1, 0, 1) ",\"b\":" ENTRY("F32", "[1]", 1, 5) "}", 5, 0};
	struct format_index *index = take(&file, 0);

	check_int(format_index_find(index, BYTES("b"))->offset_bytes, index->data_start + 1);
	format_index_destroy(index);
	expect(&file, 0, FORMAT_LENIENT, 0);
}

static void OK_09_elements_below_a_byte(void)
{
	TAKEN({"{\"a\":" ENTRY("F4", "[4]", 0, 2) "}", 2},
	      {"{\"a\":" ENTRY("F6_E2M3", "[4]", 0, 3) "}", 3},
	      {"{\"a\":" ENTRY("F6_E3M2", "[2,2]", 0, 3) "}", 3});
}

static void OK_10_names_are_opaque(void)
{
	static const struct file file = {
		"{" U8("", 1, 0, 1) "," U8("../../x", 1, 1, 2) "," U8("\xC3\xA9", 1, 2, 3) "," U8(
			"e\xCC\x81", 1, 3, 4) "}",
		4, 0};
	struct format_index *index = take(&file, 0);

	check(format_index_find(index, BYTES("")) == &index->tensors[0]);
	check(format_index_find(index, BYTES("../../x")) == &index->tensors[1]);
	check(format_index_find(index, BYTES("\xC3\xA9")) == &index->tensors[2]);
	check(format_index_find(index, BYTES("e\xCC\x81")) == &index->tensors[3]);
	format_index_destroy(index);
	expect(&file, 0, FORMAT_LENIENT, 0);
}

static void OK_11_escapes_in_name_and_dtype(void)
{
	static const struct file file = {
		"{\"\\u0061\\/\\ud83d\\ude00\":{\"\\u0064type\":\"\\u0046\\u00332\",\"shape\":[1],"
		"\"data_offsets\":[0,4]}}",
		4, 0};
	struct format_index *index = take(&file, 0);

	check(format_index_find(index, BYTES("a/\xF0\x9F\x98\x80")) == &index->tensors[0]);
	check_int(index->tensors[0].dtype, DTYPE_F32);
	format_index_destroy(index);
	expect(&file, 0, FORMAT_LENIENT, 0);
}

static void OK_12_header_at_the_cap(void)
{
	static const char header[] = "{" A_F32 "}";
	struct verdict verdict = judge_input(
		make_input(header, strlen(header), 100000000 - strlen(header), 4, 0));

	check_int(verdict.code, 0);
	check_int(verdict.index->data_start, 100000008);
	format_index_destroy(verdict.index);
}

static void OK_13_many_metadata_pairs(void)
{
	struct builder b = {0};
	struct format_index *index;
	char key[16];

	build(&b, "{\"__metadata__\":{");
	for (unsigned i = 0; i < 100000; i++)
		build(&b, "%s\"k%u\":\"v%u\\n\"", i ? "," : "", i, i);
	build(&b, "}," A_F32 "}");
	index = take(&(struct file){b.at, 4, b.len}, 0);
	check_int(index->meta_count, 100000);
	for (unsigned i = 0; i < 100000; i++) {
		const struct format_meta *meta = &index->metas[i];
		size_t len = (size_t)snprintf(key, sizeof(key), "k%u", i);

		check(bytes_equal(format_key(index, meta), (struct bytes){key, len}));
		key[0] = 'v';
		key[len] = '\n';
		check(bytes_equal(format_value(index, meta), (struct bytes){key, len + 1}));
		check_int(meta->type, META_TEXT);
	}
	check(format_index_meta(index, BYTES("k777")) == &index->metas[777]);
	check(!format_index_meta(index, BYTES("k")));
	format_index_destroy(index);
	build_judge(&b, 4, 0, 0);
}

static void OK_14_tensor_behind_four_gibibytes(void)
{
	static const struct file file = {"{" U8("a", 4294967296, 0, 4294967296) ",\"b\":" ENTRY(
						 "F32", "[2,1]", 4294967296, 4294967304) "}",
					 4294967304, 0};
	struct format_index *index = take(&file, 0);

	check_int(index->tensors[1].offset_bytes, index->data_start + (UINT64_C(1) << 32));
	format_index_destroy(index);
	expect(&file, 0, FORMAT_LENIENT, 0);
}

/* The parser sees no data; that they come out bit for bit is the loader's to show. */
static void OK_15_every_type_has_its_size(void)
{
	struct builder b = {0};

	for (unsigned i = 0; i < DTYPE_SAFETENSORS_COUNT; i++) {
		const struct dtype_info *info = dtype_info(i);
		unsigned bytes = info->bits; /* of eight elements */

		build(&b, "{\"a\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%u]}}",
		      info->name, bytes);
		build_judge(&b, bytes, 0, 0);
	}
}

static void blanks_and_other_orders_of_members_are_read_alike(void)
{
	TAKEN({"{ \"a\" : { \"dtype\" : \"F32\" , \"shape\" : [ 1 , 1 ] , \"data_offsets\" : [ 0 , 4 ] } "
	       ", " U8("b", 1, 4, 5) "}",
	       5},
	      {"{\"a\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"}}", 4},
	      {"{\"a\": {\"dtype\": \"F32\", \"shape\": [1], \"data_offsets\": [0, 4]}, " U8(
		       "b", 1, 4, 5) "}",
	       5});
}

static void metadata_may_stand_anywhere_and_be_empty(void)
{
	static const struct file file = {
		"{" U8("a", 1, 0, 1) ",\"__metadata__\":{}," U8("b", 1, 1, 2) "}", 2, 0};
	struct format_index *index = take(&file, 0);

	check(index->has_metadata && index->meta_count == 0);
	format_index_destroy(index);
	TAKEN({"{\"__metadata__\":{}}", 0},
	      {"{" U8("a", 1, 0, 1) ",\"__metadata__\":{\"k\":\"v\"}}", 1});
}

static void lenient_keeps_the_last_of_what_stands_twice(void)
{
	static const struct file file = {
		"{\"__metadata__\":{\"k\":\"1\",\"j\":\"2\",\"k\":\"3\"},\"a\":" ENTRY(
			"F32", "[9,9]", 0,
			4) "," U8("b", 1, 4, 5) "," A_F32 ",\"a\":" ENTRY("I32", "[1]", 0, 4) "}",
		5, 0};
	struct format_index *index = take(&file, FORMAT_LENIENT);
	const struct format_meta *meta = format_index_meta(index, BYTES("k"));

	check_int(index->tensor_count, 2);
	check_int(format_index_find(index, BYTES("a"))->dtype, DTYPE_I32);
	check_int(index->meta_count, 2);
	check(bytes_equal(format_value(index, meta), BYTES("3")));
	format_index_destroy(index);
}

static void lenient_null_metadata_is_none(void)
{
	static const struct file file = {"{\"__metadata__\":null," A_F32 "}", 4, 0};
	struct format_index *index = take(&file, FORMAT_LENIENT);

	check(!index->has_metadata);
	format_index_destroy(index);
}

/* Spare bytes are there to be read, not to be believed: nothing behind the header is of it. */
static void what_stands_behind_the_header_is_no_part_of_it(void)
{
	const char *header = "{" A_F32 ",\"b\":" ENTRY("F32", "[1]", 4, 8) "}";
	size_t len = strlen(header);

	for (size_t cut = 1; cut < len; cut++) {
		struct format_input in = make_input(header, len, 0, 8, 0);
		struct verdict plain, spare;

		in.spare_bytes = FORMAT_SPARE_BYTES; /* of data, it says */
		in.text = realloc(in.text, in.text_bytes + FORMAT_SPARE_BYTES);
		check(in.text);
		store_le64(in.text, cut);
		in.file_bytes = 8 + cut + 8;
		spare = judge_input(in);
		plain = judge_input(make_input(header, cut, 0, 8, 0));
		check(plain.code < 0);
		check_int(spare.code, plain.code);
		check_str(spare.err.message, plain.err.message);
		plain = judge_input(with_spare(make_input(header, cut, 0, 8, 0)));
		check_int(plain.code, spare.code);
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(OK_01_one_tensor_or_none),
		TEST(OK_02_blanks_before_the_brace),
		TEST(OK_03_blanks_behind_the_brace),
		TEST(OK_04_header_of_any_length),
		TEST(OK_05_scalar),
		TEST(OK_06_empty_tensors),
		TEST(OK_07_entries_in_any_order),
		TEST(OK_08_tensor_at_an_odd_place),
		TEST(OK_09_elements_below_a_byte),
		TEST(OK_10_names_are_opaque),
		TEST(OK_11_escapes_in_name_and_dtype),
		TEST(OK_12_header_at_the_cap),
		TEST(OK_13_many_metadata_pairs),
		TEST(OK_14_tensor_behind_four_gibibytes),
		TEST(OK_15_every_type_has_its_size),
		TEST(blanks_and_other_orders_of_members_are_read_alike),
		TEST(metadata_may_stand_anywhere_and_be_empty),
		TEST(lenient_keeps_the_last_of_what_stands_twice),
		TEST(lenient_null_metadata_is_none),
		TEST(what_stands_behind_the_header_is_no_part_of_it),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
