/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far it is: done, total, rate, time left; on standard error.
 *
 * A bar that is redrawn in place where standard error is a terminal (or where it was asked for); with
 * "plain" one line a second without control codes; nothing with --quiet, or where nobody would see it.
 * One at a time; drawing is for one thread, clearing for any.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

enum progress_mode {
	PROGRESS_AUTO = 0, /* as the choices of --progress are numbered */
	PROGRESS_BAR = 1,
	PROGRESS_PLAIN = 2,
	PROGRESS_NONE = 3,
};

/* Call before anything else; --quiet wins over --progress. */
void progress_init(int mode, bool quiet);

/* `what` is shown in front and must outlive it. */
void progress_start(const char *what, uint64_t total_bytes);

/* Draws where enough time has passed since it did last. */
void progress_show(uint64_t done_bytes);

/* Draws the end of it and leaves the line. */
void progress_finish(uint64_t done_bytes);

/* Makes room for a line of text: the bar comes back with the next progress_show(). */
void progress_clear(void);

#endif
