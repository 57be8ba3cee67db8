/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir cat: objects to standard output, one after another.
 */
#include <string.h>

#include "inputs.h"
#include "out.h"
#include "progress.h"
#include "pump.h"
#include "report.h"
#include "session.h"
#include "signals.h"
#include "verbs.h"

struct cat_options {
	struct common common;
	struct input_options inputs;
	uint64_t offset, length;
};

static const struct option options[] = {
	{.name = "offset",
	 .kind = OPTION_SIZE,
	 .value = "SIZE",
	 .initial = "0",
	 .help = "start there in each object",
	 .at = offsetof(struct cat_options, offset)},
	{.name = "length",
	 .kind = OPTION_SIZE,
	 .positive = true,
	 .value = "SIZE",
	 .initial = "up to the end",
	 .help = "write no more than that of each object",
	 .at = offsetof(struct cat_options, length)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct cat_options, common)},
	{options, 0},
	{input_options, offsetof(struct cat_options, inputs)},
	{0},
};

/* What is written so far, and the window into each object. */
struct cat {
	const struct cat_options *mine;
	struct session session;
	_Atomic uint64_t done_bytes;
};

static int drain(void *arg, const void *data, size_t len, struct weir_error *err)
{
	(void)arg;
	(void)err;
	out_bytes(data, len);
	return 0;
}

static void tick(void *arg)
{
	struct cat *cat = arg;

	progress_show(cat->done_bytes);
}

static int cat_one(struct cat *cat, const char *uri, struct weir_error *err)
{
	struct weir_object_opts how = {.size = sizeof(how), .cancel = cat->session.cancel};
	struct weir_object *object = NULL;
	struct weir_stat stat = {0};
	struct pump pump = {
		.ctx = cat->session.ctx,
		.offset = cat->mine->offset,
		.drain = drain,
		.arg = cat,
		.done_bytes = &cat->done_bytes,
		.tick = tick,
	};
	int ret = weir_object_open(cat->session.ctx, uri, &how, &object, err);

	if (!ret)
		ret = weir_object_stat(object, &stat, err);
	if (ret) {
		weir_object_unref(object);
		return ret;
	}
	if (pump.offset < stat.size_bytes)
		pump.size = stat.size_bytes - pump.offset;
	if (cat->mine->length && pump.size > cat->mine->length)
		pump.size = cat->mine->length;
	pump.from = object;
	cat->done_bytes = 0;
	progress_start("cat", pump.size);
	ret = pump_run(&pump, err);
	progress_finish(cat->done_bytes);
	weir_object_unref(object);
	return ret;
}

static int run(const struct command *command)
{
	struct cat cat = {.mine = command->options};
	struct weir_error err = WEIR_ERROR_INIT;
	struct inputs inputs;
	const char *uri;
	int ret = session_open(&cat.session, NULL, &err), code = 0, more;

	inputs_open(&inputs, command, &cat.mine->inputs);
	while (!ret && !signals_caught() && (more = inputs_next(&inputs, &uri, &err)) != 0) {
		int one = more < 0 ? more : cat_one(&cat, uri, &err);

		if (one)
			report_error(&err);
		code = code ? code : one;
		if (more < 0)
			break;
	}
	if (ret)
		report_error(&err);
	inputs_close(&inputs);
	session_close(&cat.session);
	return report_status(ret ? ret : code);
}

const struct verb verb_cat = {
	.name = "cat",
	.arguments = "URI...",
	.summary = "writes objects to standard output",
	.story = "Like cat(1), on URIs. Bytes are read ahead while they are written, and the page "
		 "cache stays as it is.\n\nAn object that changes while it is read ends with an "
		 "error: bytes of two versions are never mixed within a piece. There is no "
		 "`--json` output: the option changes nothing here.",
	.sets = sets,
	.options_size = sizeof(struct cat_options),
	.arguments_min = 1,
	.examples = {{"weir cat model.safetensors | sha256sum", "the checksum of a file"},
		     {"weir cat --offset 8 --length 1KiB model.safetensors",
		      "the beginning of the header"}},
	.run = run,
};
