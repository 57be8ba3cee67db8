/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's staging memory: slots for bytes that cannot land where they belong.
 *
 * Few and small on purpose: what was just read is copied out while it is still in the processor's cache.
 * Slots come in two sizes, since most staged requests are a single block between two large tensors.
 * The memory is charged to the budget when the lane is made and mapped at the first use; it is kept
 * from forked children.
 */
#ifndef ENGINE_STAGING_H
#define ENGINE_STAGING_H

#include <stdint.h>

#include "base/sys.h"
#include "engine/budget.h"
#include "mem/pool.h"

struct staging {
	const struct sys *sys;
	struct budget *budget;           /* borrowed from the context */
	struct pool *pool;               /* borrowed; NULL: memory of its own */
	char *memory;                    /* NULL: not mapped yet */
	uint64_t bytes;                  /* charged and, once mapped, mapped */
	uint64_t slot_bytes;             /* of a large one */
	uint64_t free_large, free_small; /* a bit for each slot */
};

/*
 * most_bytes: what it may take of the budget; at least one large slot must fit.  pool: where its memory
 * comes from, if the source reaches nothing else.
 */
int staging_init(struct staging *staging, const struct sys *sys, struct budget *budget,
		 uint64_t slot_bytes, uint64_t most_bytes, struct pool *pool,
		 struct weir_error *err);
void staging_fini(struct staging *staging);

/* Where its memory begins, once there is any. */
char *staging_memory(const struct staging *staging);

/* NULL: none that large is free, or there is no memory. */
char *staging_take(struct staging *staging, uint64_t bytes);
void staging_give(struct staging *staging, char *slot);

#endif
