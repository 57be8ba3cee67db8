/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judging headers: what do the strict and the lenient reader say to this file?
 *
 * Every header is judged three times in each mode: as it is, of which the grammar reads at least the
 * end; with blanks behind it; and with spare bytes behind it, so that the reader of plain entries has
 * the room that it wants.  All must agree.
 */
#ifndef TESTS_UNIT_FORMAT_JUDGE_H
#define TESTS_UNIT_FORMAT_JUDGE_H

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "format/safetensors.h"
#include "lib/check.h"

#define JUDGE_LABEL "dir/x.safetensors"
#define JUDGE_SEED  42

/* One entry, as writers write it. */
#define ENTRY(dtype, shape, begin, end)                                                            \
	"{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"
#define A_F32 "\"a\":" ENTRY("F32", "[1]", 0, 4)

/* A header and the number of data bytes behind it. */
struct file {
	const char *header;
	uint64_t data_bytes;
	size_t header_bytes; /* 0: up to the NUL */
};

struct verdict {
	int code;
	struct format_index *index; /* of what was taken */
	struct weir_error err;
};

/* Prefix and header in memory of exactly that size, so that a sanitizer sees a read past the end. */
static inline struct format_input make_input(const char *header, size_t len, size_t blanks,
					     uint64_t data_bytes, unsigned flags)
{
	uint64_t n = len + blanks;
	char *text = malloc(8 + len + blanks);

	check(text);
	store_le64(text, n);
	memcpy(text + 8, header, len);
	memset(text + 8 + len, ' ', blanks);
	return (struct format_input){.label = JUDGE_LABEL,
				     .text = text,
				     .text_bytes = 8 + len + blanks,
				     .file_bytes = 8 + n + data_bytes,
				     .seed = JUDGE_SEED,
				     .flags = flags};
}

/* The same with zeroes behind it that may be read, in memory that ends there. */
static inline struct format_input with_spare(struct format_input in)
{
	in.spare_bytes = FORMAT_SPARE_BYTES;
	in.text = realloc(in.text, in.text_bytes + in.spare_bytes);
	check(in.text);
	memset(in.text + in.text_bytes, 0, in.spare_bytes);
	return in;
}

/* What must hold of anything that was taken. */
static inline void check_index(const struct format_index *index, bool trailing)
{
	uint64_t cursor = index->data_start;

	for (size_t i = 0; i < index->tensor_count; i++) {
		const struct format_tensor *tensor = &index->tensors[i];
		const struct format_tensor *next = format_by_offset(index, i);

		check(format_index_find(index, format_name(index, tensor)) == tensor);
		check(next->offset_bytes == cursor);
		cursor += next->size_bytes;
	}
	check(trailing ? cursor <= index->file_bytes : cursor == index->file_bytes);
}

static inline struct verdict judge_input(struct format_input in)
{
	struct verdict verdict = {.err = WEIR_ERROR_INIT};

	verdict.code = safetensors_parse(&in, &verdict.index, &verdict.err);
	if (verdict.code < 0) {
		check_int(verdict.err.code, verdict.code);
		check_str(verdict.err.object, JUDGE_LABEL);
		check(memcmp(verdict.err.message, JUDGE_LABEL ": ", strlen(JUDGE_LABEL) + 2) == 0);
		check(!verdict.index);
		free(in.text);
	} else {
		check_index(verdict.index, in.flags & FORMAT_TRAILING);
	}
	return verdict;
}

static inline struct format_input input_of(const struct file *file, size_t blanks, unsigned flags)
{
	size_t len = file->header_bytes ? file->header_bytes : strlen(file->header);

	return make_input(file->header, len, blanks, file->data_bytes, flags);
}

static inline struct verdict judge(const struct file *file, size_t blanks, unsigned flags)
{
	return judge_input(input_of(file, blanks, flags));
}

static inline void expect(const struct file *file, size_t row, unsigned flags, int expected)
{
	struct format_input ways[] = {input_of(file, 0, flags), input_of(file, 80, flags),
				      with_spare(input_of(file, 0, flags))};

	for (size_t i = 0; i < array_size(ways); i++) {
		struct verdict verdict = judge_input(ways[i]);

		if (verdict.code != expected)
			check_failed(__FILE__, __LINE__, "row %zu, %s, way %zu: %s, not %s (%s)",
				     row, flags & FORMAT_LENIENT ? "lenient" : "strict", i,
				     weir_code_name(verdict.code), weir_code_name(expected),
				     verdict.err.message);
		format_index_destroy(verdict.index);
	}
}

/* Each of these files gets this verdict. */
#define JUDGE(strict, lenient, ...)                                                                \
	do {                                                                                       \
		static const struct file files_[] = {__VA_ARGS__};                                 \
		for (size_t i_ = 0; i_ < array_size(files_); i_++) {                               \
			expect(&files_[i_], i_, 0, (strict));                                      \
			expect(&files_[i_], i_, FORMAT_LENIENT, (lenient));                        \
		}                                                                                  \
	} while (0)

/* Both modes refuse; only lenient takes; both take. */
#define REFUSED(code, ...)     JUDGE((code), (code), __VA_ARGS__)
#define STRICT_ONLY(code, ...) JUDGE((code), 0, __VA_ARGS__)
#define TAKEN(...)             JUDGE(0, 0, __VA_ARGS__)

/* A text that is put together. */
struct builder {
	char *at;
	size_t len, room;
};

static inline void build(struct builder *b, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static inline void build(struct builder *b, const char *format, ...)
{
	for (;;) {
		va_list args;
		int len;

		va_start(args, format);
		len = vsnprintf(b->at + b->len, b->room - b->len, format, args);
		va_end(args);
		check(len >= 0);
		if ((size_t)len < b->room - b->len) {
			b->len += (size_t)len;
			return;
		}
		b->room = b->room * 2 + (size_t)len + 1;
		b->at = realloc(b->at, b->room);
		check(b->at);
	}
}

static inline void build_fill(struct builder *b, const char *text, size_t times)
{
	size_t len = strlen(text);

	b->room += times * len + 1;
	b->at = realloc(b->at, b->room);
	check(b->at);
	for (size_t i = 0; i < times; i++, b->len += len)
		memcpy(b->at + b->len, text, len);
	b->at[b->len] = 0;
}

static inline void build_judge(struct builder *b, uint64_t data_bytes, int strict, int lenient)
{
	struct file file = {b->at, data_bytes, b->len};

	expect(&file, 0, 0, strict);
	expect(&file, 0, FORMAT_LENIENT, lenient);
	free(b->at);
	*b = (struct builder){0};
}

#endif
