/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drafts of files: made, written as the engine does it, and compared with what they ought to be.
 */
#ifndef TESTS_UNIT_SOURCE_FILE_DRAFT_H
#define TESTS_UNIT_SOURCE_FILE_DRAFT_H

#include "file_rig.h"

static const struct source_how plain;

static inline struct source_object *created(const char *path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object = NULL;

	if (source->ops->create(source, path, path, bytes, &plain, &object, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check(object->writing);
	check_int(object->size_bytes, bytes);
	return object;
}

/* By way() from the first byte to the last, as the engine does; 0 or the first error. */
static inline int64_t write_all(struct source_object *object, unsigned char *memory)
{
	uint64_t size = object->size_bytes, at = 0;

	while (at < size) {
		uint64_t until;
		int way = source->ops->way(object, at, size - at, &until);
		struct request request;

		check(until > at && until <= size);
		check(way == WAY_BUFFERED || (at | until) % object->offset_align == 0);
		until = min_of(until, at + (512u << 10));
		request = request_of(object, memory + at, at, (uint32_t)(until - at), way);
		request.op = REQUEST_WRITE;
		run_request(&request);
		if (request.result < 0)
			return request.result;
		at += (uint64_t)request.result;
	}
	return 0;
}

static inline unsigned char *pattern_made(uint64_t bytes)
{
	unsigned char *memory = memory_made(bytes + 1);

	for (uint64_t i = 0; i < bytes; i++)
		memory[i] = byte_at(i);
	return memory;
}

static inline void check_file(const char *path, uint64_t bytes)
{
	unsigned char *memory = memory_made(bytes + 1);
	int fd = open(path, O_RDONLY);

	check(fd >= 0);
	check_int(read(fd, memory, bytes + 1), bytes);
	check_bytes(memory, 0, bytes);
	close(fd);
}

#endif
