/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/ferry.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/canal.h"
#include "engine/context.h"
#include "engine/staging.h"
#include "engine/transfer.h"

/* Pinned memory of the first lane, and of the others, which have work where bytes come from the page
 * cache. */
#define PINNED_FIRST (16 * MIB)
#define PINNED_OTHER (4 * MIB)
#define PINNED_LEAST (1 * MIB)
#define SLOT_BYTES   (512 * KIB)

/* A crossing is asked after when it may be over: an eighth of what it took so far is waited for more. */
#define LOOK_FIRST_NS (20 * NS_PER_US)
#define LOOK_LAST_NS  (10 * NS_PER_MS)

/* The stream of one device. */
struct line {
	struct line *next;
	struct cuda_device *device;
	cu_stream stream;
	cu_event *events; /* one for each part of the lane; made as they are needed */
	struct list crossing;
	uint64_t gate; /* serial of the last one that the stream waits for */
};

struct ferry {
	struct weir_ctx *ctx;
	uint32_t parts;
	struct canal_dock *dock; /* owned; NULL: cuFile is not wanted */
	struct staging staging;
	struct cuda_device *pinned_by; /* NULL: its memory is not pinned */
	bool pin_tried;
	struct line *lines; /* owned */
	int64_t look_ns;    /* for gates */
};

/* ---- Making and ending ---- */

int ferry_create(struct weir_ctx *ctx, struct lane *lane, struct pool *pool, uint32_t parts,
		 bool first, struct ferry **out, struct weir_error *err)
{
	struct ferry *ferry = calloc(1, sizeof(*ferry));
	uint64_t limit = budget_limit(ctx->budget);
	uint64_t most = first ? PINNED_FIRST : PINNED_OTHER;
	int ret;

	if (!ferry)
		return error_nomem(err, NULL, "a lane's way to devices");
	if (limit != BUDGET_NONE)
		most = min_of(most, max_of(first ? limit / 4 : limit / 16, PINNED_LEAST));
	ferry->ctx = ctx;
	ferry->parts = parts;
	ferry->look_ns = NEVER;
	ret = staging_init(&ferry->staging, ctx->sys, ctx->budget,
			   ctx->opts.request_bytes ? min_of(ctx->opts.request_bytes, SLOT_BYTES)
						   : SLOT_BYTES,
			   most, pool, err);
	if (ret == 0 && (ret = canal_dock_create(ctx->canal, lane, &ferry->dock, err)) < 0)
		staging_fini(&ferry->staging);
	if (ret == 0)
		*out = ferry;
	else
		free(ferry);
	return ret;
}

void ferry_leave(struct ferry *ferry)
{
	if (ferry)
		canal_dock_leave(ferry->dock);
}

static void line_destroy(struct ferry *ferry, struct line *line)
{
	const struct cuda_driver *driver = &line->device->cuda->driver;

	if (cuda_enter(line->device) == CU_OK) { /* else it all went with its context */
		for (uint32_t i = 0; i < ferry->parts; i++)
			if (line->events[i])
				driver->event_destroy(line->events[i]);
		driver->stream_destroy(line->stream);
		cuda_leave(line->device);
	}
	free(line->events);
	free(line);
}

void ferry_destroy(struct ferry *ferry)
{
	if (!ferry)
		return;
	while (ferry->lines) {
		struct line *line = ferry->lines;

		ferry->lines = line->next;
		line_destroy(ferry, line);
	}
	if (ferry->pinned_by)
		cuda_unpin(ferry->pinned_by, staging_memory(&ferry->staging), ferry->staging.bytes);
	staging_fini(&ferry->staging);
	canal_dock_destroy(ferry->dock);
	free(ferry);
}

uint64_t ferry_slot_bytes(const struct ferry *ferry)
{
	return ferry->staging.slot_bytes;
}

bool ferry_has_slots(const struct ferry *ferry)
{
	return ferry->staging.memory != NULL;
}

char *ferry_slot_take(struct ferry *ferry, uint64_t bytes)
{
	return staging_take(&ferry->staging, bytes);
}

void ferry_slot_give(struct ferry *ferry, char *slot)
{
	staging_give(&ferry->staging, slot);
}

/* At the first copy, while the first reads are under way; once, for all devices. */
static void pin(struct ferry *ferry, struct cuda_device *device)
{
	uint64_t bytes = ferry->staging.bytes;

	if (ferry->pinned_by &&
	    atomic_load_explicit(&ferry->pinned_by->lost, memory_order_relaxed)) {
		cuda_unpin(ferry->pinned_by, staging_memory(&ferry->staging), bytes);
		ferry->pinned_by = NULL;
		ferry->pin_tried = false;
	}
	if (ferry->pin_tried)
		return;
	ferry->pin_tried = true;
	if (atomic_load_explicit(&device->cuda->pinned_bytes, memory_order_relaxed) + bytes >
	    CUDA_PINNED_MAX)
		return;
	if (cuda_pin(device, staging_memory(&ferry->staging), bytes))
		ferry->pinned_by = device;
	else
		log_warn(&ferry->ctx->log,
			 "cuda:%d: memory for copies cannot be pinned: they are slower",
			 device->ordinal);
}

