/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/group.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/depth.h"
#include "engine/lane.h"
#include "engine/transfer.h"

#define REQUEST_DEFAULT (512 * KIB)

/* Lanes where nobody says otherwise: more copy no faster than memory allows. */
#define LANES_DEFAULT_MAX 4u

/* Requests of background extents in flight at one time. */
#define BACKGROUND_DEPTH (DEPTH_START / 4)

int group_create(struct weir_ctx *ctx, struct source *source, struct group **out,
		 struct weir_error *err)
{
	struct group *group = calloc(1, sizeof(*group));

	if (!group) {
		source->ops->destroy(source);
		return error_nomem(err, NULL, "a group of lanes");
	}
	group->ctx = ctx;
	group->source = source;
	group->index = ctx->group_count;
	group->cpus = (uint32_t)max_of(sysconf(_SC_NPROCESSORS_ONLN), 1L);
	lock_init(&group->lock);
	for (int i = 0; i < SWEEP_CLASSES; i++)
		list_init(&group->ready[i]);
	list_init(&group->all);
	atomic_init(&group->check_ns, NEVER);
	*out = group;
	return 0;
}

void group_halt(struct group *group)
{
	for (uint32_t i = 0; i < group->lane_count; i++)
		lane_halt(group->lanes[i]);
}

void group_stop(struct group *group)
{
	for (uint32_t i = 0; i < group->lane_count; i++)
		lane_destroy(group->lanes[i]);
	group->lane_count = 0;
}

void group_end(struct group *group)
{
	group->source->ops->destroy(group->source);
	group->source = NULL;
	if (group->pool)
		pool_trim(group->pool);
}

void group_destroy(struct group *group)
{
	pool_unref(group->pool);
	free(group->store);
	lock_fini(&group->lock);
	free(group);
}

/* A GPU's bus is faster than four processors copy. */
#define LANES_DEVICES_MAX 8u

static uint32_t lanes_wanted(const struct group *group, bool devices)
{
	uint32_t most = devices ? LANES_DEVICES_MAX : LANES_DEFAULT_MAX;

	return group->ctx->opts.lanes ? group->ctx->opts.lanes : min_of(group->cpus, most);
}

/* The first lane must be had; fewer of the others only make copying slower. */
static int add_lane(struct group *group, struct weir_error *err)
{
	uint32_t index = group->lane_count;
	struct lane *lane;
	int ret = lane_create(group, index, &lane, err);

	if (ret < 0)
		return ret;
	if (!group->ctx->simulated && (ret = lane_run(lane, err)) < 0) {
		lane_destroy(lane);
		return ret;
	}
	group->lanes[index] = lane;
	/* Release: group_wake() walks the lanes without the lock. */
	__atomic_store_n(&group->lane_count, index + 1, __ATOMIC_RELEASE);
	return 0;
}

/* As with lanes: the first must have what it takes. */
static int prepare_devices(struct group *group, struct weir_error *err)
{
	int ret = lane_prepare_devices(group->lanes[0], err);

	for (uint32_t i = 1; ret == 0 && i < group->lane_count; i++)
		if (lane_prepare_devices(group->lanes[i], NULL) < 0)
			break;
	return ret;
}

int group_start(struct group *group, bool devices, struct weir_error *err)
{
	uint32_t wanted = lanes_wanted(group, devices);
	int ret = 0;

	lock_take(&group->lock);
	if (group->lane_count == 0)
		ret = add_lane(group, err);
	while (ret == 0 && group->lane_count < wanted)
		if (add_lane(group, NULL) < 0)
			break;
	if (ret == 0 && devices)
		ret = prepare_devices(group, err);
	lock_drop(&group->lock);
	return ret;
}

void group_add(struct group *group, struct sweep *sweep)
{
	lock_take(&group->lock);
	/* Lane 0 looks at once, and then knows when to look again. */
	atomic_store_explicit(&group->check_ns, 0, memory_order_relaxed);
	list_push(&group->ready[sweep->class_], &sweep->ready);
	list_push(&group->all, &sweep->all);
	lock_drop(&group->lock);
	if (group->source->ops->features & SOURCE_ONE_DIRECT_LANE)
		lane_wake(
			group->lanes[0]); /* it wakes the others where there is something to copy */
	else
		group_wake(group);
}

void group_remove(struct group *group, struct sweep *sweep)
{
	lock_take(&group->lock);
	list_remove(&sweep->ready);
	list_remove(&sweep->all);
	lock_drop(&group->lock);
	if (sweep->class_ == SWEEP_URGENT)
		group_wake(group); /* background may have waited behind it */
}

void group_note_refusal(struct group *group, const struct weir_error *why)
{
	int none = REFUSAL_NONE;

	if (!atomic_compare_exchange_strong_explicit(&group->pool_refused, &none, REFUSAL_COMING,
						     memory_order_relaxed, memory_order_relaxed))
		return;
	group->pool_why = *why;
	/* Release, paired with the acquire of who says it. */
	atomic_store_explicit(&group->pool_refused, REFUSAL_NOTED, memory_order_release);
}

void group_say_refusal(struct group *group)
{
	int noted = REFUSAL_NOTED;

	if (atomic_load_explicit(&group->pool_refused, memory_order_relaxed) == REFUSAL_NOTED &&
	    atomic_compare_exchange_strong_explicit(&group->pool_refused, &noted, REFUSAL_SAID,
						    memory_order_acquire, memory_order_relaxed))
		log_warn(&group->ctx->log, "what is read is copied once: %s",
			 group->pool_why.message);
}

