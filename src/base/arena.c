/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

#include "base/size.h"

#define CHUNK_MIN ((size_t)16 << 10)

struct arena_chunk {
	struct arena_chunk *next;
	alignas(max_align_t) char data[];
};

void arena_init(struct arena *arena, size_t max_bytes)
{
	*arena = (struct arena){.max_bytes = max_bytes};
}

void arena_fini(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *chunk = arena->chunks;

		arena->chunks = chunk->next;
		free(chunk);
	}
	arena_init(arena, arena->max_bytes);
}

/* Doubles from CHUNK_MIN, so that n bytes cost log(n) calls. */
static int grow(struct arena *arena, size_t need)
{
	size_t want = arena->used_bytes > CHUNK_MIN ? arena->used_bytes : CHUNK_MIN;
	size_t left = arena->max_bytes - arena->used_bytes;
	struct arena_chunk *chunk;

	if (want < need)
		want = need;
	if (want > left)
		want = left;
	if (want < need)
		return -1;
	chunk = calloc(1, sizeof(*chunk) + want);
	if (!chunk)
		return -1;
	chunk->next = arena->chunks;
	arena->chunks = chunk;
	arena->used_bytes += want;
	arena->at = chunk->data;
	arena->end = chunk->data + want;
	return 0;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
	uint64_t bytes;
	void *result;

	if (!size_mul(count, size, &bytes) || bytes > arena->max_bytes)
		return NULL;
	bytes = round_up(bytes, alignof(max_align_t));
	if (!arena->at || (size_t)(arena->end - arena->at) < bytes)
		if (grow(arena, (size_t)bytes) < 0)
			return NULL;
	result = arena->at;
	arena->at += bytes;
	return result;
}

char *arena_strdup(struct arena *arena, struct bytes text)
{
	char *copy = text.len == SIZE_MAX ? NULL : arena_alloc(arena, text.len + 1, 1);

	if (copy && text.len)
		memcpy(copy, text.at, text.len);
	return copy;
}
