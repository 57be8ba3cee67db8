/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir inspect: what is in a model, from headers alone.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "inputs.h"
#include "out.h"
#include "report.h"
#include "select.h"
#include "session.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

enum sort {
	SORT_NAME,
	SORT_OFFSET,
	SORT_SIZE,
};

struct inspect_options {
	struct common common;
	struct input_options inputs;
	struct model_options model;
	struct texts names;
	bool summary;
	int sort;
};

static const struct option options[] = {
	{.name = "names",
	 .kind = OPTION_LIST,
	 .value = "GLOB",
	 .initial = "all tensors",
	 .help = "list only tensors whose names match; may be given many times",
	 .at = offsetof(struct inspect_options, names)},
	{.name = "summary",
	 .kind = OPTION_FLAG,
	 .help = "do not list the tensors",
	 .at = offsetof(struct inspect_options, summary)},
	{.name = "sort",
	 .kind = OPTION_CHOICE,
	 .value = "KEY",
	 .choices = "name|offset|size",
	 .initial = "name",
	 .help = "order of the list; sizes start with the largest",
	 .at = offsetof(struct inspect_options, sort)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct inspect_options, common)},
	{options, 0},
	{model_options, offsetof(struct inspect_options, model)},
	{input_options, offsetof(struct inspect_options, inputs)},
	{0},
};

/* What qsort_r() compares by. */
struct order {
	const struct weir_model *model;
	int sort;
};

static int compare_number(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_name(const struct weir_tensor *a, const struct weir_tensor *b)
{
	uint64_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int order = memcmp(a->name, b->name, len);

	return order ? order : compare_number(a->name_len, b->name_len);
}

static int compare(const void *a_, const void *b_, void *order_)
{
	const struct order *order = order_;
	const struct weir_tensor *a = weir_model_tensor(order->model, *(const uint64_t *)a_);
	const struct weir_tensor *b = weir_model_tensor(order->model, *(const uint64_t *)b_);
	int result = 0;

	if (order->sort == SORT_SIZE)
		result = compare_number(b->size_bytes, a->size_bytes);
	if (order->sort == SORT_OFFSET) {
		result = compare_number(a->shard, b->shard);
		if (!result)
			result = compare_number(a->offset_bytes, b->offset_bytes);
	}
	return result ? result : compare_name(a, b);
}

/* The tensors to list, sorted; NULL where memory ends. */
static uint64_t *list_tensors(const struct weir_model *model, const struct inspect_options *mine,
			      uint64_t *count)
{
	uint64_t all = mine->summary ? 0 : weir_model_tensor_count(model);
	uint64_t *list = calloc(all + 1, sizeof(*list));
	struct order order = {model, mine->sort};

	*count = 0;
	if (!list)
		return NULL;
	for (uint64_t n = 0; n < all; n++) {
		if (select_matches(&mine->names, weir_model_tensor(model, n)->name))
			list[(*count)++] = n;
	}
	qsort_r(list, *count, sizeof(*list), compare, &order);
	return list;
}

struct totals {
	uint64_t size_bytes, header_bytes;
};

static struct totals add_up(const struct weir_model *model)
{
	struct totals totals = {0};

	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		totals.size_bytes += weir_model_shard(model, n)->size_bytes;
		totals.header_bytes += weir_model_shard(model, n)->header_bytes;
	}
	return totals;
}

/* ---- Metadata of all shards as one: the first that has a key wins. ---- */

struct pair {
	struct weir_metadata meta;
	uint64_t at; /* in the order of shards and headers */
};

static int compare_key(const void *a_, const void *b_)
{
	const struct pair *a = a_, *b = b_;
	uint64_t len = a->meta.key_len < b->meta.key_len ? a->meta.key_len : b->meta.key_len;
	int order = memcmp(a->meta.key, b->meta.key, len);

	if (!order)
		order = compare_number(a->meta.key_len, b->meta.key_len);
	return order ? order : compare_number(a->at, b->at);
}

static int compare_at(const void *a, const void *b)
{
	return compare_number(((const struct pair *)a)->at, ((const struct pair *)b)->at);
}

static bool same_key(const struct pair *a, const struct pair *b)
{
	return a->meta.key_len == b->meta.key_len &&
	       memcmp(a->meta.key, b->meta.key, a->meta.key_len) == 0;
}

static struct pair *list_metadata(const struct weir_model *model, uint64_t *count)
{
	uint64_t shards = weir_model_shard_count(model), all = 0, kept = 0, at = 0;
	struct pair *pairs;

	for (uint64_t s = 0; s < shards; s++)
		all += weir_model_metadata_count(model, s);
	pairs = calloc(all + 1, sizeof(*pairs));
	for (uint64_t s = 0; pairs && s < shards; s++) {
		for (uint64_t n = 0; n < weir_model_metadata_count(model, s); n++, at++) {
			weir_model_metadata(model, s, n, &pairs[at].meta);
			pairs[at].at = at;
		}
	}
	if (!pairs)
		return NULL;
	qsort(pairs, all, sizeof(*pairs), compare_key);
	for (uint64_t n = 0; n < all; n++) {
		if (!kept || !same_key(&pairs[kept - 1], &pairs[n]))
			pairs[kept++] = pairs[n];
	}
	qsort(pairs, kept, sizeof(*pairs), compare_at);
	*count = kept;
	return pairs;
}

