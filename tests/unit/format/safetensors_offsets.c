/* SPDX-License-Identifier: Apache-2.0 */
/* Offsets and coverage: SF-77 to SF-89; and what the messages say. */
#include "judge.h"

#include <time.h>

#define OFFSETS(offsets) "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":" offsets "}}"
#define U8(name, size, begin, end)                                                                 \
	"\"" name "\":{\"dtype\":\"U8\",\"shape\":[" size "],\"data_offsets\":[" begin "," end "]}"

static void SF_77_end_before_begin(void)
{
	REFUSED(WEIR_H_OFFSET, {OFFSETS("[4,0]"), 4});
}

static void SF_78_negative_offset(void)
{
	REFUSED(WEIR_H_OFFSET, {OFFSETS("[-4,0]"), 4});
}

static void SF_79_offsets_of_other_things(void)
{
	REFUSED(WEIR_H_SCHEMA, {OFFSETS("[0]"), 4}, {OFFSETS("[0,4,4]"), 4}, {OFFSETS("{}"), 4},
		{OFFSETS("[\"0\",\"4\"]"), 4}, {OFFSETS("[0.0,4.0]"), 4}, {OFFSETS("[]"), 4},
		{OFFSETS("null"), 4});
}

static void SF_80_first_tensor_begins_at_four(void)
{
	REFUSED(WEIR_H_OFFSET, {OFFSETS("[4,8]"), 8});
}

static void SF_81_past_the_end_of_the_file(void)
{
	REFUSED(WEIR_H_COVER, {"{" U8("a", "1000", "0", "1000") "}", 10});
}

static void SF_82_span_wraps_to_four(void)
{
	REFUSED(WEIR_H_OFFSET, {OFFSETS("[18446744073709551612,0]"), 4});
}

/* Eight tensors of as many bytes as have a bit count, and a last one behind them. */
#define LONG_CHAIN(last)                                                                                                                                                                                  \
	"{" U8("a", "2305843009213693951", "0", "2305843009213693951") "," U8("b", "2305843009213693951", "2305843009213693951", "4611686018427387902") "," U8(                                           \
		"c", "2305843009213693951", "4611686018427387902",                                                                                                                                        \
		"6917529027641081853") "," U8("d", "2305843009213693951", "6917529027641081853",                                                                                                          \
					      "9223372036854775804") "," U8("e",                                                                                                                          \
									    "2305843009213693951",                                                                                                        \
									    "9223372036854775804",                                                                                                        \
									    "11529215046068469755") "," U8("f",                                                                                           \
													   "2305843009213693951",                                                                         \
													   "11529215046068469755",                                                                        \
													   "13835058055282163706") "," U8("g",                                                            \
																	  "2305843009213693951",                                          \
																	  "13835058055282163706",                                         \
																	  "16140901064495857657") "," U8("h",                             \
																					 "2305843009213693951",           \
																					 "16140901064495857657",          \
																					 "18446744073709551608") "," last \
																								 "}"

static void SF_83_chain_to_the_last_number(void)
{
	REFUSED(WEIR_H_COVER,
		{LONG_CHAIN(U8("i", "7", "18446744073709551608", "18446744073709551615")), 100});
}

static void SF_84_chain_past_the_last_number(void)
{
	REFUSED(WEIR_H_OFFSET,
		{LONG_CHAIN(U8("i", "8", "18446744073709551608", "18446744073709551616")), 100});
}

static void SF_85_span_and_shape_disagree(void)
{
	REFUSED(WEIR_H_SIZE, {OFFSETS("[0,3]"), 3}, {OFFSETS("[0,8]"), 8});
}

static void SF_86_hole_between_two(void)
{
	REFUSED(WEIR_H_OFFSET, {"{" A_F32 "," U8("b", "4", "8", "12") "}", 12});
}

static void SF_87_overlap(void)
{
	REFUSED(WEIR_H_OFFSET, {"{" A_F32 "," U8("b", "4", "0", "4") "}", 4},
		{"{" A_F32 "," U8("b", "4", "2", "6") "}", 6});
}

