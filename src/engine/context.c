/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/context.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/process.h"
#include "base/size.h"
#include "engine/canal.h"
#include "engine/environment.h"
#include "engine/group.h"
#include "engine/route.h"
#include "engine/transfer.h"
#include "source/retry.h"
#include "source/usrbio_driver.h"
#include "source/usrbio_vendor.h"

#define POOL_IDLE_NS (60 * NS_PER_SEC)
#define DEPTH_MAX    4096

/* The first member of every options struct is its size, as the caller was built with. */
void opts_copy(void *to, size_t to_size, const void *from)
{
	size_t size = 0;

	memset(to, 0, to_size);
	if (from)
		memcpy(&size, from, sizeof(size));
	memcpy(to, from ? from : to, min_of(size, to_size));
	memcpy(to, &to_size, sizeof(to_size));
}

static int check_opts(const struct weir_ctx_opts *opts, struct weir_error *err)
{
	if (opts->lanes > LANES_MAX)
		return error_set(err, WEIR_ARG, NULL, "%u lanes: at most %d", opts->lanes,
				 LANES_MAX);
	if (opts->depth > DEPTH_MAX)
		return error_set(err, WEIR_ARG, NULL, "depth %u: at most %d", opts->depth,
				 DEPTH_MAX);
	if (opts->request_bytes &&
	    (opts->request_bytes < 4 * KIB || opts->request_bytes > REQUEST_MAX ||
	     (opts->request_bytes & (opts->request_bytes - 1))))
		return error_set(err, WEIR_ARG, NULL,
				 "requests of %llu bytes: a power of two from 4 KiB to %u MiB",
				 (unsigned long long)opts->request_bytes, REQUEST_MAX >> 20);
	if (opts->cufile < 0 || opts->cufile > WEIR_CUFILE_ON)
		return error_set(err, WEIR_ARG, NULL, "cufile %d: there is no such choice",
				 opts->cufile);
	if (opts->budget_bytes && opts->budget_bytes < BUDGET_MIN)
		return error_set(err, WEIR_ARG, NULL,
				 "a budget of %llu bytes: at least %llu MiB, for staging alone",
				 (unsigned long long)opts->budget_bytes,
				 (unsigned long long)(BUDGET_MIN / MIB));
	return 0;
}

static int create_pool(struct weir_ctx *ctx, bool shared, struct pool **out, struct weir_error *err)
{
	struct pool_opts opts = {
		.sys = ctx->sys,
		.log = &ctx->log,
		.keep_bytes = ctx->opts.pool_bytes ? ctx->opts.pool_bytes : UINT64_MAX,
		.idle_ns = ctx->opts.pool_idle_ns ? ctx->opts.pool_idle_ns : POOL_IDLE_NS,
		.shared = shared,
		.node = ctx->node,
	};

	return pool_create(&opts, out, err);
}

static int create_parts(struct weir_ctx *ctx, struct weir_error *err)
{
	uint64_t budget = ctx->opts.budget_bytes ? ctx->opts.budget_bytes : BUDGET_NONE;
	int ret;

	if ((ret = create_pool(ctx, false, &ctx->pool, err)) < 0 ||
	    (ret = populator_create(ctx->sys, ctx->pool, &ctx->populator, err)) < 0 ||
	    (ret = budget_create(budget, NULL, &ctx->budget, err)) < 0 ||
	    (ret = helpers_create(ctx->sys, ctx->simulated, &ctx->helpers, err)) < 0)
		return ret;
	if (ctx->opts.trace_events)
		return trace_create(ctx->sys, ctx->opts.trace_events, &ctx->trace, err);
	return 0;
}

static void wake_lanes(void *arg)
{
	ctx_wake(arg);
}

int ctx_create_with(const struct weir_ctx_opts *opts, const struct ctx_seams *seams,
		    struct weir_ctx **out, struct weir_error *err)
{
	struct weir_ctx *ctx = calloc(1, sizeof(*ctx));
	int ret;

