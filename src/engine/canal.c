/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/canal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/canal_inside.h"
#include "engine/context.h"
#include "engine/lane.h"
#include "engine/transfer.h"

/* Below that, a call costs more than the copy that it saves. */
#define CANAL_MIN (32 * KIB)

/* Calls under way at once, of all lanes; a lane may always have one. */
#define CALLS_MAX 24

/* Where so many reads in a row failed, none is tried for as long as a verdict holds. */
#define FAILURES_MAX 3

/* A read of a lane's. */
struct canal_call {
	struct helper_call call;
	struct list link; /* free, or ended */
	struct canal_dock *dock;
	struct part *part;
	struct canal_file *file;
	char *to;
	uint64_t bytes;
	int64_t got; /* bytes, or an answer of cuFile's as a negative number */
	int os_errno;
};

struct canal_dock {
	struct canal *canal;
	uint32_t running; /* the lane's own count */

	struct lock lock;
	/* Under the lock. */
	struct lane *lane; /* NULL: gone */
	struct list free, ended;

	struct canal_call calls[CALLS_MAX];
};

/* ---- Docks ---- */

static int run_read(struct helper_call *helper_call);
static void end_read(struct helper_call *helper_call);

int canal_dock_create(struct canal *canal, struct lane *lane, struct canal_dock **out,
		      struct weir_error *err)
{
	struct canal_dock *dock;

	*out = NULL;
	if (!canal)
		return 0;
	dock = calloc(1, sizeof(*dock));
	if (!dock)
		return error_nomem(err, NULL, "a lane's reads by cuFile");
	dock->canal = canal;
	dock->lane = lane;
	lock_init(&dock->lock);
	list_init(&dock->free);
	list_init(&dock->ended);
	for (size_t i = 0; i < array_size(dock->calls); i++) {
		dock->calls[i].call.run = run_read;
		dock->calls[i].call.free = end_read;
		dock->calls[i].dock = dock;
		list_push(&dock->free, &dock->calls[i].link);
	}
	*out = dock;
	return 0;
}

void canal_dock_leave(struct canal_dock *dock)
{
	if (!dock)
		return;
	lock_take(&dock->lock);
	dock->lane = NULL;
	lock_drop(&dock->lock);
}

void canal_dock_destroy(struct canal_dock *dock)
{
	if (!dock)
		return;
	lock_fini(&dock->lock);
	free(dock);
}

bool canal_is_full(const struct canal_dock *dock)
{
	return dock && dock->running &&
	       atomic_load_explicit(&dock->canal->calls, memory_order_relaxed) >= CALLS_MAX;
}

/* ---- On a helper thread ---- */

static int run_read(struct helper_call *helper_call)
{
	struct canal_call *call = container_of(helper_call, struct canal_call, call);
	const struct cufile_driver *driver = &call->dock->canal->cufile.driver;
	struct cuda_device *device = call->part->device;

	if (cuda_enter(device) != CU_OK)
		return 0; /* the ferry will meet it, and say so */
	errno = 0;
	call->got = driver->read(call->file->handle, call->to, call->bytes,
				 (off_t)call->part->request.offset, 0);
	call->os_errno = call->got == -1 ? errno : 0;
	cuda_leave(device);
	return 0;
}

/* Also of what could not be begun. */
static void end_read(struct helper_call *helper_call)
{
	struct canal_call *call = container_of(helper_call, struct canal_call, call);
	struct canal_dock *dock = call->dock;
	struct canal *canal = dock->canal;

	lock_take(&dock->lock);
	list_push(&dock->ended, &call->link);
	if (dock->lane)
		lane_wake(dock->lane);
	lock_drop(&dock->lock);
	canal_call_ended(canal);
}

/* ---- Which parts ---- */

struct stretch {
	char *to;
	uint64_t bytes;
};

/* Is the part whole blocks that go to one stretch of memory, which nobody else is using? */
static bool find_stretch(const struct part *part, struct stretch *out)
{
	const struct request *request = &part->request;
	struct cursor cursor = part->from;
	struct extent *extent = NULL;
	struct piece piece;

	*out = (struct stretch){NULL, 0};
	while (part_next(part, &cursor, &piece)) {
		char *to = piece.extent->memory + piece.done;

		if (piece.length == 0)
			continue;
		if (!out->to)
			out->to = to;
		if (piece.offset != request->offset + out->bytes || to != out->to + out->bytes)
			return false;
		if (piece.extent != extent && !berth_passed(piece.extent->berth))
			return false;
		extent = piece.extent;
		out->bytes += piece.length;
	}
	return out->bytes == request->length && out->bytes >= CANAL_MIN;
}

/* With the lock held; NULL: there are too many. */
static struct passage *find_passage(struct canal *canal, const struct cuda_device *device,
				    dev_t file_system)
{
	struct passage *passage = canal->passages;

	for (; passage < canal->passages + canal->passage_count; passage++)
		if (passage->device == device && passage->file_system == file_system)
			return passage;
	if (canal->passage_count == PASSAGES_MAX)
		return NULL;
	canal->passage_count++;
	*passage = (struct passage){.device = device, .file_system = file_system};
	return passage;
}

/* Does the part go by the canal?  If not, it may still count in a trial. */
static bool choose(struct canal *canal, struct part *part, dev_t file_system, uint64_t bytes)
{
	int64_t now = canal->ctx->sys->now_ns();
	struct passage *passage;
	int way = 0;

	lock_take(&canal->lock);
	passage = find_passage(canal, part->device, file_system);
	part->passage = passage;
	if (passage && now >= passage->shut_until_ns)
		way = canal->wish == WEIR_CUFILE_ON
			      ? 1
			      : trial_choose(&passage->trial, part->sweep->transfer, bytes, now,
					     &part->mark);
	lock_drop(&canal->lock);
	return way == 1;
}

