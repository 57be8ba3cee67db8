/* SPDX-License-Identifier: Apache-2.0 */
#include "inputs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "signals.h"

const struct option input_options[] = {
	{.name = "files-from",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "read further arguments from FILE, one a line; - is standard input",
	 .at = offsetof(struct input_options, files_from)},
	{.name = "null",
	 .letter = '0',
	 .kind = OPTION_FLAG,
	 .help = "lines of --files-from end with a NUL byte",
	 .at = offsetof(struct input_options, nul)},
	{0},
};

void inputs_open(struct inputs *inputs, const struct command *command,
		 const struct input_options *options)
{
	*inputs = (struct inputs){
		.command = command,
		.files_from = options->files_from,
		.separator = options->nul ? '\0' : '\n',
	};
	signals_break_in(); /* into waiting for a list, or for a reader of what is found */
}

static int open_list(struct inputs *inputs, struct weir_error *err)
{
	if (strcmp(inputs->files_from, "-") == 0)
		inputs->file = stdin;
	else
		inputs->file = fopen(inputs->files_from, "re");
	if (inputs->file)
		return 0;
	report_set(err, WEIR_IO, inputs->files_from, "%s: cannot open the list of files: %s",
		   inputs->files_from, strerror(errno));
	err->os_errno = errno;
	return WEIR_IO;
}

/* The next line that is not empty. */
static int read_line(struct inputs *inputs, const char **out, struct weir_error *err)
{
	for (;;) {
		ssize_t len;

		errno = 0;
		len = getdelim(&inputs->line, &inputs->line_size, inputs->separator, inputs->file);
		if (len < 0 && signals_caught())
			return report_set(err, WEIR_CANCELLED, NULL, "interrupted");
		if (len < 0 && !feof(inputs->file))
			return report_set(err, WEIR_IO, inputs->files_from,
					  "%s: cannot read the list of files: %s",
					  inputs->files_from, strerror(errno));
		if (len < 0)
			return 0;
		if (inputs->line[len - 1] == inputs->separator)
			inputs->line[--len] = '\0';
		if (len == 0)
			continue;
		if (strlen(inputs->line) != (size_t)len)
			return report_set(err, WEIR_ARG, inputs->files_from,
					  "%s: a line holds a NUL byte; -0 reads such lists",
					  inputs->files_from);
		*out = inputs->line;
		return 1;
	}
}

int inputs_next(struct inputs *inputs, const char **out, struct weir_error *err)
{
	if (inputs->next < inputs->command->arguments.count) {
		*out = inputs->command->arguments.items[inputs->next++];
		return 1;
	}
	if (!inputs->files_from)
		return 0;
	if (!inputs->file) {
		int ret = open_list(inputs, err);

		if (ret)
			return ret;
	}
	return read_line(inputs, out, err);
}

void inputs_close(struct inputs *inputs)
{
	if (inputs->file && inputs->file != stdin)
		fclose(inputs->file);
	free(inputs->line);
	*inputs = (struct inputs){0};
}

int inputs_all(const struct command *command, const struct input_options *options,
	       struct texts *out, struct weir_error *err)
{
	struct inputs inputs;
	const char *text;
	int ret;

	*out = (struct texts){0};
	inputs_open(&inputs, command, options);
	while ((ret = inputs_next(&inputs, &text, err)) > 0) {
		char *copy = strdup(text);

		if (!copy || !texts_add(out, copy)) {
			free(copy);
			ret = report_set(err, WEIR_NOMEM, NULL, "reading arguments: out of memory");
			break;
		}
	}
	inputs_close(&inputs);
	if (ret < 0)
		inputs_free(out);
	return ret;
}

void inputs_free(struct texts *texts)
{
	for (size_t n = 0; n < texts->count; n++)
		free(texts->items[n]);
	texts_fini(texts);
}
