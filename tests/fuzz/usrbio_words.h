/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a peer that lies can do to a ring, at either end: write words into it, by an order of five bytes.
 */
#ifndef TESTS_FUZZ_USRBIO_WORDS_H
#define TESTS_FUZZ_USRBIO_WORDS_H

#include "fuzz.h"
#include "io/usrbio/layout.h"

#define ORDER_BYTES 5

/* Markers mostly near the ring's bounds, where it is interesting. */
static inline void write_marker(unsigned char *memory, const struct usrbio_view *view,
				unsigned where, uint32_t value)
{
	int32_t marker = (int32_t)value;

	if (where & 4)
		marker = (int32_t)(value % (uint32_t)(view->places + 2)) - 1;
	memcpy(memory + where % 4 * 4, &marker, 4);
}

static inline void write_word(unsigned char *memory, uint64_t bytes, unsigned where, uint32_t value)
{
	uint64_t at = (uint64_t)(value >> 8) % (bytes / 4) * 4;
	uint32_t word = (value & 1) ? where * 0x01010101u : where;

	memcpy(memory + at, &word, 4);
}

#endif
