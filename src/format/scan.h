/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inner loops of reading text: many bytes at a time, and never one past the end.
 *
 * Nothing here knows JSON's grammar (json.[ch]).  Strings are searched sixteen bytes at a time where
 * SSE2 is (all of x86-64), eight elsewhere; wider vectors do not pay for names of thirty bytes.  The
 * one pass over a whole header, scan_text(), picks AVX2 when it runs.
 */
#ifndef FORMAT_SCAN_H
#define FORMAT_SCAN_H

#include <stdint.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/bytes.h"
#include "base/compiler.h"

/* Bytes of a text that tell how large a table it can fill; those inside strings count too. */
struct scan_counts {
	uint64_t braces; /* '{' */
	uint64_t commas;
	uint64_t quotes;
};

/* How many bytes of valid UTF-8 stand at the start; counts over all of the text. */
size_t scan_text(const char *text, size_t len, struct scan_counts *counts);

/* The first byte that is not JSON white space, or the end. */
const char *scan_space(const char *at, const char *end);

#define EACH_BYTE(c) (UINT64_C(0x0101010101010101) * (c))

/* The high bit of each byte that is zero; right up to the first one, which is all we use. */
static inline uint64_t zero_bytes(uint64_t chunk)
{
	return (chunk - EACH_BYTE(1)) & ~chunk & EACH_BYTE(0x80);
}

static inline bool ends_run(unsigned char c)
{
	return c == '"' || c == '\\' || c < 0x20;
}

/* Eight bytes: the number of those before the first that ends a run of plain string text. */
static inline unsigned plain_run(uint64_t chunk)
{
	uint64_t special = zero_bytes(chunk ^ EACH_BYTE('"')) |
			   zero_bytes(chunk ^ EACH_BYTE('\\')) |
			   zero_bytes(chunk & EACH_BYTE(0xE0));

	return special ? (unsigned)__builtin_ctzll(special) / 8 : 8;
}

#ifdef __SSE2__
/* A bit for each of sixteen bytes that ends a run of plain string text. */
static inline uint64_t special_bits(const char *at)
{
	__m128i v = _mm_loadu_si128((const __m128i_u *)at);
	__m128i hit = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
						_mm_cmpeq_epi8(v, _mm_set1_epi8('\\'))),
				   _mm_cmpeq_epi8(_mm_min_epu8(v, _mm_set1_epi8(0x1F)), v));

	return (uint64_t)(unsigned)_mm_movemask_epi8(hit);
}
#endif

/* The first byte of a string's text that is a quote, a backslash or a control character; or end. */
static inline const char *scan_string(const char *at, const char *end)
{
#ifdef __SSE2__
	/* Nearly every name ends within 64 bytes: no loop whose length has to be guessed. */
	for (; end - at >= 64; at += 64) {
		uint64_t bits = special_bits(at) | special_bits(at + 16) << 16 |
				special_bits(at + 32) << 32 | special_bits(at + 48) << 48;

		if (bits)
			return at + __builtin_ctzll(bits);
	}
#endif
	for (; end - at >= 8; at += 8) {
		unsigned run = plain_run(load_le64(at));

		if (run < 8)
			return at + run;
	}
	while (at < end && !ends_run((unsigned char)*at))
		at++;
	return at;
}

/* Eight bytes: the number of decimal digits that they begin with. */
static inline unsigned digit_run(uint64_t chunk)
{
	uint64_t value = chunk ^ EACH_BYTE('0');
	uint64_t other = ((value + EACH_BYTE(0x76)) | value) & EACH_BYTE(0x80);

	return other ? (unsigned)__builtin_ctzll(other) / 8 : 8;
}

/* A bit for each of eight bytes that is no decimal digit. */
static inline uint32_t other_bits_word(uint64_t chunk)
{
	uint64_t value = chunk ^ EACH_BYTE('0');
	uint64_t other = ((value & EACH_BYTE(0x7F)) + EACH_BYTE(0x76)) | value;

	/* The high bits of the bytes, gathered by a multiplication. */
	return (uint32_t)((other >> 7 & EACH_BYTE(1)) * UINT64_C(0x0102040810204080) >> 56);
}

/* The same of 32 bytes. */
static inline uint32_t other_bits(const char *at)
{
#ifdef __SSE2__
	const __m128i zero = _mm_set1_epi8('0'), ten = _mm_set1_epi8(10);
	__m128i a = _mm_sub_epi8(_mm_loadu_si128((const __m128i_u *)at), zero);
	__m128i b = _mm_sub_epi8(_mm_loadu_si128((const __m128i_u *)(at + 16)), zero);

	a = _mm_cmpeq_epi8(_mm_max_epu8(a, ten), a);
	b = _mm_cmpeq_epi8(_mm_max_epu8(b, ten), b);
	return (uint32_t)_mm_movemask_epi8(a) | (uint32_t)_mm_movemask_epi8(b) << 16;
#else
	return other_bits_word(load_le64(at)) | other_bits_word(load_le64(at + 8)) << 8 |
	       other_bits_word(load_le64(at + 16)) << 16 |
	       other_bits_word(load_le64(at + 24)) << 24;
#endif
}

/* The value of the first `run` (1 to 8) digits of eight bytes: pairs, then fours, then all. */
static inline uint64_t digit_value(uint64_t chunk, unsigned run)
{
	uint64_t value = (chunk ^ EACH_BYTE('0')) << (64 - 8 * run);

	value = value * 10 + (value >> 8);
	return ((value & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064) +
		((value >> 16) & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x0000271000000001)) >>
	       32;
}

#endif
