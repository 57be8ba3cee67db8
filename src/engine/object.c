/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each public call is a struct that a helper thread runs; whoever comes second, the caller or the
 * thread, frees it.  What was opened for a caller that has left is closed again there.
 */
#include "engine/object.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "weir/plan.h"
#include "weir/transfer.h"

#define TIMEOUT_DEFAULT (60 * NS_PER_SEC)

/* ---- On this thread ---- */

struct place {
	struct group *group;
	char *path; /* owned */
};

static int find_place(struct weir_ctx *ctx, const char *uri, struct place *out,
		      struct weir_error *err)
{
	const char *scheme;
	int ret;

	if (!uri || !*uri)
		return error_set(err, WEIR_ARG, NULL, "an empty URI");
	ret = source_split_uri(uri, &scheme, &out->path, err);
	if (ret < 0)
		return ret;
	ret = ctx_group(ctx, scheme, &out->group, err);
	if (ret < 0)
		free(out->path);
	return ret;
}

static int wrap(struct weir_ctx *ctx, struct group *group, struct source_object *core,
		struct weir_object **out, struct weir_error *err)
{
	struct weir_object *object = calloc(1, sizeof(*object));

	if (!object) {
		error_nomem(err, core->uri, "an object");
		core->source->ops->close(core);
		return WEIR_NOMEM;
	}
	object->ctx = ctx;
	object->group = group;
	object->core = core;
	object->serial = atomic_fetch_add_explicit(&group->open_serial, 1, memory_order_relaxed);
	atomic_init(&object->refs, 1);
	*out = object;
	return 0;
}

int object_open_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_object **out, struct weir_error *err)
{
	struct source_object *core;
	struct place place;
	int ret = find_place(ctx, uri, &place, err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->open(place.group->source, place.path, uri, how, &core, err);
	free(place.path);
	return ret < 0 ? ret : wrap(ctx, place.group, core, out, err);
}

int object_open_as_here(struct weir_ctx *ctx, const char *path, const char *uri,
			const struct source_how *how, struct weir_object **out,
			struct weir_error *err)
{
	struct source_object *core;
	struct group *group;
	int ret = ctx_group(ctx, "file", &group, err);

	if (ret == 0)
		ret = group->source->ops->open(group->source, path, uri, how, &core, err);
	return ret < 0 ? ret : wrap(ctx, group, core, out, err);
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
	int ret = find_place(ctx, uri, &place, err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->list(place.group->source, place.path, uri, out, err);
	free(place.path);
	return ret;
}

int object_stat_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_stat *out, struct weir_error *err)
{
	struct place place;
	int ret = find_place(ctx, uri, &place, err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->stat(place.group->source, place.path, uri, how, out, err);
	free(place.path);
	return ret;
}

/* ---- Calls that helpers run ---- */

struct object_call {
	struct helper_call call;
	struct weir_ctx *ctx;
	char *uri; /* owned; NULL where there is an object */
	struct source_how how;
	uint64_t size_bytes;
	int durability;
	struct weir_object *object, *other; /* counted */
	struct weir_stat stat;
	struct source_listing listing;
};

static struct object_call *call_of(struct helper_call *call)
{
	return container_of(call, struct object_call, call);
}

static void free_call(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);

	weir_object_unref(call->object);
	weir_object_unref(call->other);
	arena_fini(&call->listing.arena);
	free(call->uri);
	free(call);
}

static struct object_call *new_call(struct weir_ctx *ctx, const char *uri,
				    const struct weir_object_opts *opts,
				    int (*run)(struct helper_call *call), struct weir_error *err)
{
	struct object_call *call = calloc(1, sizeof(*call));

	if (call && uri)
		call->uri = strdup(uri);
	if (!call || (uri && !call->uri)) {
		free(call);
		error_nomem(err, uri, "a request");
		return NULL;
	}
	call->call.run = run;
	call->call.free = free_call;
	call->ctx = ctx;
	call->how = (struct source_how){opts->direct, opts->cache, opts->flags};
	return call;
}

static int run_call(struct object_call *call, const char *what, const struct weir_object_opts *opts,
		    void (*taken)(struct helper_call *call, void *arg), void *arg,
		    struct weir_error *err)
{
	int64_t timeout = opts->timeout_ns ? opts->timeout_ns : TIMEOUT_DEFAULT;

	return helper_run(call->ctx->helpers, &call->call, what, timeout, opts->cancel, taken, arg,
			  err);
}

/* Checks what every call on a URI needs, and copies the options. */
static int begin(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		 struct weir_object_opts *copy, struct weir_error *err)
{
	int ret = ctx_alive(ctx, err);

	opts_copy(copy, sizeof(*copy), opts);
	if (ret < 0)
		return ret;
	if (!uri || !*uri)
		return error_set(err, WEIR_ARG, NULL, "an empty URI");
	if (copy->direct < WEIR_DIRECT_AUTO || copy->direct > WEIR_DIRECT_OFF ||
	    copy->cache < WEIR_CACHE_LEAVE || copy->cache > WEIR_CACHE_FILL)
		return error_set(err, WEIR_ARG, uri, "%s: direct %d, cache %d: no such choice", uri,
				 copy->direct, copy->cache);
	return 0;
}

static int run_open(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);

	return object_open_here(call->ctx, call->uri, &call->how, &call->object, &helper_call->err);
}

