/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests to objects in RAM, under way.
 *
 * When a request ends is decided as it comes in: after the bandwidth has carried what was asked
 * before it, by any lane, and itself, and then the latency.  Until that time it waits in a list in the
 * order of these times; reap() copies the bytes of those whose time has come.
 *
 * A request under way is not called back: cancel() has no effect, its bytes arrive when they are due.
 * That is what a disk does, and what tests of lent memory need.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "source/memory_store.h"

struct memory_lane {
	struct source_lane lane;
	uint32_t depth, count;
	struct list waiting; /* by due time; the driving thread's alone */
	struct {
		struct lock lock;
		struct cond cond;
		bool woken;
	} shared; /* touch these only with shared.lock held */
};

static struct memory_lane *memory_lane(struct source_lane *lane)
{
	return container_of(lane, struct memory_lane, lane);
}

int memory_lane_create(struct source *source, const struct lane_how *how, struct source_lane **out,
		       struct weir_error *err)
{
	struct memory_lane *lane = calloc(1, sizeof(*lane));

	if (!lane)
		return error_nomem(err, NULL, "a lane of objects in memory");
	lane->lane.source = source;
	lane->lane.simulated = how->simulated;
	lane->depth = how->depth;
	list_init(&lane->waiting);
	lock_init(&lane->shared.lock);
	cond_init(&lane->shared.cond);
	*out = &lane->lane;
	return 0;
}

/* What is still under way never ends: nothing of it is ours. */
void memory_lane_destroy(struct source_lane *base)
{
	struct memory_lane *lane = memory_lane(base);

	cond_fini(&lane->shared.cond);
	lock_fini(&lane->shared.lock);
	free(lane);
}

void memory_lane_register(struct source_lane *lane, void *memory, uint64_t bytes)
{
	(void)lane;
	(void)memory;
	(void)bytes;
}

/* ---- When ---- */

/* splitmix64: small, seeded, good enough to spread latencies. */
static uint64_t draw_locked(struct memory_source *source)
{
	uint64_t x = source->shared.random += 0x9E3779B97F4A7C15u;

	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
	return x ^ (x >> 31);
}

static int64_t later(int64_t time_ns, int64_t by_ns)
{
	int64_t sum;

	return __builtin_add_overflow(time_ns, by_ns, &sum) ? NEVER : sum;
}

_Static_assert(REQUEST_MAX <= (uint64_t)INT64_MAX / NS_PER_SEC, "the product in due_ns()");

static int64_t due_ns(struct memory_source *source, uint32_t length, int64_t now_ns)
{
	const struct memory_behaviour *how = &source->shared.behaviour;
	int64_t due = now_ns;

	lock_take(&source->shared.lock);
	if (how->bytes_per_second > 0) {
		uint64_t busy = length * (uint64_t)NS_PER_SEC / how->bytes_per_second;

		due = later(max_of(source->shared.free_ns, now_ns), (int64_t)busy);
		source->shared.free_ns = due;
	}
	due = later(due, how->latency_ns);
	if (how->jitter_ns > 0)
		due = later(due, (int64_t)(draw_locked(source) % (uint64_t)how->jitter_ns));
	lock_drop(&source->shared.lock);
	return due;
}

static int64_t request_due(const struct list *link)
{
	return (int64_t)list_entry(link, struct request, link)->scratch[0];
}

int memory_lane_submit(struct source_lane *base, struct request *request)
{
	struct memory_lane *lane = memory_lane(base);
	struct list *before = lane->waiting.prev;
	int64_t due;

	assert(request->length <= REQUEST_MAX);
	if (lane->count == lane->depth)
		return WEIR_LIMIT;
	due = due_ns(memory_source(base->source), request->length,
		     base->source->env->sys->now_ns());
	request->scratch[0] = (uint64_t)due;
	while (before != &lane->waiting && request_due(before) > due)
		before = before->prev;
	list_push_front(before, &request->link);
	lane->count++;
	return 0;
}

/* ---- What ---- */

static int64_t fail(struct request *request, int code, int os_errno)
{
	request->os_errno = os_errno;
	return code;
}

static bool aligned(const struct request *request)
{
	const struct source_object *object = request->object;

	return request->way != WAY_DIRECT ||
	       (request->offset % object->offset_align == 0 &&
		request->length % object->offset_align == 0 &&
		(uintptr_t)request->memory % object->memory_align == 0);
}

static int64_t carry_out(struct request *request)
{
	struct memory_object *object = memory_object(request->object);
	struct blob *blob = object->blob;
	uint64_t left = request->offset < blob->size_bytes ? blob->size_bytes - request->offset : 0;
	uint64_t bytes = min_of((uint64_t)request->length, left);

	request->os_errno = 0;
	if (!aligned(request))
		return fail(request, WEIR_IO, EINVAL);
	if (request->op == REQUEST_READ) {
		if (bytes > 0)
			memcpy(request->memory, blob->data + request->offset, bytes);
		return (int64_t)bytes;
	}
	if (!object->object.writing)
		return fail(request, WEIR_ARG, EBADF);
	if (bytes == 0 && request->length > 0)
		return fail(request, WEIR_NOSPACE, ENOSPC);
	if (bytes > 0)
		memcpy(blob->data + request->offset, request->memory, bytes);
	return (int64_t)bytes;
}

static unsigned take_due(struct memory_lane *lane, struct request **out, unsigned max)
{
	int64_t now_ns = lane->lane.source->env->sys->now_ns();
	unsigned count = 0;

	while (count < max && !list_empty(&lane->waiting) &&
	       request_due(lane->waiting.next) <= now_ns) {
		struct request *request = list_entry(list_pop(&lane->waiting), struct request,
						     link);

		request->result = carry_out(request);
		lane->count--;
		out[count++] = request;
	}
	return count;
}

int64_t memory_lane_next_ns(struct source_lane *base)
{
	struct memory_lane *lane = memory_lane(base);

	return list_empty(&lane->waiting) ? NEVER : request_due(lane->waiting.next);
}

/* Until the time given or a wake; false when it was a wake. */
static bool sleep_until(struct memory_lane *lane, int64_t until_ns)
{
	bool woken, in_time = true;

	lock_take(&lane->shared.lock);
	while (!lane->shared.woken && in_time)
		in_time = cond_wait(&lane->shared.cond, &lane->shared.lock, until_ns);
	woken = lane->shared.woken;
	lane->shared.woken = false;
	lock_drop(&lane->shared.lock);
	return !woken;
}

unsigned memory_lane_reap(struct source_lane *base, struct request **out, unsigned max,
			  int64_t deadline_ns)
{
	struct memory_lane *lane = memory_lane(base);
	unsigned count = take_due(lane, out, max);

	while (count == 0 && !base->simulated && deadline_ns > base->source->env->sys->now_ns()) {
		if (!sleep_until(lane, min_of(deadline_ns, memory_lane_next_ns(base))))
			break;
		count = take_due(lane, out, max);
	}
	return count;
}

void memory_lane_wake(struct source_lane *base)
{
	struct memory_lane *lane = memory_lane(base);

	lock_take(&lane->shared.lock);
	lane->shared.woken = true;
	cond_wake(&lane->shared.cond);
	lock_drop(&lane->shared.lock);
}

void memory_lane_cancel(struct source_lane *lane, struct request *request)
{
	(void)lane;
	(void)request;
}

uint64_t memory_lane_system_calls(const struct source_lane *lane)
{
	(void)lane;
	return 0;
}
