/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir verify: is it well formed, and, with a list of digests, is its content right?
 *
 * The form is the library's to judge (the model is opened with WEIR_MODEL_VERIFY).  Content is read in a
 * stream of tensors within a budget; files that the list has a SHA-256 of are read a second time, for
 * that sum covers the header too.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "allowance.h"
#include "digests.h"
#include "inputs.h"
#include "loading.h"
#include "out.h"
#include "progress.h"
#include "pump.h"
#include "report.h"
#include "session.h"
#include "signals.h"
#include "verbs.h"
#include "whole.h"

struct verify_options {
	struct common common;
	struct input_options inputs;
	struct model_options model;
	const char *digests, *write_digests;
};

static const struct option options[] = {
	{.name = "digests",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "check the content, too: lines as --write-digests or sha256sum writes them",
	 .at = offsetof(struct verify_options, digests)},
	{.name = "write-digests",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "write a line for each tensor: 'xxh3_64  URI#tensor'",
	 .at = offsetof(struct verify_options, write_digests)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct verify_options, common)},
	{options, 0},
	{model_options, offsetof(struct verify_options, model)},
	{input_options, offsetof(struct verify_options, inputs)},
	{0},
};

struct verify {
	const struct verify_options *mine;
	struct session session;
	struct digests *digests; /* owned, or NULL */
	struct whole list;       /* open where new digests are to be written */
};

/* ---- Content ---- */

static int update(void *digest, const void *data, size_t len, struct weir_error *err)
{
	(void)err;
	weir_digest_update(digest, data, len);
	return 0;
}

static int sum_file(struct verify *verify, struct weir_object *object, uint64_t size_bytes,
		    uint8_t out[WEIR_DIGEST_MAX], struct weir_error *err)
{
	struct weir_digest *digest = NULL;
	int ret = weir_digest_create(WEIR_DIGEST_SHA256, &digest, err);
	struct pump pump = {
		.ctx = verify->session.ctx,
		.size = size_bytes,
		.from = object,
		.drain = update,
		.arg = digest,
	};

	if (!ret)
		ret = pump_run(&pump, err);
	if (!ret)
		weir_digest_value(digest, out);
	weir_digest_destroy(digest);
	return ret;
}

/* 1: the list has the file's sum, and it is right. */
static int check_file(struct verify *verify, const struct weir_model *model, uint64_t number,
		      struct weir_error *err)
{
	const struct weir_shard *shard = weir_model_shard(model, number);
	uint8_t want[32], have[WEIR_DIGEST_MAX];
	int ret;

	if (!digests_file(verify->digests, shard->uri, want))
		return 0;
	ret = sum_file(verify, weir_model_object(model, number), shard->size_bytes, have, err);
	if (ret)
		return ret;
	if (memcmp(want, have, sizeof(want)) == 0)
		return 1;
	return report_set(err, WEIR_INTEGRITY, shard->uri,
			  "%s: its SHA-256 begins with %02x%02x%02x%02x, the list has "
			  "%02x%02x%02x%02x",
			  shard->uri, have[0], have[1], have[2], have[3], want[0], want[1], want[2],
			  want[3]);
}

static int check_tensor(const struct verify *verify, const char *uri,
			const struct weir_model *model, const struct weir_tensor *tensor,
			uint64_t have, bool file_is_right, struct weir_error *err)
{
	const char *shard = weir_model_shard(model, tensor->shard)->uri;
	uint64_t want;

	if (!digests_tensor(verify->digests, shard, tensor->name, tensor->name_len, &want) &&
	    !digests_tensor(verify->digests, uri, tensor->name, tensor->name_len, &want)) {
		if (file_is_right)
			return 0;
		return report_set(err, WEIR_NOTFOUND, shard,
				  "%s: tensor '%.200s': %s has no digest of it", shard,
				  tensor->name, verify->mine->digests);
	}
	if (want == have)
		return 0;
	report_set(err, WEIR_INTEGRITY, shard,
		   "%s: tensor '%.200s': its digest is %016" PRIx64 ", the list has %016" PRIx64,
		   shard, tensor->name, have, want);
	err->offset_bytes = tensor->offset_bytes;
	err->length_bytes = tensor->size_bytes;
	return WEIR_INTEGRITY;
}

static int check_tensors(const struct verify *verify, const char *uri,
			 const struct weir_model *model, const struct loading *loading,
			 const uint8_t *right, struct weir_error *err)
{
	int ret = 0;

	for (uint64_t n = 0; n < weir_model_tensor_count(model) && !ret; n++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, n);

		ret = check_tensor(verify, uri, model, tensor, loading->arrived[n].digest,
				   right[tensor->shard], err);
	}
	return ret;
}

/* What the list has, the files must have, too. */
static int check_unasked(const struct verify *verify, const struct weir_model *model,
			 struct weir_error *err)
{
	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		const char *shard = weir_model_shard(model, n)->uri;
		const char *tensor = digests_unasked(verify->digests, shard);

		if (tensor)
			return report_set(err, WEIR_INTEGRITY, shard,
					  "%s: tensor '%.200s': %s has a digest of it, but it is "
					  "not there",
					  shard, tensor, verify->mine->digests);
	}
	return 0;
}

static void write_tensors(const struct verify *verify, const struct weir_model *model,
			  const struct loading *loading)
{
	for (uint64_t n = 0; n < weir_model_tensor_count(model); n++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, n);

		digests_write(verify->list.to, loading->arrived[n].digest,
			      weir_model_shard(model, tensor->shard)->uri, tensor->name,
			      tensor->name_len);
	}
}

static int check_files(struct verify *verify, const struct weir_model *model, uint8_t *right,
		       struct weir_error *err)
{
	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		int ret = check_file(verify, model, n, err);

