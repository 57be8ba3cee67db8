/* SPDX-License-Identifier: Apache-2.0 */
/* Text, members, types and shapes that are refused: SF-20 to SF-76. */
#include "judge.h"

/* A good tensor whose entry ends with one member more. */
#define EXTRA(member)                 "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]," member "}}"
#define ONE(dtype, shape, begin, end) "{\"a\":" ENTRY(dtype, shape, begin, end) "}"
#define SHAPE(shape)                  ONE("F32", shape, 0, 4)
#define DTYPE(dtype)                  "{\"a\":{\"dtype\":" dtype ",\"shape\":[1],\"data_offsets\":[0,4]}}"
#define OFFSETS(offsets)              "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" offsets "}}"
#define NAMED(name)                   "{\"" name "\":" ENTRY("F32", "[1]", 0, 4) "}"
#define META(value)                   "{\"__metadata__\":" value "," A_F32 "}"

static void SF_20_a_byte_that_is_no_utf8(void)
{
	REFUSED(WEIR_H_UTF8, {"\xFF", 0});
}

static void SF_21_byte_order_mark(void)
{
	REFUSED(WEIR_H_JSON, {"\xEF\xBB\xBF{" A_F32 "}", 4});
}

static void SF_22_utf16(void)
{
	REFUSED(WEIR_H_JSON, {"{\0}\0", 0, 4}, {"{\0\"\0a\0\"\0", 0, 8});
}

static void SF_23_overlong_sequence(void)
{
	REFUSED(WEIR_H_UTF8, {NAMED("\xC0\xAF"), 4});
}

static void SF_24_raw_surrogate(void)
{
	REFUSED(WEIR_H_UTF8, {NAMED("\xED\xA0\x80"), 4});
}

static void SF_25_above_the_last_code_point(void)
{
	REFUSED(WEIR_H_UTF8, {NAMED("\xF4\x90\x80\x80"), 4});
}

static void SF_26_ends_inside_a_sequence(void)
{
	REFUSED(WEIR_H_UTF8, {"{\"\xE2\x82", 0}, {"{" A_F32 "}\xC3", 4});
}

static void SF_27_nul_as_padding(void)
{
	REFUSED(WEIR_H_JSON, {"{" A_F32 "}\0\0\0\0", 4, sizeof("{" A_F32 "}") + 3});
}

static void SF_28_only_blanks(void)
{
	REFUSED(WEIR_H_JSON, {"        ", 0});
}

static void SF_29_top_level_no_object(void)
{
	REFUSED(WEIR_H_SCHEMA, {"[]", 0}, {"null", 0}, {"\"a\"", 0}, {"1", 0});
}

static void SF_30_two_objects(void)
{
	REFUSED(WEIR_H_JSON, {"{" A_F32 "}{}", 4});
}

static void SF_31_comma_before_a_closing_bracket(void)
{
	REFUSED(WEIR_H_JSON, {"{" A_F32 ",}", 4}, {SHAPE("[1,]"), 4}, {OFFSETS("[0,4,]"), 4});
}

static void SF_32_other_notations(void)
{
	REFUSED(WEIR_H_JSON, {"{'a':" ENTRY("F32", "[1]", 0, 4) "}", 4},
		{"{a:" ENTRY("F32", "[1]", 0, 4) "}", 4}, {"{/* a */" A_F32 "}", 4});
}

static void SF_33_raw_control_character_in_a_name(void)
{
	REFUSED(WEIR_H_JSON, {NAMED("a\x01"), 4}, {NAMED("a\n"), 4});
}

static void SF_34_broken_escape(void)
{
	REFUSED(WEIR_H_JSON, {NAMED("\\x41"), 4}, {NAMED("\\u12"), 4});
}

static void SF_35_unpaired_surrogate_escape(void)
{
	REFUSED(WEIR_H_JSON, {NAMED("\\ud800"), 4}, {NAMED("\\udc00"), 4});
}

static void SF_36_string_never_closed(void)
{
	REFUSED(WEIR_H_JSON, {"{\"a", 0}, {"{\"a\":{\"dtype\":\"F32", 0});
}

static void SF_37_endless_nesting(void)
{
	struct builder b = {0};

	build_fill(&b, "[", 1000000);
	build_judge(&b, 0, WEIR_H_JSON, WEIR_H_JSON);
	build_fill(&b, "{\"a\":", 200000);
	build_judge(&b, 0, WEIR_H_JSON, WEIR_H_JSON);
}

/* Levels are counted from the header object: an extra member's value begins at the third. */
static void nested(unsigned arrays, int strict, int lenient)
{
	struct builder b = {0};

	build(&b, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":");
	build_fill(&b, "[", arrays);
	build_fill(&b, "]", arrays);
	build(&b, "}}");
	build_judge(&b, 4, strict, lenient);
}

