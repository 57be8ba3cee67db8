/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways out.
 *
 * Results go to standard output and nothing else does.  A reader that has seen enough (`weir inspect x |
 * head -1`) closes the pipe: then the command ends at once, quietly and with status 0; every other
 * failure to write is an error.  What goes to standard error may be lost without harm.
 *
 * Names come from files, and files come from anywhere: control bytes never reach a terminal.
 */
#ifndef CLI_OUT_H
#define CLI_OUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* Descriptors 0 to 2 exist from here on, and a closed pipe is an error and no signal. */
void out_init(void);

/* Ends the command with status 0 where the reader has gone; where writing fails otherwise, with 1; where a
 * signal ended the wait for the reader, with the signal's. */
void out_check(void);
void out_flush(void);

void out_text(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Text of unknown origin: control bytes are shown as \x1b. */
void out_safe(FILE *to, const char *text, size_t len);

/* All of it, past stdio; the same ends as above, but a signal leaves the rest unwritten. */
void out_bytes(const void *data, size_t len);

#endif
