/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "engine/context.h"
#include "engine/object.h"
#include "engine/request.h"
#include "model/opening.h"

/* Names, URIs, shards and warnings of one model: 64 Ki shards with the longest of paths. */
#define ARENA_MAX ((size_t)1 << 30)

#define TIMEOUT_NS (60 * NS_PER_SEC)

int model_charge(struct weir_model *model, uint64_t bytes, const char *label,
		 struct weir_error *err)
{
	struct budget *budget = model->ctx->budget;

	if (!budget_take_fixed(budget, bytes))
		return error_set(err, WEIR_LIMIT, label,
				 "%s: %" PRIu64
				 " bytes more for its table do not fit in the budget: "
				 "%" PRIu64 " of %" PRIu64 " are in use",
				 label, bytes, budget_used(budget), budget_limit(budget));
	/* Relaxed: a sum that is read when all who add to it have ended. */
	atomic_fetch_add_explicit(&model->charged_bytes, bytes, memory_order_relaxed);
	return 0;
}

static void discharge(struct weir_model *model, uint64_t bytes)
{
	atomic_fetch_sub_explicit(&model->charged_bytes, bytes, memory_order_relaxed);
	budget_give_fixed(model->ctx->budget, bytes);
}

void weir_model_close(struct weir_model *model)
{
	bool alive;

	if (!model)
		return;
	alive = ctx_alive(model->ctx, NULL) == 0;
	for (uint32_t i = 0; i < model->shard_count; i++) {
		object_unref_in(model->shards[i].object, alive);
		format_index_destroy(model->shards[i].index);
	}
	if (alive)
		discharge(model, model->charged_bytes);
	free(model->tensors);
	arena_fini(&model->arena);
	free(model);
}

/* ---- What the parts of this room share ---- */

int opening_nomem(const struct opening *opening)
{
	return error_nomem(opening->err, opening->uris ? opening->uris[0] : NULL,
			   "opening the model");
}

static int grow_warnings(struct opening *opening)
{
	struct weir_model *model = opening->model;
	uint32_t room = model->warning_room ? model->warning_room * 2 : 8;
	char **grown = arena_alloc(&model->arena, room, sizeof(*grown));

	if (!grown)
		return opening_nomem(opening);
	if (model->warning_count)
		memcpy(grown, model->warnings, model->warning_count * sizeof(*grown));
	model->warnings = grown;
	model->warning_room = room;
	return 0;
}

int opening_warn(struct opening *opening, int code, const char *object, const char *format, ...)
{
	struct weir_model *model = opening->model;
	char text[512], *kept;
	va_list args;
	int ret;

	va_start(args, format);
	text_vprint(text, sizeof(text), format, args);
	va_end(args);
	if (opening->opts.flags & WEIR_MODEL_VERIFY)
		return error_set(opening->err, code, object, "%s", text);
	if (model->warning_count == model->warning_room && (ret = grow_warnings(opening)))
		return ret;
	kept = arena_strdup(&model->arena, (struct bytes){text, strlen(text)});
	if (!kept)
		return opening_nomem(opening);
	model->warnings[model->warning_count++] = kept;
	return 0;
}

/* ---- On the helper thread ---- */

static int judge(struct opening *opening)
{
	struct weir_model *model = opening->model;
	int ret = split_complete(opening);

	if (ret == 0)
		ret = split_judge(opening);
	if (ret == 0 && opening->map)
		ret = judge_index(opening);
	if (ret == 0 && (ret = table_build(model, opening->err)) == WEIR_H_DUP)
		ret = judge_repeat(opening, ret);
	if (ret)
		return ret;
	if (!model->format)
		model->format = model->shard_count == 1 ? model->shards[0].view.format : "model";
	for (uint32_t i = 0; i < model->shard_count; i++)
		model->shards[i].kept = NULL;
	return 0;
}

static int run(struct helper_call *call)
{
	struct opening *opening = container_of(call, struct opening, call);
	int ret;

	opening->err = &call->err;
	ret = find_files(opening);
	if (ret == 0)
		ret = read_shards(opening);
	return ret ? ret : judge(opening);
}

static void release(struct helper_call *call)
{
	struct opening *opening = container_of(call, struct opening, call);

	weir_model_close(opening->model);
	shard_index_destroy(opening->map);
	free(opening->kept);
	if (opening->listed)
		arena_fini(&opening->listing.arena);
	free(opening);
}

/* ---- On the caller's ---- */

static void take_model(struct helper_call *call, void *arg)
{
	struct opening *opening = container_of(call, struct opening, call);
	struct weir_model **out = arg;

	if (opening->map)
		discharge(opening->model, opening->map_bytes);
	*out = opening->model;
	opening->model = NULL;
}

