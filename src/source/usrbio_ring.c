/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's two rings: requests go in when the ring, the file's number and the registration of their memory
 * are of one epoch, and what comes out is brought to its end.
 *
 * A read that comes back short ended at the end of the file or in a hole.  Before the end of the file the
 * rest is asked for once more; where that brings nothing it is a hole, and zeros are what it holds.  (A
 * file that was cut meanwhile is found out by the look at its version, which comes after.)
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "source/usrbio.h"

#define COLLECT_MAX 64

/* A request that was lost so often with its ring is lost. */
#define LOSSES_MAX 1

/* A mount that refused a ring is asked again after that. */
#define AGAIN_NS (200 * NS_PER_MS)

/*
 * With requests in both rings: how long one is waited for before the other is looked at.  Of a ring that
 * is full: how long before it is tried again.
 */
#define SLICE_NS (1 * NS_PER_MS)

/* ---- Making rings ---- */

static struct driver_ring *take_spare(struct usrbio_source *source, bool for_read, uint32_t *epoch)
{
	struct driver_ring *ring = NULL;

	lock_take(&source->lock);
	if (for_read) {
		ring = source->spare;
		*epoch = source->epoch;
		source->spare = NULL;
	}
	lock_drop(&source->lock);
	return ring;
}

/* On the worker; the ring is its own until the state says otherwise. */
static void make_ring(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_lane_ring *ring = container_of(job, struct usrbio_lane_ring, job);
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_session *session;
	struct usrbio_ring_opts opts;
	const struct driver_ops *ops = source->driver->ops;
	struct driver_ring *made;
	uint32_t epoch;
	int ret = usrbio_connect(source, &session, &epoch, &err);

	ops->ring_destroy(ring->ring);
	ring->ring = NULL;
	usrbio_ring_opts(&opts, ring->for_read, ring->lane->depth, ring->node);
	made = ret ? NULL : take_spare(source, ring->for_read, &epoch);
	if (ret == 0 && !made)
		ret = ops->ring_create(source->driver, session, &opts, &made, &err);
	lock_take(&source->lock);
	ring->ring = made;
	ring->epoch = epoch;
	ring->state = ret ? RING_FAILED : RING_READY;
	ring->why = err;
	ring->failed_ns = source->source.env->sys->now_ns();
	job->queued = false;
	lock_drop(&source->lock);
}

void usrbio_ring_init(struct usrbio_lane *lane, bool for_read)
{
	struct usrbio_lane_ring *ring = &lane->rings[!for_read];

	ring->lane = lane;
	ring->for_read = for_read;
	ring->job.run = make_ring;
}

/* ---- What a request needs ---- */

static const struct sys *sys_of(const struct usrbio_lane *lane)
{
	return lane->lane.source->env->sys;
}

static const struct driver_ops *ops_of(const struct usrbio_lane *lane)
{
	return usrbio_source_of_lane(lane)->driver->ops;
}

/* What is missing is under way: the request waits; else it fails with what was answered. */
struct needs {
	enum usrbio_answer answer;
	int code, os_errno;
};

static const struct needs there = {SLOT_STARTED, 0, 0};
static const struct needs to_come = {SLOT_WAITS, 0, 0};

static struct needs refused(int code, int os_errno)
{
	return (struct needs){SLOT_ENDED, code, os_errno};
}

static struct needs need_ring_locked(struct usrbio_source *source, struct usrbio_lane_ring *ring)
{
	if (ring->job.queued) /* and the worker's */
		return to_come;
	if (ring->state == RING_READY && ring->epoch == source->epoch && source->session)
		return there;
	if (ring->state == RING_COMING)
		return to_come; /* and is the worker's until then */
	if (ring->state == RING_READY && ring->flying)
		return to_come; /* what it holds is given back first */
	if (ring->state == RING_FAILED &&
	    source->source.env->sys->now_ns() - ring->failed_ns < AGAIN_NS)
		return refused(ring->why.code, ring->why.os_errno);
	ring->node = node_of(source->source.env->sys, source->node);
	ring->state = RING_COMING;
	ring->full = false; /* and so it is not looked at while the worker has it */
	usrbio_queue_locked(source, &ring->job);
	return to_come;
}

static struct needs need_number_locked(struct usrbio_source *source, struct usrbio_object *object)
{
	if (object->epoch == source->epoch)
		return there;
	if (object->find_code && object->find_epoch == source->epoch && !object->find.queued)
		return refused(object->find_code, object->find_errno);
	usrbio_queue_locked(source, &object->find);
	return to_come;
}

/* *import is NULL where the memory has to be gone around. */
static struct needs need_import_locked(const struct usrbio_source *source,
				       struct usrbio_import **import)
{
	struct usrbio_import *found = *import;

