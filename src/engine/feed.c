/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds: a lane that the caller's thread drives.  See feed.h for what stands where.
 */
#include "engine/feed.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/object.h"

#define DEPTH_DEFAULT        1024u
#define DEPTH_MAX            16384u
#define REQUESTS_DEFAULT     256u
#define REQUESTS_MAX         4096u
#define FLYING_BYTES_DEFAULT (64 * MIB)

/* Taken from the source in one go. */
#define REAP_MAX 64u

/* How long the end waits for what was cancelled. */
#define LINGER_NS (100 * NS_PER_MS)

/* ---- Making ---- */

static int check_opts(struct weir_feed_opts *opts, struct weir_error *err)
{
	if (!opts->scheme)
		opts->scheme = "file";
	if (opts->depth == 0)
		opts->depth = DEPTH_DEFAULT;
	if (opts->requests == 0)
		opts->requests = REQUESTS_DEFAULT;
	if (opts->flying_bytes == 0)
		opts->flying_bytes = FLYING_BYTES_DEFAULT;
	if (opts->depth > DEPTH_MAX || opts->requests > REQUESTS_MAX)
		return error_set(err, WEIR_ARG, NULL,
				 "a feed of %u ios and %u requests: at most %u and %u", opts->depth,
				 opts->requests, DEPTH_MAX, REQUESTS_MAX);
	return 0;
}

static int create_places(struct weir_feed *feed, struct weir_error *err)
{
	feed->jobs = calloc(feed->depth, sizeof(feed->jobs[0]));
	feed->parts = calloc(feed->part_max, sizeof(feed->parts[0]));
	if (!feed->jobs || !feed->parts)
		return error_nomem(err, NULL, "the requests of a feed");
	for (uint32_t i = 0; i < feed->depth; i++)
		list_push(&feed->free_jobs, &feed->jobs[i].link);
	for (uint32_t i = 0; i < feed->part_max; i++)
		list_push(&feed->free_parts, &feed->parts[i].link);
	return 0;
}

static int create_lane(struct weir_feed *feed, struct weir_error *err)
{
	struct source *source = feed->group->source;
	const struct lane_how how = {.depth = feed->part_max, .simulated = feed->ctx->simulated};

	return source->ops->lane_create(source, &how, &feed->core, err);
}

static void release(struct weir_feed *feed)
{
	feed_regions_destroy(feed);
	free(feed->parts);
	free(feed->jobs);
	free(feed);
}

static struct weir_feed *new_feed(struct weir_ctx *ctx, struct group *group,
				  const struct weir_feed_opts *opts)
{
	struct weir_feed *feed = calloc(1, sizeof(*feed));

	if (!feed)
		return NULL;
	feed->ctx = ctx;
	feed->group = group;
	feed->depth = opts->depth;
	feed->part_max = opts->requests;
	feed->flying_bytes_max = opts->flying_bytes;
	list_init(&feed->free_jobs);
	list_init(&feed->waiting);
	list_init(&feed->done);
	list_init(&feed->free_parts);
	list_init(&feed->flying);
	lock_init(&feed->region_lock);
	return feed;
}

int weir_feed_create(struct weir_ctx *ctx, const struct weir_feed_opts *opts,
		     struct weir_feed **out, struct weir_error *err)
{
	struct weir_feed_opts copy;
	struct weir_feed *feed;
	struct group *group;
	int ret = ctx_alive(ctx, err);

	opts_copy(&copy, sizeof(copy), opts);
	if (ret < 0 || (ret = check_opts(&copy, err)) < 0)
		return ret;
	group = copy.object ? copy.object->group : NULL;
	if (!group && (ret = ctx_group(ctx, copy.scheme, NULL, &group, err)) < 0)
		return ret;
	feed = new_feed(ctx, group, &copy);
	if (!feed)
		return error_nomem(err, NULL, "a feed");
	if ((ret = create_places(feed, err)) < 0 || (ret = feed_regions_create(feed, err)) < 0 ||
	    (ret = create_lane(feed, err)) < 0) {
		release(feed);
		return ret;
	}
	ret = feed_bell_create(feed, &copy.doorbell, err);
	if (ret < 0) {
		feed_ops(feed)->lane_destroy(feed->core);
		release(feed);
		return ret;
	}
	*out = feed;
	return 0;
}

/* ---- Pushing ---- */

static bool is_valid(const struct weir_feed *feed, const struct weir_feed_io *io)
{
	return io->object && io->object->group == feed->group &&
	       size_inside(io->offset, io->length, INT64_MAX) &&
	       (io->region == 0 || feed_region_holds(feed, io->region, io->memory, io->length));
}

int weir_feed_push(struct weir_feed *feed, struct weir_feed_io *io)
{
	struct feed_job *job;
	struct list *link;

	if (!is_valid(feed, io))
		return WEIR_ARG;
	link = list_pop(&feed->free_jobs);
	if (!link)
		return WEIR_LIMIT;
	job = list_entry(link, struct feed_job, link);
	*job = (struct feed_job){.io = io, .end = io->length};
	list_init(&job->link);
	io->reserved[0] = (uintptr_t)job;
	io->result = 0;
	io->os_errno = 0;
	list_push(io->length > 0 ? &feed->waiting : &feed->done, &job->link);
	feed_fill(feed);
	return 0;
}

void weir_feed_cancel(struct weir_feed *feed, struct weir_feed_io *io)
{
	feed_cancel_job(feed, (struct feed_job *)(uintptr_t)io->reserved[0]);
}

/* ---- Reaping ---- */