static int add_line(struct ferry *ferry, struct cuda_device *device, struct line **out)
{
	struct line *line = calloc(1, sizeof(*line));
	int result;

	if (line)
		line->events = calloc(ferry->parts, sizeof(line->events[0]));
	if (!line || !line->events) {
		free(line);
		return CU_OUT_OF_MEMORY;
	}
	result = device->cuda->driver.stream_create(&line->stream, CU_STREAM_NON_BLOCKING);
	if (result != CU_OK) {
		free(line->events);
		free(line);
		return result;
	}
	line->device = device;
	list_init(&line->crossing);
	line->next = ferry->lines;
	ferry->lines = line;
	*out = line;
	return CU_OK;
}

/* In the device's context. */
static int find_line(struct ferry *ferry, struct cuda_device *device, struct line **out)
{
	for (*out = ferry->lines; *out; *out = (*out)->next)
		if ((*out)->device == device)
			return CU_OK;
	return add_line(ferry, device, out);
}

/* ---- Copies ---- */

/*
 * Pieces of an extent follow each other at the destination, but not in the slot, where what lies between
 * them in the file is, too: they are moved together there, so that one copy brings them all.
 */
struct stretch {
	char *to, *from;
	uint64_t bytes;
};

struct copying {
	struct line *line;
	struct part *part;
	uint64_t upto;
	struct stretch stretch;
	uint64_t moved, copied;
	bool begun; /* something was enqueued */
};

static int flush(struct copying *copying)
{
	const struct cuda_driver *driver = &copying->line->device->cuda->driver;
	struct stretch stretch = copying->stretch;
	int result;

	copying->stretch = (struct stretch){NULL};
	if (stretch.bytes == 0)
		return CU_OK;
	if (copying->part->request.op == REQUEST_WRITE)
		result = driver->copy_to_host(stretch.from, (cu_pointer)(uintptr_t)stretch.to,
					      stretch.bytes, copying->line->stream);
	else
		result = driver->copy_to_device((cu_pointer)(uintptr_t)stretch.to, stretch.from,
						stretch.bytes, copying->line->stream);
	copying->begun |= result == CU_OK;
	copying->copied += stretch.bytes;
	return result;
}

static int add_piece(struct copying *copying, const struct piece *piece)
{
	struct stretch *stretch = &copying->stretch;
	char *to = piece->extent->memory + piece->done;
	char *at = copying->part->slot + (piece->offset - copying->part->start);
	uint64_t bytes = min_of(piece->length, copying->upto - piece->offset);
	int result = CU_OK;

	if (stretch->bytes == 0 || to != stretch->to + stretch->bytes) {
		result = flush(copying);
		*stretch = (struct stretch){to, at, bytes};
		return result;
	}
	if (at != stretch->from + stretch->bytes) {
		memmove(stretch->from + stretch->bytes, at, bytes);
		copying->moved += bytes;
	}
	stretch->bytes += bytes;
	return result;
}

/* Our stream goes on when what stood in the caller's has ended. */
static int wait_for_gate(struct line *line, const struct berth *berth)
{
	int result;

	if (!berth->gate || line->gate == berth->serial)
		return CU_OK;
	result = line->device->cuda->driver.stream_wait(line->stream, berth->gate, 0);
	if (result == CU_OK)
		line->gate = berth->serial;
	return result;
}

static int copy_pieces(struct copying *copying)
{
	struct weir_transfer *transfer = copying->part->sweep->transfer;
	struct cursor cursor = copying->part->from;
	struct extent *extent = NULL;
	struct piece piece;
	bool wanted = false;
	int result = CU_OK;

	while (result == CU_OK && part_next(copying->part, &cursor, &piece) &&
	       piece.offset < copying->upto) {
		if (piece.extent != extent) {
			extent = piece.extent;
			wanted = transfer_wants(transfer, extent);
			result = wait_for_gate(copying->line, extent->berth);
		}
		if (result == CU_OK && wanted && piece.length)
			result = add_piece(copying, &piece);
	}
	return result == CU_OK ? flush(copying) : result;
}

/*
 * An event behind the copies, even where the last of them failed: those before it are under way.  Without
 * an event it is the stream that is asked.
 */
static int record(struct line *line, struct part *part, uint32_t index)
{
	const struct cuda_driver *driver = &line->device->cuda->driver;
	int result = CU_OK;

	if (!line->events[index])
		result = driver->event_create(&line->events[index], CU_EVENT_NO_TIMING);
	if (result == CU_OK)
		result = driver->event_record(line->events[index], line->stream);
	else
		line->events[index] = NULL;
	part->event = result == CU_OK ? line->events[index] : NULL;
	return result;
}