static void take_object(struct helper_call *helper_call, void *arg)
{
	struct weir_object **out = arg;

	*out = call_of(helper_call)->object;
	call_of(helper_call)->object = NULL;
}

int weir_object_open(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		     struct weir_object **out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	call = new_call(ctx, uri, &copy, run_open, err);
	return call ? run_call(call, uri, &copy, take_object, out, err) : WEIR_NOMEM;
}

static int run_create(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);
	struct weir_error *err = &helper_call->err;
	struct source_object *core;
	struct place place;
	struct source *source;
	int ret = find_place(call->ctx, call->uri, &place, err);

	if (ret < 0)
		return ret;
	source = place.group->source;
	if (source->ops->features & SOURCE_WRITES)
		ret = source->ops->create(source, place.path, call->uri, call->size_bytes,
					  &call->how, &core, err);
	else
		ret = error_set(err, WEIR_UNSUPPORTED, call->uri,
				"%s: this kind of source is not "
				"written",
				call->uri);
	free(place.path);
	return ret < 0 ? ret : wrap(call->ctx, place.group, core, &call->object, err);
}

int weir_object_create(struct weir_ctx *ctx, const char *uri, uint64_t size_bytes,
		       const struct weir_object_opts *opts, struct weir_object **out,
		       struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	if (size_bytes > INT64_MAX)
		return error_set(err, WEIR_ARG, uri, "%s: %llu bytes are more than a file can have",
				 uri, (unsigned long long)size_bytes);
	call = new_call(ctx, uri, &copy, run_create, err);
	if (!call)
		return WEIR_NOMEM;
	call->size_bytes = size_bytes;
	return run_call(call, uri, &copy, take_object, out, err);
}

struct weir_object *weir_object_ref(struct weir_object *object)
{
	atomic_fetch_add_explicit(&object->refs, 1, memory_order_relaxed);
	return object;
}

void weir_object_unref(struct weir_object *object)
{
	/* Acquire-release: whoever closes sees what the others did. */
	if (!object || atomic_fetch_sub_explicit(&object->refs, 1, memory_order_acq_rel) != 1)
		return;
	object->core->source->ops->close(object->core);
	free(object);
}

const char *weir_object_uri(const struct weir_object *object)
{
	return object->core->uri;
}

/* ---- Describing and listing ---- */

static int run_describe(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);
	struct source_object *core = call->object->core;

	return core->source->ops->describe(core, &call->stat, &helper_call->err);
}

static void take_stat(struct helper_call *helper_call, void *arg)
{
	*(struct weir_stat *)arg = call_of(helper_call)->stat;
}

static int run_on_object(struct weir_object *object, int (*run)(struct helper_call *call),
			 struct weir_object *other, int durability,
			 void (*taken)(struct helper_call *call, void *arg), void *arg,
			 struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts)};
	struct object_call *call;
	int ret = ctx_alive(object->ctx, err);

	if (ret < 0)
		return ret;
	call = new_call(object->ctx, NULL, &opts, run, err);
	if (!call)
		return WEIR_NOMEM;
	call->object = weir_object_ref(object);
	call->other = other ? weir_object_ref(other) : NULL;
	call->durability = durability;
	return run_call(call, object->core->uri, &opts, taken, arg, err);
}

int weir_object_stat(struct weir_object *object, struct weir_stat *out, struct weir_error *err)
{
	return run_on_object(object, run_describe, NULL, 0, take_stat, out, err);
}

static int run_stat(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);

	return object_stat_here(call->ctx, call->uri, &call->how, &call->stat, &helper_call->err);
}

int weir_stat(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
	      struct weir_stat *out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	call = new_call(ctx, uri, &copy, run_stat, err);
	return call ? run_call(call, uri, &copy, take_stat, out, err) : WEIR_NOMEM;
}

