/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help, made from the tables of the verbs; and what man pages and completions share with it.
 */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "command.h"

/* `weir --help`; `weir VERB --help`. */
void help_all(FILE *to);
void help_verb(FILE *to, const struct verb *verb);

/* "--depth N", "--progress[=HOW]", "-0, --null". */
void help_option_text(char *to, size_t size, const struct option *option);

/* Opens the man page of a verb (NULL: of weir); where there is no man, prints the help. */
int help_page(const struct verb *verb);

/* weir-bench-load for "bench load": the name of its page. */
void help_page_name(char *to, size_t size, const struct verb *verb);

/* What weir(7) lists; name NULL ends each. */
extern const struct field help_environment[];
extern const struct field help_statuses[];
extern const struct field help_uris[];
extern const struct field help_values[];

#endif
