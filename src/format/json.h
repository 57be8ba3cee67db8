/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A strict JSON scanner for headers that strangers wrote.
 *
 * It is pulled: the parser above says what it expects next, and the scanner moves on or says what
 * stands there instead, and where.  Nothing is built and nothing allocated; a string is a view into
 * the text, in which its escapes were decoded in place.  There is no recursion: the depth is a number
 * with a cap, and what is skipped is skipped with a stack of bits.
 *
 * Strict means the grammar of RFC 8259 and nothing more: one value, no comment, no stray comma, no
 * control character in a string, no unpaired surrogate, no leading zero.  UTF-8 is checked by whoever
 * starts (scan_text()), once, for all of the text.
 *
 * Every function returns 0, or fails with WEIR_H_JSON, with the place and what is wrong there.
 */
#ifndef FORMAT_JSON_H
#define FORMAT_JSON_H

#include "base/bytes.h"
#include "base/error.h"

#define JSON_DEPTH_STRICT  32
#define JSON_DEPTH_LENIENT 127

/* Room in the stack of bits. */
#define JSON_DEPTH_MAX 128

struct json {
	const char *label; /* what is being read, for messages; borrowed */
	char *text;        /* where offsets count from */
	char *at, *end;
	unsigned depth;     /* objects and arrays open */
	unsigned depth_max; /* below JSON_DEPTH_MAX */
	struct bytes
		subject; /* the tensor whose entry is being read, for messages; at NULL: none */
	struct weir_error *err;
};

enum json_kind {
	JSON_UNSIGNED, /* an integer of at most 64 bits, without a sign */
	JSON_INTEGER,  /* any other integer: -1, -0, 2^64 */
	JSON_FRACTION, /* with a point or an exponent */
};

struct json_number {
	enum json_kind kind;
	bool in_range;  /* as a double */
	uint64_t value; /* of JSON_UNSIGNED */
};

/* Fails with a message of its own: "label: tensor 'x': what was said (byte 123)". */
int json_fail(struct json *json, int code, const char *at, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));
#define json_fail(...) failure(json_fail(__VA_ARGS__))

/* The first character of what comes next, white space skipped; 0 at the end of the text. */
char json_peek(struct json *json);

/* json_peek() is the opening bracket: steps into it. */
must_use int json_open(struct json *json);

/*
 * Is there another member?  Steps over the comma before it, or over the closing bracket:
 *
 *	for (bool first = true; (ret = json_more(json, ']', &first)) > 0;)
 *		...read one value...
 */
must_use int json_more(struct json *json, char close, bool *first);

/* json_peek() is a quote, or else it fails. */
must_use int json_string(struct json *json, struct bytes *out);

/* A string and the colon behind it. */
must_use int json_key(struct json *json, struct bytes *out);

/* json_peek() is a digit or a minus, or else it fails. */
must_use int json_number(struct json *json, struct json_number *out);

/* Any value.  A number beyond the range of a double is an error here, as it is in the reference. */
must_use int json_skip(struct json *json);

/* Nothing but white space is left. */
must_use int json_end(struct json *json);

#endif
