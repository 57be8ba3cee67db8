/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The submit semaphores: made at the start, unlinked at an orderly end; those of dead daemons of ours go
 * at the next start.
 *
 * Ours are told from others' by the sticky bit in their mode, which only their owner can set and which
 * means nothing else on a file; those in use by the lock (flock) that their daemon holds.
 */
#ifndef MOUNT_RINGS_BELL_H
#define MOUNT_RINGS_BELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "io/usrbio/signal.h"
#include "weir/feed.h"

struct bell {
	struct usrbio_bell_file file; /* sem is NULL: there is none */
	const struct sys *sys;
	int lock_fd;
	_Atomic uint64_t waiters; /* ours that count in the semaphore */

	/* Asked before each sleep, on the thread that will; false: as if it rang.  NULL: nobody asks. */
	bool (*rests)(void *arg);
	void *rests_arg;
	bool heard; /* so; until the next drain */
};

int bell_create(struct bell *bell, const struct sys *sys, int shm_dir, struct weir_error *err);
void bell_destroy(struct bell *bell, const struct sys *sys, int shm_dir);

/* Removes those that no daemon holds; returns how many. */
unsigned bell_sweep(const struct sys *sys, int shm_dir);

/*
 * The semaphore belongs to everybody, who may truncate it: its touches are guarded, and the file is made
 * whole again.  Takes the value down and returns it.
 */
uint32_t bell_drain(struct bell *bell);

/* How a feed listens to it. */
struct weir_feed_doorbell bell_doorbell(struct bell *bell);

#endif
