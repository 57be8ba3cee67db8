/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The arguments of a verb that takes many: first those of the command line, then those of --files-from,
 * one at a time and in order.  A list may be longer than memory should be; nothing is read ahead.
 */
#ifndef CLI_INPUTS_H
#define CLI_INPUTS_H

#include <stdio.h>

#include "command.h"
#include "weir/error.h"

struct inputs {
	const struct command *command;
	const char *files_from;
	int separator; /* '\n' or NUL */
	size_t next;   /* of the arguments */
	FILE *file;    /* owned unless it is standard input */
	char *line;
	size_t line_size;
};

void inputs_open(struct inputs *inputs, const struct command *command,
		 const struct input_options *options);

/* 1: *out is the next, good until the next call; 0: no more; negative: an error. */
int inputs_next(struct inputs *inputs, const char **out, struct weir_error *err);

void inputs_close(struct inputs *inputs);

/* All of them at once, each a copy that inputs_free() frees: for verbs that need them together. */
int inputs_all(const struct command *command, const struct input_options *options,
	       struct texts *out, struct weir_error *err);
void inputs_free(struct texts *texts);

#endif
