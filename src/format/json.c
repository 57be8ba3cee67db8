/* SPDX-License-Identifier: Apache-2.0 */
#include "format/json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>

#include "base/size.h"
#include "base/text.h"
#include "format/scan.h"

/* How much of a name a message repeats, so that the reason behind it is not cut off. */
#define SUBJECT_MAX 100

int(json_fail)(struct json *json, int code, const char *at, const char *format, ...)
{
	struct bytes subject = json->subject;
	bool cut = subject.len > SUBJECT_MAX;
	uint64_t offset = (uint64_t)(at - json->text);
	struct quoted name;
	char reason[320];
	va_list args;

	va_start(args, format);
	text_vprint(reason, sizeof(reason), format, args);
	va_end(args);
	if (!subject.at)
		return error_at(json->err, code, json->label, offset, 0,
				"%s: %s (byte %" PRIu64 ")", json->label, reason, offset);
	subject.len = cut ? SUBJECT_MAX : subject.len;
	return error_at(json->err, code, json->label, offset, 0,
			"%s: tensor '%s%s': %s (byte %" PRIu64 ")", json->label,
			quote(&name, subject), cut ? "..." : "", reason, offset);
}

/* What was expected, and the character that stands there instead. */
static int unexpected(struct json *json, const char *expected)
{
	struct quoted found;

	if (json->at == json->end)
		return json_fail(json, WEIR_H_JSON, json->at, "the text ends where %s should stand",
				 expected);
	return json_fail(json, WEIR_H_JSON, json->at, "'%s' where %s should stand",
			 quote(&found, (struct bytes){json->at, 1}), expected);
}

char json_peek(struct json *json)
{
	if (json->at < json->end && (unsigned char)*json->at <= ' ')
		json->at += scan_space(json->at, json->end) - json->at;
	return json->at < json->end ? *json->at : 0;
}

int json_open(struct json *json)
{
	assert(json->depth_max < JSON_DEPTH_MAX);
	if (json->depth == json->depth_max)
		return json_fail(json, WEIR_H_JSON, json->at, "nested deeper than %u levels",
				 json->depth_max);
	json->depth++;
	json->at++;
	return 0;
}

int json_more(struct json *json, char close, bool *first)
{
	char c = json_peek(json);
	bool was_first = *first;

	*first = false;
	if (c == close) {
		json->depth--;
		json->at++;
		return 0;
	}
	if (was_first)
		return 1;
	if (c != ',')
		return unexpected(json, close == '}' ? "',' or '}'" : "',' or ']'");
	json->at++;
	return 1;
}

/* Four hex digits; -1 where they are not. */
static int32_t hex4(const char *at, const char *end)
{
	int32_t value = 0;

	if (end - at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = at[i];

		if (c >= '0' && c <= '9')
			value = value * 16 + (c - '0');
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			value = value * 16 + ((c | 0x20) - 'a' + 10);
		else
			return -1;
	}
	return value;
}

static char *put_utf8(char *to, uint32_t code)
{
	if (code < 0x80) {
		*to++ = (char)code;
		return to;
	}
	if (code < 0x800) {
		*to++ = (char)(0xC0 | code >> 6);
	} else {
		if (code < 0x10000) {
			*to++ = (char)(0xE0 | code >> 12);
		} else {
			*to++ = (char)(0xF0 | code >> 18);
			*to++ = (char)(0x80 | (code >> 12 & 0x3F));
		}
		*to++ = (char)(0x80 | (code >> 6 & 0x3F));
	}
	*to++ = (char)(0x80 | (code & 0x3F));
	return to;
}

/* \uXXXX, at the first digit, and its second half where it is a surrogate. */
static int unicode_escape(struct json *json, char **to)
{
	int32_t code = hex4(json->at, json->end), low;

	if (code < 0)
		return json_fail(json, WEIR_H_JSON, json->at, "\\u without four hex digits");
	if (code >= 0xDC00 && code <= 0xDFFF)
		return json_fail(json, WEIR_H_JSON, json->at, "unpaired surrogate \\u%04x",
				 (unsigned)code);
	json->at += 4;
	if (code >= 0xD800 && code <= 0xDBFF) {
		low = json->end - json->at >= 6 && json->at[0] == '\\' && json->at[1] == 'u'
			      ? hex4(json->at + 2, json->end)
			      : -1;
		if (low < 0xDC00 || low > 0xDFFF)
			return json_fail(json, WEIR_H_JSON, json->at - 4,
					 "unpaired surrogate \\u%04x", (unsigned)code);
		code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
		json->at += 6;
	}
	*to = put_utf8(*to, (uint32_t)code);
	return 0;
}

