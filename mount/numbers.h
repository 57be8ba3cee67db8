/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbers that files have in the mount (st_ino): 56 bits of our own, never one twice.
 *
 * A file keeps its number while the kernel forgets it and comes back, so a record stays behind; what
 * was removed is retired.  The table is bounded: when it is full, the records that nobody uses go, and
 * those files get new numbers should they be seen again.
 *
 * Not locked: the tree's lock is held by whoever calls.
 */
#ifndef MOUNT_NUMBERS_H
#define MOUNT_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mount/identity.h"

#define NUMBERS_ROOT UINT64_C(1)

/* The largest of 56 bits: what is virtual has a top nibble (mount/rings/virt.h). */
#define NUMBERS_LAST UINT64_C(0x00ffffffffffffff)

struct number {
	struct identity identity;
	uint64_t number; /* 0: the place is free */
};

struct numbers {
	struct number *places; /* open addressing; a power of two of them */
	size_t place_count, used, used_max;
	uint64_t next;

	bool (*in_use)(void *arg, uint64_t number);
	void *arg;
};

/* used_max: records before unused ones go; 0: a default. */
int numbers_init(struct numbers *numbers, size_t used_max,
		 bool (*in_use)(void *arg, uint64_t number), void *arg);
void numbers_fini(struct numbers *numbers);

/* The file's number, a new one if need be; 0: out of memory. */
uint64_t numbers_of(struct numbers *numbers, const struct identity *identity);

/* The file is gone: should another look like it, it gets another number. */
void numbers_retire(struct numbers *numbers, const struct identity *identity);

#endif