	if (!found)
		return there;
	switch (found->state) {
	case IMPORT_READY:
		if (found->epoch == source->epoch)
			return there;
		break;
	case IMPORT_COMING:
		return to_come;
	case IMPORT_FAILED:
		return refused(error_class(found->os_errno), found->os_errno);
	case IMPORT_LOST:
		break;
	}
	*import = NULL;
	return there;
}

/* ---- Going around ---- */

#define BOUNCES_ALL  ((UINT32_C(1) << BOUNCE_SLOTS) - 1)
#define BOUNCE_BYTES ((uint64_t)BOUNCE_SLOTS * USRBIO_REQUEST_BYTES)

/* Of an epoch that has passed, and nobody in it: other memory then. */
static void drop_lost_bounces(struct usrbio_lane *lane)
{
	struct usrbio_source *source = usrbio_source_of_lane(lane);
	struct usrbio_import *import;
	bool lost;

	if (!lane->bounces || lane->bounces_free != BOUNCES_ALL)
		return;
	import = usrbio_import_find(source, lane->bounces, BOUNCE_BYTES);
	lock_take(&source->lock);
	lost = !import || import->state == IMPORT_LOST;
	lock_drop(&source->lock);
	if (!lost)
		return;
	pool_drop(source->pool, lane->bounces, BOUNCE_BYTES);
	lane->bounces = NULL;
}

static void make_bounces(struct usrbio_lane *lane)
{
	struct pool *pool = usrbio_source_of_lane(lane)->pool;
	void *memory;
	bool fresh;

	if (pool_take(pool, BOUNCE_BYTES, POOL_UNIT, 0, &memory, &fresh, NULL) < 0)
		return;
	if (pool_populate(pool, memory, BOUNCE_BYTES, NULL) < 0) {
		pool_drop(pool, memory, BOUNCE_BYTES);
		return;
	}
	lane->bounces = memory;
	lane->bounces_free = BOUNCES_ALL;
}

static char *take_bounce(struct usrbio_lane *lane)
{
	unsigned bit;

	drop_lost_bounces(lane);
	if (!lane->bounces)
		make_bounces(lane);
	if (!lane->bounces || !lane->bounces_free)
		return NULL;
	bit = (unsigned)__builtin_ctz(lane->bounces_free);
	lane->bounces_free &= lane->bounces_free - 1;
	return lane->bounces + bit * (uint64_t)USRBIO_REQUEST_BYTES;
}

static void give_bounce(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	if (slot->bounce)
		lane->bounces_free |= UINT32_C(1)
				      << ((slot->bounce - lane->bounces) / USRBIO_REQUEST_BYTES);
	slot->bounce = NULL;
}

/* ---- Starting ---- */

static struct usrbio_lane_ring *ring_of(struct usrbio_lane *lane, const struct request *request)
{
	return &lane->rings[request->op == REQUEST_WRITE];
}

static struct needs find_needs(struct usrbio_lane *lane, const struct usrbio_flight *slot,
			       struct usrbio_import **import)
{
	struct usrbio_source *source = usrbio_source_of_lane(lane);
	struct needs needs;

	lock_take(&source->lock);
	needs = need_ring_locked(source, ring_of(lane, slot->request));
	if (needs.answer == SLOT_STARTED)
		needs = need_number_locked(source, usrbio_object_of(slot->request->object));
	if (needs.answer == SLOT_STARTED)
		needs = need_import_locked(source, import);
	lane->asks |= needs.answer == SLOT_WAITS;
	lock_drop(&source->lock);
	return needs;
}

static int prepare(struct usrbio_lane *lane, struct usrbio_flight *slot,
		   const struct usrbio_import *import, char *memory, uint64_t length)
{
	const struct request *request = slot->request;
	const struct usrbio_object *object = usrbio_object_of(request->object);
	const struct driver_io io = {
		.io = {.iov = import->iov.key.id,
		       .iov_bytes = import->shm.bytes,
		       .iov_offset = (uint64_t)(memory - import->at),
		       .length = length,
		       .file = object->number,
		       .file_offset = request->offset + slot->done,
		       .userdata = (uint64_t)(slot - lane->slots)},
		.iov = import->wrapped,
		.memory = memory,
		.file = object->named,
	};

	return ops_of(lane)->prepare(ring_of(lane, request)->ring, &io);
}

static void note_lost(struct usrbio_lane *lane, struct usrbio_lane_ring *ring)
{
	usrbio_lost(usrbio_source_of_lane(lane), ring->epoch);
}

