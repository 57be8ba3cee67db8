/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a daemon tells of itself over its control socket: lines of words, each "key value...".
 *
 * A value has no spaces and no control bytes: they are written %20, as in a URI.  The first line is
 * "weir-mount 1", the last one "end": an answer without it was cut.  `weir status` makes JSON or a table
 * of it (cli/control.c reads the same words).
 */
#ifndef MOUNT_LIFE_REPORT_H
#define MOUNT_LIFE_REPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct report {
	char *text; /* malloc()ed */
	size_t len, room;
	bool failed; /* no memory: nothing more is added */
};

/* A line of one key and its values: report_begin, any number of values, report_line. */
void report_begin(struct report *report, const char *key);
void report_word(struct report *report, const char *value);
void report_number(struct report *report, uint64_t value);
void report_signed(struct report *report, int64_t value);
void report_line(struct report *report);

/* "key value", in one. */
void report_text(struct report *report, const char *key, const char *value);
void report_count(struct report *report, const char *key, uint64_t value);

/* "counter NAME VALUE": what `weir status` lists under counters. */
void report_counter(struct report *report, const char *name, uint64_t value);

void report_fini(struct report *report);

#endif
