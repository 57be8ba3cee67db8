/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file whose reads, opens or closes take as long as the test wants: /dev/fuse by hand, a process that
 * answers.
 */
#ifndef TESTS_MOUNT_RINGS_SLOW_H
#define TESTS_MOUNT_RINGS_SLOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SLOW_BYTES ((uint64_t)1 << 20)
#define SLOW_SEED  77

enum {
	SLOW_READS,
	SLOW_OPENS,
	SLOW_CLOSES,
	SLOW_HOLES
};

struct slow_shared {
	_Atomic bool hold;   /* reads wait, or what is named here instead */
	_Atomic int what;    /* SLOW_... */
	_Atomic int held;    /* that many do */
	_Atomic bool cached; /* opened from now on: by way of the page cache */
	_Atomic int spare;   /* so many of them are answered all the same, the oldest first */
};

struct slow {
	char dir[64];
	pid_t pid;
	int fd; /* the file, open for reading and writing; writes are refused */
	struct slow_shared *shared;
};

/* Before any thread is started.  Skips the case where there is no FUSE, or no right to it. */
void slow_make(struct slow *slow);
void slow_end(struct slow *slow);
/* Waits, for some seconds, until that many requests are held. */
bool slow_holds(const struct slow *slow, int count);

#endif
