/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of a source in front of another, in slots made with the lane.
 *
 * The next lane does all the waiting: a wake goes to it, and it is asked to wait no longer than until
 * the first of our own is due.  Where we go on after that, a wake is remembered here too: one that comes as
 * something falls due, or comes back, may have been used up below.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "source/front.h"

/* How many are taken from the next lane at once. */
#define REAP_MAX 32

/* A lane that has slots for us and still says that it is full is asked again after this. */
#define FULL_NS (1 * NS_PER_MS)

struct front_lane {
	struct source_lane lane;
	struct source_lane *next;
	struct list idle, waiting; /* slots; the waiting by due time */
	uint32_t passed_on;
	_Atomic bool woken; /* and no reap ended for it, as far as we know */
	struct front_slot slots[];
};

static struct front_lane *front_lane(struct source_lane *lane)
{
	return container_of(lane, struct front_lane, lane);
}

static int64_t now(const struct front_lane *lane)
{
	return lane->lane.source->env->sys->now_ns();
}

static int front_lane_create(struct source *source, const struct lane_how *how,
			     struct source_lane **out, struct weir_error *err)
{
	struct source *next = front(source)->next;
	struct front_lane *lane = calloc(1, sizeof(*lane) + how->depth * sizeof(lane->slots[0]));
	int ret;

	if (!lane)
		return error_nomem(err, NULL, "a lane");
	ret = next->ops->lane_create(next, how, &lane->next, err);
	if (ret) {
		free(lane);
		return ret;
	}
	lane->lane.source = source;
	lane->lane.simulated = how->simulated;
	list_init(&lane->idle);
	list_init(&lane->waiting);
	for (uint32_t i = 0; i < how->depth; i++)
		list_push(&lane->idle, &lane->slots[i].link);
	*out = &lane->lane;
	return 0;
}

static void front_lane_destroy(struct source_lane *base)
{
	struct front_lane *lane = front_lane(base);

	lane->next->source->ops->lane_destroy(lane->next);
	/* What is stuck below keeps its slot: its answer would go there. */
	if (lane->passed_on == 0)
		free(lane);
}

static void front_lane_register(struct source_lane *base, void *memory, uint64_t bytes)
{
	struct source_lane *next = front_lane(base)->next;

	next->source->ops->lane_register(next, memory, bytes);
}

static uint32_t front_lane_pin(struct source_lane *base, void *memory, uint64_t bytes)
{
	struct source_lane *next = front_lane(base)->next;

	return next->source->ops->lane_pin(next, memory, bytes);
}

static void front_lane_unpin(struct source_lane *base, uint32_t pin)
{
	struct source_lane *next = front_lane(base)->next;

	next->source->ops->lane_unpin(next, pin);
}

/* What waits here for its time holds nothing up: the bell ends the next lane's sleep, and ours. */
static bool front_lane_listen(struct source_lane *base, const struct bell *bell)
{
	struct source_lane *next = front_lane(base)->next;

	return next->source->ops->lane_listen(next, bell);
}

static void front_lane_gather(struct source_lane *base, uint32_t least)
{
	struct source_lane *next = front_lane(base)->next;

	next->source->ops->lane_gather(next, least);
}

/* ---- Slots ---- */

static struct front_slot *slot_of(struct list *link)
{
	return list_entry(link, struct front_slot, link);
}

static void wait_for_its_time(struct front_lane *lane, struct front_slot *slot)
{
	struct list *before = lane->waiting.prev;

	while (before != &lane->waiting && slot_of(before)->due_ns > slot->due_ns)
		before = before->prev;
	list_push_front(before, &slot->link);
}

static void fill(struct front_slot *slot, struct request *request)
{
	*slot = (struct front_slot){
		.inner = *request,
		.outer = request,
	};
	list_init(&slot->link);
	slot->inner.object = front_next_object(request->object);
	request->scratch[0] = (uint64_t)(uintptr_t)slot;
}

static int pass_on(struct front_lane *lane, struct front_slot *slot)
{
	int ret = lane->next->source->ops->submit(lane->next, &slot->inner);

	if (ret)
		return ret;
	slot->passed_on = true;
	lane->passed_on++;
	return 0;
}

/* The outer request gets the answer; the slot is idle. */
static struct request *hand_back(struct front_lane *lane, struct front_slot *slot)
{
	struct request *request = slot->outer;

	request->result = slot->inner.result;
	request->os_errno = slot->inner.os_errno;
	request->retries = slot->inner.retries;
	list_push_front(&lane->idle, &slot->link);
	return request;
}

static int front_submit(struct source_lane *base, struct request *request)
{
	struct front_lane *lane = front_lane(base);
	struct front *source = front(base->source);
	struct list *link = list_pop(&lane->idle);
	struct front_slot *slot;
	int ret = 0;

	if (!link)
		return WEIR_LIMIT;
	slot = slot_of(link);
	fill(slot, request);
	if (source->hooks->begin)
		ret = source->hooks->begin(source, slot);
	if (ret == 0 && (slot->ended || (slot->due_ns > 0 && slot->due_ns > now(lane))))
		wait_for_its_time(lane, slot);
	else if (ret == 0)
		ret = pass_on(lane, slot);
	if (ret)
		list_push_front(&lane->idle, &slot->link);
	return ret;
}

