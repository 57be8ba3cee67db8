/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counting what happened: once in the transfer, and in its context.
 *
 * Fields are those of struct weir_counters, by index, so that one loop copies them.  Relaxed atomics:
 * they are read by people, and order nothing.
 */
#ifndef ENGINE_COUNTERS_H
#define ENGINE_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "weir/context.h"

#define COUNTER_FIELDS (sizeof(struct weir_counters) / sizeof(uint64_t))

struct counters {
	_Atomic uint64_t field[COUNTER_FIELDS];
	struct counters *parent; /* counted as well; NULL: none */
};

#define COUNTER_INDEX(name) (offsetof(struct weir_counters, name) / sizeof(uint64_t))

static inline void counters_add(struct counters *counters, size_t index, uint64_t n)
{
	for (; counters; counters = counters->parent)
		atomic_fetch_add_explicit(&counters->field[index], n, memory_order_relaxed);
}
#define count(counters, name, n) counters_add((counters), COUNTER_INDEX(name), (n))

static inline void counters_read(const struct counters *counters, struct weir_counters *out)
{
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < COUNTER_FIELDS; i++)
		to[i] = atomic_load_explicit(&counters->field[i], memory_order_relaxed);
}

#endif