static unsigned hand_done(struct weir_feed *feed, struct weir_feed_io **out, unsigned max)
{
	unsigned count = 0;
	struct list *link;

	while (count < max && (link = list_pop(&feed->done))) {
		struct feed_job *job = list_entry(link, struct feed_job, link);
		struct weir_feed_io *io = job->io;

		if (io->result < 0)
			feed_count(feed, ios_failed, 1);
		else if (io->flags & WEIR_FEED_WRITE)
			feed_count(feed, bytes_written, (uint64_t)io->result);
		else
			feed_count(feed, bytes_read, (uint64_t)io->result);
		list_push_front(&feed->free_jobs, link);
		out[count++] = io;
	}
	if (count)
		feed_count(feed, ios, count);
	return count;
}

/* What the source has; waits for it until the deadline.  True where there was something. */
static bool drive(struct weir_feed *feed, int64_t deadline_ns)
{
	not_zeroed struct request *ended[REAP_MAX];
	unsigned n = feed_ops(feed)->reap(feed->core, ended, REAP_MAX, deadline_ns);

	for (unsigned i = 0; i < n; i++)
		feed_land(feed, ended[i]);
	return n > 0;
}

static void count_system_calls(struct weir_feed *feed)
{
	const struct source_ops *ops = feed_ops(feed);

	if (ops->system_calls)
		atomic_store_explicit(&feed->counters[FEED_COUNTER(system_calls)],
				      ops->system_calls(feed->core), memory_order_relaxed);
}

static bool take_wake(struct weir_feed *feed)
{
	/* Acquire, paired with weir_feed_wake(): what the waker did before is seen. */
	return atomic_load_explicit(&feed->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&feed->woken, false, memory_order_acquire);
}

/* For a reason other than an io, or for none: the caller looks around. */
static bool interrupted(struct weir_feed *feed)
{
	if (take_wake(feed))
		return true;
	if (!feed_bell_rang(feed))
		return false;
	feed_count(feed, doorbells, 1);
	return true;
}

static bool is_over(const struct weir_feed *feed, int64_t deadline_ns)
{
	return deadline_ns != NEVER && feed->ctx->sys->now_ns() >= deadline_ns;
}

/* True where there may be more to wait for. */
static bool sleep_until(struct weir_feed *feed, int64_t deadline_ns)
{
	if (feed->ctx->simulated)
		return drive(feed, 0) || ctx_idle(feed->ctx);
	feed_count(feed, sleeps, 1);
	feed_bell_listen(feed);
	drive(feed, deadline_ns);
	return true;
}

unsigned weir_feed_reap(struct weir_feed *feed, struct weir_feed_io **out, unsigned max,
			int64_t deadline_ns)
{
	bool stay;

	if (deadline_ns < 0)
		deadline_ns = NEVER;
	feed_regions_settle(feed);
	feed_fill(feed);
	stay = deadline_ns != 0 && list_empty(&feed->done) && !interrupted(feed);
	do {
		/* Without waiting, too: what was cut is handed over. */
		if (stay)
			stay = sleep_until(feed, deadline_ns);
		else
			drive(feed, 0);
		feed_fill(feed);
		/* The clock is asked last: mostly there is another reason to return. */
	} while (stay && list_empty(&feed->done) && !interrupted(feed) &&
		 !is_over(feed, deadline_ns));
	count_system_calls(feed);
	return hand_done(feed, out, max);
}

void weir_feed_gather(struct weir_feed *feed, uint32_t least)
{
	bool heard = feed->bell.mode == FEED_BELL_NONE || feed->bell.mode == FEED_BELL_SOURCE;

	if (feed_ops(feed)->lane_gather)
		feed_ops(feed)->lane_gather(feed->core, heard ? least : 1);
}

void weir_feed_wake(struct weir_feed *feed)
{
	/* Release: the wake that follows may find the driver awake already. */
	atomic_store_explicit(&feed->woken, true, memory_order_release);
	feed_ops(feed)->wake(feed->core);
}

int64_t feed_next_ns(struct weir_feed *feed)
{
	return feed_ops(feed)->next_ns ? feed_ops(feed)->next_ns(feed->core) : NEVER;
}

/* ---- Ending ---- */

static void cancel_all(struct weir_feed *feed)
{
	for (uint32_t i = 0; i < feed->depth; i++)
		if (feed->jobs[i].flying > 0)
			feed_cancel_job(feed, &feed->jobs[i]);
	list_for_each_safe(link, &feed->waiting)
		list_remove(link);
}

static unsigned stuck_jobs(const struct weir_feed *feed)
{
	unsigned count = 0;

	for (uint32_t i = 0; i < feed->depth; i++)
		count += feed->jobs[i].flying > 0;
	return count;
}

unsigned weir_feed_destroy(struct weir_feed *feed)
{
	unsigned stuck = 0;

	if (!feed)
		return 0;
	if (ctx_alive(feed->ctx, NULL) < 0) {
		release(feed); /* in a forked child: memory only */
		return 0;
	}
	feed_bell_destroy(feed);
	cancel_all(feed);
	if (feed->flying_count > 0) {
		int64_t end = feed->ctx->sys->now_ns() + LINGER_NS;

		while (feed->flying_count > 0 && feed->ctx->sys->now_ns() < end)
			if (!drive(feed, feed->ctx->simulated ? 0 : end) && feed->ctx->simulated &&
			    !ctx_idle(feed->ctx))
				break;
		stuck = stuck_jobs(feed);
	}
	feed_ops(feed)->lane_destroy(feed->core);
	if (stuck == 0)
		release(feed);
	return stuck;
}

void weir_feed_counters(struct weir_feed *feed, struct weir_feed_counters *out)
{
	uint64_t *to = (uint64_t *)out;

	for (size_t i = 0; i < FEED_COUNTER_FIELDS; i++)
		to[i] = atomic_load_explicit(&feed->counters[i], memory_order_relaxed);
}