/* ---- Reaping ---- */

/* Those whose time has come go on, or back. */
static unsigned start_due(struct front_lane *lane, struct request **out, unsigned max)
{
	unsigned count = 0;
	int64_t now_ns;

	if (likely(list_empty(&lane->waiting)))
		return 0;
	now_ns = now(lane);
	while (count < max && !list_empty(&lane->waiting)) {
		struct front_slot *slot = slot_of(lane->waiting.next);

		if (slot->due_ns > now_ns)
			break;
		list_remove(&slot->link);
		if (slot->ended) {
			out[count++] = hand_back(lane, slot);
		} else if (pass_on(lane, slot)) {
			slot->due_ns = now_ns + FULL_NS;
			wait_for_its_time(lane, slot);
		}
	}
	return count;
}

static int64_t first_due(const struct front_lane *lane)
{
	return list_empty(&lane->waiting) ? NEVER : slot_of(lane->waiting.next)->due_ns;
}

/* Asks the next lane once; *got: it had something, even if none of it goes back. */
static unsigned reap_next(struct front_lane *lane, struct request **out, unsigned max,
			  int64_t deadline_ns, bool *got)
{
	struct front *source = front(lane->lane.source);
	not_zeroed struct request *inner[REAP_MAX];
	unsigned count = 0,
		 came = lane->next->source->ops->reap(lane->next, inner,
						      min_of(max, (unsigned)REAP_MAX), deadline_ns);

	for (unsigned i = 0; i < came; i++) {
		struct front_slot *slot = container_of(inner[i], struct front_slot, inner);

		slot->passed_on = false;
		lane->passed_on--;
		if (source->hooks->back(source, slot))
			out[count++] = hand_back(lane, slot);
		else
			wait_for_its_time(lane, slot);
	}
	*got = came > 0;
	return count;
}

static bool was_woken(struct front_lane *lane)
{
	return atomic_load_explicit(&lane->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&lane->woken, false, memory_order_acquire);
}

static unsigned front_reap(struct source_lane *base, struct request **out, unsigned max,
			   int64_t deadline_ns)
{
	struct front_lane *lane = front_lane(base);
	bool got = false;

	for (;;) {
		unsigned count = start_due(lane, out, max);
		int64_t until_ns = count ? 0 : min_of(deadline_ns, first_due(lane));

		if (count < max)
			count += reap_next(lane, out + count, max - count, until_ns, &got);
		/* A wake, also one that came just as something was due; or the deadline. */
		if (count > 0 || base->simulated || was_woken(lane) ||
		    (!got && list_empty(&lane->waiting)) || now(lane) >= deadline_ns)
			return count;
	}
}

static void front_wake(struct source_lane *base)
{
	struct front_lane *lane = front_lane(base);

	/* Release, paired with was_woken(): what it is woken for is seen. */
	atomic_store_explicit(&lane->woken, true, memory_order_release);
	lane->next->source->ops->wake(lane->next);
}

static void front_cancel(struct source_lane *base, struct request *request)
{
	struct front_lane *lane = front_lane(base);
	struct front_slot *slot = (struct front_slot *)(uintptr_t)request->scratch[0];

	slot->cancelled = true;
	if (slot->passed_on) {
		lane->next->source->ops->cancel(lane->next, &slot->inner);
	} else if (!slot->stuck && !slot->ended) {
		list_remove(&slot->link);
		slot->ended = true;
		slot->inner.result = WEIR_CANCELLED;
		slot->inner.os_errno = 0;
		slot->due_ns = now(lane);
		wait_for_its_time(lane, slot);
	}
}

static int64_t front_next_ns(struct source_lane *base)
{
	struct front_lane *lane = front_lane(base);

	return min_of(first_due(lane), lane->next->source->ops->next_ns(lane->next));
}

static uint64_t front_system_calls(const struct source_lane *base)
{
	const struct front_lane *lane = container_of(base, const struct front_lane, lane);

	return lane->next->source->ops->system_calls(lane->next);
}

void front_hand_on_lanes(struct source_ops *ops, const struct source_ops *next)
{
	FRONT_HAND_ON(ops, lane_create);
	FRONT_HAND_ON(ops, lane_destroy);
	FRONT_HAND_ON(ops, lane_register);
	FRONT_HAND_ON(ops, submit);
	FRONT_HAND_ON(ops, reap);
	FRONT_HAND_ON(ops, wake);
	FRONT_HAND_ON(ops, cancel);
	FRONT_HAND_ON(ops, next_ns);
	FRONT_HAND_ON(ops, system_calls);
	FRONT_HAND_ON_IF(ops, next, lane_pin);
	FRONT_HAND_ON_IF(ops, next, lane_unpin);
	FRONT_HAND_ON_IF(ops, next, lane_listen);
	FRONT_HAND_ON_IF(ops, next, lane_gather);
}
