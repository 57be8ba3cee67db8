/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy - memcpy alone
 *
 *	copy [-a] [-b BLOCK] [-s STAGING] SIZE
 *
 * SIZE bytes are copied from one touched region of huge pages to another, block by block.  Without
 * SIZE it takes jobs like the others and copies as many bytes as the job is long; the file is not
 * looked at.  With -s the bytes come from a region of that size, over and over, as out of staging; with -a
 * the stores go past the cache, where the processor has such.
 */
#include "yard.h"

#include <string.h>
#include <unistd.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

struct copier {
	size_t block;
	uint64_t staging; /* 0: as much as there is to copy */
	void (*move)(unsigned char *to, const unsigned char *from, size_t bytes);
	struct yard_dest from, to;
};

static void through_cache(unsigned char *to, const unsigned char *from, size_t bytes)
{
	memcpy(to, from, bytes);
}

/* Blocks are whole vectors, and both ends aligned. */
static void past_cache(unsigned char *to, const unsigned char *from, size_t bytes)
{
#ifdef __SSE2__
	const __m128i *source = (const __m128i *)(const void *)from;
	__m128i *target = (__m128i *)(void *)to;

	for (size_t n = 0; n < bytes / sizeof(*source); n++)
		_mm_stream_si128(target + n, _mm_load_si128(source + n));
	_mm_sfence();
#else
	memcpy(to, from, bytes);
#endif
}

static int copy(uint64_t size, struct yard_window *window, struct copier *copier)
{
	uint64_t staging = copier->staging ? copier->staging : size;

	if (yard_dest_get(&copier->from, staging) < 0 || yard_dest_get(&copier->to, size) < 0)
		return -1;
	yard_begin(window);
	for (uint64_t at = 0; at < size; at += copier->block) {
		uint64_t left = size - at;

		copier->move(copier->to.at + at, copier->from.at + at % staging,
			     left < copier->block ? (size_t)left : copier->block);
	}
	yard_end(window);
	window->bytes = size;
	return 0;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	return copy(job->length, window, arg);
}

int main(int argc, char **argv)
{
	struct copier copier = {.block = 2 << 20, .move = through_cache};
	struct yard_window window = {0};
	int option;

	while ((option = getopt(argc, argv, "ab:s:")) != -1) {
		if (option == 'a')
			copier.move = past_cache;
		else if (option == 'b')
			copier.block = yard_size(optarg);
		else if (option == 's')
			copier.staging = yard_size(optarg);
		else
			return 2;
	}
	if (copier.block % 64 || copier.staging % copier.block)
		return 2;
	if (optind == argc)
		return yard_serve(0, NULL, run, &copier);
	if (copy(yard_size(argv[optind]), &window, &copier) < 0)
		return 1;
	yard_print(stdout, &window);
	return 0;
}
