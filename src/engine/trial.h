/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A trial: which of two ways to move bytes is the faster one, found out on the bytes that are to be moved.
 *
 *	way 0   |warm up|  counted  |rest|
 *	way 1                            |warm up|  counted  |rest|  the verdict
 *
 * All of it happens in one transfer, whose first bytes go the first way.  A leg is timed from the
 * end of its first counted request to that of its last; the lanes stay full before and behind, so
 * that neither is measured while it starts.  The second way has to be faster by a margin.  The
 * verdict holds for a while, and then the next transfer tries again.
 *
 * Times are told by the caller, who holds a lock.
 */
#ifndef ENGINE_TRIAL_H
#define ENGINE_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/size.h"

#define TRIAL_WARM    (8 * MIB)
#define TRIAL_BYTES   (32 * MIB)
#define TRIAL_MARGIN  1.05
#define TRIAL_KEEP_NS (600 * NS_PER_SEC)

enum trial_stage {
	TRIAL_WARMS,
	TRIAL_COUNTS,
	TRIAL_RESTS, /* until the last counted one has ended */
	TRIAL_DECIDED,
};

struct trial_leg {
	uint32_t flying; /* counted requests */
	bool any;        /* has one of them ended? */
	uint64_t bytes;  /* of those that ended after the first */
	int64_t first_ns, last_ns;
};

struct trial {
	const void *owner; /* the transfer that it is made in */
	uint8_t stage;     /* enum trial_stage */
	uint8_t way;       /* whose leg it is; decided: the winner */
	bool spoiled;      /* a request failed */
	uint32_t flying;   /* the owner's requests, counted or not */
	uint64_t sent;     /* bytes of this stage */
	struct trial_leg legs[2];
	int64_t decided_ns;
};

/* What a request carries from trial_choose() to trial_ended(). */
enum trial_mark {
	TRIAL_NONE = 0,
	TRIAL_OWNED = 1,
	TRIAL_COUNTED = 2, /* of the first way */
	TRIAL_COUNTED_SECOND = 3,
};

/* Which way the next request goes: 0 or 1. */
int trial_choose(struct trial *trial, const void *owner, uint64_t bytes, int64_t now_ns,
		 uint8_t *mark);

/* A request with a mark has ended.  True: that was the last one needed, and there is a verdict. */
bool trial_ended(struct trial *trial, uint8_t mark, uint64_t bytes, bool well, int64_t now_ns);

/* Bytes a second, of a leg that is over. */
double trial_rate(const struct trial *trial, int way);

#endif
