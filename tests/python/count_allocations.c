/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into a program, counts what it allocates; test_reader_reads.py asks.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

static atomic_long count;

#define SHOWN __attribute__((visibility("default")))

SHOWN long allocations(void);

long allocations(void)
{
	return atomic_load(&count);
}

SHOWN void *malloc(size_t size)
{
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	return __libc_malloc(size);
}

SHOWN void *calloc(size_t number, size_t size)
{
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	return __libc_calloc(number, size);
}

SHOWN void *realloc(void *memory, size_t size)
{
	atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
	return __libc_realloc(memory, size);
}
