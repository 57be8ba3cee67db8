/* SPDX-License-Identifier: Apache-2.0 */
/* The scanner alone: every rule of its grammar, at every alignment of the wide loops. */
#include "format/json.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "format/scan.h"
#include "lib/check.h"

static struct weir_error err;
static struct json json;

/* The text in memory of exactly its size, so that a sanitizer sees a read past its end. */
static void start(struct bytes text, unsigned depth_max)
{
	char *copy = malloc(text.len ? text.len : 1);

	check(copy);
	memcpy(copy, text.at, text.len);
	json = (struct json){.label = "x.safetensors",
			     .text = copy,
			     .at = copy,
			     .end = copy + text.len,
			     .depth_max = depth_max,
			     .err = &err};
}

static int skip_all(struct bytes text, unsigned depth_max)
{
	int ret;

	start(text, depth_max);
	ret = json_skip(&json);
	if (ret == 0)
		ret = json_end(&json);
	free(json.text);
	return ret;
}

static void good_values_are_skipped(void)
{
	static const char *const good[] = {
		"0",
		"-0",
		"1",
		"10",
		"1.5",
		"1e5",
		"1E+5",
		"1.0e-5",
		"-12.25",
		"true",
		"false",
		"null",
		"\"\"",
		"\"a\"",
		"[]",
		"{}",
		"[1]",
		"[[],{}]",
		" { \"a\" : [ 1 , { \"b\" : null } ] } ",
		"\t\r\n1\t\r\n",
		"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\ud83d\\ude00\"",
		"1e308",
		"1.7976931348623157e308",
		"0e999999999999",
		"1e-999999999999",
		"123456789012345678901234",
		"[1,2,3,4,5,6,7,8,9,10]",
		"{\"a\":1,\"a\":2}",
	};

	for (size_t i = 0; i < array_size(good); i++) {
		struct bytes text = {good[i], strlen(good[i])};

		if (skip_all(text, 32) != 0)
			check_failed(__FILE__, __LINE__, "%s: %s", good[i], err.message);
	}
}

static void bad_values_are_refused(void)
{
	static const char *const bad[] = {
		"",
		" ",
		"01",
		"-",
		"+1",
		"0x1",
		"1.",
		".5",
		"1e",
		"1e+",
		"-a",
		"NaN",
		"Infinity",
		"tru",
		"nul",
		"trues",
		"'a'",
		"a",
		"\"",
		"\"a",
		"\"\\",
		"\"\\x41\"",
		"\"\\u12\"",
		"\"\\u12",
		"\"\\ud800\"",
		"\"\\udc00\"",
		"\"\\ud800\\u0041\"",
		"\"\\ud800\\n\"",
		"\"\x01\"",
		"\"0123456789abcdef\x1f\"",
		"[",
		"]",
		"{",
		"}",
		"[1",
		"[1,",
		"[1,]",
		"[,1]",
		"[1 2]",
		"{\"a\"}",
		"{\"a\":}",
		"{\"a\":1,}",
		"{,}",
		"{a:1}",
		"{\"a\":1",
		"[}",
		"{]",
		"1 2",
		"{}{}",
		"/**/1",
		"1//",
		"1e999",
		"1e309",
		"1.8e308",
		"\f1",
	};

	for (size_t i = 0; i < array_size(bad); i++) {
		struct bytes text = {bad[i], strlen(bad[i])};

		if (skip_all(text, 32) != WEIR_H_JSON)
			check_failed(__FILE__, __LINE__, "taken: %s", bad[i]);
	}
	check_int(skip_all(BYTES("1\0"), 32), WEIR_H_JSON);
	check_int(skip_all(BYTES("\"\\\0\""), 32), WEIR_H_JSON);
}

static void depth_has_a_cap_and_no_stack(void)
{
	char text[600];

	for (unsigned depth = 1; depth < 300; depth++) {
		memset(text, '[', depth);
		memset(text + depth, ']', depth);
		check_int(skip_all((struct bytes){text, 2 * depth}, 127),
			  depth <= 127 ? 0 : WEIR_H_JSON);
		check_int(skip_all((struct bytes){text, 2 * depth}, 32),
			  depth <= 32 ? 0 : WEIR_H_JSON);
	}
}

static void skip_knows_objects_from_arrays_at_every_depth(void)
{
	char text[1000];
	size_t len = 0;

	for (unsigned depth = 0; depth < 120; depth++)
		len += (size_t)sprintf(text + len, depth % 3 ? "[" : "{\"a\":");
	for (unsigned depth = 120; depth-- > 0;)
		len += (size_t)sprintf(text + len, depth % 3 ? "]" : "}");
	check_int(skip_all((struct bytes){text, len}, 127), 0);
	text[len - 1] = ']';
	check_int(skip_all((struct bytes){text, len}, 127), WEIR_H_JSON);
}

static void escapes_are_decoded_in_place(void)
{
	struct bytes out;

	start(BYTES("\"a\\u0041\\n\\u00e9\\u20ac\\ud83d\\ude00tail of sixteen or more bytes\\u0000.\" "),
	      32);
	check_int(json_string(&json, &out), 0);
	check(bytes_equal(out, BYTES("aA\n\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"
				     "tail of sixteen or more bytes\0.")));
	check_int(json_end(&json), 0);
	free(json.text);
}