/* At a backslash; what it stands for is never longer than what is written. */
static int escape(struct json *json, char **to)
{
	static const char from[] = "\"\\/bfnrt", into[] = "\"\\/\b\f\n\r\t";
	const char *found;

	json->at++;
	if (json->at == json->end)
		return unexpected(json, "an escaped character");
	if (*json->at == 'u') {
		json->at++;
		return unicode_escape(json, to);
	}
	found = *json->at ? strchr(from, *json->at) : NULL;
	if (!found)
		return unexpected(json, "an escaped character");
	*(*to)++ = into[found - from];
	json->at++;
	return 0;
}

/* The rest of a string that has escapes, from the first one on. */
static int decode(struct json *json, char *start, struct bytes *out)
{
	char *to = json->at;

	for (;;) {
		const char *stop;
		size_t run;
		int ret;

		if (json->at < json->end && *json->at == '\\') {
			ret = escape(json, &to);
			if (ret < 0)
				return ret;
			continue;
		}
		stop = scan_string(json->at, json->end);
		run = (size_t)(stop - json->at);
		memmove(to, json->at, run);
		to += run;
		json->at += run;
		if (json->at == json->end || (*json->at != '"' && *json->at != '\\'))
			return unexpected(json, "the end of a string");
		if (*json->at == '"')
			break;
	}
	json->at++;
	*out = (struct bytes){start, (size_t)(to - start)};
	return 0;
}

int json_string(struct json *json, struct bytes *out)
{
	char *start;

	if (json_peek(json) != '"')
		return unexpected(json, "a string");
	start = json->at + 1;
	json->at += scan_string(start, json->end) - json->at;
	if (unlikely(json->at == json->end || *json->at != '"'))
		return decode(json, start, out);
	*out = (struct bytes){start, (size_t)(json->at - start)};
	json->at++;
	return 0;
}

int json_key(struct json *json, struct bytes *out)
{
	int ret = json_string(json, out);

	if (ret < 0)
		return ret;
	if (json_peek(json) != ':')
		return unexpected(json, "':'");
	json->at++;
	return 0;
}

static bool is_digit(const struct json *json)
{
	return json->at < json->end && *json->at >= '0' && *json->at <= '9';
}

/*
 * A number in pieces: digits × 10^exponent.  Digits beyond 64 bits are dropped, and counted in the
 * exponent where they stand before the point: that is what the reference computes its doubles from.
 */
struct pieces {
	uint64_t digits;
	int64_t exponent;
	bool full; /* digits were dropped */
};

static void take_digits(struct json *json, struct pieces *pieces, int64_t shift)
{
	for (; is_digit(json); json->at++) {
		uint64_t digit = (uint64_t)(*json->at - '0'), next;

		if (!pieces->full && size_mul(pieces->digits, 10, &next) &&
		    size_add(next, digit, &next)) {
			pieces->digits = next;
			pieces->exponent += shift;
			continue;
		}
		pieces->full = true;
		pieces->exponent += shift + 1;
	}
}

static int take_fraction(struct json *json, struct pieces *pieces)
{
	json->at++;
	if (!is_digit(json))
		return unexpected(json, "a digit");
	pieces->full = false;
	take_digits(json, pieces, -1);
	return 0;
}

static int take_exponent(struct json *json, struct pieces *pieces)
{
	int64_t value = 0;
	bool minus = false;

	json->at++;
	if (json->at < json->end && (*json->at == '-' || *json->at == '+'))
		minus = *json->at++ == '-';
	if (!is_digit(json))
		return unexpected(json, "a digit");
	for (; is_digit(json); json->at++)
		if (value < INT32_MAX)
			value = value * 10 + (*json->at - '0');
	pieces->exponent += minus ? -value : value;
	return 0;
}

/* Is the number finite as a double, computed as the reference does: digits first, then a power? */
static bool in_range(const struct pieces *pieces)
{
	static const double powers[] = {1e289, 1e290, 1e291, 1e292, 1e293, 1e294, 1e295,
					1e296, 1e297, 1e298, 1e299, 1e300, 1e301, 1e302,
					1e303, 1e304, 1e305, 1e306, 1e307, 1e308};

	if (pieces->digits == 0 || pieces->exponent < 289)
		return true; /* 2^64 × 10^288 still is */
	if (pieces->exponent > 308)
		return false;
	return isfinite((double)pieces->digits * powers[pieces->exponent - 289]);
}

