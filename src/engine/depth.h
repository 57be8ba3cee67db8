/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests a lane keeps in flight.
 *
 * Starts at 32 requests of 512 KiB, which is all that a local disk needs, and tries for more while it
 * runs: twice as many for a while, kept if that brought a tenth more, given back if not.  A file server
 * ten milliseconds away needs ten times a disk's depth, and gets it within a second; a disk pays one
 * short trial now and then, ever more rarely.
 */
#ifndef ENGINE_DEPTH_H
#define ENGINE_DEPTH_H

#include <stdbool.h>
#include <stdint.h>

#define DEPTH_START   32
#define DEPTH_CEILING 128

struct depth {
	uint32_t now;
	bool fixed; /* the caller said how deep */

	bool trying;   /* twice as deep as the rate below was measured at */
	bool settling; /* the first window after a change still has requests of before it */
	uint32_t pause, waited; /* windows until the next trial; grows when trials fail */
	double rate;            /* bytes a second before the trial */
	uint64_t bytes;         /* landed in this window */
	int64_t since_ns;       /* 0: no window is open */
};

/* said: what the caller asked for, or 0. */
void depth_init(struct depth *depth, uint32_t said);

/* Most that it can become: what a lane makes room for. */
uint32_t depth_ceiling(const struct depth *depth);

/* Bytes have landed; full: the lane was as deep as it may be. */
void depth_landed(struct depth *depth, uint64_t bytes, bool full, int64_t now_ns);

#endif
