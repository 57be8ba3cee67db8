/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One step of a lane:
 *
 *	fill      submit requests until the lane is as deep as it should be
 *	reap      take what has ended; wait for it where there is nothing else to do
 *	land      ask again for what came back short; copy what was staged; do the books
 *	cross     what goes on to a device is finished when it is there (engine/ferry.h)
 *	settle    check the version of each object once, then settle its whole extents
 *	look      whose time is up, who was cancelled
 */
#include "engine/lane.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/depth.h"
#include "engine/ferry.h"
#include "engine/kept.h"
#include "engine/rest.h"
#include "engine/settle.h"
#include "engine/staging.h"
#include "engine/transfer.h"

#define REAP_MAX 64

/* Staging of the first lane, and of one that only copies. */
#define STAGING_FIRST (8 * MIB)
#define STAGING_OTHER (2 * MIB)
#define STAGING_LEAST (1 * MIB)

struct lane {
	struct group *group;
	uint32_t index;
	struct source_lane *core; /* owned */
	struct staging staging;
	struct sink sink;
	bool registered;
	struct kept kept;
	_Atomic(struct ferry *) ferry; /* owned; NULL: no device was named to its group */

	struct depth depth;
	struct part *parts; /* as many as may ever fly */
	struct list idle, flying;
	uint32_t flying_count;
	uint32_t seen_epoch;
	uint64_t seen_calls;
	int64_t now_ns; /* when the last reap returned: asking for each request costs more than it tells */
	bool hurry; /* what was submitted last is to be reaped before more is */

	bool running;
	pthread_t thread;
	_Atomic int stop;
};

static const struct source_ops *ops_of(const struct lane *lane)
{
	return lane->group->source->ops;
}

uint32_t lane_index(const struct lane *lane)
{
	return lane->index;
}

bool lane_may_read_direct(const struct lane *lane)
{
	return lane->index == 0 || !(ops_of(lane)->features & SOURCE_ONE_DIRECT_LANE);
}

static struct ferry *ferry_of(const struct lane *lane)
{
	/* Acquire, paired with the release of who made it: the lane finds it whole. */
	return atomic_load_explicit(&lane->ferry, memory_order_acquire);
}

bool lane_has_devices(const struct lane *lane)
{
	return ferry_of(lane) != NULL;
}

void lane_look_soon(struct lane *lane)
{
	ferry_look_soon(ferry_of(lane));
}

uint64_t lane_slot_bytes(const struct lane *lane, bool far)
{
	return far ? ferry_slot_bytes(ferry_of(lane)) : lane->staging.slot_bytes;
}

bool lane_has_slots(const struct lane *lane, bool far)
{
	return far ? ferry_has_slots(ferry_of(lane)) : lane->staging.memory != NULL;
}

char *lane_slot_take(struct lane *lane, bool far, uint64_t bytes)
{
	char *slot = far ? ferry_slot_take(ferry_of(lane), bytes)
			 : staging_take(&lane->staging, bytes);

	if (slot && !far && !lane->registered) {
		lane->registered = true;
		ops_of(lane)->lane_register(lane->core, slot, lane->staging.bytes);
	}
	return slot;
}

struct sink *lane_sink(struct lane *lane)
{
	return &lane->sink;
}

/* ---- Making and ending ---- */

static int create_parts(struct lane *lane, struct weir_error *err)
{
	const struct weir_ctx *ctx = lane->group->ctx;

	depth_init(&lane->depth, ctx->opts.depth);
	lane->parts = calloc(depth_ceiling(&lane->depth), sizeof(lane->parts[0]));
	if (!lane->parts)
		return error_nomem(err, NULL, "the requests of a lane");
	for (uint32_t i = 0; i < depth_ceiling(&lane->depth); i++)
		list_push(&lane->idle, &lane->parts[i].link);
	return 0;
}

