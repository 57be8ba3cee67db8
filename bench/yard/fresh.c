/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fresh - what fresh memory costs
 *
 *	fresh [-m touch|populate] [-p PAGES] SIZE
 *
 * Maps SIZE bytes of huge (or small) pages and has the kernel zero them, by touching each page or with
 * MADV_POPULATE_WRITE.  A hypervisor may have taken free pages back, which makes their first touch up
 * to five times dearer; the same memory is therefore touched and freed once before, outside the
 * window.  Without SIZE it takes jobs like the others and uses their length; the file is not looked at.
 */
#include "yard.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct options {
	int populate;
	enum yard_pages pages;
};

static int zero(struct yard_dest *dest, const struct options *options)
{
	if (options->populate) {
		if (madvise(dest->at, dest->size, MADV_POPULATE_WRITE) < 0)
			return yard_fail("populating %zu bytes", dest->size);
		return 0;
	}
	for (size_t at = 0; at < dest->size; at += 4096)
		((volatile unsigned char *)dest->at)[at] = 1;
	return 0;
}

static int measure(uint64_t size, struct yard_window *window, const struct options *options)
{
	struct yard_dest dest = {.pages = options->pages};
	int ret = yard_dest_get(&dest, size);

	if (ret == 0)
		ret = zero(&dest, options);
	yard_dest_drop(&dest);
	if (ret < 0)
		return ret;
	yard_begin(window);
	ret = yard_dest_get(&dest, size);
	if (ret == 0)
		ret = zero(&dest, options);
	yard_end(window);
	yard_dest_drop(&dest);
	window->bytes = size;
	return ret;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	return measure(job->length, window, arg);
}

int main(int argc, char **argv)
{
	struct options options = {.populate = 1, .pages = YARD_FRESH_HUGE};
	struct yard_window window = {0};
	int option;

	while ((option = getopt(argc, argv, "m:p:")) != -1) {
		if (option == 'm')
			options.populate = strcmp(optarg, "touch") != 0;
		else if (option == 'p')
			options.pages = yard_pages(optarg);
		else
			return 2;
	}
	if (options.pages < YARD_FRESH_HUGE) {
		errno = 0;
		yard_fail("fresh: -p fresh-huge or fresh-small");
		return 2;
	}
	if (optind == argc)
		return yard_serve(0, NULL, run, &options);
	if (measure(yard_size(argv[optind]), &window, &options) < 0)
		return 1;
	yard_print(stdout, &window);
	return 0;
}
