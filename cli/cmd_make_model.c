/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir make-model: writes a synthetic model.
 *
 * All files are written under temporary names first and get their names together, the index last, so that
 * nobody ever sees a part of a model, and an interrupted command leaves nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "out.h"
#include "progress.h"
#include "pump.h"
#include "recipe.h"
#include "report.h"
#include "session.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

#define TENSORS_MAX 1000000u
#define INDEX_NAME  "model.safetensors.index.json"
#define SHARDS_MAX  10000u /* each is held open until all are written */

struct make_options {
	struct common common;
	struct model_options model;
	uint64_t size, shards, tensors, seed;
	struct texts dtypes;
	const char *like;
	bool odd;
};

static const struct option options[] = {
	{.name = "size",
	 .kind = OPTION_SIZE,
	 .positive = true,
	 .value = "SIZE",
	 .initial = "256MiB",
	 .help = "of all tensors together, about",
	 .at = offsetof(struct make_options, size)},
	{.name = "shards",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "1",
	 .help = "files; more than one come with an index",
	 .at = offsetof(struct make_options, shards)},
	{.name = "tensors",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "100",
	 .help = "tensors, named as in a language model",
	 .at = offsetof(struct make_options, tensors)},
	{.name = "dtypes",
	 .kind = OPTION_CHOICES,
	 .value = "TYPE,...",
	 .choices = "all|BOOL|F4|F6_E2M3|F6_E3M2|U8|I8|F8_E5M2|F8_E4M3|F8_E8M0|F8_E4M3FNUZ|"
		    "F8_E5M2FNUZ|I16|U16|F16|BF16|I32|U32|F32|C64|F64|I64|U64",
	 .initial = "BF16",
	 .help = "types to draw from, with commas between them",
	 .at = offsetof(struct make_options, dtypes)},
	{.name = "seed",
	 .kind = OPTION_COUNT,
	 .value = "N",
	 .initial = "0",
	 .help = "the same seed gives the same bytes on every machine",
	 .at = offsetof(struct make_options, seed)},
	{.name = "like",
	 .kind = OPTION_TEXT,
	 .value = "URI",
	 .help = "names, shapes, types and shards of this model; only its headers are read",
	 .at = offsetof(struct make_options, like)},
	{.name = "odd",
	 .kind = OPTION_FLAG,
	 .help = "with awkward sizes: empty, scalar, one byte, unaligned",
	 .at = offsetof(struct make_options, odd)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct make_options, common)},
	{options, 0},
	{model_options, offsetof(struct make_options, model)},
	{0},
};

/* A model under way. */
struct making {
	const struct make_options *mine;
	const char *dir;
	struct session session;
	struct recipe recipe;
	struct weir_object **objects; /* owned: written, not yet named; the index is the last */
	uint32_t object_count;
	bool made_dir;
	int lock_fd;    /* the directory; -1: not locked */
	uint32_t shard; /* the one being written */
	_Atomic uint64_t done_bytes;
};

/* Room for WEIR_DTYPE_COUNT in `out`; a type named twice is drawn twice as often. */
static size_t choose_dtypes(const struct texts *names, int *out)
{
	size_t count = 0;

	for (size_t n = 0; n < names->count && count < WEIR_DTYPE_COUNT; n++) {
		if (strcmp(names->items[n], "all") != 0) {
			out[count++] = weir_dtype_find(names->items[n]);
			continue;
		}
		for (int dtype = WEIR_DTYPE_BOOL; dtype < WEIR_DTYPE_COUNT; dtype++)
			out[dtype - WEIR_DTYPE_BOOL] = dtype;
		return WEIR_DTYPE_COUNT - WEIR_DTYPE_BOOL;
	}
	if (!count)
		out[count++] = WEIR_DTYPE_BF16;
	return count;
}

static int check_options(const struct make_options *mine, struct weir_error *err)
{
	uint64_t tensors = mine->tensors ? mine->tensors : 100,
		 shards = mine->shards ? mine->shards : 1;

	if (mine->like && (mine->size || mine->shards || mine->tensors || mine->dtypes.count))
		return report_set(
			err, WEIR_ARG, NULL,
			"--like takes sizes, shards, tensors and types from the model: not "
			"with --size, --shards, --tensors, --dtypes");
	if (tensors > TENSORS_MAX || shards > SHARDS_MAX)
		return report_set(err, WEIR_ARG, NULL, "at most %u tensors and %u shards",
				  TENSORS_MAX, SHARDS_MAX);
	if (tensors < shards)
		return report_set(err, WEIR_ARG, NULL,
				  "%" PRIu64 " tensor%s not fill %" PRIu64 " shards", tensors,
				  tensors == 1 ? " does" : "s do", shards);
	return 0;
}

