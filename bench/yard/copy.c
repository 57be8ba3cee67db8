/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy - memcpy alone
 *
 *	copy [-b BLOCK] SIZE
 *
 * SIZE bytes are copied from one touched region of huge pages to another, block by block.  Without
 * SIZE it takes jobs like the others and copies as many bytes as the job is long; the file is not
 * looked at.
 */
#include "yard.h"

#include <string.h>
#include <unistd.h>

struct copier {
	size_t block;
	struct yard_dest from, to;
};

static int copy(uint64_t size, struct yard_window *window, struct copier *copier)
{
	if (yard_dest_get(&copier->from, size) < 0 || yard_dest_get(&copier->to, size) < 0)
		return -1;
	yard_begin(window);
	for (uint64_t at = 0; at < size; at += copier->block) {
		uint64_t left = size - at;
		memcpy(copier->to.at + at, copier->from.at + at,
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
	struct copier copier = {.block = 2 << 20};
	struct yard_window window = {0};
	int option;

	while ((option = getopt(argc, argv, "b:")) != -1) {
		if (option != 'b')
			return 2;
		copier.block = yard_size(optarg);
	}
	if (optind == argc)
		return yard_serve(0, NULL, run, &copier);
	if (copy(yard_size(argv[optind]), &window, &copier) < 0)
		return 1;
	yard_print(stdout, &window);
	return 0;
}