int json_number(struct json *json, struct json_number *out)
{
	struct pieces pieces = {0};
	bool minus = json_peek(json) == '-';
	enum json_kind kind;
	int ret = 0;

	json->at += minus;
	if (!is_digit(json))
		return unexpected(json, minus ? "a digit" : "a number");
	if (*json->at == '0')
		json->at++;
	else
		take_digits(json, &pieces, 0);
	if (is_digit(json))
		return unexpected(json, "the end of a number that begins with 0");
	kind = minus || pieces.full ? JSON_INTEGER : JSON_UNSIGNED;
	if (json->at < json->end && *json->at == '.') {
		kind = JSON_FRACTION;
		ret = take_fraction(json, &pieces);
	}
	if (ret == 0 && json->at < json->end && (*json->at | 0x20) == 'e') {
		kind = JSON_FRACTION;
		ret = take_exponent(json, &pieces);
	}
	if (ret < 0)
		return ret;
	*out = (struct json_number){kind, in_range(&pieces), pieces.digits};
	return 0;
}

static int skip_word(struct json *json, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(json->end - json->at) < len || memcmp(json->at, word, len) != 0)
		return unexpected(json, "a value");
	json->at += len;
	return 0;
}

/* Behind an integer of at most seven digits, the kind that stands in long arrays; or NULL. */
static char *short_number(const struct json *json)
{
	unsigned run;
	char next;

	if (json->end - json->at < 8)
		return NULL;
	run = digit_run(load_le64(json->at));
	if (run == 0 || run == 8 || (*json->at == '0' && run > 1))
		return NULL;
	next = json->at[run];
	return next == '.' || (next | 0x20) == 'e' ? NULL : json->at + run;
}

static int skip_number(struct json *json)
{
	char *start = json->at, *behind = short_number(json);
	struct json_number number = {0};
	int ret;

	if (behind) {
		json->at = behind;
		return 0;
	}
	ret = json_number(json, &number);
	if (ret == 0 && !number.in_range)
		return json_fail(json, WEIR_H_JSON, start, "a number out of range");
	return ret;
}

static int skip_scalar(struct json *json, char c)
{
	struct bytes text;

	switch (c) {
	case '"':
		return json_string(json, &text);
	case 't':
		return skip_word(json, "true");
	case 'f':
		return skip_word(json, "false");
	case 'n':
		return skip_word(json, "null");
	default:
		if (c == '-' || (c >= '0' && c <= '9'))
			return skip_number(json);
		return unexpected(json, "a value");
	}
}

/* One bit a level: is it an object? */
struct levels {
	uint64_t objects[JSON_DEPTH_MAX / 64];
};

static void levels_set(struct levels *levels, unsigned depth, bool object)
{
	uint64_t bit = UINT64_C(1) << depth % 64;

	if (object)
		levels->objects[depth / 64] |= bit;
	else
		levels->objects[depth / 64] &= ~bit;
}

static bool levels_object(const struct levels *levels, unsigned depth)
{
	return levels->objects[depth / 64] >> depth % 64 & 1;
}

/* Behind a value or an opening bracket: on to the next value, closing what ends before it. */
static int skip_to_value(struct json *json, const struct levels *levels, unsigned base, bool first)
{
	struct bytes key;
	int more = 0;

	while (json->depth > base && more == 0) {
		bool object = levels_object(levels, json->depth);

		more = json_more(json, object ? '}' : ']', &first);
		if (more > 0 && object)
			more = json_key(json, &key) < 0 ? WEIR_H_JSON : 1;
	}
	return more < 0 ? more : 0;
}

int json_skip(struct json *json)
{
	struct levels levels = {{0}};
	unsigned base = json->depth;
	int ret;

	do {
		char c = json_peek(json);
		bool opens = c == '{' || c == '[';

		ret = opens ? json_open(json) : skip_scalar(json, c);
		if (ret == 0 && opens)
			levels_set(&levels, json->depth, c == '{');
		if (ret == 0)
			ret = skip_to_value(json, &levels, base, opens);
	} while (ret == 0 && json->depth > base);
	return ret;
}

int json_end(struct json *json)
{
	json_peek(json);
	return json->at < json->end ? unexpected(json, "nothing more") : 0;
}
