/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir ls: what stands in directories, and what is known of objects.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inputs.h"
#include "out.h"
#include "report.h"
#include "session.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

struct ls_options {
	struct common common;
	struct input_options inputs;
	bool detail, directory;
};

static const struct option options[] = {
	{.name = "long",
	 .letter = 'l',
	 .kind = OPTION_FLAG,
	 .help = "with size and time of change",
	 .at = offsetof(struct ls_options, detail)},
	{.name = "directory",
	 .letter = 'd',
	 .kind = OPTION_FLAG,
	 .help = "directories themselves, not what is in them",
	 .at = offsetof(struct ls_options, directory)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct ls_options, common)},
	{options, 0},
	{input_options, offsetof(struct ls_options, inputs)},
	{0},
};

struct ls {
	const struct ls_options *mine;
	struct session session;
};

static const char *kind_name(int kind)
{
	return kind == WEIR_KIND_FILE        ? "file"
	       : kind == WEIR_KIND_DIRECTORY ? "directory"
					     : "other";
}

/* dir and name as one URI; dir NULL: the name is one already. */
static void print_json(const char *dir, const char *name, const struct weir_stat *stat)
{
	char *uri = dir ? session_join(dir, name) : NULL, date[VALUE_MAX];
	struct json json;

	json_open(&json, stdout);
	json_object(&json, NULL);
	json_text(&json, "uri", uri ? uri : name);
	json_text(&json, "kind", kind_name(stat->kind));
	json_uint(&json, "size_bytes", stat->size_bytes);
	json_text(&json, "modified", value_print_date(date, stat->modified_ns));
	json_text(&json, "version", stat->version);
	json_end(&json);
	json_close(&json);
	free(uri);
	out_check();
}

static void print_text(const struct ls *ls, const char *name, const struct weir_stat *stat)
{
	char date[VALUE_MAX];

	if (ls->mine->detail)
		out_text("%14" PRIu64 "  %.19sZ  ", stat->size_bytes,
			 value_print_date(date, stat->modified_ns));
	out_safe(stdout, name, strlen(name));
	out_text("%s\n", stat->kind == WEIR_KIND_DIRECTORY ? "/" : "");
}

static void print(const struct ls *ls, const char *dir, const char *name,
		  const struct weir_stat *stat)
{
	if (ls->mine->common.json)
		print_json(dir, name, stat);
	else
		print_text(ls, name, stat);
}

static int list(const struct ls *ls, const char *uri, const struct weir_object_opts *how,
		struct weir_error *err)
{
	struct weir_listing *listing = NULL;
	struct weir_entry entry;
	int ret = weir_list_open(ls->session.ctx, uri, how, &listing, err);

	if (ret)
		return ret;
	while ((ret = weir_list_next(listing, &entry, err)) > 0 && !signals_caught())
		print(ls, uri, entry.name, &entry.stat);
	weir_list_close(listing);
	return ret < 0 ? ret : 0;
}

static int list_one(const struct ls *ls, const char *uri, bool title, struct weir_error *err)
{
	struct weir_object_opts how = {.size = sizeof(how), .cancel = ls->session.cancel};
	struct weir_stat stat = {0};
	int ret = weir_stat(ls->session.ctx, uri, &how, &stat, err);

	if (ret)
		return ret;
	if (stat.kind != WEIR_KIND_DIRECTORY || ls->mine->directory) {
		print(ls, NULL, uri, &stat);
		return 0;
	}
	if (title && !ls->mine->common.json) {
		out_safe(stdout, uri, strlen(uri));
		out_text(":\n");
	}
	return list(ls, uri, &how, err);
}

static void fail(const struct ls *ls, const char *uri, const struct weir_error *err)
{
	struct json json;

	report_error(err);
	if (!ls->mine->common.json)
		return;
	json_open(&json, stdout);
	json_object(&json, NULL);
	json_text(&json, "uri", uri);
	report_json(&json, err);
	json_end(&json);
	json_close(&json);
}

static int run(const struct command *command)
{
	struct ls ls = {.mine = command->options};
	struct weir_error err = WEIR_ERROR_INIT;
	bool many = command->arguments.count > 1 || ls.mine->inputs.files_from;
	struct inputs inputs;
	const char *uri = ".";
	int ret = session_open(&ls.session, NULL, &err), code = 0, more = 0;

	inputs_open(&inputs, command, &ls.mine->inputs);
	if (!ret && !command->arguments.count && !ls.mine->inputs.files_from) {
		code = list_one(&ls, uri, false, &err);
		if (code)
			fail(&ls, uri, &err);
	}
	while (!ret && !signals_caught() && (more = inputs_next(&inputs, &uri, &err)) > 0) {
		int one = list_one(&ls, uri, many, &err);

		if (one)
			fail(&ls, uri, &err);
		code = code ? code : one;
	}
	if (ret || more < 0)
		report_failure(&err, ls.mine->common.json);
	inputs_close(&inputs);
	session_close(&ls.session);
	return report_status(ret ? ret : more < 0 ? more : code);
}

static const struct field fields[] = {
	{"uri", "The object; of what is in a directory, the argument and its name."},
	{"kind", "`file`, `directory` or `other`."},
	{"size_bytes", "Its size."},
	{"modified", "When it was changed, in UTC: 2026-11-21T15:42:30.123456789Z."},
	{"version", "A text that changes when the content does."},
	{NULL, NULL},
};

const struct verb verb_ls = {
	.name = "ls",
	.arguments = "[URI...]",
	.summary = "lists directories and objects",
	.story = "Like ls(1), on URIs, sorted by name. Without an argument it lists the current "
		 "directory.\n\nWith `--json` there is a line for each object that is listed.",
	.sets = sets,
	.options_size = sizeof(struct ls_options),
	.json = fields,
	.each = true,
	.examples = {{"weir ls -l model", "the files of a model, with their sizes"},
		     {"weir ls --json -d model", "the directory itself, for a program to read"}},
	.run = run,
};
