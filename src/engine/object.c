/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/object.h"

#include <stdlib.h>

#include "base/error.h"
#include "engine/canal.h"
#include "engine/group.h"
#include "engine/object_call.h"
#include "engine/request.h"
#include "weir/feed.h"

/* ---- On this thread ---- */

static int open_place(struct weir_ctx *ctx, struct place *place, const char *uri,
		      const struct source_how *how, struct weir_object **out,
		      struct weir_error *err)
{
	struct source *source = place->group->source;
	struct weir_error why = WEIR_ERROR_INIT;
	struct source_object *core = NULL;
	int ret = source->ops->open(source, place->path, uri, how, &core, &why);

	if (ret < 0 && !(how->flags & WEIR_OBJECT_RINGS) && place_fall_back(ctx, place, &why)) {
		source = place->group->source;
		ret = source->ops->open(source, place->path, uri, how, &core, err);
		if (ret < 0)
			goto out;
		log_warn(&ctx->log, "%s: is read without rings: %s", uri, why.message);
	}
	if (ret < 0 && err)
		*err = why;
out:
	place_fini(place);
	return ret < 0 ? ret : object_wrap(ctx, place->group, core, out, err);
}

int object_open_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_object **out, struct weir_error *err)
{
	struct place place;
	int ret = place_find(ctx, uri, false, &place, err);

	return ret < 0 ? ret : open_place(ctx, &place, uri, how, out, err);
}

int object_open_as_here(struct weir_ctx *ctx, const char *path, const char *uri,
			const struct source_how *how, struct weir_object **out,
			struct weir_error *err)
{
	struct place place;
	int ret = place_of_path(ctx, path, false, &place, err);

	return ret < 0 ? ret : open_place(ctx, &place, uri, how, out, err);
}

int object_read_here(struct weir_object *object, void *to, uint64_t offset, uint64_t length,
		     struct weir_error *err)
{
	const struct source_ops *ops = object->core->source->ops;
	const char *uri = object->core->uri;
	uint64_t done = 0;

	while (done < length) {
		int64_t got = ops->read(object->core, (char *)to + done, offset + done,
					length - done, err);

		if (got < 0)
			return (int)got;
		if (got == 0)
			return error_at(err, WEIR_TRUNCATED, uri, offset + done, length - done,
					"%s: ends at byte %llu, %llu bytes short", uri,
					(unsigned long long)(offset + done),
					(unsigned long long)(length - done));
		done += (uint64_t)got;
	}
	return 0;
}

int object_list_here(struct weir_ctx *ctx, const char *uri, struct source_listing *out,
		     struct weir_error *err)
{
	struct place place;
	int ret = place_find(ctx, uri, false, &place, err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->list(place.group->source, place.path, uri, out, err);
	place_fini(&place);
	return ret;
}

int object_stat_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_stat *out, struct weir_error *err)
{
	struct place place;
	int ret = place_find(ctx, uri, false, &place, err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->stat(place.group->source, place.path, uri, how, out, err);
	place_fini(&place);
	return ret;
}

static int run_open(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);

	return object_open_here(call->ctx, call->uri, &call->how, &call->object, &helper_call->err);
}

int weir_object_open(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		     struct weir_object **out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	call = object_call_new(ctx, uri, &copy, run_open, err);
	return call ? object_call_run(call, uri, &copy, object_call_take_object, out, err)
		    : WEIR_NOMEM;
}

/* No helper: looking at a descriptor asks no file server, and a server may have no time for a thread. */
int weir_object_from_fd(struct weir_ctx *ctx, int fd, const char *name,
			const struct weir_object_opts *opts, struct weir_object **out,
			struct weir_error *err)
{
	struct source_object *core = NULL;
	struct weir_object_opts copy;
	struct source_how how;
	struct group *group = NULL;
	int ret = object_call_begin(ctx, name, opts, &copy, err);

	if (ret == 0)
		ret = ctx_group(ctx, "file", NULL, &group, err);
	if (ret != 0)
		return failure(ret);
	how = (struct source_how){.direct = copy.direct, .cache = copy.cache, .flags = copy.flags};
	ret = group->source->ops->adopt(group->source, fd, name, &how, &core, err);
	return ret < 0 ? ret : object_wrap(ctx, group, core, out, err);
}

struct weir_object *weir_object_ref(struct weir_object *object)
{
	atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
	return object;
}

static bool drop_ref(struct weir_object *object)
{
	/* Acquire-release: whoever closes sees what the others did. */
	return object && atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) == 1;
}

/* In a forked child the file is the parent's, the one it writes as well: memory only. */
static void destroy(struct weir_object *object, bool alive)
{
	canal_file_close(object, alive);
	if (alive)
		object->core->source->ops->close(object->core);
	free(object);
}

void weir_object_unref(struct weir_object *object)
{
	if (drop_ref(object))
		destroy(object, ctx_alive(object->ctx, NULL) == 0);
}

