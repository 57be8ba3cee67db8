/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text for people, made from bytes that nobody vouches for.
 */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>

#include "base/bytes.h"

/* Longest run of untrusted bytes that a message repeats; the rest becomes "...". */
#define QUOTE_MAX 256

/* Room for the worst case: each byte as \xNN, the dots and the end. */
struct quoted {
	char text[QUOTE_MAX * 4 + 4];
};

/*
 * The bytes with what is not seen (controls, marks of direction) and broken UTF-8 as \xNN, cut at
 * QUOTE_MAX; returns out->text:
 *
 *	struct quoted name;
 *	error_set(err, WEIR_H_DUP, path, "%s: tensor '%s' stands twice", path, quote(&name, bytes));
 */
const char *quote(struct quoted *out, struct bytes untrusted);

/* Prints like vsnprintf(), for rooms that have no business with <stdio.h>. */
void text_vprint(char *out, size_t size, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

/* How many bytes of valid UTF-8 stand at the start of the text. */
size_t utf8_valid_prefix(const char *text, size_t len);

#endif