static enum usrbio_answer put_in(struct usrbio_lane *lane, struct usrbio_flight *slot,
				 const struct usrbio_import *import, char *memory, uint64_t length)
{
	struct usrbio_lane_ring *ring = ring_of(lane, slot->request);
	int ret = prepare(lane, slot, import, memory, length);

	if (ret == -EAGAIN) {
		ring->full = true;
		return SLOT_WAITS;
	}
	if (ret < 0) {
		if (ret == -EPROTO || ret == -ENOTCONN)
			note_lost(lane, ring);
		usrbio_flight_end(lane, slot, ret == -EPERM ? WEIR_CLOSED : error_class(-ret),
				  -ret);
		return SLOT_ENDED;
	}
	slot->in_ring = true;
	ring->flying++;
	ring->interim += slot->request->interim;
	ring->unposted = true;
	return SLOT_STARTED;
}

static enum usrbio_answer not_started(struct usrbio_lane *lane, struct usrbio_flight *slot,
				      struct needs needs)
{
	if (needs.answer == SLOT_ENDED)
		usrbio_flight_end(lane, slot, needs.code, needs.os_errno);
	return needs.answer;
}

/* By way of memory that the daemon of today can be let into. */
static enum usrbio_answer start_around(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	const struct request *request = slot->request;
	struct usrbio_import *import;
	struct needs needs;
	uint64_t length;

	if (!slot->bounce)
		slot->bounce = take_bounce(lane);
	if (!slot->bounce && !lane->bounces) /* nobody will give one back */
		return not_started(lane, slot, refused(WEIR_NOMEM, ENOMEM));
	if (!slot->bounce)
		return SLOT_WAITS;
	import = usrbio_import_find(usrbio_source_of_lane(lane), slot->bounce,
				    USRBIO_REQUEST_BYTES);
	needs = import ? find_needs(lane, slot, &import) : refused(WEIR_NOMEM, ENOMEM);
	if (needs.answer == SLOT_STARTED && !import) /* lost while it was chosen */
		needs = refused(WEIR_PEER_GONE, ENOTCONN);
	if (needs.answer != SLOT_STARTED)
		return not_started(lane, slot, needs);
	length = min_of((uint64_t)request->length - slot->done, (uint64_t)USRBIO_REQUEST_BYTES);
	if (request->op == REQUEST_WRITE)
		memcpy(slot->bounce, (const char *)request->memory + slot->done, length);
	return put_in(lane, slot, import, slot->bounce, length);
}

enum usrbio_answer usrbio_flight_start(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	struct request *request = slot->request;
	struct usrbio_import *import = NULL;
	struct needs needs;

	if (slot->bounce)
		return start_around(lane, slot);
	import = usrbio_import_find(usrbio_source_of_lane(lane), request->memory, request->length);
	needs = find_needs(lane, slot, &import);
	if (needs.answer != SLOT_STARTED)
		return not_started(lane, slot, needs);
	if (!import)
		return start_around(lane, slot);
	return put_in(lane, slot, import, (char *)request->memory + slot->done,
		      request->length - slot->done);
}

void usrbio_rings_post(struct usrbio_lane *lane)
{
	for (int i = 0; i < 2; i++) {
		struct usrbio_lane_ring *ring = &lane->rings[i];

		if (!ring->unposted)
			continue;
		ring->unposted = false;
		lane->system_calls++;
		(void)!ops_of(lane)->submit(
			ring->ring); /* what is wrong with it is seen when it is waited for */
	}
}

/* ---- What comes out ---- */

static void fail_slot(struct usrbio_lane *lane, struct usrbio_flight *slot, int os_errno)
{
	int code = os_errno == EPROTO ? WEIR_PROTO : error_class(os_errno);

	give_bounce(lane, slot);
	usrbio_flight_end(lane, slot, code, os_errno);
}

/* It goes in again: nobody has to do anything first, so the lane must not sleep before it tried. */
static void park(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	list_push(&lane->parked, &slot->link);
	lane->parked_anew = true;
}

/*
 * It was in a ring that is of no more use.  Through the next one it goes once more: many are lost at one
 * time, through no fault of their own, and who tries again in front of us has little patience with many.
 */
static void lose_slot(struct usrbio_lane *lane, struct usrbio_flight *slot, int os_errno)
{
	if (slot->cancelled || slot->losses == LOSSES_MAX) {
		fail_slot(lane, slot, os_errno);
		return;
	}
	slot->losses++;
	slot->request->retries++;
	give_bounce(lane, slot);
	park(lane, slot);
}

static void land(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	give_bounce(lane, slot);
	slot->request->result = slot->done;
	slot->landed_ns = lane->collected_ns;
	list_push(&lane->unchecked, &slot->link);
}