static void strings_end_where_they_end_at_any_length(void)
{
	char text[80];

	for (unsigned len = 0; len < 70; len++)
		for (unsigned special = 0; special < len; special++) {
			struct bytes out;

			memset(text, 'x', sizeof(text));
			text[0] = '"';
			text[len + 1] = '"';
			start((struct bytes){text, len + 2}, 32);
			check_int(json_string(&json, &out), 0);
			check_int(out.len, len);
			free(json.text);
			text[1 + special] = '\x1f';
			check_int(skip_all((struct bytes){text, len + 2}, 32), WEIR_H_JSON);
			text[1 + special] = '\x7f';
			check_int(skip_all((struct bytes){text, len + 2}, 32), 0);
		}
}

static void numbers_say_what_they_are(void)
{
	static const struct {
		const char *text;
		enum json_kind kind;
		uint64_t value;
	} rows[] = {
		{"0", JSON_UNSIGNED, 0},
		{"18446744073709551615", JSON_UNSIGNED, UINT64_MAX},
		{"18446744073709551616", JSON_INTEGER, 0},
		{"-0", JSON_INTEGER, 0},
		{"-1", JSON_INTEGER, 0},
		{"1.0", JSON_FRACTION, 0},
		{"1e0", JSON_FRACTION, 0},
		{"1E999", JSON_FRACTION, 0},
	};

	for (size_t i = 0; i < array_size(rows); i++) {
		struct json_number number;

		start((struct bytes){rows[i].text, strlen(rows[i].text)}, 32);
		check_int(json_number(&json, &number), 0);
		check_int(number.kind, rows[i].kind);
		if (number.kind == JSON_UNSIGNED)
			check(number.value == rows[i].value);
		check_int(number.in_range, i + 1 < array_size(rows));
		free(json.text);
	}
}

static void digits_eight_at_a_time_are_the_digits(void)
{
	char text[9];

	for (unsigned run = 1; run <= 8; run++)
		for (unsigned other = 0; other < 256; other++) {
			uint64_t chunk, value = 0;

			if (other >= '0' && other <= '9')
				continue;
			memset(text, (int)other, 8);
			for (unsigned i = 0; i < run; i++) {
				text[i] = (char)('0' + (i * 7 + run) % 10);
				value = value * 10 + (i * 7 + run) % 10;
			}
			memcpy(&chunk, text, 8);
			check_int(digit_run(chunk), run);
			check_int(digit_value(chunk, run), value);
			check_int(other_bits_word(chunk), 0xFF << run & 0xFF);
		}
}

static void other_bytes_than_digits_have_a_bit(void)
{
	for (unsigned at = 0; at < 32; at++)
		for (unsigned c = 0; c < 256; c++) {
			char text[32];
			uint32_t bit = c >= '0' && c <= '9' ? 0 : UINT32_C(1) << at;
			uint32_t words = 0;

			memset(text, '0' + (int)at % 10, sizeof(text));
			text[at] = (char)c;
			for (int i = 0; i < 4; i++)
				words |= other_bits_word(load_le64(text + 8 * i)) << 8 * i;
			check_int(other_bits(text), bit);
			check_int(words, bit);
		}
}

static void plain_runs_of_eight_are_found_without_vectors(void)
{
	for (unsigned at = 0; at < 8; at++)
		for (unsigned c = 0; c < 256; c++) {
			unsigned char text[8];
			uint64_t chunk;

			memset(text, 'x', 8);
			text[at] = (unsigned char)c;
			memcpy(&chunk, text, 8);
			check_int(plain_run(chunk), c == '"' || c == '\\' || c < 0x20 ? at : 8);
		}
}

static void counts_and_utf8_at_every_length_and_place(void)
{
	enum {
		SIZE = 20000
	};
	char *text = malloc(SIZE);
	struct scan_counts counts;

	check(text);
	for (size_t len = 0; len < SIZE; len += len < 100 ? 1 : 1237) {
		memset(text, ',', len);
		check_int(scan_text(text, len, &counts), len);
		check_int(counts.commas, len);
		check_int(counts.braces + counts.quotes, 0);
		for (size_t i = 0; i < len; i += 1 + len / 50) {
			text[i] = '{';
			text[i / 2] = '"';
			text[i] = '\xC3';
			check_int(scan_text(text, len, &counts), i);
			memset(text, ',', len);
		}
	}
	memset(text, '{', SIZE);
	text[9000] = '\xC3';
	text[9001] = '\xA9';
	text[9002] = '"';
	check_int(scan_text(text, SIZE, &counts), SIZE);
	check_int(counts.braces, SIZE - 3);
	check_int(counts.quotes, 1);
	free(text);
}

static void messages_say_where(void)
{
	check_int(skip_all(BYTES("{\"a\":[1,2"), 32), WEIR_H_JSON);
	check_str(err.message,
		  "x.safetensors: the text ends where ',' or ']' should stand (byte 9)");
	check_int(err.offset_bytes, 9);
	start(BYTES(" \x01"), 32);
	json.subject = BYTES("h.7\n");
	check_int(json_skip(&json), WEIR_H_JSON);
	check_str(err.message,
		  "x.safetensors: tensor 'h.7\\x0a': '\\x01' where a value should stand (byte 1)");
	free(json.text);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(good_values_are_skipped),
		TEST(bad_values_are_refused),
		TEST(depth_has_a_cap_and_no_stack),
		TEST(skip_knows_objects_from_arrays_at_every_depth),
		TEST(escapes_are_decoded_in_place),
		TEST(strings_end_where_they_end_at_any_length),
		TEST(numbers_say_what_they_are),
		TEST(digits_eight_at_a_time_are_the_digits),
		TEST(other_bytes_than_digits_have_a_bit),
		TEST(plain_runs_of_eight_are_found_without_vectors),
		TEST(counts_and_utf8_at_every_length_and_place),
		TEST(messages_say_where),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