/* Does everybody still want the bytes?  What has settled is not the transfer's to write any more. */
static bool all_want(const struct part *part)
{
	struct cursor cursor = part->from;
	struct piece piece;

	while (part_next(part, &cursor, &piece))
		if (!transfer_wants(part->sweep->transfer, piece.extent))
			return false;
	return true;
}

static struct canal_call *take_call(struct canal_dock *dock)
{
	struct list *link;

	lock_take(&dock->lock);
	link = list_pop(&dock->free);
	lock_drop(&dock->lock);
	return link ? list_entry(link, struct canal_call, link) : NULL;
}

static void give_call(struct canal_dock *dock, struct canal_call *call)
{
	lock_take(&dock->lock);
	list_push(&dock->free, &call->link);
	lock_drop(&dock->lock);
}

bool canal_begin(struct canal_dock *dock, struct part *part)
{
	struct canal_file *file;
	struct canal_call *call;
	struct stretch stretch;

	/* Where there is no cuFile, no more than this is spent on it. */
	if (!dock || part->request.way != WAY_DIRECT || !canal_is_open(dock->canal, part->device) ||
	    !find_stretch(part, &stretch))
		return false;
	file = canal_file_of(dock->canal, part);
	if (!file || !choose(dock->canal, part, file->file_system, stretch.bytes))
		return false;
	call = take_call(dock);
	if (!call)
		return false;
	call->part = part;
	call->file = file;
	call->to = stretch.to;
	call->bytes = stretch.bytes;
	call->got = 0;
	call->os_errno = 0;
	transfer_expose(part);
	if (!all_want(part)) {
		transfer_cover(part);
		give_call(dock, call);
		return false;
	}
	part->crossing = part->straight = true;
	part->crossed_ns = dock->canal->ctx->sys->now_ns();
	dock->running++;
	canal_post(dock->canal, &call->call);
	return true;
}

/* ---- What came of it ---- */

static void say_failed(struct canal *canal, const struct canal_call *call)
{
	const char *uri = call->part->request.object->uri;
	unsigned long long offset = call->part->request.offset;
	char text[CUFILE_TEXT_MAX];

	if (call->got < 0)
		log_warn(&canal->ctx->log, "%s: at offset %llu: %s%s%s; read by way of the host",
			 uri, offset, cufile_text((int)call->got, text), call->os_errno ? ": " : "",
			 call->os_errno ? strerrordesc_np(call->os_errno) : "");
	else
		log_warn(
			&canal->ctx->log,
			"%s: at offset %llu: cuFile brought %lld of %llu bytes; read by way of the "
			"host",
			uri, offset, (long long)call->got, (unsigned long long)call->bytes);
}

static void note(struct canal *canal, struct part *part, bool well)
{
	int64_t now = canal->ctx->sys->now_ns();

	lock_take(&canal->lock);
	part->passage->failures = well ? 0 : part->passage->failures + 1;
	if (part->passage->failures >= FAILURES_MAX) {
		part->passage->failures = 0;
		part->passage->shut_until_ns = now + TRIAL_KEEP_NS;
	}
	if (!well)
		trial_ended(&part->passage->trial, part->mark, 0, false, now);
	lock_drop(&canal->lock);
	if (!well)
		part->mark = TRIAL_NONE;
}

/* The part's books begin: did it land, or is it to be read again? */
static void land(struct canal *canal, const struct canal_call *call)
{
	struct part *part = call->part;
	struct counters *counters = &part->sweep->transfer->counters;

	part->crossing = false;
	part->again = call->got != (int64_t)call->bytes;
	part->arrived = part->again ? part->start : part->start + call->bytes;
	part->code = part->os_errno = 0;
	if (part->again) {
		say_failed(canal, call);
		count(counters, cufile_redone, 1);
		count(counters, short_reads, call->got > 0);
	} else {
		count(counters, bytes_cufile, call->bytes);
	}
	note(canal, part, !part->again);
}

struct part *canal_next(struct canal_dock *dock)
{
	struct canal_call *call;
	struct list *link;
	struct part *part;

	if (!dock || !dock->running)
		return NULL;
	lock_take(&dock->lock);
	link = list_pop(&dock->ended);
	lock_drop(&dock->lock);
	if (!link)
		return NULL;
	dock->running--;
	call = list_entry(link, struct canal_call, link);
	part = call->part;
	land(dock->canal, call);
	give_call(dock, call);
	return part;
}

void canal_saw(struct canal_dock *dock, struct part *part, uint64_t bytes, int code)
{
	struct canal *canal;
	double staged, straight;
	bool verdict;

	if (!dock || part->mark == TRIAL_NONE)
		return;
	canal = dock->canal;
	lock_take(&canal->lock);
	verdict = trial_ended(&part->passage->trial, part->mark, bytes, code == 0,
			      canal->ctx->sys->now_ns());
	staged = trial_rate(&part->passage->trial, 0) / 1e6;
	straight = trial_rate(&part->passage->trial, 1) / 1e6;
	lock_drop(&canal->lock);
	part->mark = TRIAL_NONE;
	if (verdict)
		log_info(&canal->ctx->log, "cuda:%d: cuFile brings %.0f MB/s, copies %.0f MB/s: %s",
			 part->passage->device->ordinal, straight, staged,
			 straight > staged * TRIAL_MARGIN ? "cuFile is used"
							  : "cuFile is not used");
}