int lane_create(struct group *group, uint32_t index, struct lane **out, struct weir_error *err)
{
	struct lane *lane = calloc(1, sizeof(*lane));
	uint64_t limit = budget_limit(group->ctx->budget);
	uint64_t most = index == 0 ? STAGING_FIRST : STAGING_OTHER;
	struct lane_how how = {.simulated = group->ctx->simulated};
	int ret;

	if (!lane)
		return error_nomem(err, NULL, "a lane");
	lane->group = group;
	lane->index = index;
	sink_init(&lane->sink, group->ctx->budget, group->pool ? group->pool : group->ctx->pool,
		  group->pool != NULL);
	lane->now_ns = group->ctx->sys->now_ns();
	list_init(&lane->idle);
	list_init(&lane->flying);
	if (limit != BUDGET_NONE)
		most = min_of(most, index == 0 ? limit / 4 : limit / 16);
	if (limit != BUDGET_NONE && index * STAGING_LEAST > limit / 4) {
		free(lane); /* a small budget has few lanes, so that something is left to read into */
		return error_set(err, WEIR_LIMIT, NULL, "the budget has no room for more lanes");
	}
	ret = create_parts(lane, err);
	how.depth = depth_ceiling(&lane->depth);
	if (ret == 0)
		ret = staging_init(&lane->staging, group->ctx->sys, group->ctx->budget,
				   min_of(group_request_bytes(group, NULL), 512 * KIB), most,
				   group->pool, err);
	if (ret == 0)
		ret = ops_of(lane)->lane_create(group->source, &how, &lane->core, err);
	if (ret == 0)
		kept_init(&lane->kept, group->ctx, lane, lane->core);
	if (ret < 0)
		lane_destroy(lane);
	else
		*out = lane;
	return ret;
}

int lane_prepare_devices(struct lane *lane, struct weir_error *err)
{
	struct group *group = lane->group;
	struct ferry *ferry;
	int ret;

	if (ferry_of(lane))
		return 0;
	ret = ferry_create(group->ctx, lane, group->pool, depth_ceiling(&lane->depth),
			   lane->index == 0, &ferry, err);
	if (ret == 0)
		atomic_store_explicit(&lane->ferry, ferry, memory_order_release);
	return ret;
}

static void *drive(void *arg)
{
	struct lane *lane = arg;

	/* Relaxed: the wake that follows the store is what orders it. */
	while (!atomic_load_explicit(&lane->stop, memory_order_relaxed))
		lane_step(lane, NEVER);
	kept_end(&lane->kept);
	return NULL;
}

int lane_run(struct lane *lane, struct weir_error *err)
{
	int ret;

	if (lane->running)
		return 0;
	ret = thread_start(lane->group->ctx->sys, &lane->thread, "weir-lane", drive, lane, err);
	lane->running = ret == 0;
	return ret;
}

void lane_halt(struct lane *lane)
{
	if (!lane->running)
		return;
	atomic_store_explicit(&lane->stop, 1, memory_order_relaxed);
	lane_wake(lane);
	thread_join(lane->thread);
	lane->running = false;
}

void lane_destroy(struct lane *lane)
{
	if (!lane)
		return;
	lane_halt(lane);
	ferry_leave(ferry_of(lane));
	if (lane->core)
		ops_of(lane)->lane_destroy(lane->core);
	/* What still flies is stuck in the kernel: it may yet write to a slot and to its part. */
	if (lane->flying_count)
		return;
	ferry_destroy(ferry_of(lane));
	staging_fini(&lane->staging);
	sink_fini(&lane->sink);
	free(lane->parts);
	free(lane);
}

void lane_wake(struct lane *lane)
{
	ops_of(lane)->wake(lane->core);
}

static bool submit(struct lane *lane, struct part *part)
{
	kept_name(&lane->kept, part);
	return ops_of(lane)->submit(lane->core, &part->request) == 0;
}

/* ---- Land ---- */

/* Asks for the rest of what came back short. */
static bool resubmit(struct lane *lane, struct part *part)
{
	request_rest(&part->request);
	count(&part->sweep->transfer->counters, short_reads, 1);
	return submit(lane, part);
}

