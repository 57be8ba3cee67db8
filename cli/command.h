/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a verb is.
 *
 * One file for each verb defines a `struct verb`: everything that the parser, the help, the man page
 * and the completions have to know about it, and the function that does it.  main.c holds the table.
 *
 * The options structure of every verb begins with struct common, because its first set of options is
 * common_options.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "option.h"

/* --json, --progress, --quiet, --help: every verb's. */
struct common {
	bool json, quiet, help;
	int progress; /* enum progress_mode */
};
extern const struct option common_options[];

/* --files-from, -0: verbs that take any number of paths or URIs. */
struct input_options {
	const char *files_from;
	bool nul;
};
extern const struct option input_options[];

/* --lenient, --beneath: verbs that open models. */
struct model_options {
	bool lenient, beneath;
};
extern const struct option model_options[];

/* A member of the JSON document, for the manual. */
struct field {
	const char *name, *text; /* name NULL ends a list */
};

struct example {
	const char *command, *text;
};

struct command {
	const struct verb *verb;
	const void *options; /* the verb's structure */
	struct texts arguments;
};

struct verb {
	const char *name;      /* "load"; "bench load" for a verb of two words */
	const char *arguments; /* as the synopsis has it: "URI..." */
	const char *summary;   /* one line, no full stop */
	const char *story;     /* paragraphs, with an empty line between them */
	const struct option_set *sets;
	size_t options_size;
	const struct field *json;
	bool each; /* --json writes a line for each argument, not one document */
	unsigned arguments_min, arguments_max; /* --files-from counts as many */
	struct example examples[2];
	int (*run)(const struct command *command); /* an exit status */
};

/* All of them; NULL ends it. */
extern const struct verb *const verbs[];

/* The verb that argv[0] (and argv[1]) names, and how many words that took. */
const struct verb *verb_find(char **argv, int *words);

#endif
