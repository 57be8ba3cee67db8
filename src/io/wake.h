/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A wake for somebody who waits on a descriptor: kept until it is taken, a hundred of them are one.
 */
#ifndef IO_WAKE_H
#define IO_WAKE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

struct wake {
	int fd; /* an eventfd: readable while there may be a wake; -1: not made */

	/* Set by wake_fire(), taken by wake_take().  What the waker did before is seen after. */
	_Atomic bool fired;
};

/* 0 or an errno. */
int wake_init(struct wake *wake, const struct sys *sys);
void wake_fini(struct wake *wake);

/* Any thread, also in a signal handler: one system call, or none where a wake waits already. */
void wake_fire(struct wake *wake);

/* Whether there was one. */
bool wake_take(struct wake *wake);

/* Makes the descriptor unreadable until the next wake. */
void wake_drain(const struct wake *wake);

/* Waits on the descriptor alone; left_ns may be NEVER. */
void wake_wait(const struct wake *wake, int64_t left_ns);

#endif