static int copy_uris(struct opening *opening, const char *const *uris)
{
	struct arena *arena = &opening->model->arena;
	const char **copies = arena_alloc(arena, (size_t)opening->uri_count, sizeof(*copies));

	if (!copies)
		return opening_nomem(opening);
	for (uint64_t i = 0; i < opening->uri_count; i++) {
		if (!uris[i])
			return error_set(opening->err, WEIR_ARG, NULL, "a URI is NULL");
		copies[i] = arena_strdup(arena, (struct bytes){uris[i], strlen(uris[i])});
		if (!copies[i])
			return opening_nomem(opening);
	}
	opening->uris = copies;
	return 0;
}

static int check_opts(const struct weir_model_opts *opts, struct weir_error *err)
{
	const uint32_t known = WEIR_MODEL_LENIENT | WEIR_MODEL_BENEATH | WEIR_MODEL_VERIFY;

	if (opts->flags & ~known)
		return error_set(err, WEIR_ARG, NULL, "unknown flags 0x%x", opts->flags & ~known);
	return 0;
}

static int create(struct weir_ctx *ctx, const char *const *uris, uint64_t count,
		  const struct weir_model_opts *opts, struct opening **out, struct weir_error *err)
{
	struct opening *opening = calloc(1, sizeof(*opening));
	struct weir_model *model = calloc(1, sizeof(*model));

	*out = opening;
	if (!opening || !model) {
		free(model);
		return error_nomem(err, NULL, "opening a model");
	}
	opening->call = (struct helper_call){.run = run, .free = release};
	opening->ctx = ctx;
	opening->err = err;
	opening->model = model;
	opening->uri_count = count;
	opts_copy(&opening->opts, sizeof(opening->opts), opts);
	opening->how.direct = opening->opts.direct;
	opening->how.cache = opening->opts.cache;
	opening->listing.names_only = true;
	opening->listing.any_order = true;
	model->ctx = ctx;
	model->seed = ctx_random(ctx);
	arena_init(&model->arena, ARENA_MAX);
	return copy_uris(opening, uris);
}

/* What both forms of opening do first. */
static int prepare(struct weir_ctx *ctx, const char *const *uris, uint64_t count, bool list,
		   const struct weir_model_opts *opts, struct opening **out, struct weir_error *err)
{
	int ret = ctx_alive(ctx, err);

	*out = NULL;
	if (ret)
		return ret;
	ret = create(ctx, uris, count, opts, out, err);
	if (ret == 0)
		ret = check_opts(&(*out)->opts, err);
	if (ret && *out)
		release(&(*out)->call);
	if (ret)
		return ret;
	(*out)->list = list;
	if ((*out)->opts.timeout_ns == 0)
		(*out)->opts.timeout_ns = TIMEOUT_NS;
	return 0;
}

static int open_model(struct weir_ctx *ctx, const char *const *uris, uint64_t count, bool list,
		      const struct weir_model_opts *opts, struct weir_model **out,
		      struct weir_error *err)
{
	struct opening *opening;
	int ret = prepare(ctx, uris, count, list, opts, &opening, err);

	if (ret)
		return ret;
	return helper_run(ctx->helpers, &opening->call, uris[0], opening->opts.timeout_ns,
			  opening->opts.cancel, take_model, out, err);
}

int weir_model_open_start(struct weir_ctx *ctx, const char *uri, const struct weir_model_opts *opts,
			  struct weir_queue *queue, uint64_t tag, struct weir_request **out,
			  struct weir_error *err)
{
	struct opening *opening;
	int ret = prepare(ctx, &uri, 1, false, opts, &opening, err);

	if (ret)
		return ret;
	return request_start(ctx, &opening->call, uri, opening->opts.timeout_ns,
			     opening->opts.cancel, queue, tag, out, err);
}

int weir_model_open_finish(struct weir_request *request, struct weir_model **out,
			   struct weir_error *err)
{
	return request_finish(request, take_model, out, err);
}

int weir_model_open(struct weir_ctx *ctx, const char *uri, const struct weir_model_opts *opts,
		    struct weir_model **out, struct weir_error *err)
{
	return open_model(ctx, &uri, 1, false, opts, out, err);
}

int weir_model_open_list(struct weir_ctx *ctx, const char *const *uris, uint64_t count,
			 const struct weir_model_opts *opts, struct weir_model **out,
			 struct weir_error *err)
{
	if (count == 0)
		return error_set(err, WEIR_ARG, NULL, "a model of no files");
	return open_model(ctx, uris, count, true, opts, out, err);
}
