/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a lane puts bytes that nobody wants: memory as large as one request, which all such requests name.
 *
 * No two requests own the same bytes of memory, and these own none: what they bring is never looked at.  So
 * any number of them may fly, and the memory stays as small as one.  It is taken for the first of
 * them, from the pool that the source reaches and from the budget, and goes back behind the last.
 */
#ifndef ENGINE_SINK_H
#define ENGINE_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/budget.h"
#include "mem/pool.h"

struct sink {
	struct budget *budget; /* borrowed */
	struct pool *pool;     /* borrowed */
	bool shared;           /* the pool's memory must be made before it is written to */
	char *memory;          /* NULL: nothing flies */
	uint64_t bytes;
	uint64_t flying_bytes; /* of the requests that name it */
	uint32_t requests;     /* so many of its size may fly */
	int64_t since_ns;      /* something flies; */
	bool filled;           /* and no more could */
};

enum sink_answer {
	SINK_TAKEN,
	SINK_FULL, /* enough flies: one that comes back makes room */
	SINK_NONE, /* no memory to be had */
};

void sink_init(struct sink *sink, struct budget *budget, struct pool *pool, bool shared);
void sink_fini(struct sink *sink); /* nothing flies */

/* For a request of *bytes, or of fewer: then *bytes is made less, by whole blocks. */
enum sink_answer sink_take(struct sink *sink, uint64_t *bytes, uint64_t block, int64_t now_ns,
			   char **out);

/* It came back; bytes: as taken. */
void sink_give(struct sink *sink, uint64_t bytes, int64_t now_ns);

#endif
