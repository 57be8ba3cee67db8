/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ctrl-C, and its relatives.
 *
 * The first SIGINT, SIGTERM or SIGHUP asks: the flag rises and the cancel token fires, so that blocking
 * calls return and loops that look at the flag cancel what they have under way, wait for it, and remove
 * what they had half written.  The command then ends with 128 + the signal's number.  The second one
 * ends the process where it stands.
 */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H

#include "weir/context.h"

void signals_init(void);

/* From here on a signal ends a read or a write that blocks, with EINTR. */
void signals_break_in(void);

/* The number of the signal that came, or 0. */
int signals_caught(void);

/* The token that the first signal fires; NULL takes it away again, before it is destroyed. */
void signals_cancel(struct weir_cancel *cancel);

#endif
