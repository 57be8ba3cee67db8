/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pread - a file read with plain pread(2)
 *
 *	pread [-t THREADS] [-b BLOCK] [-p PAGES] [-d] [-s] [FILE [OFFSET [LENGTH]]]
 *
 * Each thread takes the next block until none is left.  With -p fresh-huge or fresh-small the
 * destination is made inside the window, as a loader without a pool does.  -d reads with O_DIRECT,
 * -s sums what was read, inside the window.
 */
#include "yard.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS_MAX 64

struct reader {
	unsigned threads;
	size_t block;
	int direct, sum;
	struct yard_dest dest;

	/* The job under way. */
	const struct yard_job *job;
	int fd;
	_Atomic uint64_t next, requests, total;
	_Atomic int failed;
};

static int read_block(struct reader *reader, uint64_t from, size_t size)
{
	const struct yard_job *job = reader->job;

	for (size_t done = 0; done < size;) {
		ssize_t got = pread(reader->fd, reader->dest.at + from + done, size - done,
				    (off_t)(job->offset + from + done));
		if (got <= 0)
			return yard_fail("%s: pread", job->path);
		done += (size_t)got;
	}
	return 0;
}

static void *read_blocks(void *arg)
{
	struct reader *reader = arg;
	uint64_t length = reader->job->length, sum = 0, requests = 0;

	while (!reader->failed) {
		uint64_t from = atomic_fetch_add(&reader->next, reader->block);
		if (from >= length)
			break;
		uint64_t left = length - from;
		size_t size = left < reader->block ? (size_t)left : reader->block;
		if (read_block(reader, from, size) < 0)
			reader->failed = 1;
		else if (reader->sum)
			sum += yard_sum(reader->dest.at + from, size);
		requests++;
	}
	atomic_fetch_add(&reader->requests, requests);
	atomic_fetch_add(&reader->total, sum);
	return NULL;
}

static void run_threads(struct reader *reader)
{
	pthread_t threads[THREADS_MAX];
	unsigned started = 0;

	while (started + 1 < reader->threads &&
	       pthread_create(&threads[started], NULL, read_blocks, reader) == 0)
		started++;
	read_blocks(reader);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	struct reader *reader = arg;
	int fresh = reader->dest.pages >= YARD_FRESH_HUGE;
	int flags = O_RDONLY | O_CLOEXEC | (reader->direct ? O_DIRECT : 0);

	reader->job = job;
	reader->next = reader->requests = reader->total = 0;
	reader->failed = 0;
	if (!fresh && yard_dest_get(&reader->dest, job->length) < 0)
		return -1;
	yard_begin(window);
	reader->fd = open(job->path, flags);
	if (reader->fd < 0)
		return yard_fail("%s", job->path);
	if (fresh && yard_dest_get(&reader->dest, job->length) < 0)
		reader->failed = 1;
	else
		run_threads(reader);
	close(reader->fd);
	yard_end(window);
	window->bytes = job->length;
	window->requests = window->enters = reader->requests;
	window->sum = reader->total;
	if (fresh)
		yard_dest_drop(&reader->dest);
	return reader->failed ? -1 : 0;
}

int main(int argc, char **argv)
{
	struct reader reader = {.threads = 1, .block = 2 << 20};
	int option;

	while ((option = getopt(argc, argv, "t:b:p:ds")) != -1) {
		switch (option) {
		case 't':
			reader.threads = (unsigned)atoi(optarg);
			break;
		case 'b':
			reader.block = yard_size(optarg);
			break;
		case 'p':
			reader.dest.pages = yard_pages(optarg);
			break;
		case 'd':
			reader.direct = 1;
			break;
		case 's':
			reader.sum = 1;
			break;
		default:
			return 2;
		}
	}
	if (reader.threads < 1 || reader.threads > THREADS_MAX || reader.block == 0) {
		errno = 0;
		yard_fail("pread: 1 to %d threads, and a block that is not empty", THREADS_MAX);
		return 2;
	}
	return yard_serve(argc - optind, argv + optind, run, &reader);
}