	if (!ctx)
		return error_nomem(err, NULL, "the context");
	lock_init(&ctx->lock);
	list_init(&ctx->abandoned);
	ctx->pid = process_id();
	ctx->sys = seams->sys ? seams->sys : sys_real();
	ctx->simulated = seams->simulated;
	ctx->cuda_table = seams->cuda;
	ctx->wrap = seams->wrap;
	ctx->idle = seams->idle;
	ctx->seam_arg = seams->arg;
	opts_copy(&ctx->opts, sizeof(ctx->opts), opts);
	ctx->log = (struct log){.fn = ctx->opts.log,
				.arg = ctx->opts.log_arg,
				.level = ctx->opts.log_level ? ctx->opts.log_level : WEIR_LOG_WARN,
				.sys = ctx->sys};
	ctx->any_mount = environment_any_mount();
	ctx->env = (struct source_env){.sys = ctx->sys, .log = &ctx->log};
	if ((ret = environment_read(&ctx->opts, &ctx->log, err)) < 0 ||
	    (ret = environment_library(&ctx->library, err)) < 0 ||
	    (ret = environment_node(&ctx->node, err)) < 0 ||
	    (ret = environment_places(&ctx->vendor_places, err)) < 0 ||
	    (ret = check_opts(&ctx->opts, err)) < 0 || (ret = create_parts(ctx, err)) < 0) {
		weir_ctx_destroy(ctx);
		return ret;
	}
	if ((ret = canal_create(ctx, seams->cufile, &ctx->canal, err)) < 0) {
		weir_ctx_destroy(ctx);
		return ret;
	}
	budget_watch(ctx->budget, wake_lanes, ctx);
	*out = ctx;
	return 0;
}

int weir_ctx_create(const struct weir_ctx_opts *opts, struct weir_ctx **out, struct weir_error *err)
{
	return ctx_create_with(opts, &(struct ctx_seams){NULL}, out, err);
}

int ctx_alive(const struct weir_ctx *ctx, struct weir_error *err)
{
	if (ctx->pid == process_id() && !ctx->closed)
		return 0;
	if (ctx->pid == process_id())
		return error_set(err, WEIR_CLOSED, NULL, "this context was closed");
	return error_set(err, WEIR_CLOSED, NULL,
			 "this context belongs to process %d; a forked child makes its own",
			 (int)ctx->pid);
}

/* In a forked child the threads do not exist and every shared thing is the parent's: memory only. */
static void forget_in_child(struct weir_ctx *ctx)
{
	environment_places_fini(&ctx->vendor_places);
	free(ctx);
}

/* Threads, and what is registered elsewhere; true where something is stuck, which then keeps it all. */
static bool end_work(struct weir_ctx *ctx)
{
	bool stuck;

	if (ctx->budget)
		budget_watch(ctx->budget, NULL, NULL);
	transfers_wait_for_abandoned(ctx);
	canal_halt(ctx->canal, transfers_stuck(ctx) == 0);
	stuck = helpers_destroy(ctx->helpers);
	ctx->helpers = NULL;
	/* Lanes give the populator work, and it wakes lanes: both are still, then both go. */
	for (unsigned i = 0; i < ctx->group_count; i++)
		group_halt(ctx->groups[i]);
	populator_destroy(ctx->populator);
	ctx->populator = NULL;
	for (unsigned i = 0; i < ctx->group_count; i++)
		group_stop(ctx->groups[i]);
	stuck |= transfers_leave_behind(ctx);
	if (ctx->pool)
		pool_trim(ctx->pool);
	for (unsigned i = 0; i < ctx->group_count && !stuck; i++)
		group_end(ctx->groups[i]);
	return stuck;
}

static void free_all(struct weir_ctx *ctx)
{
	for (unsigned i = 0; i < ctx->group_count; i++)
		group_destroy(ctx->groups[i]);
	if (ctx->pool)
		pool_unref(ctx->pool);
	budget_unref(ctx->budget);
	canal_destroy(ctx->canal);
	cuda_unref(atomic_load_explicit(&ctx->cuda, memory_order_relaxed));
	trace_destroy(ctx->trace);
	for (unsigned i = 0; i < ROUTES_KEPT; i++) {
		free(ctx->routes[i].dir);
		free(ctx->routes[i].mount);
	}
	lock_fini(&ctx->lock);
	environment_places_fini(&ctx->vendor_places);
	free(ctx);
}

void weir_ctx_close(struct weir_ctx *ctx)
{
	if (!ctx || ctx_alive(ctx, NULL) < 0)
		return;
	ctx->stuck = end_work(ctx);
	ctx->closed = true;
}

void weir_ctx_destroy(struct weir_ctx *ctx)
{
	if (!ctx)
		return;
	if (ctx->pid != process_id()) {
		forget_in_child(ctx);
		return;
	}
	weir_ctx_close(ctx);
	if (!ctx->stuck) /* what returns from a dead file server one day finds all as it left it */
		free_all(ctx);
}

/* ---- Groups ---- */

static int create_file(struct weir_ctx *ctx, const char *store, struct pool **pool,
		       struct source **out, struct weir_error *err)
{
	(void)store;
	(void)pool;
	return source_file_create(&ctx->env, out, err);
}

static int create_memory(struct weir_ctx *ctx, const char *store, struct pool **pool,
			 struct source **out, struct weir_error *err)
{
	(void)store;
	(void)pool;
	return source_memory_create(&ctx->env, out, err);
}

