/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one writer of JSON: straight to a stream, nothing is built first.
 *
 *	json_open(&json, stdout);
 *	json_object(&json, NULL);
 *	json_text(&json, "uri", uri);
 *	json_array(&json, "shape");
 *	json_uint(&json, NULL, 4096);
 *	json_end(&json);
 *	json_end(&json);
 *	json_close(&json);          writes the line feed
 *
 * The key is NULL inside arrays and at the top.  Integers are exact; reals are written with nine digits
 * and never as "nan".  Text that is not UTF-8 (a path may be anything) is repaired with U+FFFD.
 */
#ifndef CLI_JSON_H
#define CLI_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define JSON_DEPTH_MAX 16

struct json {
	FILE *to;
	unsigned depth;
	char ends[JSON_DEPTH_MAX]; /* what closes each level */
	bool more;                 /* a comma is due */
	bool for_html;             /* no "<" appears: the document stands in a page */
};

void json_open(struct json *json, FILE *to);
void json_close(struct json *json);

void json_object(struct json *json, const char *key);
void json_array(struct json *json, const char *key);
void json_end(struct json *json);

void json_text(struct json *json, const char *key, const char *text);
void json_text_len(struct json *json, const char *key, const char *text, size_t len);
void json_uint(struct json *json, const char *key, uint64_t value);
void json_int(struct json *json, const char *key, int64_t value);
void json_real(struct json *json, const char *key, double value);
void json_bool(struct json *json, const char *key, bool value);

/* A member whose key is not NUL-terminated text: metadata of a file. */
void json_key_len(struct json *json, const char *key, size_t len);

#endif
