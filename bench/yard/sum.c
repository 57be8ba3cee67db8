/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sum - what it costs to look at every byte of a cached file
 *
 *	sum -m map|memory [FILE [OFFSET [LENGTH]]]
 *
 * map: open, map and sum.  memory: the same mapping, but made and touched before the window, so that
 * the window holds the summing alone.  (Read and summed is `pread -s`.)  Offset: whole pages.
 */
#include "yard.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct summer {
	int mapped_before;
};

static void *map_range(const struct yard_job *job)
{
	int fd = open(job->path, O_RDONLY | O_CLOEXEC);
	void *at = MAP_FAILED;

	if (fd >= 0) {
		at = mmap(NULL, job->length, PROT_READ, MAP_SHARED, fd, (off_t)job->offset);
		close(fd);
	}
	if (at == MAP_FAILED)
		yard_fail("%s", job->path);
	return at;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	const struct summer *summer = arg;
	void *at = NULL;

	if (summer->mapped_before) {
		at = map_range(job);
		if (at == MAP_FAILED)
			return -1;
		window->sum = yard_sum(at, job->length);
	}
	yard_begin(window);
	if (!summer->mapped_before)
		at = map_range(job);
	if (at == MAP_FAILED)
		return -1;
	window->sum = yard_sum(at, job->length);
	yard_end(window);
	munmap(at, job->length);
	window->bytes = job->length;
	return 0;
}

int main(int argc, char **argv)
{
	struct summer summer = {0};
	int option;

	while ((option = getopt(argc, argv, "m:")) != -1) {
		if (option != 'm')
			return 2;
		summer.mapped_before = strcmp(optarg, "memory") == 0;
	}
	return yard_serve(argc - optind, argv + optind, run, &summer);
}
