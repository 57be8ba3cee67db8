/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a lane: parked until all that they need is there, in a ring, landed and not yet checked,
 * done.
 *
 *	submit --> parked --> ring --> unchecked --> done --> reap
 *	              ^---------+  short: the rest
 */
#include "source/usrbio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"

static struct usrbio_lane *lane_of(struct source_lane *lane)
{
	return container_of(lane, struct usrbio_lane, lane);
}

static const struct sys *sys_of(const struct usrbio_lane *lane)
{
	return lane->lane.source->env->sys;
}

/* ---- Life ---- */

static void free_lane(struct usrbio_lane *lane)
{
	if (lane->bounces)
		pool_drop(usrbio_source_of_lane(lane)->pool, lane->bounces,
			  (uint64_t)BOUNCE_SLOTS * USRBIO_REQUEST_BYTES);
	cond_fini(&lane->event);
	free(lane);
}

/* On the worker.  What flies is stuck: the daemon may write at any time to come, so its memory stays. */
static void end_lane(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_lane *lane = container_of(job, struct usrbio_lane, end);
	bool stuck = false;

	for (int i = 0; i < 2; i++) {
		stuck |= lane->rings[i].flying > 0;
		if (!lane->rings[i].flying)
			source->driver->ops->ring_destroy(lane->rings[i].ring);
	}
	if (!stuck)
		free_lane(lane);
}

int usrbio_lane_create(struct source *base, const struct lane_how *how, struct source_lane **out,
		       struct weir_error *err)
{
	struct usrbio_source *source = usrbio_source_of(base);
	struct usrbio_lane *lane;

	if (how->simulated)
		return error_set(err, WEIR_UNSUPPORTED, source->mount,
				 "rings have no simulated time");
	lane = calloc(1, sizeof(*lane) + how->depth * sizeof(lane->slots[0]));
	if (!lane)
		return error_nomem(err, source->mount, "a lane of rings");
	lane->lane.source = base;
	lane->depth = how->depth;
	lane->end.run = end_lane;
	list_init(&lane->free);
	list_init(&lane->parked);
	list_init(&lane->unchecked);
	list_init(&lane->done);
	cond_init(&lane->event);
	for (uint32_t i = 0; i < how->depth; i++)
		list_push(&lane->free, &lane->slots[i].link);
	usrbio_ring_init(lane, true);
	usrbio_ring_init(lane, false);
	lock_take(&source->lock);
	list_push(&source->lanes, &lane->link);
	lock_drop(&source->lock);
	*out = &lane->lane;
	return 0;
}

/* A ring that is being made is ended as well, when it is there. */
void usrbio_lane_destroy(struct source_lane *base)
{
	struct usrbio_lane *lane = lane_of(base);
	struct usrbio_source *source = usrbio_source_of_lane(lane);

	lock_take(&source->lock);
	list_remove(&lane->link);
	usrbio_queue_locked(source, &lane->end);
	lock_drop(&source->lock);
}

void usrbio_lane_register(struct source_lane *base, void *memory, uint64_t bytes)
{
	/* The first request would do it too; so it is under way before. */
	(void)usrbio_import_find(usrbio_source_of_lane(lane_of(base)), memory, bytes);
}

/* ---- Submitting ---- */

void usrbio_flight_end(struct usrbio_lane *lane, struct usrbio_flight *slot, int64_t result,
		       int os_errno)
{
	struct request *request = slot->request;

	request->result = result;
	request->os_errno = os_errno;
	request->scratch[0] = 0;
	if (slot->bounce)
		lane->bounces_free |= UINT32_C(1)
				      << ((slot->bounce - lane->bounces) / USRBIO_REQUEST_BYTES);
	list_push(&lane->free, &slot->link);
	list_push(&lane->done, &request->link);
}

static void advance(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	if (usrbio_flight_start(lane, slot) == SLOT_WAITS)
		list_push(&lane->parked, &slot->link);
}

static void advance_parked(struct usrbio_lane *lane)
{
	struct list parked;
	struct list *link;

	lane->parked_anew = false;
	lane->rings[0].full = lane->rings[1].full = false;
	list_init(&parked);
	while ((link = list_pop(&lane->parked)))
		list_push(&parked, link);
	while ((link = list_pop(&parked)))
		advance(lane, list_entry(link, struct usrbio_flight, link));
}

