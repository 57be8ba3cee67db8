/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ios cut into requests, and what comes of them.
 *
 * The ios that wait take turns, a few requests each, and one of which a quarter of all that may fly
 * does fly rests, so that a long one does not hold up those behind it.  How a range is moved is
 * decided as it is cut:
 *
 *	|head|      body      |tail|
 *	  |         |            '--- through the page cache: less than a block
 *	  |         '---------------- as the source says: past the cache, or copied from it
 *	  '-------------------------- through the page cache, up to a block border
 *
 * That holds for reads whose memory lies as the object does.  Others go through the cache as a whole,
 * and so do writes that are not whole pages: a page is never written both ways.
 */
#include <errno.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/feed.h"
#include "engine/group.h"
#include "engine/object.h"
#include "engine/rest.h"

/* Requests of one io before the next has its turn. */
#define TURN 8u

/* Of the bytes that may fly, one io has this part at most: a very long one leaves room for others. */
#define SHARE 4u

/* Copied from the page cache in one go, before who drives the feed may look around again. */
#define COPY_BYTES (UINT64_C(2) << 20)

/* A body shorter than this is not worth a request beside its head and tail. */
#define BODY_BYTES (UINT64_C(32) << 10)

/* What one request asks for at most, where the source likes no larger ones: a server's blocks are mostly
 * no longer, and each piece of one would end by itself. */
#define REQUEST_BYTES (UINT64_C(1) << 20)

#define PAGE UINT64_C(4096)

static struct feed_job *job_of(struct list *link)
{
	return list_entry(link, struct feed_job, link);
}

/* ---- The way ---- */

static void go_buffered(struct feed_job *job, uint64_t until)
{
	job->way = WAY_BUFFERED;
	job->way_until = until;
}

/* Pages belong to one way of writing. */
static void decide_write(struct feed_job *job)
{
	const struct weir_feed_io *io = job->io;
	const struct source_object *object = io->object->core;
	uint64_t align = max_of((uint64_t)object->offset_align, PAGE);
	uint64_t bits = io->offset | io->length;

	go_buffered(job, io->offset + io->length);
	if ((bits & (align - 1)) == 0 && object->offset_align > 1 &&
	    ((uintptr_t)io->memory & (object->memory_align - 1)) == 0)
		job->way = WAY_DIRECT;
}

/* Whether the memory is aligned where the object is. */
static bool is_congruent(const struct weir_feed_io *io, const struct source_object *object)
{
	uint64_t body = round_up(io->offset, object->offset_align);
	uintptr_t at = (uintptr_t)io->memory + (uintptr_t)(body - io->offset);

	return (at & (object->memory_align - 1)) == 0;
}

static void ask_way(struct feed_job *job, struct source_object *object, uint64_t offset,
		    uint64_t end)
{
	uint64_t until;

	job->way = (uint8_t)object->source->ops->way(object, offset, end - offset, &until);
	job->way_until = min_of(until, end); /* the answer may hold for more than was asked */
}

static void decide_read(struct feed_job *job, uint64_t offset)
{
	const struct weir_feed_io *io = job->io;
	struct source_object *object = io->object->core;
	uint64_t end = io->offset + io->length;
	uint64_t body = round_up(offset, object->offset_align);
	uint64_t body_end = round_down(end, object->offset_align);

	if (offset != body) /* a head; what is not worth a body is all head */
		go_buffered(job,
			    body_end > body + BODY_BYTES && is_congruent(io, object) ? body : end);
	else if (body_end <= body || !is_congruent(io, object))
		go_buffered(job, end);
	else
		ask_way(job, object, offset, body_end);
}

static void decide(struct feed_job *job, uint64_t offset)
{
	const struct weir_feed_io *io = job->io;

	if (io->flags & WEIR_FEED_BUFFERED)
		go_buffered(job, io->offset + io->length);
	else if (io->flags & WEIR_FEED_WRITE)
		decide_write(job);
	else
		decide_read(job, offset);
}

/* ---- Ends ---- */

/* It ends at `at`, unless it is known to end before. */
static void stop(struct feed_job *job, uint64_t at, int code, int os_errno)
{
	job->stopped = true;
	if (at >= job->end)
		return;
	job->end = at;
	job->code = code;
	job->os_errno = os_errno;
}

static void finish_if_done(struct weir_feed *feed, struct feed_job *job)
{
	struct weir_feed_io *io = job->io;

	if (job->flying > 0 || (!job->stopped && job->cut < io->length))
		return;
	io->result = job->end > 0 || job->code == 0 ? (int64_t)job->end : job->code;
	io->os_errno = io->result < 0 ? job->os_errno : 0;
	list_remove(&job->link); /* it may wait for its turn */
	list_push(&feed->done, &job->link);
}

static bool has_its_share(const struct weir_feed *feed, const struct feed_job *job)
{
	return job->flying_bytes >= max_of(feed->flying_bytes_max / SHARE, UINT64_C(1));
}

static void free_part(struct weir_feed *feed, struct feed_part *part)
{
	struct feed_job *job = part->job;

	list_remove(&part->link);
	list_push_front(&feed->free_parts, &part->link);
	feed->flying_count--;
	feed->flying_bytes -= part->length;
	job->flying--;
	job->flying_bytes -= part->length;
	if (job->rests && !has_its_share(feed, job)) {
		job->rests = false;
		list_push(&feed->waiting, &job->link);
	}
}

static bool submit(struct weir_feed *feed, struct feed_part *part)
{
	feed_count(feed, requests, 1);
	return feed_ops(feed)->submit(feed->core, &part->request) == 0;
}