static void count_landed(const struct part *part, uint64_t arrived)
{
	struct counters *counters = &part->sweep->transfer->counters;
	uint64_t bytes = arrived - part->start;

	if (part->request.way == WAY_BUFFERED) {
		count(counters, bytes_cached, bytes);
		if (part->request.op == REQUEST_READ)
			count(counters, bytes_copied, bytes);
	} else if (!part->slot) {
		count(counters, bytes_direct, bytes);
	}
}

static void trace_part(const struct lane *lane, const struct part *part, int64_t now_ns)
{
	int kind = part->request.op == REQUEST_WRITE   ? TRACE_WRITE
		   : part->request.way == WAY_BUFFERED ? TRACE_CACHED
						       : TRACE_READ;

	trace_add(lane->group->ctx->trace, kind, lane->index, part->submitted_ns, now_ns,
		  part->start, part->request.offset + part->request.length - part->start);
}

static void copy_out(struct lane *lane, struct part *part, uint64_t upto)
{
	struct trace *trace = lane->group->ctx->trace;
	int64_t start = trace ? lane->group->ctx->sys->now_ns() : 0;

	transfer_copy_out(part, upto);
	if (trace)
		trace_add(trace, TRACE_COPY, lane->index, start, lane->group->ctx->sys->now_ns(),
			  part->start, part->end - part->start);
}

/* What came into a slot goes on to a device: true where it will come back from there. */
static bool crosses(struct lane *lane, struct part *part, uint64_t arrived, int code)
{
	if (!part->device || part->request.op == REQUEST_WRITE)
		return false;
	part->arrived = arrived;
	part->code = code;
	part->os_errno = part->request.os_errno;
	return arrived > part->start &&
	       ferry_begin(ferry_of(lane), part, (uint32_t)(part - lane->parts), arrived);
}

static void do_books(const struct lane *lane, struct part *part, uint64_t arrived, int code,
		     int os_errno, struct extent **finished)
{
	if (part->device) {
		transfer_cover(part);
		if (part->request.op == REQUEST_READ)
			arrived = part->arrived, code = part->code, os_errno = part->os_errno;
		ferry_saw(ferry_of(lane), part, arrived - part->start, code);
	}
	transfer_landed(part, arrived, code, os_errno, lane->now_ns, finished);
}

/* A request has ended: asks on or hands on (false), or does the books. */
static bool land(struct lane *lane, struct part *part, struct extent **finished)
{
	const struct request *request = &part->request;
	uint64_t arrived = request->offset, needed = part_needed_end(part);
	int code = 0;

	if (request->result < 0)
		code = (int)request->result;
	else
		arrived += (uint64_t)request->result;
	if (code == 0 && arrived < needed && request->result > 0 && !part->cancelling) {
		if (resubmit(lane, part))
			return false;
		code = WEIR_IO;
	}
	if (code == 0 && arrived < needed &&
	    !(part->sweep->transfer->opts.flags & WEIR_TRANSFER_AT_END))
		code = part->cancelling               ? WEIR_CANCELLED
		       : request->op == REQUEST_WRITE ? WEIR_IO
						      : WEIR_TRUNCATED;
	if (lane->group->ctx->trace)
		trace_part(lane, part, lane->group->ctx->sys->now_ns());
	if (unlikely(request->retries))
		count(&part->sweep->transfer->counters, retries, request->retries);
	count_landed(part, arrived);
	if (crosses(lane, part, arrived, code))
		return false;
	if (part->slot && !part->device && arrived > part->start && request->op == REQUEST_READ)
		copy_out(lane, part, arrived);
	do_books(lane, part, arrived, code, request->os_errno, finished);
	return true;
}

/* ---- Ending ---- */

static void part_free(struct lane *lane, struct part *part)
{
	if (part->slot && part->device)
		ferry_slot_give(ferry_of(lane), part->slot);
	else if (part->slot)
		staging_give(&lane->staging, part->slot);
	if (part->sunk)
		sink_give(&lane->sink, part->sunk, lane->now_ns);
	part->slot = NULL;
	part->sunk = 0;
	list_remove(&part->link);
	list_push_front(&lane->idle, &part->link);
	lane->flying_count--;
}

