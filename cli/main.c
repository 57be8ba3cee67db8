/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir: the command.
 *
 *	main.c      finds the verb, reads its options, runs it; help and version
 *	cmd_*.c     one verb each: its table, and the function that does it
 *	option.*    tables of options and their parser          values.*    sizes, times
 *	help.*      help from the tables                        docs.c      man pages and completions
 *	out.* json.* report.* progress.*                        what is written, and where
 *	inputs.*    many arguments                              signals.*   Ctrl-C
 *	session.*   a context of the library, for a verb        pump.*      an object in order, in pieces
 *	mounting*   daemons of mounts, and who uses a mount     handing.*   verbs that another program does
 *
 * The command sees include/weir/ only, as every user of the library does.
 */
#include <stdlib.h>
#include <string.h>

#include "help.h"
#include "inputs.h"
#include "out.h"
#include "progress.h"
#include "report.h"
#include "signals.h"
#include "weir/weir.h"

static bool wants_json(char **argv)
{
	for (; *argv && strcmp(*argv, "--") != 0; argv++) {
		if (strcmp(*argv, "--json") == 0)
			return true;
	}
	return false;
}

/* A wrong command line.  Programs that asked for JSON get it here too. */
static int refuse(const char *verb, const char *why, char **argv)
{
	char message[512];
	struct weir_error err;
	struct json json;

	snprintf(message, sizeof(message), "%s%s%s", verb ? verb : "", verb ? ": " : "", why);
	report_set(&err, WEIR_ARG, NULL, "%s", message);
	report_error(&err);
	fprintf(stderr, "      `weir %s%s--help` lists what there is\n", verb ? verb : "",
		verb ? " " : "");
	if (wants_json(argv)) {
		json_open(&json, stdout);
		json_object(&json, NULL);
		report_json(&json, &err);
		json_end(&json);
		json_close(&json);
		out_flush();
	}
	return STATUS_USAGE;
}

static int check_arguments(const struct verb *verb, const struct texts *arguments, bool more,
			   char *why, size_t size)
{
	if (arguments->count < verb->arguments_min && !more)
		snprintf(why, size, "an argument is missing: weir %s [OPTIONS] %s", verb->name,
			 verb->arguments);
	else if (verb->arguments_max && arguments->count > verb->arguments_max)
		snprintf(why, size, "'%.64s' is one argument too many",
			 arguments->items[verb->arguments_max]);
	else
		return 0;
	return -1;
}

/* Does the verb read a list of files, and was one named? */
static bool has_list(const struct verb *verb, const void *options)
{
	for (const struct option_set *set = verb->sets; set->options; set++) {
		const struct input_options *inputs = (const void *)((const char *)options +
								    set->base);

		if (set->options == input_options)
			return inputs->files_from != NULL;
	}
	return false;
}

static int run(const struct verb *verb, char **argv)
{
	struct command command = {.verb = verb};
	void *options = calloc(1, verb->options_size);
	const struct common *common = options;
	char why[256];
	int status;

	if (!options)
		return STATUS_NO;
	if (!option_parse(verb->sets, argv, options, &command.arguments, why, sizeof(why)) ||
	    (!common->help && check_arguments(verb, &command.arguments, has_list(verb, options),
					      why, sizeof(why)))) {
		status = refuse(verb->name, why, argv);
	} else if (common->help) {
		help_verb(stdout, verb);
		status = STATUS_YES;
	} else {
		progress_init(common->progress, common->quiet);
		signals_init();
		command.options = options;
		status = verb->run(&command);
	}
	texts_fini(&command.arguments);
	option_fini(verb->sets, options);
	free(options);
	return status;
}

const struct verb *verb_find(char **argv, int *words)
{
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		const char *name = (*verb)->name, *second = strchr(name, ' ');
		size_t len = second ? (size_t)(second - name) : strlen(name);

		if (strlen(argv[0]) != len || memcmp(argv[0], name, len) != 0)
			continue;
		if (second && (!argv[1] || strcmp(argv[1], second + 1) != 0))
			continue;
		*words = second ? 2 : 1;
		return *verb;
	}
	return NULL;
}

/* The first verb whose first word this is: "bench" stands for "bench load". */
static const struct verb *find_first(const char *word)
{
	size_t len = strlen(word);

	for (const struct verb *const *verb = verbs; *verb; verb++) {
		if (strncmp((*verb)->name, word, len) == 0 && (*verb)->name[len] == ' ')
			return *verb;
	}
	return NULL;
}

static int version(void)
{
	out_text("weir %s\n%s\n", weir_version(), weir_features());
	return STATUS_YES;
}

static int help(char **argv)
{
	const struct verb *verb = NULL;
	int words;

	if (*argv) {
		verb = verb_find(argv, &words);
		verb = verb ? verb : find_first(argv[0]);
		if (!verb)
			return refuse(NULL, "there is no such verb", argv);
	}
	return help_page(verb);
}

/* "weir bench" and "weir bench --help" stop between the words of a verb. */
static int refuse_verb(char **argv)
{
	char why[256];
	const struct verb *verb = find_first(argv[0]);

	if (verb && argv[1] && strcmp(argv[1], "--help") == 0) {
		help_verb(stdout, verb);
		return STATUS_YES;
	}
	if (verb)
		return refuse(NULL, "the kind is missing: weir bench load, reader or ring", argv);
	snprintf(why, sizeof(why), "there is no verb '%.64s'", argv[0]);
	return refuse(NULL, why, argv);
}

int main(int argc, char **argv)
{
	const struct verb *verb;
	int words, status;

	out_init();
	argv += argc > 0;
	if (!*argv) {
		help_all(stderr);
		return STATUS_USAGE;
	}
	if (strcmp(*argv, "--version") == 0) {
		status = version();
	} else if (strcmp(*argv, "--help") == 0) {
		help_all(stdout);
		status = STATUS_YES;
	} else if (strcmp(*argv, "help") == 0) {
		status = help(argv + 1);
	} else {
		verb = verb_find(argv, &words);
		status = verb ? run(verb, argv + words) : refuse_verb(argv);
	}
	out_flush();
	return status;
}