/* Nothing came; or it went up to where the object ended when it was opened, which saves asking again. */
static bool is_at_end(const struct request *request)
{
	return request->op == REQUEST_READ &&
	       (request->result == 0 ||
		request->offset + (uint64_t)request->result == request->object->size_bytes);
}

/* It brought less than asked.  True where the rest was asked for. */
static bool ask_on(struct weir_feed *feed, struct feed_part *part, uint64_t arrived)
{
	struct request *request = &part->request;

	if (is_at_end(request)) {
		stop(part->job, arrived, 0, 0);
		return false;
	}
	if (part->job->cancelled) {
		stop(part->job, arrived, WEIR_CANCELLED, 0);
		return false;
	}
	if (request->result > 0) {
		feed_count(feed, short_results, 1);
		request_rest(request);
		if (submit(feed, part))
			return true;
	}
	stop(part->job, arrived, WEIR_IO, request->result == 0 ? ENOSPC : 0);
	return false;
}

static void count_moved(struct weir_feed *feed, const struct request *request)
{
	uint64_t bytes = (uint64_t)max_of(request->result, INT64_C(0));

	if (request->way == WAY_BUFFERED)
		feed_count(feed, bytes_cached, bytes);
	else
		feed_count(feed, bytes_direct, bytes);
	if (request->retries)
		feed_count(feed, retries, request->retries);
}

void feed_land(struct weir_feed *feed, struct request *request)
{
	struct feed_part *part = container_of(request, struct feed_part, request);
	struct feed_job *job = part->job;
	uint64_t at = request->offset - job->io->offset;

	count_moved(feed, request);
	if (request->result < 0)
		stop(job, at, (int)request->result, request->os_errno);
	else if (at + (uint64_t)request->result < part->end &&
		 ask_on(feed, part, at + (uint64_t)request->result))
		return;
	free_part(feed, part);
	finish_if_done(feed, job);
}

/* ---- Cutting ---- */

static struct feed_part *take_part(struct weir_feed *feed, struct feed_job *job, uint32_t length)
{
	struct list *link = list_pop(&feed->free_parts);
	struct feed_part *part = list_entry(link, struct feed_part, link);

	list_push(&feed->flying, link);
	feed->flying_count++;
	feed->flying_bytes += length;
	part->job = job;
	part->length = length;
	part->end = job->cut + length;
	part->cancelling = false;
	job->flying++;
	job->flying_bytes += length;
	job->cut += length;
	return part;
}

static uint64_t request_bytes(const struct weir_feed *feed, const struct source_object *object)
{
	uint64_t bytes = group_request_bytes(feed->group, object);

	if (!feed->ctx->opts.request_bytes)
		bytes = max_of(bytes, REQUEST_BYTES);
	return min_of(bytes, (uint64_t)REQUEST_MAX);
}

/* The next request of an io, as long as the source likes them. */
static void cut(struct weir_feed *feed, struct feed_job *job)
{
	struct weir_feed_io *io = job->io;
	struct source_object *object = io->object->core;
	uint64_t offset = io->offset + job->cut;
	char *memory = (char *)io->memory + job->cut;
	struct feed_part *part;
	uint32_t length, pin = 0;

	if (offset >= job->way_until)
		decide(job, offset);
	length = (uint32_t)min_of(job->way_until - offset, request_bytes(feed, object));
	if (io->region && job->way == WAY_DIRECT)
		pin = feed_region_pin(feed, io->region, memory, &length, object->offset_align);
	if (job->way == WAY_BUFFERED)
		feed->copy_left -= min_of(feed->copy_left, (uint64_t)length);
	part = take_part(feed, job, length);
	part->request = (struct request){
		.object = object,
		.memory = memory,
		.offset = offset,
		.length = length,
		.op = io->flags & WEIR_FEED_WRITE ? REQUEST_WRITE : REQUEST_READ,
		.way = job->way,
		.pin = pin,
	};
	if (submit(feed, part))
		return;
	part->request.result = WEIR_IO;
	feed_land(feed, &part->request);
}

static bool has_room(const struct weir_feed *feed)
{
	return feed->flying_count < feed->part_max && feed->flying_bytes < feed->flying_bytes_max &&
	       feed->copy_left > 0;
}

/* True where it waits no more: all of it was cut, no more of it will be, or it rests. */
static bool cut_some(struct weir_feed *feed, struct feed_job *job)
{
	for (unsigned i = 0; i < TURN && !job->stopped && has_room(feed); i++) {
		job->rests = has_its_share(feed, job);
		if (job->rests)
			return true;
		cut(feed, job);
		if (job->cut == job->io->length)
			return true;
	}
	return job->stopped;
}

void feed_fill(struct weir_feed *feed)
{
	feed->copy_left = COPY_BYTES;
	while (!list_empty(&feed->waiting) && has_room(feed)) {
		struct feed_job *job = job_of(list_pop(&feed->waiting));

		if (!cut_some(feed, job))
			list_push(&feed->waiting, &job->link);
	}
}

/* ---- Cancelling ---- */

void feed_cancel_job(struct weir_feed *feed, struct feed_job *job)
{
	if (job->cancelled)
		return;
	job->cancelled = true;
	/* What was not cut never will be. */
	if (!job->stopped && job->cut < job->io->length)
		stop(job, job->cut, WEIR_CANCELLED, 0);
	list_for_each(link, &feed->flying) {
		struct feed_part *part = list_entry(link, struct feed_part, link);

		if (part->job != job || part->cancelling)
			continue;
		part->cancelling = true;
		feed_ops(feed)->cancel(feed->core, &part->request);
	}
	if (job->flying == 0)
		finish_if_done(feed, job);
}
