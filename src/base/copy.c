/* SPDX-License-Identifier: Apache-2.0 */
#include "base/copy.h"

#include <stdint.h>
#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>

#define LINE 64u

/* Below that the copy is part of something small, which is likely to be used at once. */
#define AWAY_MIN (128u << 10)

/* Whole lines, to a border of lines. */
static void stream_lines(char *to, const char *from, size_t lines)
{
	for (; lines > 0; lines--, to += LINE, from += LINE) {
		const __m128i *source = (const __m128i *)(const void *)from;
		__m128i *target = (__m128i *)(void *)to;
		__m128i a = _mm_loadu_si128(source), b = _mm_loadu_si128(source + 1);
		__m128i c = _mm_loadu_si128(source + 2), d = _mm_loadu_si128(source + 3);

		_mm_stream_si128(target, a);
		_mm_stream_si128(target + 1, b);
		_mm_stream_si128(target + 2, c);
		_mm_stream_si128(target + 3, d);
	}
	_mm_sfence(); /* others see them before what is stored next */
}

void copy_away(void *to, const void *from, size_t bytes)
{
	size_t head = -(uintptr_t)to & (LINE - 1), body;

	if (bytes < AWAY_MIN) {
		memcpy(to, from, bytes);
		return;
	}
	body = (bytes - head) & ~(size_t)(LINE - 1);
	memcpy(to, from, head);
	stream_lines((char *)to + head, (const char *)from + head, body / LINE);
	memcpy((char *)to + head + body, (const char *)from + head + body, bytes - head - body);
}

#else

void copy_away(void *to, const void *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

#endif
