/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Content that says where it belongs: every byte is a hash of a seed and its place, so that a byte of
 * another file or another offset is seen at once.
 */
#ifndef TESTS_LIB_PATTERN_H
#define TESTS_LIB_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void pattern_fill(void *to, uint64_t seed, uint64_t offset, uint64_t length);

/* The first place that differs, or length. */
uint64_t pattern_check(const void *data, uint64_t seed, uint64_t offset, uint64_t length);

/* A file of that content in a directory that is on a disk; the path is the caller's to free. */
char *pattern_file(const char *name, uint64_t seed, uint64_t size);

/* Small, seeded chance for tests: the same numbers on every machine. */
uint64_t chance(uint64_t *state);
static inline uint64_t chance_below(uint64_t *state, uint64_t limit)
{
	return chance(state) % limit;
}

#endif
