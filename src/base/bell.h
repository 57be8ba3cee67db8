/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A word in shared memory that others raise when there is something to do: a futex, 0 while there is
 * nothing, woken by whoever raises it if somebody is counted as waiting.  Who taps on it sleeps on the
 * word itself; counting and looking are calls, since the memory may be somebody's who cuts it off.
 */
#ifndef BASE_BELL_H
#define BASE_BELL_H

#include <stdint.h>

struct bell {
	uint32_t *word;

	/* Before a sleep: counts a waiter and then looks.  0: sleep; positive: it rang; negative: the
	 * memory is gone.  In the latter two cases nobody was counted. */
	int (*wait)(void *arg);
	void (*done)(void *arg); /* after a sleep */
	void *arg;
};

#endif
