/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a bench is told: a CSV file and a page where they were asked for, then JSON or text on standard
 * output.
 */
#ifndef CLI_GRID_TELL_H
#define CLI_GRID_TELL_H

#include <stdio.h>

#include "json.h"
#include "option.h"
#include "weir/error.h"

/* --csv, --html: verbs that measure over a grid. */
struct tell_options {
	const char *csv, *html; /* paths, or NULL */
};
extern const struct option tell_options[];

struct grid_told {
	const char *title;                            /* of the page: the command's name */
	void *bench;                                  /* handed to those below */
	void (*json)(void *bench, struct json *json); /* members of an object that is open */
	void (*csv)(void *bench, FILE *to);           /* with its head */
	void (*text)(void *bench);
};

/* Nothing goes to standard output where a file could not be written. */
int grid_tell(const struct grid_told *told, const struct tell_options *options, bool json,
	      struct weir_error *err);

/* An argument of a shell, quoted where it needs that. */
void grid_argument(FILE *to, const char *text);

#endif