/* ---- JSON ---- */

static void json_tensor(struct json *json, const struct weir_tensor *tensor)
{
	json_object(json, NULL);
	json_text_len(json, "name", tensor->name, tensor->name_len);
	json_text(json, "dtype", tensor->dtype_name);
	json_array(json, "shape");
	for (unsigned n = 0; n < tensor->rank; n++)
		json_uint(json, NULL, tensor->shape[n]);
	json_end(json);
	json_uint(json, "offset_bytes", tensor->offset_bytes);
	json_uint(json, "size_bytes", tensor->size_bytes);
	json_uint(json, "shard", tensor->shard);
	json_end(json);
}

static void json_shards(struct json *json, const struct weir_model *model)
{
	json_array(json, "shards");
	for (uint64_t n = 0; n < weir_model_shard_count(model); n++) {
		const struct weir_shard *shard = weir_model_shard(model, n);

		json_object(json, NULL);
		json_text(json, "uri", shard->uri);
		json_uint(json, "size_bytes", shard->size_bytes);
		json_uint(json, "tensor_count", shard->tensor_count);
		json_end(json);
	}
	json_end(json);
}

static void json_metadata(struct json *json, const struct pair *pairs, uint64_t count)
{
	json_object(json, "metadata");
	for (uint64_t n = 0; n < count; n++) {
		json_key_len(json, pairs[n].meta.key, pairs[n].meta.key_len);
		json_text_len(json, NULL, pairs[n].meta.value, pairs[n].meta.value_len);
	}
	json_end(json);
}

static void write_json(struct json *json, const struct weir_model *model,
		       const struct inspect_options *mine, const struct pair *pairs,
		       uint64_t pair_count, const uint64_t *list, uint64_t count)
{
	struct totals totals = add_up(model);

	json_text(json, "format", weir_model_format(model));
	json_uint(json, "size_bytes", totals.size_bytes);
	json_uint(json, "header_bytes", totals.header_bytes);
	json_uint(json, "data_bytes", totals.size_bytes - totals.header_bytes);
	json_metadata(json, pairs, pair_count);
	json_uint(json, "tensor_count", weir_model_tensor_count(model));
	json_shards(json, model);
	if (mine->summary)
		return;
	json_array(json, "tensors");
	for (uint64_t n = 0; n < count; n++) {
		json_tensor(json, weir_model_tensor(model, list[n]));
		out_check();
	}
	json_end(json);
}

/* ---- Text ---- */

static void shape_text(char *to, size_t size, const struct weir_tensor *tensor)
{
	size_t at = (size_t)snprintf(to, size, "[");

	for (unsigned n = 0; n < tensor->rank && at + 24 < size; n++)
		at += (size_t)snprintf(to + at, size - at, "%s%" PRIu64, n ? ", " : "",
				       tensor->shape[n]);
	snprintf(to + at, size - at, "]");
}

/* How wide the names are: most of them, not one that is a page long. */
static int name_width(const struct weir_model *model, const uint64_t *list, uint64_t count)
{
	uint64_t widest = 4;

	for (uint64_t n = 0; n < count; n++) {
		uint64_t len = weir_model_tensor(model, list[n])->name_len;

		if (len > widest && len <= 64)
			widest = len;
	}
	return (int)widest;
}

static void text_tensors(const struct weir_model *model, const uint64_t *list, uint64_t count)
{
	int width = name_width(model, list, count);
	bool many = weir_model_shard_count(model) > 1;

	if (count)
		out_text("\n%-*s  %-7s  %-20s  %10s  %14s%s\n", width, "NAME", "TYPE", "SHAPE",
			 "SIZE", "OFFSET", many ? "  SHARD" : "");
	for (uint64_t n = 0; n < count; n++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, list[n]);
		int pad = tensor->name_len < (uint64_t)width ? width - (int)tensor->name_len : 0;
		char shape[256], size[VALUE_MAX];

		shape_text(shape, sizeof(shape), tensor);
		out_safe(stdout, tensor->name, tensor->name_len);
		out_text("%*s  %-7s  %-20s  %10s  %14" PRIu64, pad, "", tensor->dtype_name, shape,
			 value_print_size(size, tensor->size_bytes), tensor->offset_bytes);
		if (many)
			out_text("  %5u", tensor->shard);
		out_text("\n");
	}
}

static void text_shards(const struct weir_model *model)
{
	uint64_t count = weir_model_shard_count(model);

	for (uint64_t n = 0; count > 1 && n < count; n++) {
		const struct weir_shard *shard = weir_model_shard(model, n);
		char size[VALUE_MAX];

		out_text("  shard %" PRIu64 ": ", n);
		out_safe(stdout, shard->uri, strlen(shard->uri));
		out_text(": %s, %" PRIu64 " tensor%s\n", value_print_size(size, shard->size_bytes),
			 shard->tensor_count, shard->tensor_count == 1 ? "" : "s");
	}
}

