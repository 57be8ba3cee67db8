/* SPDX-License-Identifier: Apache-2.0 */
#include "json.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* How many bytes of well-formed UTF-8 stand here; 0: none (Unicode's table 3-7, in numbers). */
static size_t utf8_span(const unsigned char *at, size_t left)
{
	unsigned lead = at[0], need, low = 0x80, high = 0xbf;

	if (lead < 0x80)
		return 1;
	if (lead < 0xc2 || lead > 0xf4)
		return 0;
	need = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
	if (lead == 0xe0)
		low = 0xa0;
	else if (lead == 0xed)
		high = 0x9f;
	else if (lead == 0xf0)
		low = 0x90;
	else if (lead == 0xf4)
		high = 0x8f;
	if (left < need || at[1] < low || at[1] > high)
		return 0;
	for (unsigned n = 2; n < need; n++) {
		if (at[n] < 0x80 || at[n] > 0xbf)
			return 0;
	}
	return need;
}

/* One character that may not stand for itself. */
static void write_escape(FILE *to, unsigned char c)
{
	static const char codes[] = "\"\"\\\\\bb\ff\nn\rr\tt";

	for (const char *at = codes; *at; at += 2) {
		if ((unsigned char)*at == c) {
			putc('\\', to);
			putc(at[1], to);
			return;
		}
	}
	fprintf(to, "\\u%04x", c);
}

static void write_text(const struct json *json, const char *text, size_t len)
{
	FILE *to = json->to;
	const unsigned char *at = (const unsigned char *)text;

	putc('"', to);
	for (size_t n = 0; n < len;) {
		size_t span = utf8_span(at + n, len - n);

		if (span == 0) {
			fputs("\xef\xbf\xbd", to);
			n++;
			continue;
		}
		if (span == 1 && (at[n] < 0x20 || at[n] == '"' || at[n] == '\\' || at[n] == 0x7f ||
				  (json->for_html && at[n] == '<')))
			write_escape(to, at[n]);
		else
			fwrite(at + n, 1, span, to);
		n += span;
	}
	putc('"', to);
}

void json_open(struct json *json, FILE *to)
{
	*json = (struct json){.to = to};
}

void json_close(struct json *json)
{
	assert(json->depth == 0);
	putc('\n', json->to);
}

void json_key_len(struct json *json, const char *key, size_t len)
{
	if (json->more)
		putc(',', json->to);
	write_text(json, key, len);
	putc(':', json->to);
	json->more = false;
}

static void begin(struct json *json, const char *key)
{
	if (key)
		json_key_len(json, key, strlen(key));
	else if (json->more)
		putc(',', json->to);
	json->more = true;
}

static void nest(struct json *json, const char *key, char opens, char ends)
{
	assert(json->depth < JSON_DEPTH_MAX);
	begin(json, key);
	putc(opens, json->to);
	json->ends[json->depth++] = ends;
	json->more = false;
}

void json_object(struct json *json, const char *key)
{
	nest(json, key, '{', '}');
}

void json_array(struct json *json, const char *key)
{
	nest(json, key, '[', ']');
}

void json_end(struct json *json)
{
	assert(json->depth > 0);
	putc(json->ends[--json->depth], json->to);
	json->more = true;
}

void json_text_len(struct json *json, const char *key, const char *text, size_t len)
{
	begin(json, key);
	write_text(json, text, len);
}

void json_text(struct json *json, const char *key, const char *text)
{
	json_text_len(json, key, text, strlen(text));
}

void json_uint(struct json *json, const char *key, uint64_t value)
{
	begin(json, key);
	fprintf(json->to, "%" PRIu64, value);
}

void json_int(struct json *json, const char *key, int64_t value)
{
	begin(json, key);
	fprintf(json->to, "%" PRId64, value);
}

void json_real(struct json *json, const char *key, double value)
{
	begin(json, key);
	fprintf(json->to, "%.9g", isfinite(value) ? value : 0.0);
}

void json_bool(struct json *json, const char *key, bool value)
{
	begin(json, key);
	fputs(value ? "true" : "false", json->to);
}
