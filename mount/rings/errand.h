/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands: what may wait for the file system below for as long as that likes (opening a file, closing it),
 * done by threads that nobody waits for.
 *
 * Errands of one user are begun in their order.  Only so many run at once, and a user gets no more of those
 * places than he leaves free: whose files are stuck keeps no other user from opening theirs.  One user has
 * half of them at most, and where that many are stuck the next one still has a quarter.
 *
 * Threads are started when they are needed, and end when there was nothing to do for a while.
 */
#ifndef MOUNT_RINGS_ERRAND_H
#define MOUNT_RINGS_ERRAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/sys.h"

#define ERRANDS_MOST 64 /* that run at once */

/* Its place is the caller's, and the runner's from errand_post() on; the link is free when it runs. */
struct errand {
	struct list link;
	bool queued; /* has not begun; under the lock of all */
	uid_t uid;
	void (*run)(struct errand *errand); /* once, on a thread of its own; may free it */
};

struct errands;

struct errands *errands_create(const struct sys *sys); /* NULL: no memory */

/* 0, or an errno: no thread is to be had, and it is still the caller's. */
int errand_post(struct errands *errands, struct errand *errand);

/* Takes it back; false: it has begun, or is done. */
bool errand_recall(struct errands *errands, struct errand *errand);

/*
 * Takes no more, and does what is left.  False: some still run at the deadline; they go on with what they
 * know, and end when they can.  Frees what is here, at once or when the last of them has ended.
 */
bool errands_destroy(struct errands *errands, int64_t deadline_ns);

#endif