static void SF_38_deep_nesting_in_an_unknown_member(void)
{
	nested(200, WEIR_H_JSON, WEIR_H_JSON);
	nested(126, WEIR_H_JSON, WEIR_H_JSON);
	nested(125, WEIR_H_JSON, 0);
	nested(31, WEIR_H_JSON, 0);
	nested(30, WEIR_H_SCHEMA, 0);
}

static void SF_39_numbers_without_end(void)
{
	struct builder b = {0};

	REFUSED(WEIR_H_SHAPE, {SHAPE("[1e999999999]"), 4});
	build(&b, "{\"a\":{\"dtype\":\"F32\",\"shape\":[");
	build_fill(&b, "1", 1000000);
	build(&b, "],\"data_offsets\":[0,4]}}");
	build_judge(&b, 4, WEIR_H_SHAPE, WEIR_H_SHAPE);
}

static void SF_40_numbers_that_are_no_json(void)
{
	REFUSED(WEIR_H_JSON, {SHAPE("[01]"), 4}, {SHAPE("[+1]"), 4}, {SHAPE("[0x1]"), 4},
		{SHAPE("[NaN]"), 4}, {SHAPE("[1.]"), 4}, {SHAPE("[.5]"), 4}, {SHAPE("[1e]"), 4});
}

static void SF_41_same_name_twice_same_entry(void)
{
	STRICT_ONLY(WEIR_H_DUP, {"{" A_F32 "," A_F32 "}", 4});
}

static void SF_42_same_name_twice_other_dtype(void)
{
	STRICT_ONLY(WEIR_H_DUP, {"{" A_F32 ",\"a\":" ENTRY("I32", "[1]", 0, 4) "}", 4});
}

static void SF_43_same_name_through_an_escape(void)
{
	STRICT_ONLY(WEIR_H_DUP, {"{" A_F32 ",\"\\u0061\":" ENTRY("F32", "[1]", 0, 4) "}", 4});
}

static void SF_44_impossible_copy_before_a_good_one(void)
{
	STRICT_ONLY(WEIR_H_DUP,
		    {"{\"a\":" ENTRY("F32", "[4611686018427387904]", 0, 4) "," A_F32 "}", 4},
		    {"{\"a\":" ENTRY("F32", "[7]", 0, 4) "," A_F32 "}", 4});
}

static void SF_45_metadata_twice(void)
{
	REFUSED(WEIR_H_DUP, {"{\"__metadata__\":{},\"__metadata__\":{}," A_F32 "}", 4});
}

static void SF_46_metadata_twice_through_an_escape(void)
{
	REFUSED(WEIR_H_DUP, {"{\"__metadata__\":{},\"__met\\u0061data__\":{}," A_F32 "}", 4});
}

static void SF_47_key_twice_in_metadata(void)
{
	STRICT_ONLY(WEIR_H_DUP, {META("{\"k\":\"1\",\"k\":\"2\"}"), 4},
		    {META("{\"k\":\"1\",\"\\u006b\":\"2\"}"), 4});
}

static void SF_48_member_twice_in_an_entry(void)
{
	REFUSED(WEIR_H_DUP, {EXTRA("\"dtype\":\"F32\""), 4}, {EXTRA("\"data_offsets\":[0,4]"), 4},
		{EXTRA("\"shape\":[1]"), 4}, {EXTRA("\"sh\\u0061pe\":[1]"), 4});
}

