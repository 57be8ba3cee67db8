/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that are written, and the blocking read.
 */
#include <stdlib.h>

#include "base/error.h"
#include "engine/group.h"
#include "engine/object_call.h"
#include "weir/plan.h"
#include "weir/transfer.h"

static int run_create(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);
	struct weir_error *err = &helper_call->err;
	struct source_object *core = NULL;
	struct place place;
	struct source *source;
	int ret = place_find(call->ctx, call->uri, true, &place, err);

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
	place_fini(&place);
	return ret < 0 ? ret : object_wrap(call->ctx, place.group, core, &call->object, err);
}

int weir_object_create(struct weir_ctx *ctx, const char *uri, uint64_t size_bytes,
		       const struct weir_object_opts *opts, struct weir_object **out,
		       struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, opts, &copy, err);

	if (ret < 0)
		return ret;
	if (size_bytes > INT64_MAX)
		return error_set(err, WEIR_ARG, uri, "%s: %llu bytes are more than a file can have",
				 uri, (unsigned long long)size_bytes);
	call = object_call_new(ctx, uri, &copy, run_create, err);
	if (!call)
		return WEIR_NOMEM;
	call->size_bytes = size_bytes;
	return object_call_run(call, uri, &copy, object_call_take_object, out, err);
}

/* Relaxed, both: signs alone, nothing is published with them. */
static bool goes_on(void *arg)
{
	struct helper_call *call = arg;

	atomic_fetch_add_explicit(&call->progress, 1, memory_order_relaxed);
	return !atomic_load_explicit(&call->leave, memory_order_relaxed);
}

static int run_clone(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);
	struct source_pace pace = {goes_on, helper_call};
	struct source_object *to = call->object->core, *from = call->other->core;

	if (to->source != from->source || !to->source->ops->clone)
		return error_set(&helper_call->err, WEIR_UNSUPPORTED, to->uri,
				 "%s and %s do not share a store", to->uri, from->uri);
	return to->source->ops->clone(to, from, &pace, &helper_call->err);
}

int weir_object_clone(struct weir_object *to, struct weir_object *from, struct weir_cancel *cancel,
		      struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .cancel = cancel};
	struct object_call *call;
	int ret = ctx_alive(to->ctx, err);

	if (ret < 0)
		return ret;
	if (!to->core->writing)
		return error_set(err, WEIR_ARG, to->core->uri, "%s: was opened for reading",
				 to->core->uri);
	call = object_call_new(to->ctx, NULL, &opts, run_clone, err);
	if (!call)
		return WEIR_NOMEM;
	call->object = weir_object_ref(to);
	call->other = weir_object_ref(from);
	call->call.heeds = true;
	return object_call_run(call, to->core->uri, &opts, NULL, NULL, err);
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
	struct object_call *call = object_call_of(helper_call);
	struct source_object *core = call->object->core;

	return core->source->ops->commit(core, call->durability, &helper_call->err);
}

int weir_object_commit(struct weir_object *object, int durability, struct weir_error *err)
{
	int ret = end_writing(object, err);

	if (ret < 0)
		return ret;
	return object_call_on(object, run_commit, durability, NULL, NULL, err);
}

static int run_abort(struct helper_call *helper_call)
{
	struct source_object *core = object_call_of(helper_call)->object->core;

	return core->source->ops->abort(core, &helper_call->err);
}

int weir_object_abort(struct weir_object *object, struct weir_error *err)
{
	int ret = end_writing(object, err);

	return ret < 0 ? ret : object_call_on(object, run_abort, 0, NULL, NULL, err);
}

static int run_mkdir(struct helper_call *helper_call)
{
	struct object_call *call = object_call_of(helper_call);
	struct place place;
	int ret = place_find(call->ctx, call->uri, true, &place, &helper_call->err);

	if (ret < 0)
		return ret;
	ret = place.group->source->ops->mkdir(place.group->source, place.path, call->uri,
					      &helper_call->err);
	place_fini(&place);
	return ret;
}

int weir_mkdir(struct weir_ctx *ctx, const char *uri, struct weir_error *err)
{
	struct weir_object_opts copy;
	struct object_call *call;
	int ret = object_call_begin(ctx, uri, NULL, &copy, err);

	if (ret < 0)
		return ret;
	call = object_call_new(ctx, uri, &copy, run_mkdir, err);
	return call ? object_call_run(call, uri, &copy, NULL, NULL, err) : WEIR_NOMEM;
}

/* ---- Reading a range, blocking ---- */

int weir_object_read(struct weir_object *object, uint64_t offset, uint64_t length, void *to,
		     int64_t timeout_ns, struct weir_error *err)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts), .flags = WEIR_TRANSFER_GUARDED, .timeout_ns = timeout_ns};
	struct weir_transfer *transfer = NULL;
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
