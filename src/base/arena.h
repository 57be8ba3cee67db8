/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many small things that die together.
 *
 * An arena hands out memory from chunks and gives all of it back at once.  It has a cap, named by
 * whoever makes it: what an outside number asks for can never grow past that.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

struct arena_chunk;

struct arena {
	struct arena_chunk *chunks; /* owned, newest first */
	size_t used_bytes;          /* taken from the system so far */
	size_t max_bytes;
	char *at, *end; /* what is free in the newest chunk */
};

void arena_init(struct arena *arena, size_t max_bytes);

/* Frees everything; the arena may be used again. */
void arena_fini(struct arena *arena);

/* Zeroed, aligned for any type; NULL when memory is out, the size overflows or the cap is reached. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);

/* A copy with a NUL behind it; NULL likewise. */
char *arena_strdup(struct arena *arena, struct bytes text);

#endif
