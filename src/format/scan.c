/* SPDX-License-Identifier: Apache-2.0 */
#include "format/scan.h"

#include "base/text.h"

/* Lanes of one byte count up to 255 hits before they are added up. */
#define LANES     32
#define ROUND_MAX 255

typedef unsigned char lanes __attribute__((vector_size(LANES)));

static inline __attribute__((always_inline)) uint64_t sum(const lanes *v)
{
	uint64_t total = 0;

	for (int i = 0; i < LANES; i++)
		total += (*v)[i];
	return total;
}

/* One round: up to ROUND_MAX blocks.  Says whether a byte above 127 stood in them. */
static inline __attribute__((always_inline)) bool count_round(const char *text, size_t blocks,
							      struct scan_counts *counts)
{
	lanes braces = {0}, commas = {0}, quotes = {0}, high = {0};
	uint64_t words[LANES / 8];

	for (size_t i = 0; i < blocks; i++) {
		lanes v;

		memcpy(&v, text + i * LANES, LANES);
		high |= v;
		/* A hit is -1 in its lane. */
		braces -= (lanes)(v == '{');
		commas -= (lanes)(v == ',');
		quotes -= (lanes)(v == '"');
	}
	counts->braces += sum(&braces);
	counts->commas += sum(&commas);
	counts->quotes += sum(&quotes);
	memcpy(words, &high, LANES);
	return ((words[0] | words[1] | words[2] | words[3]) & EACH_BYTE(0x80)) != 0;
}

/* Returns how many bytes at the start, whole rounds, are ASCII; counts over all whole blocks. */
static inline __attribute__((always_inline)) size_t count_blocks(const char *text, size_t len,
								 struct scan_counts *counts)
{
	size_t ascii = 0;

	for (size_t at = 0; len - at >= LANES;) {
		size_t blocks = min_of((len - at) / LANES, (size_t)ROUND_MAX);
		bool high = count_round(text + at, blocks, counts);

		if (!high && ascii == at)
			ascii += blocks * LANES;
		at += blocks * LANES;
	}
	return ascii;
}

static size_t count_any(const char *text, size_t len, struct scan_counts *counts)
{
	return count_blocks(text, len, counts);
}

#ifdef __x86_64__
__attribute__((target("avx2"))) static size_t count_avx2(const char *text, size_t len,
							 struct scan_counts *counts)
{
	return count_blocks(text, len, counts);
}

static size_t count_best(const char *text, size_t len, struct scan_counts *counts)
{
	return __builtin_cpu_supports("avx2") ? count_avx2(text, len, counts)
					      : count_any(text, len, counts);
}
#else
#define count_best count_any
#endif

size_t scan_text(const char *text, size_t len, struct scan_counts *counts)
{
	size_t ascii;

	*counts = (struct scan_counts){0};
	ascii = count_best(text, len, counts);
	for (size_t i = len - len % LANES; i < len; i++) {
		counts->braces += text[i] == '{';
		counts->commas += text[i] == ',';
		counts->quotes += text[i] == '"';
	}
	return ascii + utf8_valid_prefix(text + ascii, len - ascii);
}

const char *scan_space(const char *at, const char *end)
{
	/* Padding comes in long runs of one blank. */
	while (end - at >= 8 && load_le64(at) == EACH_BYTE(' '))
		at += 8;
	while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
		at++;
	return at;
}