static void fail(struct part *part, int result)
{
	if (result == CU_OK || part->code)
		return;
	part->code = cuda_code(result);
	part->os_errno = -result; /* engine/failure.c tells the two apart by the sign */
	part->arrived = part->start;
}

/* In the device's context; true where something is under way now. */
static bool send(struct ferry *ferry, struct part *part, uint32_t index, uint64_t upto)
{
	struct copying copying = {.part = part, .upto = upto};
	struct weir_transfer *transfer = part->sweep->transfer;
	int result;

	pin(ferry, part->device);
	result = find_line(ferry, part->device, &copying.line);
	if (result != CU_OK) {
		fail(part, result);
		return false;
	}
	fail(part, copy_pieces(&copying));
	count(&transfer->counters, bytes_copied, copying.moved);
	count(&transfer->counters, bytes_device, copying.copied);
	if (!copying.begun)
		return false;
	fail(part, record(copying.line, part, index));
	list_push(&copying.line->crossing, &part->crossing_link);
	return true;
}

bool ferry_begin(struct ferry *ferry, struct part *part, uint32_t index, uint64_t upto)
{
	int result;

	transfer_expose(part);
	part->straight = part->again = false;
	part->crossing = true;
	part->crossed_ns = ferry->ctx->sys->now_ns();
	part->look_ns = part->crossed_ns + LOOK_FIRST_NS;
	result = cuda_enter(part->device);
	if (result != CU_OK) {
		fail(part, result);
		part->crossing = false;
		return false;
	}
	part->crossing = send(ferry, part, index, upto);
	cuda_leave(part->device);
	return part->crossing;
}

/* ---- Without a copy ---- */

bool ferry_read_straight(struct ferry *ferry, struct part *part)
{
	return canal_begin(ferry->dock, part);
}

bool ferry_is_full(const struct ferry *ferry)
{
	return ferry && canal_is_full(ferry->dock);
}

void ferry_saw(struct ferry *ferry, struct part *part, uint64_t bytes, int code)
{
	canal_saw(ferry->dock, part, bytes, code);
}

/* ---- Their end ---- */

static int ask(const struct line *line, const struct part *part)
{
	const struct cuda_driver *driver = &line->device->cuda->driver;
	int result = cuda_enter(line->device);

	if (result != CU_OK)
		return result;
	result = part->event ? driver->event_query(part->event)
			     : driver->stream_query(line->stream);
	cuda_leave(line->device);
	return result;
}

static bool has_crossed(const struct line *line, struct part *part, int64_t now_ns)
{
	int result = ask(line, part);

	if (result == CU_NOT_READY) {
		int64_t more = (now_ns - part->crossed_ns) / 8;

		part->look_ns = now_ns + min_of(max_of(more, LOOK_FIRST_NS), LOOK_LAST_NS);
		return false;
	}
	fail(part, result);
	/* The question was refused, which says nothing of the copy: it is asked again. */
	if (result != CU_OK && !cuda_is_final(result) && result != CU_INVALID_HANDLE) {
		part->look_ns = now_ns + LOOK_LAST_NS;
		return false;
	}
	if (cuda_is_final(result))
		atomic_store_explicit(&line->device->lost, true, memory_order_relaxed);
	return true;
}

/* A stream ends what it does in order: only its first can have ended. */
struct part *ferry_next(struct ferry *ferry)
{
	struct part *straight = canal_next(ferry->dock);

	if (straight)
		return straight;
	for (struct line *line = ferry->lines; line; line = line->next) {
		struct part *part;

		if (list_empty(&line->crossing))
			continue;
		part = list_entry(line->crossing.next, struct part, crossing_link);
		if (!has_crossed(line, part, ferry->ctx->sys->now_ns()))
			continue;
		list_remove(&part->crossing_link);
		part->crossing = false;
		return part;
	}
	return NULL;
}

void ferry_trace(const struct ferry *ferry, const struct part *part, uint32_t lane)
{
	if (ferry->ctx->trace)
		trace_add(ferry->ctx->trace, part->straight ? TRACE_CUFILE : TRACE_DEVICE, lane,
			  part->crossed_ns, ferry->ctx->sys->now_ns(), part->start,
			  part->end - part->start);
}

int64_t ferry_look_ns(const struct ferry *ferry)
{
	int64_t look = ferry->look_ns;

	for (const struct line *line = ferry->lines; line; line = line->next)
		if (!list_empty(&line->crossing))
			look = min_of(look,
				      list_entry(line->crossing.next, struct part, crossing_link)
					      ->look_ns);
	return look;
}

void ferry_begin_step(struct ferry *ferry)
{
	ferry->look_ns = NEVER;
}

void ferry_look_soon(struct ferry *ferry)
{
	ferry->look_ns = ferry->ctx->sys->now_ns() + 5 * LOOK_FIRST_NS;
}