static int make_recipe(struct making *making, struct weir_error *err)
{
	const struct make_options *mine = making->mine;
	struct weir_model_opts how = session_model(&making->session, &mine->model);
	struct weir_model *like = NULL;
	int dtypes[WEIR_DTYPE_COUNT];
	struct recipe_options options_ = {
		.size_bytes = mine->size ? mine->size : 256 * WEIR_MIB,
		.tensor_count = mine->tensors ? mine->tensors : 100,
		.shard_count = mine->shards ? (uint32_t)mine->shards : 1,
		.seed = mine->seed,
		.dtypes = dtypes,
		.odd = mine->odd,
	};
	int ret = 0;

	options_.dtype_count = choose_dtypes(&mine->dtypes, dtypes);
	if (mine->like)
		ret = session_open_model(&making->session, &mine->like, 1, &how, &like, err);
	options_.like = like;
	if (!ret)
		ret = recipe_make(&options_, &making->recipe, err);
	weir_model_close(like);
	return ret;
}

/* ---- Writing ---- */

static void fill(void *arg, uint64_t offset, void *to, size_t len)
{
	struct making *making = arg;

	if (making->shard < making->recipe.shard_count)
		recipe_fill(&making->recipe, making->shard, offset, to, len);
	else
		memcpy(to, making->recipe.index + offset, len);
}

static void tick(void *arg)
{
	struct making *making = arg;

	progress_show(making->done_bytes);
}

static int write_file(struct making *making, const char *name, uint64_t size_bytes,
		      struct weir_error *err)
{
	struct pump pump = {
		.ctx = making->session.ctx,
		.size = size_bytes,
		.fill = fill,
		.arg = making,
		.done_bytes = &making->done_bytes,
		.tick = tick,
	};
	char *uri = NULL;
	int ret;

	if (asprintf(&uri, "%s/%s", making->dir, name) < 0)
		return report_set(err, WEIR_NOMEM, making->dir, "%s: out of memory", making->dir);
	/* Not to be cancelled: what it makes is ours to remove, and not some thread's, some time. */
	ret = weir_object_create(making->session.ctx, uri, size_bytes, NULL, &pump.to, err);
	free(uri);
	if (ret)
		return ret;
	making->objects[making->object_count++] = pump.to;
	return pump_run(&pump, err);
}

static int write_all(struct making *making, struct weir_error *err)
{
	struct recipe *recipe = &making->recipe;
	uint64_t total = recipe->index_bytes;
	int ret = 0;

	making->objects = calloc(recipe->shard_count + 1u, sizeof(struct weir_object *));
	if (!making->objects)
		return report_set(err, WEIR_NOMEM, making->dir, "%s: out of memory", making->dir);
	for (uint32_t n = 0; n < recipe->shard_count; n++)
		total += recipe->shards[n].header_bytes + recipe->shards[n].data_bytes;
	progress_start("make-model", total);
	for (; making->shard < recipe->shard_count && !ret; making->shard++) {
		const struct recipe_shard *shard = &recipe->shards[making->shard];

		ret = write_file(making, shard->name, shard->header_bytes + shard->data_bytes, err);
	}
	if (!ret && recipe->index)
		ret = write_file(making, INDEX_NAME, recipe->index_bytes, err);
	progress_finish(making->done_bytes);
	return ret;
}

static int name_all(struct making *making, struct weir_error *err)
{
	int ret = signals_caught() ? report_set(err, WEIR_CANCELLED, NULL, "interrupted") : 0;

	for (uint32_t n = 0; n < making->object_count && !ret; n++)
		ret = weir_object_commit(making->objects[n], WEIR_DURABLE_NO, err);
	return ret;
}

static int make_dir(struct making *making, struct weir_error *err)
{
	struct weir_object_opts how = {.size = sizeof(how), .cancel = making->session.cancel};
	struct weir_stat stat;
	struct weir_error absent = WEIR_ERROR_INIT;
	int ret = weir_stat(making->session.ctx, making->dir, &how, &stat, &absent);

	if (!ret && stat.kind != WEIR_KIND_DIRECTORY)
		return report_set(err, WEIR_ARG, making->dir, "%s: is there and no directory",
				  making->dir);
	if (!ret)
		return 0;
	ret = weir_mkdir(making->session.ctx, making->dir, err);
	making->made_dir = !ret;
	return ret;
}

static bool ends_with(const char *text, const char *tail)
{
	size_t len = strlen(text), tail_len = strlen(tail);

	return len >= tail_len && strcmp(text + len - tail_len, tail) == 0;
}

/* Would who reads the directory take it for a part of the model, without its being one? */
static bool stands_in_the_way(const struct making *making, const char *name)
{
	const struct recipe *recipe = &making->recipe;

	if (name[0] == '.' ||
	    !(ends_with(name, ".safetensors") || ends_with(name, ".safetensors.index.json")))
		return false;
	for (uint32_t n = 0; n < recipe->shard_count; n++)
		if (strcmp(recipe->shards[n].name, name) == 0)
			return false;
	return !recipe->index || strcmp(name, INDEX_NAME) != 0;
}

