/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arithmetic on numbers that came from outside.
 *
 * Each returns false, and leaves *out alone, where the result does not fit.  Ranges are (offset,
 * length) pairs, compared without ever forming a sum that could wrap.
 */
#ifndef BASE_SIZE_H
#define BASE_SIZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)

must_use static inline bool size_add(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t sum;

	if (__builtin_add_overflow(a, b, &sum))
		return false;
	*out = sum;
	return true;
}

must_use static inline bool size_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	uint64_t product;

	if (__builtin_mul_overflow(a, b, &product))
		return false;
	*out = product;
	return true;
}

/* Is [offset, offset + length) inside [0, total)? */
must_use static inline bool size_inside(uint64_t offset, uint64_t length, uint64_t total)
{
	return offset <= total && length <= total - offset;
}

/* align: a power of two. */
static inline uint64_t round_down(uint64_t value, uint64_t align)
{
	return value & ~(align - 1);
}

/* Wraps only where value > 2^64 - align: callers have compared it with a cap before. */
static inline uint64_t round_up(uint64_t value, uint64_t align)
{
	return (value + align - 1) & ~(align - 1);
}

#endif