static void let_go(struct lane *lane, struct part *part, struct extent *finished,
		   struct version_check *checked)
{
	struct weir_transfer *transfer = part->landing ? part->sweep->transfer : NULL;

	if (transfer)
		settle_all(transfer, finished, checked);
	group_unfly(lane->group, lane, part);
	part_free(lane, part);
	if (transfer) /* else that was said as it landed */
		transfer_let_go(transfer);
}

static void end_part(struct lane *lane, struct part *part, struct version_check *checked)
{
	struct extent *finished = NULL;

	if (land(lane, part, &finished))
		let_go(lane, part, finished, checked);
}

/* ---- To devices, and from them ---- */

/* What is to be written has come from a device, or is to be read once more; true: it is on its way. */
static bool submit_crossed(struct lane *lane, struct part *part)
{
	struct weir_transfer *transfer = part->sweep->transfer;
	bool stopping;

	transfer_cover(part);
	lock_take(&transfer->lock);
	stopping = transfer->stopping;
	lock_drop(&transfer->lock);
	if (part->code == 0 && stopping)
		part->code = WEIR_CANCELLED;
	if (part->code == 0 && submit(lane, part))
		return true;
	part->code = part->code ? part->code : WEIR_IO;
	return false;
}

static void end_crossing(struct lane *lane, struct part *part, struct version_check *checked)
{
	struct extent *finished = NULL;

	ferry_trace(ferry_of(lane), part, lane->index);
	if ((part->request.op == REQUEST_WRITE || part->again) && submit_crossed(lane, part))
		return;
	do_books(lane, part, part->start, part->code, part->os_errno, &finished);
	let_go(lane, part, finished, checked);
}

/* A write from a device: its bytes come first.  Always true: it is in hand. */
static bool fetch(struct lane *lane, struct part *part, struct version_check *checked)
{
	part->arrived = part->start;
	part->code = part->os_errno = 0;
	if (ferry_begin(ferry_of(lane), part, (uint32_t)(part - lane->parts), part->end))
		return true;
	if (part->code == 0) /* nobody wants it any more */
		part->code = WEIR_CANCELLED;
	end_crossing(lane, part, checked);
	return true;
}

/* True when something has crossed. */
static bool end_crossings(struct lane *lane, struct version_check *checked)
{
	struct ferry *ferry = ferry_of(lane);
	struct part *part, *last = NULL;

	for (; ferry && (part = ferry_next(ferry)); last = part)
		end_crossing(lane, part, checked);
	return last;
}

/* ---- Fill ---- */

/* False: nothing more to do, or no room to do it in. */
static bool fill_one(struct lane *lane, struct version_check *checked)
{
	const struct weir_ctx *ctx = lane->group->ctx;
	struct part *part;

	if (lane->flying_count >= lane->depth.now || ferry_is_full(ferry_of(lane)))
		return false;
	part = list_entry(lane->idle.next, struct part, link);
	part->submitted_ns = ctx->trace || ctx->simulated ? ctx->sys->now_ns() : lane->now_ns;
	if (!group_next(lane->group, lane, part))
		return false;
	list_remove(&part->link);
	list_push(&lane->flying, &part->link);
	lane->flying_count++;
	/* The processor has just copied it: it crosses while the next one is copied. */
	lane->hurry = part->device && part->request.way == WAY_BUFFERED;
	part->request.result = WEIR_CANCELLED;
	part->request.os_errno = 0;
	if (part->device &&
	    (part->request.op == REQUEST_WRITE ? fetch(lane, part, checked)
					       : ferry_read_straight(ferry_of(lane), part)))
		return true;
	if (!part->slot || part->request.op == REQUEST_READ || transfer_copy_in(part)) {
		if (submit(lane, part))
			return true;
		part->request.result = WEIR_IO;
	}
	end_part(lane, part, checked);
	return true;
}

/* ---- Look ---- */

