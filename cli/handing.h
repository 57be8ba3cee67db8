/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handing a verb on to another program: its options become that program's command line, under the same
 * names, so a verb that another program does is a table here all the same: for help, manual, completion.
 */
#ifndef CLI_HANDING_H
#define CLI_HANDING_H

#include <stddef.h>

#include "option.h"

struct handing {
	char **words; /* NULL ends them; owned, and so is each */
	size_t count, room;
};

/* Both texts together are one word.  Ends the process where memory does. */
void handing_add(struct handing *handing, const char *first, const char *second);

/* Each option of the table that was given, as `--name` and its value; a list, as often as it was. */
void handing_options(struct handing *handing, const struct option *options, const void *values);

void handing_fini(struct handing *handing);

#endif
