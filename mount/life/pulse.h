/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the daemon get on?  There is work of several kinds, and for each two numbers are known: what is
 * under way, and what has been done in all.  A kind is stuck as long as something is under way and
 * nothing gets done.
 */
#ifndef MOUNT_LIFE_PULSE_H
#define MOUNT_LIFE_PULSE_H

#include <stdint.h>

enum pulse_kind {
	PULSE_REQUESTS,
	PULSE_RINGS,
	PULSE_KINDS
};

struct pulse {
	struct {
		uint64_t done;
		int64_t since_ns; /* it was seen to move, or idle; 0: never looked at */
	} kinds[PULSE_KINDS];
};

/* One look; returns for how long this kind has been stuck. */
int64_t pulse_look(struct pulse *pulse, enum pulse_kind kind, uint64_t under_way, uint64_t done,
		   int64_t now_ns);

#endif
