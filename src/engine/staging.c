/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/staging.h"

#include <sys/mman.h>

#include "base/error.h"
#include "base/size.h"

#define SMALL_BYTES (16 * KIB)
#define SMALL_COUNT 32
#define SMALL_ALL   (SMALL_BYTES * SMALL_COUNT)
#define LARGE_MAX   64 /* bits of a word */
#define HUGE        (2 * MIB)

int staging_init(struct staging *staging, const struct sys *sys, struct budget *budget,
		 uint64_t slot_bytes, uint64_t most_bytes, struct pool *pool,
		 struct weir_error *err)
{
	uint64_t large = most_bytes > SMALL_ALL ? (most_bytes - SMALL_ALL) / slot_bytes : 0;

	large = min_of(max_of(large, (uint64_t)1), (uint64_t)LARGE_MAX);
	*staging = (struct staging){.sys = sys, .pool = pool, .slot_bytes = slot_bytes};
	staging->bytes = SMALL_ALL + large * slot_bytes;
	if (!budget_take_fixed(budget, staging->bytes))
		return error_set(err, WEIR_LIMIT, NULL,
				 "staging of %llu bytes does not fit in the budget of %llu",
				 (unsigned long long)staging->bytes,
				 (unsigned long long)budget_limit(budget));
	staging->budget = budget;
	staging->free_small = (UINT64_C(1) << SMALL_COUNT) - 1;
	staging->free_large = UINT64_MAX >> (LARGE_MAX - large);
	return 0;
}

void staging_fini(struct staging *staging)
{
	if (staging->memory && staging->pool)
		pool_drop(staging->pool, staging->memory, staging->bytes);
	else if (staging->memory)
		staging->sys->munmap(staging->memory, staging->bytes + HUGE);
	if (staging->budget)
		budget_give_fixed(staging->budget, staging->bytes);
	*staging = (struct staging){NULL};
}

/* Shared memory, all of it made at once: it is touched, and must not turn out to be full then. */
static char *take_from_pool(struct staging *staging)
{
	void *memory;
	bool fresh;

	if (pool_take(staging->pool, staging->bytes, HUGE, 0, &memory, &fresh, NULL) < 0)
		return NULL;
	if (pool_populate(staging->pool, memory, staging->bytes, NULL) == 0)
		return memory;
	pool_drop(staging->pool, memory, staging->bytes);
	return NULL;
}

/* A huge page more than is needed, so that the start can be put on one. */
static char *map(struct staging *staging)
{
	uint64_t bytes = staging->bytes + HUGE;
	void *memory;

	if (staging->pool)
		return take_from_pool(staging);
	memory = staging->sys->mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	staging->sys->madvise(memory, bytes, MADV_HUGEPAGE);
	staging->sys->madvise(memory, bytes, MADV_DONTFORK);
	return memory;
}

char *staging_memory(const struct staging *staging)
{
	return staging->memory + (-(uintptr_t)staging->memory & (HUGE - 1));
}

static char *take_bit(uint64_t *bits, char *base, uint64_t bytes)
{
	unsigned bit;

	if (*bits == 0)
		return NULL;
	bit = (unsigned)__builtin_ctzll(*bits);
	*bits &= *bits - 1;
	return base + bit * bytes;
}

char *staging_take(struct staging *staging, uint64_t bytes)
{
	char *slot = NULL;

	if (!staging->memory)
		staging->memory = map(staging);
	if (!staging->memory)
		return NULL;
	if (bytes <= SMALL_BYTES)
		slot = take_bit(&staging->free_small, staging_memory(staging), SMALL_BYTES);
	if (!slot && bytes <= staging->slot_bytes)
		slot = take_bit(&staging->free_large, staging_memory(staging) + SMALL_ALL,
				staging->slot_bytes);
	return slot;
}

void staging_give(struct staging *staging, char *slot)
{
	uint64_t at = (uint64_t)(slot - staging_memory(staging));

	if (at < SMALL_ALL)
		staging->free_small |= UINT64_C(1) << (at / SMALL_BYTES);
	else
		staging->free_large |= UINT64_C(1) << ((at - SMALL_ALL) / staging->slot_bytes);
}
