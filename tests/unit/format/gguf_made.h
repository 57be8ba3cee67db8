/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF headers, put together byte by byte, and read.
 *
 * Headers are put together in one buffer; the size of the file is a number of its own, so files of any
 * size cost nothing.  parse() feeds the walker as well, one byte more at a time where the header is
 * short, and both ways have to agree.
 */
#ifndef TESTS_UNIT_FORMAT_GGUF_MADE_H
#define TESTS_UNIT_FORMAT_GGUF_MADE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/size.h"
#include "format/gguf.h"
#include "lib/check.h"

#define FEED_MAX  4096 /* headers up to that length are fed byte by byte */
#define ALL_OF_IT UINT64_MAX

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_S 20 /* a sanitizer costs that much */
#else
#define LIMIT_S 2
#endif

static char *bytes;
static size_t len, room;

static struct weir_error err;
static struct format_index *index_;

static inline void put(const void *from, size_t count)
{
	while (room - len < count) {
		room = room ? room * 2 : 4096;
		bytes = realloc(bytes, room);
		check(bytes);
	}
	if (count)
		memcpy(bytes + len, from, count);
	len += count;
}

static inline void u8(unsigned value)
{
	uint8_t byte = (uint8_t)value;

	put(&byte, 1);
}

static inline void u32(uint32_t value)
{
	put(&value, 4);
}

static inline void u64(uint64_t value)
{
	put(&value, 8);
}

static inline void text(const char *value)
{
	u64(strlen(value));
	put(value, strlen(value));
}

static inline void header(uint32_t version, uint64_t tensors, uint64_t pairs)
{
	len = 0;
	put("GGUF", 4);
	u32(version);
	u64(tensors);
	u64(pairs);
}

static inline void pair_u32(const char *key, uint32_t value)
{
	text(key);
	u32(GGUF_U32);
	u32(value);
}

static inline void tensor(const char *name, uint32_t rank, const uint64_t *dims, uint32_t type,
			  uint64_t offset)
{
	text(name);
	u32(rank);
	for (uint32_t i = 0; i < rank; i++)
		u64(dims[i]);
	u32(type);
	u64(offset);
}

#define DIMS(...)                                                                                  \
	(const uint64_t[])                                                                         \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

/* F32, a vector. */
static inline void vector(const char *name, uint64_t count, uint64_t offset)
{
	tensor(name, 1, &count, 0, offset);
}

static inline uint64_t data_start(void)
{
	return round_up(len, 32);
}

static inline int feed(uint64_t file_bytes)
{
	struct gguf_walk walk;
	struct weir_error ignored = WEIR_ERROR_INIT;
	int ret = GGUF_MORE;

	gguf_walk_init(&walk, "fed.gguf", file_bytes);
	for (size_t have = 0; have <= len && ret == GGUF_MORE; have++) {
		char *copy = malloc(have + 1); /* its end is guarded by the sanitizer */

		check(copy);
		if (have)
			memcpy(copy, bytes, have);
		copy = realloc(copy, have ? have : 1);
		ret = gguf_walk(&walk, copy, have, &ignored);
		if (ret == GGUF_MORE)
			check(walk.need_bytes > have && walk.need_bytes <= file_bytes);
		free(copy);
	}
	return ret;
}

/* The first `have` bytes of what was put together, as the start of a file of file_bytes. */
static inline int parse_part(size_t have, uint64_t file_bytes)
{
	struct format_input input = {.label = "x.gguf", .file_bytes = file_bytes, .seed = 42};
	uint64_t need = 0;
	int ret;

	format_index_destroy(index_);
	index_ = NULL;
	input.text = malloc(have + 1);
	check(input.text);
	memcpy(input.text, bytes, have);
	input.text_bytes = have;
	err = (struct weir_error)WEIR_ERROR_INIT;
	ret = gguf_parse(&input, &index_, &need, &err);
	check((ret == 0) == (index_ != NULL));
	if (ret)
		free(input.text);
	check((ret == GGUF_MORE) == (need > have));
	if (ret < 0) {
		check_int(err.code, ret);
		check_str(err.object, "x.gguf");
		check_has(err.message, "x.gguf: ");
	}
	return ret;
}

static inline int parse(uint64_t file_bytes)
{
	int ret;

	if (file_bytes == ALL_OF_IT)
		file_bytes = len;
	ret = parse_part(len, file_bytes);
	if (len <= FEED_MAX) {
		int fed = feed(file_bytes);

		/* What takes the whole table is judged after the walk. */
		if (fed != ret)
			check(fed == 0 && (ret == WEIR_G_DUP || ret == WEIR_G_OFFSET ||
					   ret == WEIR_G_OVERFLOW || ret == WEIR_G_SHORT));
	}
	return ret;
}

/* One tensor of that type and those dimensions, in a file that is large enough for anything. */
static inline int parse_tensor(uint32_t rank, const uint64_t *dims, uint32_t type)
{
	header(3, 1, 0);
	tensor("t", rank, dims, type, 0);
	return parse(INT64_MAX);
}

static inline const char *meta(const char *key)
{
	const struct format_meta *found = format_index_meta(index_,
							    (struct bytes){key, strlen(key)});

	return found ? format_value(index_, found).at : NULL;
}

/* Two keys, two tensors: 3 x 4 of F32 and a scalar, whole. */
static inline uint64_t small_file(uint32_t version)
{
	header(version, 2, 2);
	text("general.architecture");
	u32(GGUF_STRING);
	text("llama");
	pair_u32("n", 7);
	tensor("a", 2, DIMS(4, 3), 0, 0);
	tensor("bb", 0, NULL, 0, 64);
	return data_start() + 64 + 4;
}

static inline void scalar(const char *key, uint32_t type, const void *value, size_t size)
{
	text(key);
	u32(type);
	put(value, size);
}

#define SCALAR(key, type, ctype, value) scalar(key, type, &(ctype){value}, sizeof(ctype))

/* Of the processor, so that a busy machine does not count. */
static inline double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
