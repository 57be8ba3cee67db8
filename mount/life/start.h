/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Into the background, and the answer of the start: the process that a shell waits for stays until the
 * mount answers or cannot be, says so in one line (or one JSON object), and exits with 0 or 1.
 */
#ifndef MOUNT_LIFE_START_H
#define MOUNT_LIFE_START_H

#include "mount/options.h"
#include "weir/error.h"

struct start {
	const struct options *options;
	const char *dir, *source; /* resolved; borrowed */
	int answer_fd;            /* to the process that waits; -1 in the foreground */
	bool answered;
};

/* Forks.  Returns in the daemon; in the foreground, in the process itself. */
int start_background(struct start *start, struct weir_error *err);

/* Standard error goes to the log from here on. */
int start_log(const struct start *start, struct weir_error *err);

/* Once; err NULL: the mount answers.  In the background it lets go of the terminal, too. */
void start_answer(struct start *start, const struct weir_error *err);

/* Makes the ready file. */
int start_ready_file(const struct start *start, struct weir_error *err);

#endif