static int choose_driver(struct weir_ctx *ctx, struct driver **out, struct weir_error *err)
{
	const struct usrbio_vendor_places places = {ctx->vendor_places.directory,
						    ctx->vendor_places.directories};

	if (ctx->library == LIBRARY_VENDOR)
		return driver_vendor(ctx->sys, &ctx->log, &places, out, err);
	*out = driver_native();
	return 0;
}

/* Each mount has slabs of its own: one can be named to one mount only. */
static int create_usrbio(struct weir_ctx *ctx, const char *store, struct pool **pool,
			 struct source **out, struct weir_error *err)
{
	struct driver *driver;
	int ret;

	if (!store)
		return error_set(err, WEIR_ARG, NULL, "of 3FS, but not of which mount");
	ret = choose_driver(ctx, &driver, err);
	if (ret < 0)
		return ret;
	ret = create_pool(ctx, true, pool, err);
	if (ret < 0) {
		driver->ops->destroy(driver);
		return ret;
	}
	return source_usrbio_create(
		&ctx->env,
		&(struct source_usrbio_how){
			.mount = store, .pool = *pool, .driver = driver, .node = ctx->node},
		out, err);
}

static const struct {
	const char *scheme;
	int (*create)(struct weir_ctx *ctx, const char *store, struct pool **pool,
		      struct source **out, struct weir_error *err);
} kinds[] = {
	{"file", create_file},
	{"memory", create_memory},
	{"3fs", create_usrbio},
};

/* The source, and what stands in front of it. */
static int make_source(struct weir_ctx *ctx, size_t kind, const char *store, struct pool **pool,
		       struct source **out, struct source **core, struct weir_error *err)
{
	int ret = kinds[kind].create(ctx, store, pool, out, err);

	if (ret < 0)
		return ret;
	*core = *out;
	if (ctx->wrap)
		ret = ctx->wrap(out, ctx->seam_arg, err);
	if (ret == 0)
		ret = source_retry_create(*out, out, err);
	if (ret < 0)
		(*out)->ops->destroy(*out);
	return ret;
}

static int make_group(struct weir_ctx *ctx, size_t kind, const char *store, struct group **out,
		      struct weir_error *err)
{
	char *copy = store ? strdup(store) : NULL;
	struct source *source, *core;
	struct pool *pool = NULL;
	int ret = 0;

	if (store && !copy)
		return error_nomem(err, store, "a group of lanes");
	ret = make_source(ctx, kind, store, &pool, &source, &core, err);
	if (ret == 0)
		ret = group_create(ctx, source, out, err); /* takes it over in any case */
	if (ret != 0) {
		pool_unref(pool);
		free(copy);
		return failure(ret);
	}
	(*out)->core = core;
	(*out)->store = copy;
	(*out)->pool = pool;
	return 0;
}

static bool is_of(const struct group *group, const char *scheme, const char *store)
{
	if (strcmp(group->scheme, scheme) != 0 || !group->store != !store)
		return false;
	return !store || strcmp(group->store, store) == 0;
}

static struct group *find_group(const struct weir_ctx *ctx, const char *scheme, const char *store)
{
	for (unsigned i = 0; i < ctx->group_count; i++)
		if (is_of(ctx->groups[i], scheme, store))
			return ctx->groups[i];
	return NULL;
}

/* With the context's lock held. */
static int add_group(struct weir_ctx *ctx, const char *scheme, const char *store,
		     struct group **out, struct weir_error *err)
{
	int ret;

	for (size_t i = 0; i < array_size(kinds); i++) {
		if (strcmp(kinds[i].scheme, scheme) != 0)
			continue;
		if (ctx->group_count == GROUPS_MAX)
			return error_set(err, WEIR_LIMIT, store,
					 "a context has at most %d kinds of source and mounts",
					 GROUPS_MAX);
		ret = make_group(ctx, i, store, out, err);
		if (ret < 0)
			return ret;
		(*out)->scheme = kinds[i].scheme;
		/* Release: ctx_wake() walks the groups without the lock. */
		ctx->groups[ctx->group_count] = *out;
		__atomic_store_n(&ctx->group_count, ctx->group_count + 1, __ATOMIC_RELEASE);
		return 0;
	}
	return error_set(err, WEIR_UNSUPPORTED, NULL,
			 "'%s://' is not a kind of source that weir has", scheme);
}

int ctx_group(struct weir_ctx *ctx, const char *scheme, const char *store, struct group **out,
	      struct weir_error *err)
{
	int ret = 0;

	lock_take(&ctx->lock);
	*out = find_group(ctx, scheme, store);
	if (!*out)
		ret = add_group(ctx, scheme, store, out, err);
	lock_drop(&ctx->lock);
	return ret;
}

