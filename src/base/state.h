/* SPDX-License-Identifier: Apache-2.0 */
/*
 * States written down as data: a table says each state's name and which may follow it, and the one
 * function that moves an object from state to state holds it to that table.  A move that the table
 * does not know is a bug of ours and ends the program, in every build: going on would mean memory
 * released twice or never.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdint.h>

struct state_rule {
	const char *name;
	uint32_t next; /* a bit for each state that may follow */
};

/* Moves *state to `to`; `what` names the machine in the message of a forbidden move. */
void state_move(uint8_t *state, uint8_t to, const struct state_rule *rules, const char *what);

#endif