/* Others' weights are not ours to remove, and a model between them is no model. */
static int check_dir(struct making *making, struct weir_error *err)
{
	struct weir_object_opts how = {.size = sizeof(how), .cancel = making->session.cancel};
	struct weir_listing *listing = NULL;
	struct weir_entry entry;
	int ret = weir_list_open(making->session.ctx, making->dir, &how, &listing, err);

	while (!ret && (ret = weir_list_next(listing, &entry, err)) > 0)
		ret = !stands_in_the_way(making, entry.name)
			      ? 0
			      : report_set(err, WEIR_CONFLICT, making->dir,
					   "%s: holds %.200s, which would be read together with "
					   "the new files: remove it, or write somewhere else",
					   making->dir, entry.name);
	weir_list_close(listing);
	return ret;
}

/* One at a time: files of two would get their names in turns.  Where nobody keeps locks there are none. */
static int lock_dir(struct making *making, struct weir_error *err)
{
	char *path = session_path(making->dir);
	int fd = path ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	free(path);
	making->lock_fd = fd;
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
		return 0;
	return report_set(err, WEIR_CONFLICT, making->dir,
			  "%s: another make-model is writing there", making->dir);
}

/* What was not named goes; a directory of ours that is still empty goes too. */
static void clean_up(struct making *making, bool failed)
{
	char *path;

	for (uint32_t n = 0; n < making->object_count; n++)
		weir_object_unref(making->objects[n]);
	free(making->objects);
	recipe_fini(&making->recipe);
	session_close(&making->session);
	if (making->lock_fd >= 0)
		close(making->lock_fd);
	if (!failed || !making->made_dir)
		return;
	path = session_path(making->dir);
	if (path)
		(void)rmdir(path);
	free(path);
}

/* Three descriptors a shard, all until the last is written: as many as may be had. */
static void raise_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

static int make(struct making *making, struct weir_error *err)
{
	int ret;

	raise_limit();
	ret = session_open(&making->session, NULL, err);
	if (!ret)
		ret = make_recipe(making, err);
	if (!ret)
		ret = make_dir(making, err);
	if (!ret)
		ret = lock_dir(making, err);
	if (!ret)
		ret = check_dir(making, err);
	if (!ret)
		ret = write_all(making, err);
	return ret ? ret : name_all(making, err);
}

static void tell(const struct making *making, int ret, const struct weir_error *err)
{
	const struct recipe *recipe = &making->recipe;
	char size[VALUE_MAX];
	struct json json;

	if (ret)
		report_error(err);
	if (making->mine->common.json) {
		json_open(&json, stdout);
		json_object(&json, NULL);
		json_text(&json, "uri", making->dir);
		if (!ret) {
			json_uint(&json, "shards", recipe->shard_count);
			json_uint(&json, "tensor_count", recipe->tensor_count);
			json_uint(&json, "bytes", recipe->bytes);
		} else {
			report_json(&json, err);
		}
		json_end(&json);
		json_close(&json);
	} else if (!ret) {
		out_safe(stdout, making->dir, strlen(making->dir));
		out_text(": %" PRIu64 " tensor%s, %s, in %u file%s\n", recipe->tensor_count,
			 recipe->tensor_count == 1 ? "" : "s",
			 value_print_size(size, recipe->bytes), recipe->shard_count,
			 recipe->shard_count == 1 ? "" : "s");
	}
}

static int run(const struct command *command)
{
	struct making making = {
		.mine = command->options, .dir = command->arguments.items[0], .lock_fd = -1};
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = check_options(making.mine, &err);

	if (ret) {
		report_failure(&err, making.mine->common.json);
		return STATUS_USAGE;
	}
	ret = make(&making, &err);
	tell(&making, ret, &err);
	clean_up(&making, ret != 0);
	return report_status(ret);
}

static const struct field fields[] = {
	{"uri", "The directory."},
	{"shards, tensor_count, bytes", "What was made; `bytes` are those of all tensors."},
	{NULL, NULL},
};

const struct verb verb_make_model = {
	.name = "make-model",
	.arguments = "DIR",
	.summary = "writes a synthetic model: the same bytes for the same seed",
	.story =
		"Writes safetensors files as the reference library would, and an index where there "
		"are several: for demonstrations, tests and measurements.\n\n"
		"Names, shapes, types and every byte follow from the options and the seed by integer "
		"arithmetic alone. A tensor's bytes depend on the seed and its name, not on the "
		"shards. No number is infinite or NaN.\n\n"
		"Files in DIR with the same names are replaced once all are written, the index last. "
		"Where others are there that would be read together with them (safetensors files, an "
		"index), nothing is written; nor while another make-model writes there.",
	.sets = sets,
	.options_size = sizeof(struct make_options),
	.json = fields,
	.arguments_min = 1,
	.arguments_max = 1,
	.examples = {{"weir make-model --size 1GiB --shards 4 --dtypes BF16,F8_E4M3 demo",
		      "four files and their index"},
		     {"weir make-model --like /models/llama fake",
		      "a model of the same layout with other bytes"}},
	.run = run,
};
