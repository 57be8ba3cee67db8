/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF's typed values as text that people and programs can read.
 *
 * Numbers come out as C has them, with a point whatever the locale says; strings as they are, with
 * bytes that are not UTF-8 as \xNN; arrays as [1, 2, 3, ... 32000 in all].
 */
#include "format/gguf.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

static const struct {
	const char *name;
	unsigned bytes;
} types[GGUF_TYPES] = {
	[GGUF_U8] = {"uint8", 1},    [GGUF_I8] = {"int8", 1},    [GGUF_U16] = {"uint16", 2},
	[GGUF_I16] = {"int16", 2},   [GGUF_U32] = {"uint32", 4}, [GGUF_I32] = {"int32", 4},
	[GGUF_F32] = {"float32", 4}, [GGUF_BOOL] = {"bool", 1},  [GGUF_STRING] = {"string", 0},
	[GGUF_ARRAY] = {"array", 0}, [GGUF_U64] = {"uint64", 8}, [GGUF_I64] = {"int64", 8},
	[GGUF_F64] = {"float64", 8},
};

const char *gguf_meta_type_name(uint32_t meta_type)
{
	return meta_type - 1 < GGUF_TYPES ? types[meta_type - 1].name : "?";
}

unsigned gguf_type_bytes(uint32_t type)
{
	return type < GGUF_TYPES ? types[type].bytes : 0;
}

/* Room for one number, or one escaped byte. */
#define NUMBER_ROOM 64

static void print(char out[NUMBER_ROOM], const char *format, ...)
	__attribute__((format(printf, 2, 3)));

static void print(char out[NUMBER_ROOM], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	text_vprint(out, NUMBER_ROOM, format, args);
	va_end(args);
}

static void put(struct gguf_sink *sink, const char *text, size_t len)
{
	if (sink->at)
		memcpy(sink->at + sink->len, text, len);
	sink->len += len;
}

static void put_text(struct gguf_sink *sink, const char *text)
{
	put(sink, text, strlen(text));
}

/* What printf wrote, with one point where the locale has whatever it has. */
static void put_number(struct gguf_sink *sink, const char *text)
{
	for (const char *at = text; *at;) {
		size_t plain = strspn(at, "+-0123456789einfa");

		put(sink, at, plain);
		at += plain;
		if (*at)
			put_text(sink, ".");
		at += strcspn(at, "+-0123456789einfa");
	}
}

/* The shortest text that reads back as the same number. */
static void put_f32(struct gguf_sink *sink, float value)
{
	char text[NUMBER_ROOM];

	for (int digits = 6; digits <= 9; digits++) {
		print(text, "%.*g", digits, (double)value);
		if (strtof(text, NULL) == value)
			break;
	}
	put_number(sink, text);
}

static void put_f64(struct gguf_sink *sink, double value)
{
	char text[NUMBER_ROOM];

	for (int digits = 15; digits <= 17; digits++) {
		print(text, "%.*g", digits, value);
		if (strtod(text, NULL) == value)
			break;
	}
	put_number(sink, text);
}

static void put_signed(struct gguf_sink *sink, int64_t value)
{
	char text[NUMBER_ROOM];

	print(text, "%" PRId64, value);
	put_text(sink, text);
}

static void put_unsigned(struct gguf_sink *sink, uint64_t value)
{
	char text[NUMBER_ROOM];

	print(text, "%" PRIu64, value);
	put_text(sink, text);
}

static void put_float(struct gguf_sink *sink, uint32_t type, const char *at)
{
	double wide;
	float narrow;

	if (type == GGUF_F64) {
		memcpy(&wide, at, sizeof(wide));
		put_f64(sink, wide);
	} else {
		memcpy(&narrow, at, sizeof(narrow));
		put_f32(sink, narrow);
	}
}

static void put_scalar(struct gguf_sink *sink, uint32_t type, const char *at)
{
	switch (type) {
	case GGUF_U8:
		put_unsigned(sink, (uint8_t)*at);
		break;
	case GGUF_I8:
		put_signed(sink, (int8_t)*at);
		break;
	case GGUF_U16:
		put_unsigned(sink, load_le16(at));
		break;
	case GGUF_I16:
		put_signed(sink, (int16_t)load_le16(at));
		break;
	case GGUF_U32:
		put_unsigned(sink, load_le32(at));
		break;
	case GGUF_I32:
		put_signed(sink, (int32_t)load_le32(at));
		break;
	case GGUF_U64:
		put_unsigned(sink, load_le64(at));
		break;
	case GGUF_I64:
		put_signed(sink, (int64_t)load_le64(at));
		break;
	case GGUF_BOOL:
		put_text(sink, *at ? "true" : "false");
		break;
	default:
		put_float(sink, type, at);
	}
}

static void put_string(struct gguf_sink *sink, struct bytes text)
{
	char escaped[NUMBER_ROOM];

	while (text.len > 0) {
		size_t valid = utf8_valid_prefix(text.at, text.len);

		put(sink, text.at, valid);
		text = (struct bytes){text.at + valid, text.len - valid};
		if (text.len == 0)
			break;
		print(escaped, "\\x%02x", (unsigned)(unsigned char)*text.at);
		put_text(sink, escaped);
		text = (struct bytes){text.at + 1, text.len - 1};
	}
}

/* The element at `at`, and past it. */
static const char *put_element(struct gguf_sink *sink, uint32_t type, const char *at)
{
	struct quoted quoted;
	struct bytes text;

	if (type != GGUF_STRING) {
		put_scalar(sink, type, at);
		return at + gguf_type_bytes(type);
	}
	text = (struct bytes){at + 8, (size_t)load_le64(at)};
	put_text(sink, "\"");
	put_text(sink, quote(&quoted, text));
	put_text(sink, "\"");
	return text.at + text.len;
}

static void put_array(struct gguf_sink *sink, const struct gguf_value *value)
{
	const char *at = value->raw.at;

	put_text(sink, "[");
	for (uint64_t i = 0; i < value->count && i < GGUF_SHOWN; i++) {
		if (i > 0)
			put_text(sink, ", ");
		at = put_element(sink, value->element, at);
	}
	if (value->count > GGUF_SHOWN) {
		put_text(sink, ", ... ");
		put_unsigned(sink, value->count);
		put_text(sink, " in all");
	}
	put_text(sink, "]");
}

void gguf_value_text(struct gguf_sink *sink, const struct gguf_value *value)
{
	if (value->type == GGUF_STRING)
		put_string(sink, value->raw);
	else if (value->type == GGUF_ARRAY)
		put_array(sink, value);
	else
		put_scalar(sink, value->type, value->raw.at);
}