void object_unref_in(struct weir_object *object, bool alive)
{
	if (drop_ref(object))
		destroy(object, alive);
}

const char *weir_object_uri(const struct weir_object *object)
{
	return object->core->uri;
}

uint64_t weir_object_size(const struct weir_object *object)
{
	return object->core->size_bytes;
}

const char *weir_object_scheme(const struct weir_object *object)
{
	return object->group->scheme;
}

int weir_object_in_place(const struct weir_object *object)
{
	const struct source_ops *ops = object->core->source->ops;

	return ctx_alive(object->ctx, NULL) == 0 && ops->in_place && ops->in_place(object->core);
}

/* ---- Describing and listing ---- */

static int run_describe(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);
	struct source_object *core = call->object->core;

	return core->source->ops->describe(core, &call->stat, &helper_call->err);
}

static void take_stat(struct helper_call *helper_call, void *arg)
{
	*(struct weir_stat *)arg = object_call_of(helper_call)->stat;
}

int weir_object_stat(struct weir_object *object, struct weir_stat *out, struct weir_error *err)
{
	return object_call_on(object, run_describe, 0, take_stat, out, err);
}

static int run_stat(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);

	return object_stat_here(call->ctx, call->uri, &call->how, &call->stat, &helper_call->err);
}

int weir_stat(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
	      struct weir_stat *out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	call = object_call_new(ctx, uri, &copy, run_stat, err);
	return call ? object_call_run(call, uri, &copy, take_stat, out, err) : WEIR_NOMEM;
}

struct weir_listing {
	struct source_listing core;
	size_t next;
};

static int run_list(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);

	return object_list_here(call->ctx, call->uri, &call->listing, &helper_call->err);
}

static void take_listing(struct helper_call *helper_call, void *arg)
{
	struct weir_listing *listing = arg;

	listing->core = object_call_of(helper_call)->listing;
	object_call_of(helper_call)->listing = (struct source_listing){.count = 0};
}

int weir_list_open(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		   struct weir_listing **out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct weir_listing *listing;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	listing = calloc(1, sizeof(*listing));
	call = listing ? object_call_new(ctx, uri, &copy, run_list, err) : NULL;
	if (!call) {
		free(listing);
		return error_nomem(err, uri, "a listing");
	}
	ret = object_call_run(call, uri, &copy, take_listing, listing, err);
	if (ret < 0)
		free(listing);
	else
		*out = listing;
	return ret;
}

int weir_list_next(struct weir_listing *listing, struct weir_entry *out, struct weir_error *err)
{
	const struct source_entry *entry;

	(void)err; /* a directory is read whole at once; buckets will be read page by page */
	if (listing->next >= listing->core.count)
		return 0;
	entry = &listing->core.entries[listing->next++];
	*out = (struct weir_entry){.name = entry->name, .stat = entry->stat};
	return 1;
}

void weir_list_close(struct weir_listing *listing)
{
	if (!listing)
		return;
	arena_fini(&listing->core.arena);
	free(listing);
}

/* ---- Without waiting ---- */

static int start(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		 int (*run)(struct helper_call *call), struct weir_queue *queue, uint64_t tag,
		 struct weir_request **out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	call = object_call_new(ctx, uri, &copy, run, err);
	if (!call)
		return WEIR_NOMEM;
	return request_start(ctx, &call->call, uri,
			     copy.timeout_ns ? copy.timeout_ns : OBJECT_TIMEOUT_DEFAULT,
			     copy.cancel, queue, tag, out, err);
}

int weir_object_open_start(struct weir_ctx *ctx, const char *uri,
			   const struct weir_object_opts *opts, struct weir_queue *queue,
			   uint64_t tag, struct weir_request **out, struct weir_error *err)
{
	return start(ctx, uri, opts, run_open, queue, tag, out, err);
}

int weir_object_open_finish(struct weir_request *request, struct weir_object **out,
			    struct weir_error *err)
{
	return request_finish(request, object_call_take_object, out, err);
}

int weir_stat_start(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		    struct weir_queue *queue, uint64_t tag, struct weir_request **out,
		    struct weir_error *err)
{
	return start(ctx, uri, opts, run_stat, queue, tag, out, err);
}

int weir_stat_finish(struct weir_request *request, struct weir_stat *out, struct weir_error *err)
{
	return request_finish(request, take_stat, out, err);
}

int weir_list_start(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		    struct weir_queue *queue, uint64_t tag, struct weir_request **out,
		    struct weir_error *err)
{
	return start(ctx, uri, opts, run_list, queue, tag, out, err);
}

int weir_list_finish(struct weir_request *request, struct weir_listing **out,
		     struct weir_error *err)
{
	struct weir_listing *listing = calloc(1, sizeof(*listing));
	int ret;

	if (!listing) {
		request_finish(request, NULL, NULL, NULL);
		return error_nomem(err, NULL, "a listing");
	}
	ret = request_finish(request, take_listing, listing, err);
	if (ret < 0)
		free(listing);
	else
		*out = listing;
	return ret;
}