static void SF_88_many_entries_on_one_span(void)
{
	struct timespec begin, end;
	struct builder b = {0};

	build(&b, "{");
	for (unsigned i = 0; i < 100000; i++)
		build(&b,
		      "%s\"t%u\":{\"dtype\":\"U8\",\"shape\":[160000],\"data_offsets\":[0,160000]}",
		      i ? "," : "", i);
	build(&b, "}");
	clock_gettime(CLOCK_MONOTONIC, &begin);
	build_judge(&b, 160000, WEIR_H_OFFSET, WEIR_H_OFFSET); /* four times */
	clock_gettime(CLOCK_MONOTONIC, &end);
	check(end.tv_sec - begin.tv_sec < 2);
}

static void SF_89_empty_tensor_inside_another_or_past_the_end(void)
{
	REFUSED(WEIR_H_OFFSET, {"{" A_F32 "," U8("b", "0", "2", "2") "}", 4},
		{"{" A_F32 "," U8("b", "0", "9", "9") "}", 4});
}

/* The first fault in the order of the file, in words, with the place of the name. */
static void says(const struct file *file, const char *message)
{
	struct verdict verdict = judge(file, 0, 0);

	check(verdict.code < 0);
	check_has(verdict.err.message, message);
	check(verdict.err.offset_bytes != WEIR_NO_OFFSET);
}

static void messages_name_tensor_numbers_and_place(void)
{
	static const struct {
		struct file file;
		const char *message;
	} rows[] = {
		{{"{\"h.7.attn.weight\":" ENTRY("U8", "[2]", 10, 8) "}", 8, 0},
		 JUDGE_LABEL
		 ": tensor 'h.7.attn.weight': data_offsets [10, 8] end before they begin "
		 "(byte 10)"},
		{{"{" A_F32 "," U8("b", "4", "8", "12") "}", 12, 0},
		 "tensor 'b': data_offsets [8, 12] leave a hole of 4 bytes behind byte 4"},
		{{"{" A_F32 "," U8("b", "4", "2", "6") "}", 12, 0},
		 "tensor 'b': data_offsets [2, 6] overlap the tensor before, which ends at 4"},
		{{OFFSETS("[0,8]"), 8, 0},
		 "tensor 'a': data_offsets [0, 8] span 8 bytes, but its shape in F32 needs 4"},
		{{"{\"a\":" ENTRY("F4", "[3]", 0, 2) "}", 2, 0},
		 "tensor 'a': its elements of type F4 do not fill whole bytes"},
		{{"{" A_F32 "}", 9, 0}, "5 bytes of the data belong to no tensor"},
		{{"{" A_F32 "}", 1, 0}, "end at byte 4 of the data, but the file holds only 1"},
		{{"{" A_F32 "," A_F32 "}", 4, 0}, "tensor 'a' stands twice"},
		{{"{\"a\\n\":" ENTRY("F33", "[1]", 0, 4) "}", 4, 0},
		 "tensor 'a\\x0a': unknown dtype 'F33'"},
		{{"{\"a\":" ENTRY("F32", "[1,-1]", 0, 4) "}", 4, 0}, "tensor 'a': shape holds -1"},
		{{"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, 0},
		 "tensor 'a': data_offsets is missing"},
		{{"{" A_F32 "]", 4, 0}, "']' where ',' or '}' should stand"},
	};

	for (size_t i = 0; i < array_size(rows); i++)
		says(&rows[i].file, rows[i].message);
}

static void messages_keep_their_reason_behind_a_long_name(void)
{
	struct builder b = {0};

	build(&b, "{\"");
	build_fill(&b, "\\u0001", 5000);
	build(&b, "\":" ENTRY("F32", "[1]", 4, 0) "}");
	says(&(struct file){b.at, 4, b.len},
	     "\\x01...': data_offsets [4, 0] end before they begin");
	free(b.at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(SF_77_end_before_begin),
		TEST(SF_78_negative_offset),
		TEST(SF_79_offsets_of_other_things),
		TEST(SF_80_first_tensor_begins_at_four),
		TEST(SF_81_past_the_end_of_the_file),
		TEST(SF_82_span_wraps_to_four),
		TEST(SF_83_chain_to_the_last_number),
		TEST(SF_84_chain_past_the_last_number),
		TEST(SF_85_span_and_shape_disagree),
		TEST(SF_86_hole_between_two),
		TEST(SF_87_overlap),
		TEST(SF_88_many_entries_on_one_span),
		TEST(SF_89_empty_tensor_inside_another_or_past_the_end),
		TEST(messages_name_tensor_numbers_and_place),
		TEST(messages_keep_their_reason_behind_a_long_name),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