static void SF_49_member_missing_in_an_entry(void)
{
	REFUSED(WEIR_H_SCHEMA, {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
		{"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4},
		{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4}, {"{\"a\":{}}", 0});
}

static void SF_50_unknown_member(void)
{
	STRICT_ONLY(WEIR_H_SCHEMA, {EXTRA("\"x\":1"), 4},
		    {EXTRA("\"x\":{\"y\":[1.5e3,\"z\",null,true,{}]}"), 4});
	REFUSED(WEIR_H_JSON, {EXTRA("\"x\":NaN"), 4}, {EXTRA("\"x\":1e999"), 4});
}

static void SF_51_member_in_other_case(void)
{
	REFUSED(WEIR_H_SCHEMA,
		{"{\"a\":{\"DType\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4});
}

static void SF_52_entry_no_object(void)
{
	REFUSED(WEIR_H_SCHEMA, {"{\"a\":null}", 0}, {"{\"a\":\"F32\"}", 0}, {"{\"a\":1}", 0});
}

static void SF_53_entry_an_array(void)
{
	STRICT_ONLY(WEIR_H_SCHEMA, {"{\"a\":[\"F32\",[1],[0,4]]}", 4});
	REFUSED(WEIR_H_SCHEMA, {"{\"a\":[\"F32\",[1]]}", 4}, {"{\"a\":[\"F32\",[1],[0,4],1]}", 4},
		{"{\"a\":[]}", 4});
}

static void SF_54_metadata_null(void)
{
	STRICT_ONLY(WEIR_H_SCHEMA, {META("null"), 4});
}

static void SF_55_metadata_no_object(void)
{
	REFUSED(WEIR_H_SCHEMA, {META("[]"), 4}, {META("\"x\""), 4});
}

static void SF_56_metadata_value_no_string(void)
{
	REFUSED(WEIR_H_SCHEMA, {META("{\"k\":1}"), 4}, {META("{\"k\":null}"), 4},
		{META("{\"k\":{}}"), 4});
}

static void SF_57_metadata_like_a_tensor(void)
{
	REFUSED(WEIR_H_SCHEMA, {"{\"__metadata__\":" ENTRY("F32", "[1]", 0, 4) "}", 4});
}

static void SF_58_nul_in_a_name(void)
{
	STRICT_ONLY(WEIR_H_NAME, {NAMED("a\\u0000b"), 4});
}

static void SF_59_name_of_a_million_bytes(void)
{
	static const size_t lengths[] = {1000000, 65536, 65535};

	for (size_t i = 0; i < array_size(lengths); i++) {
		struct builder b = {0};

		build(&b, "{\"");
		build_fill(&b, "n", lengths[i]);
		build(&b, "\":" ENTRY("F32", "[1]", 0, 4) "}");
		build_judge(&b, 4, lengths[i] > 65535 ? WEIR_LIMIT : 0, 0);
	}
}

static void SF_60_unknown_dtype_with_offsets_past_the_end(void)
{
	REFUSED(WEIR_H_DTYPE, {ONE("F33", "[1]", 0, 400), 4});
}

static void SF_61_dtype_in_other_spelling(void)
{
	REFUSED(WEIR_H_DTYPE, {DTYPE("\"f32\""), 4}, {DTYPE("\"torch.float32\""), 4},
		{DTYPE("\"\""), 4}, {DTYPE("\"F3\""), 4}, {DTYPE("\"Q4_K\""), 4});
}

static void SF_62_dtype_no_string(void)
{
	REFUSED(WEIR_H_DTYPE, {DTYPE("32"), 4}, {DTYPE("null"), 4}, {DTYPE("[\"F32\"]"), 4});
}

static void SF_63_dtype_an_object(void)
{
	STRICT_ONLY(WEIR_H_DTYPE, {DTYPE("{\"F32\":null}"), 4}, {DTYPE("{ \"F32\" : null }"), 4});
	REFUSED(WEIR_H_DTYPE, {DTYPE("{}"), 4}, {DTYPE("{\"F32\":1}"), 4},
		{DTYPE("{\"F33\":null}"), 4}, {DTYPE("{\"F32\":null,\"F16\":null}"), 4});
}

static void SF_64_shape_of_other_things(void)
{
	REFUSED(WEIR_H_SHAPE, {SHAPE("null"), 4}, {SHAPE("1"), 4}, {SHAPE("[\"1\"]"), 4},
		{SHAPE("[true]"), 4}, {SHAPE("[[1]]"), 4}, {SHAPE("{}"), 4});
}

static void SF_65_negative_dimension(void)
{
	REFUSED(WEIR_H_SHAPE, {SHAPE("[-1]"), 4}, {SHAPE("[-1,-1]"), 4});
}

static void SF_66_negative_zero(void)
{
	REFUSED(WEIR_H_SHAPE, {SHAPE("[-0]"), 4});
}

static void SF_67_fractional_dimension(void)
{
	REFUSED(WEIR_H_SHAPE, {SHAPE("[1.0]"), 4}, {SHAPE("[1e0]"), 4});
}

static void SF_68_dimension_beyond_64_bits(void)
{
	REFUSED(WEIR_H_SHAPE, {SHAPE("[18446744073709551616]"), 4},
		{SHAPE("[18446744073709551617]"), 4});
}

static void SF_69_product_wraps_to_zero(void)
{
	REFUSED(WEIR_H_OVERFLOW, {ONE("U8", "[4294967296,4294967296]", 0, 0), 0});
}

static void SF_70_byte_size_wraps_to_zero(void)
{
	REFUSED(WEIR_H_OVERFLOW, {ONE("F32", "[4611686018427387904]", 0, 0), 0});
}

static void SF_71_bit_count_overflows(void)
{
	REFUSED(WEIR_H_OVERFLOW, {ONE("F64", "[288230376151711744]", 0, 2305843009213693952), 0});
}

static void SF_72_overflow_before_a_zero(void)
{
	REFUSED(WEIR_H_OVERFLOW, {ONE("F32", "[8589934592,8589934592,0]", 0, 0), 0});
}

static void SF_73_zero_before_an_overflow(void)
{
	STRICT_ONLY(WEIR_H_OVERFLOW, {ONE("F32", "[0,8589934592,8589934592]", 0, 0), 0});
}

/* One tensor of this rank, all dimensions 1. */
static void rank(size_t count, int strict, int lenient)
{
	struct builder b = {0};

	build(&b, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1");
	build_fill(&b, ",1", count - 1);
	build(&b, "],\"data_offsets\":[0,4]}}");
	build_judge(&b, 4, strict, lenient);
}

static void SF_74_rank_of_ten_thousand(void)
{
	rank(10000, WEIR_LIMIT, 0);
	rank(65, WEIR_LIMIT, 0);
	rank(64, 0, 0);
	rank(65536, WEIR_LIMIT, 0);
	rank(65537, WEIR_LIMIT, WEIR_LIMIT);
}

static void SF_75_three_elements_of_four_bits(void)
{
	REFUSED(WEIR_H_SUBBYTE, {ONE("F4", "[3]", 0, 2), 2}, {ONE("F4", "[3]", 0, 1), 1});
}

static void SF_76_one_element_of_six_bits(void)
{
	REFUSED(WEIR_H_SUBBYTE, {ONE("F6_E2M3", "[1]", 0, 1), 1}, {ONE("F6_E3M2", "[1]", 0, 1), 1});
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(SF_20_a_byte_that_is_no_utf8),
		TEST(SF_21_byte_order_mark),
		TEST(SF_22_utf16),
		TEST(SF_23_overlong_sequence),
		TEST(SF_24_raw_surrogate),
		TEST(SF_25_above_the_last_code_point),
		TEST(SF_26_ends_inside_a_sequence),
		TEST(SF_27_nul_as_padding),
		TEST(SF_28_only_blanks),
		TEST(SF_29_top_level_no_object),
		TEST(SF_30_two_objects),
		TEST(SF_31_comma_before_a_closing_bracket),
		TEST(SF_32_other_notations),
		TEST(SF_33_raw_control_character_in_a_name),
		TEST(SF_34_broken_escape),
		TEST(SF_35_unpaired_surrogate_escape),
		TEST(SF_36_string_never_closed),
		TEST(SF_37_endless_nesting),
		TEST(SF_38_deep_nesting_in_an_unknown_member),
		TEST(SF_39_numbers_without_end),
		TEST(SF_40_numbers_that_are_no_json),
		TEST(SF_41_same_name_twice_same_entry),
		TEST(SF_42_same_name_twice_other_dtype),
		TEST(SF_43_same_name_through_an_escape),
		TEST(SF_44_impossible_copy_before_a_good_one),
		TEST(SF_45_metadata_twice),
		TEST(SF_46_metadata_twice_through_an_escape),
		TEST(SF_47_key_twice_in_metadata),
		TEST(SF_48_member_twice_in_an_entry),
		TEST(SF_49_member_missing_in_an_entry),
		TEST(SF_50_unknown_member),
		TEST(SF_51_member_in_other_case),
		TEST(SF_52_entry_no_object),
		TEST(SF_53_entry_an_array),
		TEST(SF_54_metadata_null),
		TEST(SF_55_metadata_no_object),
		TEST(SF_56_metadata_value_no_string),
		TEST(SF_57_metadata_like_a_tensor),
		TEST(SF_58_nul_in_a_name),
		TEST(SF_59_name_of_a_million_bytes),
		TEST(SF_60_unknown_dtype_with_offsets_past_the_end),
		TEST(SF_61_dtype_in_other_spelling),
		TEST(SF_62_dtype_no_string),
		TEST(SF_63_dtype_an_object),
		TEST(SF_64_shape_of_other_things),
		TEST(SF_65_negative_dimension),
		TEST(SF_66_negative_zero),
		TEST(SF_67_fractional_dimension),
		TEST(SF_68_dimension_beyond_64_bits),
		TEST(SF_69_product_wraps_to_zero),
		TEST(SF_70_byte_size_wraps_to_zero),
		TEST(SF_71_bit_count_overflows),
		TEST(SF_72_overflow_before_a_zero),
		TEST(SF_73_zero_before_an_overflow),
		TEST(SF_74_rank_of_ten_thousand),
		TEST(SF_75_three_elements_of_four_bits),
		TEST(SF_76_one_element_of_six_bits),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