		if (ret < 0)
			return ret;
		right[n] = ret > 0;
	}
	return 0;
}

static int check_content(struct verify *verify, const char *uri, struct weir_model *model,
			 struct weir_error *err)
{
	struct selection selection = {0};
	struct loading loading = {0};
	uint8_t *right = calloc(weir_model_shard_count(model) + 1, 1);
	int ret = right ? select_tensors(model, &(struct select_options){0}, &selection, err)
			: report_set(err, WEIR_NOMEM, uri, "%s: out of memory", uri);

	if (!ret)
		ret = loading_open(&loading, model, &selection, err);
	if (!ret) {
		loading.label = "verify";
		loading.discard = loading.digest = true;
		loading.load.budget_bytes = allowance_stream(&selection);
		ret = loading_run(&loading);
		if (ret)
			*err = loading.err;
	}
	if (!ret && verify->digests)
		ret = check_files(verify, model, right, err);
	if (!ret && verify->digests)
		ret = check_tensors(verify, uri, model, &loading, right, err);
	if (!ret && verify->digests)
		ret = check_unasked(verify, model, err);
	if (!ret && verify->list.to)
		write_tensors(verify, model, &loading);
	loading_close(&loading);
	select_fini(&selection);
	free(right);
	return ret;
}

/* ---- One argument ---- */

static void tell_text(const char *uri, const struct weir_model *model, int ret,
		      const struct weir_error *err)
{
	uint64_t count;

	out_safe(stdout, uri, strlen(uri));
	if (ret) {
		out_text(": not ok (%s)\n", weir_code_name(ret));
		out_flush();
		report_error(err);
		return;
	}
	count = weir_model_tensor_count(model);
	out_text(": ok (%s, %" PRIu64 " tensor%s)\n", weir_model_format(model), count,
		 count == 1 ? "" : "s");
}

static void tell_json(const char *uri, const struct weir_model *model, int ret,
		      const struct weir_error *err)
{
	struct json json;

	json_open(&json, stdout);
	json_object(&json, NULL);
	json_text(&json, "uri", uri);
	json_bool(&json, "ok", ret == 0);
	if (model) {
		json_text(&json, "format", weir_model_format(model));
		json_uint(&json, "tensor_count", weir_model_tensor_count(model));
	}
	if (ret)
		report_json(&json, err);
	json_end(&json);
	json_close(&json);
	out_check();
}

static int verify_one(struct verify *verify, const char *uri)
{
	struct weir_model_opts how = session_model(&verify->session, &verify->mine->model);
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_model *model = NULL;
	int ret;

	how.flags |= WEIR_MODEL_VERIFY;
	ret = session_open_model(&verify->session, &uri, 1, &how, &model, &err);
	if (!ret && (verify->digests || verify->list.to))
		ret = check_content(verify, uri, model, &err);
	if (verify->mine->common.json)
		tell_json(uri, model, ret, &err);
	else
		tell_text(uri, model, ret, &err);
	weir_model_close(model);
	return ret;
}

static int prepare(struct verify *verify, struct weir_error *err)
{
	int ret = session_open(&verify->session, NULL, err);

	if (!ret && verify->mine->digests)
		ret = digests_read(verify->mine->digests, &verify->digests, err);
	if (!ret && verify->mine->write_digests)
		ret = whole_open(&verify->list, verify->mine->write_digests, "the list of digests",
				 err);
	return ret;
}

static int run(const struct command *command)
{
	struct verify verify = {.mine = command->options};
	struct weir_error err = WEIR_ERROR_INIT;
	struct inputs inputs;
	const char *uri;
	int code = 0, more = 0, ret = prepare(&verify, &err);

	inputs_open(&inputs, command, &verify.mine->inputs);
	while (!ret && !signals_caught() && (more = inputs_next(&inputs, &uri, &err)) > 0) {
		int one = verify_one(&verify, uri);

		code = code ? code : one;
	}
	if (!ret && more < 0)
		ret = more;
	/* The list appears when all arguments are fine; else an old one stays as it is. */
	if (!ret)
		ret = whole_close(&verify.list, !code && !signals_caught(), &err);
	else
		whole_close(&verify.list, false, &(struct weir_error)WEIR_ERROR_INIT);
	if (ret)
		report_failure(&err, verify.mine->common.json);
	inputs_close(&inputs);
	digests_free(verify.digests);
	session_close(&verify.session);
	return report_status(ret ? ret : code);
}

static const struct field fields[] = {
	{"uri", "The argument."},
	{"ok", "Whether it is well formed and, with `--digests`, has the right content."},
	{"format", "`safetensors`, `gguf`, or `model` where there are several files or an index."},
	{"tensor_count", "Of the model."},
	{"error", "Why it is not ok."},
	{NULL, NULL},
};

const struct verb verb_verify = {
	.name = "verify",
	.arguments = "URI...",
	.summary = "is it well formed, and is its content right",
	.story =
		"Judges files, directories and indexes: the rules of their format, sizes against "
		"the file, overlaps, holes and trailing bytes; of a model, that every shard is "
		"there and no tensor is missing, repeated or named by nobody. What is a warning to "
		"`weir load` is an error here.\n\n"
		"Without lists of digests only headers are read. With `--digests` every tensor must "
		"have a line of its own, or its file one that `sha256sum` wrote, and none that the list has "
		"of a file may be gone; relative names mean files seen from here, or from the list's own "
		"directory.",
	.sets = sets,
	.options_size = sizeof(struct verify_options),
	.json = fields,
	.each = true,
	.arguments_min = 1,
	.examples = {{"weir verify *.safetensors", "are these files well formed?"},
		     {"weir verify --digests model.xxh3 model",
		      "is every byte what it was when --write-digests wrote the list?"}},
	.run = run,
};