/* Asks the source to hurry with what nobody waits for any more. */
static void cancel_flying(struct lane *lane)
{
	bool room = false;

	list_for_each(link, &lane->flying) {
		struct part *part = list_entry(link, struct part, link);
		struct weir_transfer *transfer = part->sweep->transfer;
		bool stopping;

		lock_take(&transfer->lock);
		stopping = transfer->stopping;
		lock_drop(&transfer->lock);
		if (!stopping || part->cancelling || part->crossing)
			continue;
		part->cancelling = true;
		/* It may be stuck for ever, and others wait for its place among background. */
		room |= part->background;
		group_unfly(lane->group, lane, part);
		ops_of(lane)->cancel(lane->core, &part->request);
	}
	if (room) /* this step has looked for more before */
		lane_wake(lane);
}

static void look(struct lane *lane)
{
	struct group *group = lane->group;
	/* Acquire, paired with tell_lanes(): what was stopped is seen as stopped. */
	uint32_t epoch = atomic_load_explicit(&group->epoch, memory_order_acquire);

	if (lane->index == 0)
		group_check_time(group, lane->now_ns);
	group_say_refusal(group);
	kept_settle(&lane->kept);
	if (epoch == lane->seen_epoch)
		return;
	lane->seen_epoch = epoch;
	cancel_flying(lane);
}

/* ---- The step ---- */

/* Whom a lane works and waits for: the transfer of the request that has flown longest. */
static struct counters *counters_of(const struct lane *lane)
{
	if (list_empty(&lane->flying))
		return &lane->group->ctx->counters;
	return &list_entry(lane->flying.next, struct part, link)->sweep->transfer->counters;
}

static void count_step(struct lane *lane, int64_t waited_ns)
{
	uint64_t calls = ops_of(lane)->system_calls ? ops_of(lane)->system_calls(lane->core) : 0;
	struct counters *counters = counters_of(lane);

	count(counters, system_calls, calls - lane->seen_calls);
	lane->seen_calls = calls;
	if (lane->flying_count)
		count(counters, stall_ns_source, (uint64_t)waited_ns);
}

static unsigned reap(struct lane *lane, struct request **out, int64_t deadline_ns)
{
	const struct sys *sys = lane->group->ctx->sys;
	int64_t before = sys->now_ns();
	unsigned n;

	if (lane->index == 0)
		deadline_ns = min_of(deadline_ns, atomic_load_explicit(&lane->group->check_ns,
								       memory_order_relaxed));
	if (ferry_of(lane))
		deadline_ns = min_of(deadline_ns, ferry_look_ns(ferry_of(lane)));
	n = ops_of(lane)->reap(lane->core, out, REAP_MAX, deadline_ns);
	lane->now_ns = sys->now_ns();
	count_step(lane, lane->now_ns - before);
	return n;
}

bool lane_step(struct lane *lane, int64_t deadline_ns)
{
	struct request *ended[REAP_MAX];
	struct version_check checked = {NULL};
	bool filled = false, crossed;
	uint64_t bytes = 0;
	bool full;
	unsigned n;

	lane->hurry = false;
	if (ferry_of(lane))
		ferry_begin_step(ferry_of(lane));
	while (!lane->hurry && fill_one(lane, &checked))
		filled = true;
	full = lane->flying_count >= lane->depth.now;
	n = reap(lane, ended, lane->hurry ? 0 : deadline_ns);
	checked.object = NULL; /* what landed now is checked now */
	for (unsigned i = 0; i < n; i++) {
		bytes += (uint64_t)max_of(ended[i]->result, INT64_C(0));
		end_part(lane, container_of(ended[i], struct part, request), &checked);
	}
	crossed = end_crossings(lane, &checked);
	if (n > 0)
		depth_landed(&lane->depth, bytes, full, lane->now_ns);
	look(lane);
	return filled || crossed || n > 0;
}

int64_t lane_next_ns(struct lane *lane)
{
	int64_t next = ops_of(lane)->next_ns ? ops_of(lane)->next_ns(lane->core) : NEVER;

	if (ferry_of(lane))
		next = min_of(next, ferry_look_ns(ferry_of(lane)));
	if (lane->index == 0)
		next = min_of(next,
			      atomic_load_explicit(&lane->group->check_ns, memory_order_relaxed));
	return next;
}