static void write_text(const char *uri, const struct weir_model *model, const struct pair *pairs,
		       uint64_t pair_count, const uint64_t *list, uint64_t count)
{
	struct totals totals = add_up(model);
	uint64_t tensors = weir_model_tensor_count(model);
	char size[VALUE_MAX], header[VALUE_MAX];

	out_safe(stdout, uri, strlen(uri));
	out_text(": %s, %s, of them %s header; %" PRIu64 " tensor%s\n", weir_model_format(model),
		 value_print_size(size, totals.size_bytes),
		 value_print_size(header, totals.header_bytes), tensors, tensors == 1 ? "" : "s");
	text_shards(model);
	for (uint64_t n = 0; n < pair_count; n++) {
		const struct weir_metadata *meta = &pairs[n].meta;

		out_text("  ");
		out_safe(stdout, meta->key, meta->key_len);
		out_text(" = ");
		out_safe(stdout, meta->value, meta->value_len < 200 ? meta->value_len : 200);
		out_text("%s\n", meta->value_len < 200 ? "" : " ...");
	}
	text_tensors(model, list, count);
}

static int inspect_model(const char *uri, const struct weir_model *model,
			 const struct inspect_options *mine, struct json *json,
			 struct weir_error *err)
{
	uint64_t count = 0, pair_count = 0;
	uint64_t *list = list_tensors(model, mine, &count);
	struct pair *pairs = list_metadata(model, &pair_count);
	int ret = 0;

	if (!list || !pairs)
		ret = report_set(err, WEIR_NOMEM, uri, "%s: a list of its tensors: out of memory",
				 uri);
	else if (mine->common.json)
		write_json(json, model, mine, pairs, pair_count, list, count);
	else
		write_text(uri, model, pairs, pair_count, list, count);
	free(list);
	free(pairs);
	return ret;
}

static int inspect_one(const struct session *session, const char *uri,
		       const struct inspect_options *mine)
{
	struct weir_model_opts how = session_model(session, &mine->model);
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_model *model = NULL;
	struct json json;
	int ret = session_open_model(session, &uri, 1, &how, &model, &err);

	json_open(&json, stdout);
	if (mine->common.json) {
		json_object(&json, NULL);
		json_text(&json, "uri", uri);
	}
	if (!ret) {
		session_warn(model);
		ret = inspect_model(uri, model, mine, &json, &err);
	}
	if (ret)
		report_error(&err);
	if (mine->common.json) {
		if (ret)
			report_json(&json, &err);
		json_end(&json);
		json_close(&json);
	}
	weir_model_close(model);
	out_check();
	return ret;
}

static int run(const struct command *command)
{
	const struct inspect_options *mine = command->options;
	struct weir_error err = WEIR_ERROR_INIT;
	struct session session;
	struct inputs inputs;
	const char *uri;
	int code = 0, more, ret = session_open(&session, NULL, &err);

	inputs_open(&inputs, command, &mine->inputs);
	while (!ret && !signals_caught() && (more = inputs_next(&inputs, &uri, &err)) != 0) {
		if (more < 0) {
			ret = more;
		} else {
			int one = inspect_one(&session, uri, mine);

			code = code ? code : one;
		}
	}
	if (ret)
		report_failure(&err, mine->common.json);
	inputs_close(&inputs);
	session_close(&session);
	return report_status(ret ? ret : code);
}

static const struct field fields[] = {
	{"uri", "The argument."},
	{"format", "`safetensors`, `gguf`, or `model` where there are several files or an index."},
	{"size_bytes, header_bytes, data_bytes", "Of all files together."},
	{"metadata", "Strings by their keys; of several files the first that has a key."},
	{"tensor_count", "Of the model, whatever `--names` leaves out of the list."},
	{"shards", "A list of `uri`, `size_bytes`, `tensor_count`."},
	{"tensors",
	 "A list of `name`, `dtype` (as the file spells it), `shape`, `offset_bytes` (from the start of "
	 "its file), `size_bytes`, `shard` (a number into `shards`); not with `--summary`."},
	{NULL, NULL},
};

const struct verb verb_inspect = {
	.name = "inspect",
	.arguments = "URI...",
	.summary = "what is in a model, from headers alone",
	.story =
		"Lists the tensors of safetensors and GGUF files, of directories that hold such "
		"files, and of shard indexes. Only headers are read, however large the data are.\n\n"
		"A file whose header is malformed is an error that says where; `weir verify` says "
		"more about such files, and judges a model's files together.",
	.sets = sets,
	.options_size = sizeof(struct inspect_options),
	.json = fields,
	.each = true,
	.arguments_min = 1,
	.examples = {{"weir inspect model | head", "what a model is made of"},
		     {"weir inspect --json --names '*.bias' model.safetensors",
		      "the biases, for a program to read"}},
	.run = run,
};
