/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/object_call.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/group.h"

int object_wrap(struct weir_ctx *ctx, struct group *group, struct source_object *core,
		struct weir_object **out, struct weir_error *err)
{
	struct weir_object *object = malloc(sizeof(*object));

	if (!object) {
		error_nomem(err, core->uri, "an object");
		core->source->ops->close(core);
		return WEIR_NOMEM;
	}
	*object = (struct weir_object){.ctx = ctx, .group = group, .core = core};
	object->serial = atomic_fetch_add_explicit(&group->open_serial, 1, memory_order_relaxed);
	atomic_init(&object->refs, 1);
	*out = object;
	return 0;
}

static void free_call(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);

	weir_object_unref(call->object);
	weir_object_unref(call->other);
	arena_fini(&call->listing.arena);
	free(call->uri);
	free(call);
}

struct object_call *object_call_new(struct weir_ctx *ctx, const char *uri,
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
	call->how = (struct source_how){.direct = opts->direct,
					.cache = opts->cache,
					.flags = opts->flags,
					.mode = opts->mode};
	return call;
}

int object_call_run(struct object_call *call, const char *what, const struct weir_object_opts *opts,
		    void (*taken)(struct helper_call *call, void *arg), void *arg,
		    struct weir_error *err)
{
	int64_t timeout = opts->timeout_ns ? opts->timeout_ns : OBJECT_TIMEOUT_DEFAULT;

	return helper_run(call->ctx->helpers, &call->call, what, timeout, opts->cancel, taken, arg,
			  err);
}

/* Checks what every call on a URI needs, and copies the options. */
int object_call_begin(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
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

int object_call_on(struct weir_object *object, int (*run)(struct helper_call *call), int durability,
		   void (*taken)(struct helper_call *call, void *arg), void *arg,
		   struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts)};
	struct object_call *call;
	int ret = ctx_alive(object->ctx, err);

	if (ret < 0)
		return ret;
	call = object_call_new(object->ctx, NULL, &opts, run, err);
	if (!call)
		return WEIR_NOMEM;
	call->object = weir_object_ref(object);
	call->durability = durability;
	return object_call_run(call, object->core->uri, &opts, taken, arg, err);
}

void object_call_take_object(struct helper_call *helper_call, void *arg)
{
	struct weir_object **out = arg;

	*out = object_call_of(helper_call)->object;
	object_call_of(helper_call)->object = NULL;
}