struct weir_listing {
	struct source_listing core;
	size_t next;
};

static int run_list(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);

	return object_list_here(call->ctx, call->uri, &call->listing, &helper_call->err);
}

static void take_listing(struct helper_call *helper_call, void *arg)
{
	struct weir_listing *listing = arg;

	listing->core = call_of(helper_call)->listing;
	call_of(helper_call)->listing = (struct source_listing){.count = 0};
}

int weir_list_open(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		   struct weir_listing **out, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct weir_listing *listing;
	struct object_call *call;
	int ret = begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	listing = calloc(1, sizeof(*listing));
	call = listing ? new_call(ctx, uri, &copy, run_list, err) : NULL;
	if (!call) {
		free(listing);
		return error_nomem(err, uri, "a listing");
	}
	ret = run_call(call, uri, &copy, take_listing, listing, err);
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

/* ---- Writing ---- */

static int run_clone(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);
	struct source_object *to = call->object->core, *from = call->other->core;

	if (to->source != from->source || !to->source->ops->clone)
		return error_set(&helper_call->err, WEIR_UNSUPPORTED, to->uri,
				 "%s and %s do not share a store", to->uri, from->uri);
	return to->source->ops->clone(to, from, &helper_call->err);
}

int weir_object_clone(struct weir_object *to, struct weir_object *from, struct weir_error *err)
{
	if (!to->core->writing)
		return error_set(err, WEIR_ARG, to->core->uri, "%s: was opened for reading",
				 to->core->uri);
	return run_on_object(to, run_clone, from, 0, NULL, NULL, err);
}

/* Once, and only what is being written. */
static int end_writing(struct weir_object *object, struct weir_error *err)
{
	if (!object->core->writing)
		return error_set(err, WEIR_ARG, object->core->uri, "%s: was opened for reading",
				 object->core->uri);
	if (atomic_exchange_explicit(&object->ended, 1, memory_order_relaxed))
		return error_set(err, WEIR_CLOSED, object->core->uri,
				 "%s: was committed or aborted already", object->core->uri);
	return 0;
}

static int run_commit(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);
	struct source_object *core = call->object->core;

	return core->source->ops->commit(core, call->durability, &helper_call->err);
}

int weir_object_commit(struct weir_object *object, int durability, struct weir_error *err)
{
	int ret = end_writing(object, err);

	if (ret < 0)
		return ret;
	return run_on_object(object, run_commit, NULL, durability, NULL, NULL, err);
}

static int run_abort(struct helper_call *helper_call)
{
	struct source_object *core = call_of(helper_call)->object->core;

	return core->source->ops->abort(core, &helper_call->err);
}

int weir_object_abort(struct weir_object *object, struct weir_error *err)
{
	int ret = end_writing(object, err);

	return ret < 0 ? ret : run_on_object(object, run_abort, NULL, 0, NULL, NULL, err);
}

static int run_mkdir(struct helper_call *helper_call)
{
	struct object_call *call = call_of(helper_call);
	struct place place;
	int ret = find_place(call->ctx, call->uri, &place, &helper_call->err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->mkdir(place.group->source, place.path, call->uri,
					      &helper_call->err);
	free(place.path);
	return ret;
}

int weir_mkdir(struct weir_ctx *ctx, const char *uri, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = begin(ctx, uri, NULL, &copy, err);

	if (ret < 0)
		return ret;
	call = new_call(ctx, uri, &copy, run_mkdir, err);
	return call ? run_call(call, uri, &copy, NULL, NULL, err) : WEIR_NOMEM;
}

/* ---- Reading a range, blocking ---- */

int weir_object_read(struct weir_object *object, uint64_t offset, uint64_t length, void *to,
		     int64_t timeout_ns, struct weir_error *err)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts), .flags = WEIR_TRANSFER_GUARDED, .timeout_ns = timeout_ns};
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;
	int ret = weir_plan_create(object->ctx, &plan, err);

	if (ret < 0)
		return ret;
	ret = weir_plan_range(plan, object, offset, length, weir_dest_host(to, length), 0, err);
	if (ret == 0)
		ret = weir_transfer_start(plan, NULL, &opts, &transfer, err);
	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	ret = weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, err);
	/* Guarded: what is stuck writes to memory of ours, so nothing keeps us. */
	return ret < 0 ? (weir_transfer_finish(transfer, 0, NULL), ret)
		       : weir_transfer_finish(transfer, 0, err);
}
