/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocks.h - jobs of many equal blocks into one small piece of shared memory
 *
 * What programs that serve or use rings are measured with: so many blocks of a file, one after the
 * other or at random, so many at once, each into its own slot of a shared-memory object that is used
 * over and over.  Yardstick and subject take their blocks from here, so that they read the same.
 */
#ifndef BLOCKS_H
#define BLOCKS_H

#include <stdint.h>

#include "yard.h"

struct blocks {
	/* Options. */
	uint64_t block;    /* -b */
	unsigned depth;    /* -q */
	int random;        /* -r: anywhere in the job's range, as many as it has */
	int cached;        /* -c: through the page cache */
	int unregistered;  /* -u */
	const char *extra; /* option letters that the program adds; NULL: none */

	unsigned char *memory; /* shared: depth slots of a block each */
	uint64_t next, count, state;
};

/* Reads the options above; calls other() for others.  Returns 0, or -1 after complaining. */
int blocks_options(struct blocks *blocks, int argc, char **argv, int (*other)(int option));

/* Makes the memory, touched. */
int blocks_memory(struct blocks *blocks);

void blocks_start(struct blocks *blocks, const struct yard_job *job);

/* The offset of the next block; 0: there is none. */
int blocks_next(struct blocks *blocks, const struct yard_job *job, uint64_t *offset);

/* Opened as the options say; -1 after complaining. */
int blocks_open(const struct blocks *blocks, const struct yard_job *job);

#endif
