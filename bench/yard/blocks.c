/* SPDX-License-Identifier: Apache-2.0 */
#include "blocks.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define DEPTH_MAX 1024

static int known_option(struct blocks *blocks, int option)
{
	switch (option) {
	case 'b':
		blocks->block = yard_size(optarg);
		return 0;
	case 'q':
		blocks->depth = (unsigned)atoi(optarg);
		return 0;
	case 'r':
		return (blocks->random = 1) - 1;
	case 'c':
		return (blocks->cached = 1) - 1;
	case 'u':
		return (blocks->unregistered = 1) - 1;
	}
	return -1;
}

int blocks_options(struct blocks *blocks, int argc, char **argv, int (*other)(int option))
{
	char letters[64];
	int option;

	blocks->block = 1 << 20;
	blocks->depth = 16;
	snprintf(letters, sizeof(letters), "b:q:rcu%s", blocks->extra ? blocks->extra : "");
	while ((option = getopt(argc, argv, letters)) != -1)
		if (known_option(blocks, option) < 0 && (!other || other(option) < 0))
			return -1;
	if (blocks->depth < 1 || blocks->depth > DEPTH_MAX || blocks->block < 512 ||
	    blocks->block % 512)
		return yard_fail("a depth of %u, blocks of %llu bytes", blocks->depth,
				 (unsigned long long)blocks->block);
	return 0;
}

int blocks_memory(struct blocks *blocks)
{
	size_t size = blocks->depth * blocks->block;
	int fd = memfd_create("blocks", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return yard_fail("%zu bytes of shared memory", size);
	blocks->memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (blocks->memory == MAP_FAILED)
		return yard_fail("%zu bytes of shared memory", size);
	memset(blocks->memory, 1, size);
	return 0;
}

void blocks_start(struct blocks *blocks, const struct yard_job *job)
{
	blocks->next = 0;
	blocks->count = job->length / blocks->block;
	blocks->state = job->offset + 1;
}

int blocks_next(struct blocks *blocks, const struct yard_job *job, uint64_t *offset)
{
	uint64_t at = blocks->next++;

	if (at >= blocks->count)
		return 0;
	if (blocks->random) {
		blocks->state = blocks->state * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = (blocks->state >> 20) % blocks->count;
	}
	*offset = job->offset + at * blocks->block;
	return 1;
}

int blocks_open(const struct blocks *blocks, const struct yard_job *job)
{
	int fd = open(job->path, O_RDONLY | O_CLOEXEC | (blocks->cached ? 0 : O_DIRECT));

	if (fd < 0)
		return yard_fail("%s", job->path);
	return fd;
}