int ctx_cuda(struct weir_ctx *ctx, struct cuda **out, struct weir_error *err)
{
	struct cuda *cuda = atomic_load_explicit(&ctx->cuda, memory_order_acquire);
	int ret = 0;

	if (!cuda) {
		lock_take(&ctx->lock);
		cuda = atomic_load_explicit(&ctx->cuda, memory_order_relaxed);
		if (!cuda)
			ret = cuda_create(ctx->cuda_table, &cuda, err);
		/* Release, paired with the acquire above: it is whole. */
		if (ret == 0)
			atomic_store_explicit(&ctx->cuda, cuda, memory_order_release);
		lock_drop(&ctx->lock);
	}
	*out = cuda;
	return ret;
}

bool ctx_idle(struct weir_ctx *ctx)
{
	return ctx->idle && ctx->idle(ctx, ctx->seam_arg);
}

void ctx_wake(struct weir_ctx *ctx)
{
	unsigned groups = __atomic_load_n(&ctx->group_count, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < groups; i++)
		group_wake(ctx->groups[i]);
}

uint64_t ctx_random(struct weir_ctx *ctx)
{
	uint64_t value;

	if (ctx->sys->random(&value, sizeof(value)) < 0)
		return UINT64_C(0x9E3779B97F4A7C15);
	return value;
}

/* ---- What people ask of it ---- */

uint64_t weir_ctx_trim(struct weir_ctx *ctx)
{
	unsigned groups = __atomic_load_n(&ctx->group_count, __ATOMIC_ACQUIRE);
	uint64_t bytes;

	if (ctx_alive(ctx, NULL) < 0)
		return 0;
	bytes = pool_trim(ctx->pool);
	for (unsigned i = 0; i < groups; i++)
		if (ctx->groups[i]->pool)
			bytes += pool_trim(ctx->groups[i]->pool);
	return bytes;
}

void ctx_memory_counters(struct weir_ctx *ctx, struct weir_counters *out)
{
	unsigned groups = __atomic_load_n(&ctx->group_count, __ATOMIC_ACQUIRE);
	struct pool_usage usage;
	const struct cuda *cuda;

	pool_usage(ctx->pool, &usage);
	out->memory_bytes = usage.populated_bytes;
	out->memory_peak_bytes = usage.populated_peak_bytes;
	out->pinned_bytes = usage.pinned_bytes;
	for (unsigned i = 0; i < groups; i++) {
		if (!ctx->groups[i]->pool)
			continue;
		pool_usage(ctx->groups[i]->pool, &usage);
		out->memory_bytes += usage.populated_bytes;
		out->memory_peak_bytes += usage.populated_peak_bytes;
	}
	cuda = atomic_load_explicit(&ctx->cuda, memory_order_acquire);
	if (cuda)
		out->pinned_bytes += atomic_load_explicit(&cuda->pinned_bytes,
							  memory_order_relaxed);
	out->stuck = helpers_stuck(ctx->helpers) + transfers_stuck(ctx);
}

void weir_ctx_counters(struct weir_ctx *ctx, struct weir_counters *out)
{
	*out = (struct weir_counters){0};
	if (ctx_alive(ctx, NULL) < 0)
		return;
	counters_read(&ctx->counters, out);
	ctx_memory_counters(ctx, out);
}

int weir_ctx_choice(struct weir_ctx *ctx, const char *uri, struct weir_choice *out,
		    struct weir_error *err)
{
	struct group *group;
	int ret = ctx_alive(ctx, err);

	if (ret == 0)
		ret = place_known(ctx, uri, &group, err);
	if (ret == 0)
		group_choice(group, out);
	return ret;
}

int weir_ctx_trace_write(struct weir_ctx *ctx, const char *path, struct weir_error *err)
{
	int ret = ctx_alive(ctx, err);

	if (ret < 0)
		return ret;
	if (!ctx->trace)
		return error_set(err, WEIR_ARG, path,
				 "%s: nothing was traced: the context has no room for events",
				 path);
	return trace_write(ctx->trace, path, err);
}

/* ---- Cancel flags ---- */

int weir_cancel_create(struct weir_ctx *ctx, struct weir_cancel **out, struct weir_error *err)
{
	int ret = ctx_alive(ctx, err);

	if (ret < 0)
		return ret;
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : error_nomem(err, NULL, "a cancel flag");
}

void weir_cancel_fire(struct weir_cancel *cancel)
{
	atomic_store_explicit(&cancel->fired, 1, memory_order_relaxed);
}

void weir_cancel_destroy(struct weir_cancel *cancel)
{
	free(cancel);
}