/* Bytes of a request that the file has, as it was opened; of one that may grow nobody knows. */
static uint64_t bytes_there(const struct request *request)
{
	uint64_t size = request->object->size_bytes;

	if (usrbio_object_of(request->object)->live)
		return 0;
	return size > request->offset ? min_of((uint64_t)request->length, size - request->offset)
				      : 0;
}

static void finish_read(struct usrbio_lane *lane, struct usrbio_flight *slot, uint64_t got)
{
	struct request *request = slot->request;
	uint64_t there_are = bytes_there(request);
	char *to = (char *)request->memory + slot->done;

	if (slot->bounce)
		memcpy(to, slot->bounce, got);
	slot->done += (uint32_t)got;
	if (slot->done < there_are && got == 0) {
		memset(to, 0, there_are - slot->done);
		slot->done = (uint32_t)there_are;
	}
	if (slot->done >= there_are || slot->cancelled)
		land(lane, slot);
	else
		park(lane, slot);
}

static void finish_write(struct usrbio_lane *lane, struct usrbio_flight *slot, uint64_t got)
{
	slot->done += (uint32_t)got;
	if (got == 0)
		fail_slot(lane, slot, EIO);
	else if (slot->done == slot->request->length || slot->cancelled)
		land(lane, slot);
	else
		park(lane, slot);
}

static void take_out(struct usrbio_lane_ring *ring, struct usrbio_flight *slot)
{
	slot->in_ring = false;
	ring->flying--;
	ring->interim -= slot->request->interim;
}

static void finish(struct usrbio_lane *lane, struct usrbio_lane_ring *ring,
		   const struct usrbio_cqe *cqe)
{
	struct usrbio_flight *slot;

	/* The client's table is its own: this is what we put in, or nothing at all. */
	if (cqe->userdata >= lane->depth || !lane->slots[cqe->userdata].in_ring)
		return;
	slot = &lane->slots[cqe->userdata];
	take_out(ring, slot);
	if (cqe->result == -ENOTCONN)
		lose_slot(lane, slot, ENOTCONN);
	else if (cqe->result < 0)
		fail_slot(lane, slot, (int)-cqe->result);
	else if (slot->request->op == REQUEST_WRITE)
		finish_write(lane, slot, (uint64_t)cqe->result);
	else
		finish_read(lane, slot, (uint64_t)cqe->result);
}

/* The ring is of no more use: what flies in it ends with that. */
static void give_up(struct usrbio_lane *lane, struct usrbio_lane_ring *ring, int os_errno)
{
	note_lost(lane, ring);
	for (uint32_t i = 0; i < lane->depth && ring->flying > 0; i++) {
		struct usrbio_flight *slot = &lane->slots[i];

		if (!slot->in_ring || ring_of(lane, slot->request) != ring)
			continue;
		take_out(ring, slot);
		lose_slot(lane, slot, os_errno);
	}
}

/*
 * A daemon may publish a completion before it gives back the place of the request.  So a ring can be full
 * while nothing flies in it, and nobody posts when it no longer is.
 */
static bool due(const struct usrbio_lane_ring *ring)
{
	return ring->flying || ring->full;
}

bool usrbio_rings_due(const struct usrbio_lane *lane)
{
	return due(&lane->rings[0]) || due(&lane->rings[1]);
}

/* What only the next request waits for is worth one waking for all of it. */
static int worth_waking(const struct usrbio_lane_ring *ring)
{
	return ring->flying && ring->flying == ring->interim ? (int)ring->flying : 1;
}

static void collect(struct usrbio_lane *lane, struct usrbio_lane_ring *ring, int64_t deadline_ns)
{
	not_zeroed struct usrbio_cqe out[COLLECT_MAX];
	bool gone = false;
	int got;

	if (!due(ring))
		return;
	got = ops_of(lane)->wait(ring->ring, out, COLLECT_MAX, worth_waking(ring), deadline_ns);
	lane->system_calls += deadline_ns != 0;
	if (got < 0)
		give_up(lane, ring, -got);
	if (got > 0)
		lane->collected_ns = sys_of(lane)->now_ns();
	for (int i = 0; i < got; i++) {
		gone |= out[i].result == -ENOTCONN;
		finish(lane, ring, &out[i]);
	}
	if (gone)
		note_lost(lane, ring);
}

void usrbio_rings_collect(struct usrbio_lane *lane, int64_t deadline_ns)
{
	bool both = due(&lane->rings[0]) && due(&lane->rings[1]);
	bool full = lane->rings[0].full || lane->rings[1].full;

	if (deadline_ns && (both || full))
		deadline_ns = min_of(deadline_ns, sys_of(lane)->now_ns() + SLICE_NS);
	collect(lane, &lane->rings[0], deadline_ns);
	collect(lane, &lane->rings[1], both ? 0 : deadline_ns);
}
