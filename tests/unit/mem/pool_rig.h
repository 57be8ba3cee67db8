/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of pools begin with.
 */
#ifndef TESTS_UNIT_MEM_POOL_RIG_H
#define TESTS_UNIT_MEM_POOL_RIG_H

#include <stdlib.h>
#include <sys/mman.h>

#include "base/size.h"
#include "lib/check.h"
#include "mem/pool.h"

static inline struct pool *make(const struct sys *sys, uint64_t keep_bytes, int64_t idle_ns)
{
	struct pool_opts opts = {.sys = sys, .keep_bytes = keep_bytes, .idle_ns = idle_ns};
	struct pool *pool;

	check_int(pool_create(&opts, &pool, NULL), 0);
	return pool;
}

static inline char *take(struct pool *pool, uint64_t bytes, uint64_t align, uint64_t phase,
			 bool *fresh)
{
	bool ignored;
	void *at;

	check_int(pool_take(pool, bytes, align, phase, &at, fresh ? fresh : &ignored, NULL), 0);
	check_int((uintptr_t)at & (align - 1), phase & (align - 1));
	return at;
}

static inline struct pool_usage usage(struct pool *pool)
{
	struct pool_usage out;

	pool_usage(pool, &out);
	return out;
}

static inline bool resident(const char *at, uint64_t bytes)
{
	uintptr_t first = round_down((uintptr_t)at, 4096);
	uint64_t pages = ((uintptr_t)at + bytes - first + 4095) / 4096;
	unsigned char *seen = malloc(pages);
	bool all = true;

	check_int(mincore((void *)first, pages * 4096, seen), 0);
	for (uint64_t i = 0; i < pages; i++)
		all = all && (seen[i] & 1);
	free(seen);
	return all;
}

#endif