/* Without the group's lock, since it is called with others held; the count only grows. */
static void wake_from(struct group *group, uint32_t first)
{
	uint32_t lanes = __atomic_load_n(&group->lane_count, __ATOMIC_ACQUIRE);

	for (uint32_t i = first; i < lanes; i++)
		lane_wake(group->lanes[i]);
}

void group_wake(struct group *group)
{
	wake_from(group, 0);
}

void group_wake_copiers(struct group *group)
{
	wake_from(group, 1);
}

uint64_t group_request_bytes(const struct group *group, const struct source_object *object)
{
	if (group->ctx->opts.request_bytes) /* but a block is the least that can be asked for */
		return max_of(group->ctx->opts.request_bytes,
			      (uint64_t)(object ? object->offset_align : 1));
	return object && object->request_bytes ? object->request_bytes : REQUEST_DEFAULT;
}

void group_choice(struct group *group, struct weir_choice *out)
{
	const struct weir_ctx *ctx = group->ctx;

	*out = (struct weir_choice){.direct = 1};
	out->lanes = lanes_wanted(group, false);
	out->depth = ctx->opts.depth ? ctx->opts.depth : DEPTH_START;
	out->request_bytes = group_request_bytes(group, NULL);
	group->source->ops->choice(group->source, out);
	if (ctx->opts.request_bytes)
		out->request_bytes = ctx->opts.request_bytes;
}

/* ---- Work ---- */

/*
 * Others are served first: background is asked when they have nothing to do now.  While an urgent one
 * waits for memory or for a slot, background leaves both alone; it has a quarter of a lane's depth.  That
 * is for all lanes together: one that is refused may have nothing under way that would wake it.
 */
static bool background_may_fly(struct group *group, const struct lane *lane, bool urgent_waits)
{
	if (urgent_waits)
		return false;
	if (group->background_flying < BACKGROUND_DEPTH)
		return true;
	group->background_refused |= UINT64_C(1) << lane_index(lane);
	return false;
}

/* With the group's lock held. */
static enum sweep_answer ask(struct group *group, struct sweep *sweep, struct lane *lane,
			     struct part *part)
{
	struct weir_transfer *transfer = sweep->transfer;
	enum sweep_answer answer = SWEEP_FULL;

	lock_take(&transfer->lock);
	if (transfer->stopping)
		answer = SWEEP_DONE;
	else if (!queue_full(transfer->queue))
		answer = sweep_next(sweep, lane, part);
	if (answer == SWEEP_PART) {
		transfer_took_off(transfer, part);
		part->background = sweep->class_ == SWEEP_BACKGROUND;
		group->background_flying += part->background;
	}
	lock_drop(&transfer->lock);
	return answer;
}

/* One class: its sweeps in turn, each for one request. */
static bool next_of_class(struct group *group, int class_, struct lane *lane, struct part *part,
			  bool *waits)
{
	struct list *ready = &group->ready[class_];

	list_for_each_safe(link, ready) {
		struct sweep *sweep = list_entry(link, struct sweep, ready);
		enum sweep_answer answer = ask(group, sweep, lane, part);

		if (answer == SWEEP_DONE)
			list_remove(&sweep->ready);
		*waits |= answer == SWEEP_WAIT;
		if (answer != SWEEP_PART)
			continue;
		list_remove(&sweep->ready);
		list_push(ready, &sweep->ready);
		return true;
	}
	return false;
}

bool group_next(struct group *group, struct lane *lane, struct part *part)
{
	bool found = false, urgent_waits = false, others_wait = false;

	lock_take(&group->lock);
	for (int class_ = 0; !found && class_ < SWEEP_CLASSES; class_++) {
		bool *waits = class_ == SWEEP_URGENT ? &urgent_waits : &others_wait;

		if (class_ == SWEEP_BACKGROUND && !background_may_fly(group, lane, urgent_waits))
			continue;
		found = next_of_class(group, class_, lane, part, waits);
	}
	lock_drop(&group->lock);
	return found;
}

/* The lane itself looks for more in any case. */
void group_unfly(struct group *group, const struct lane *lane, struct part *part)
{
	uint64_t refused;

	if (!part->background)
		return;
	part->background = false;
	lock_take(&group->lock);
	group->background_flying--;
	refused = group->background_refused & ~(UINT64_C(1) << lane_index(lane));
	group->background_refused = 0;
	lock_drop(&group->lock);
	for (; refused; refused &= refused - 1)
		lane_wake(group->lanes[__builtin_ctzll(refused)]);
}

void group_check_time(struct group *group, int64_t now_ns)
{
	int64_t next = NEVER, expected = NEVER;

	if (now_ns < atomic_load_explicit(&group->check_ns, memory_order_relaxed))
		return;
	/* First, so that what is added meanwhile makes us look again. */
	atomic_store_explicit(&group->check_ns, NEVER, memory_order_relaxed);
	lock_take(&group->lock);
	list_for_each(link, &group->all) {
		struct sweep *sweep = list_entry(link, struct sweep, all);

		next = min_of(next, transfer_check_time(sweep->transfer, now_ns));
	}
	lock_drop(&group->lock);
	/* Only over what stood there: what was added meanwhile has put 0, and wants its look. */
	atomic_compare_exchange_strong_explicit(&group->check_ns, &expected, next,
						memory_order_relaxed, memory_order_relaxed);
}
