/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When queued requests of a ring may go: the rules of io_depth and timeout, and nothing else.
 *
 *	depth > 0	batches of exactly that many; a rest waits, in relaxed mode until its client is
 *			seen asleep on the ring and timeout + 100 ms have passed
 *	depth == 0	all that is queued is one batch
 *	depth < 0	batches of at most -depth; a smaller one waits for the timeout, if there is one
 *
 * A batch is the unit in which requests are let go, no more: they complete one by one.
 */
#ifndef MOUNT_RINGS_BATCH_H
#define MOUNT_RINGS_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#define BATCHES_PER_SCAN 32
#define BATCH_RELAXED_MS INT64_C(100)

struct batch_rule {
	int32_t depth;
	uint32_t timeout_ms;
	bool strict;
};

/* What is remembered of a ring's partial batch between two looks. */
struct batch_wait {
	int64_t since_ns; /* it was first seen; 0: there is none */
};

/*
 * Of `queued` requests that were not let go yet, how many may go now; `waiting`: its client sleeps on
 * the ring.  *batches is how many batches that is.  *look_ns becomes the time at which a partial batch
 * is due, NEVER if none is.
 */
uint32_t batch_grant(const struct batch_rule *rule, struct batch_wait *wait, uint32_t queued,
		     bool waiting, int64_t now_ns, uint32_t *batches, int64_t *look_ns);

#endif