int usrbio_submit(struct source_lane *base, struct request *request)
{
	struct usrbio_lane *lane = lane_of(base);
	struct usrbio_flight *slot;

	if (lane->in_flight >= lane->depth)
		return WEIR_LIMIT;
	lane->in_flight++;
	slot = list_entry(list_pop(&lane->free), struct usrbio_flight, link);
	*slot = (struct usrbio_flight){.request = request};
	list_init(&slot->link);
	request->result = 0;
	request->scratch[0] = (uint64_t)(uintptr_t)slot;
	if (request->length == 0 || request->length > REQUEST_MAX ||
	    !size_inside(request->offset, request->length, INT64_MAX))
		usrbio_flight_end(lane, slot, WEIR_ARG, EINVAL);
	else if (list_empty(&lane->parked))
		advance(lane, slot);
	else
		list_push(&lane->parked, &slot->link);
	return 0;
}

/* ---- Reaping ---- */

static void check_landed(struct usrbio_lane *lane)
{
	list_for_each_safe(link, &lane->unchecked) {
		struct usrbio_flight *slot = list_entry(link, struct usrbio_flight, link);

		if (!usrbio_flight_checked(lane, slot))
			continue;
		list_remove(link);
		usrbio_flight_end(lane, slot, slot->request->result, slot->request->os_errno);
	}
}

static unsigned hand_done(struct usrbio_lane *lane, struct request **out, unsigned max)
{
	unsigned count = 0;
	struct list *link;

	while (count < max && (link = list_pop(&lane->done)))
		out[count++] = list_entry(link, struct request, link);
	lane->in_flight -= count;
	return count;
}

static bool was_woken(struct usrbio_lane *lane)
{
	return atomic_load_explicit(&lane->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&lane->woken, false, memory_order_acquire);
}

static void sleep_until(struct usrbio_lane *lane, int64_t deadline_ns)
{
	struct usrbio_source *source = usrbio_source_of_lane(lane);

	lock_take(&source->lock);
	lane->sleeping = true;
	if (!atomic_load_explicit(&lane->woken, memory_order_acquire))
		cond_wait(&lane->event, &source->lock, deadline_ns);
	lane->sleeping = false;
	lock_drop(&source->lock);
}

unsigned usrbio_reap(struct source_lane *base, struct request **out, unsigned max,
		     int64_t deadline_ns)
{
	struct usrbio_lane *lane = lane_of(base);

	for (;;) {
		bool woken = was_woken(lane);
		unsigned count;

		advance_parked(lane);
		usrbio_rings_post(lane);
		usrbio_rings_collect(lane, 0);
		check_landed(lane);
		count = hand_done(lane, out, max);
		if (count || woken || sys_of(lane)->now_ns() >= deadline_ns)
			return count;
		/* What came back asks for more; or a wake came, which a look at a ring may have used up. */
		if (lane->parked_anew || atomic_load_explicit(&lane->woken, memory_order_acquire))
			continue;
		if (usrbio_rings_due(lane))
			usrbio_rings_collect(lane, deadline_ns);
		else
			sleep_until(lane, deadline_ns);
	}
}

/* ---- Others' threads ---- */

void usrbio_lane_wake_locked(struct usrbio_lane *lane)
{
	const struct driver_ops *ops = usrbio_source_of_lane(lane)->driver->ops;

	/* Release, paired with the acquire of who looks: what it is woken for is seen. */
	atomic_store_explicit(&lane->woken, true, memory_order_release);
	for (int i = 0; i < 2; i++)
		if (lane->rings[i].state == RING_READY)
			ops->wake(lane->rings[i].ring);
	if (lane->sleeping)
		cond_wake(&lane->event);
}

void usrbio_wake(struct source_lane *base)
{
	struct usrbio_lane *lane = lane_of(base);
	struct usrbio_source *source = usrbio_source_of_lane(lane);

	lock_take(&source->lock);
	usrbio_lane_wake_locked(lane);
	lock_drop(&source->lock);
}

void usrbio_cancel(struct source_lane *base, struct request *request)
{
	struct usrbio_lane *lane = lane_of(base);
	struct usrbio_flight *slot = (struct usrbio_flight *)(uintptr_t)request->scratch[0];

	if (!slot)
		return;
	slot->cancelled = true;
	if (slot->in_ring) /* the daemon has it, and nobody can ask for it back */
		return;
	list_remove(&slot->link);
	usrbio_flight_end(lane, slot, WEIR_CANCELLED, 0);
	atomic_store_explicit(&lane->woken, true, memory_order_relaxed);
}

int64_t usrbio_next_ns(struct source_lane *base)
{
	(void)base;
	return NEVER;
}

uint64_t usrbio_system_calls(const struct source_lane *base)
{
	return container_of(base, const struct usrbio_lane, lane)->system_calls;
}
