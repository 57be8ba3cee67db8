/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One range of one file.
 *
 * The range is cut at the file's end as it was when the file was opened, so that what arrives is exactly
 * that, or an error, and memory behind it is not touched.  Bytes for nobody pass through a few
 * buffers of the library's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "reader.h"

#define MIB UINT64_C(1048576)

/*
 * Bytes that are dropped: a request for each piece, four pieces under way, a gigabyte in one transfer.  By
 * rings a request costs more than its bytes do, so there the pieces fill the window that the caller has
 * provided for: half of it each.
 */
#define DROP_PIECE    (2 * MIB)
#define DROP_RING_MAX (32 * MIB)
#define DROP_SEGMENT  (1024 * MIB)

/* The engine asks for no more than this at once by itself. */
#define CHUNK_MATTERS (512 << 10)
/* And for no less than this, however small the chunk. */
#define CHUNK_LEAST   4096

/* ---- Transfers ---- */

static void set_transfer(struct reader_call *call, struct weir_transfer *transfer)
{
	bool cancelled;

	pthread_mutex_lock(&call->reader->lock);
	call->transfer = transfer;
	cancelled = call->cancelled;
	pthread_mutex_unlock(&call->reader->lock);
	if (cancelled && transfer)
		weir_transfer_cancel(transfer);
}

/* How a transfer goes about it; zero: as the context has it. */
struct manner {
	uint64_t budget_bytes, request_bytes;
};

/* Starts the plan's transfer where it can be cancelled; takes the plan over in any case. */
static int start(struct reader_call *call, struct weir_plan *plan, struct manner manner,
		 struct weir_transfer **out)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts),
		.request_bytes = manner.request_bytes,
		.budget_bytes = manner.budget_bytes,
		.timeout_ns = call->deadline_ns == WEIR_FOREVER ? 0 : reader_time_left(call),
	};
	int ret = weir_transfer_start(plan, NULL, &opts, out, call->err);

	if (ret < 0)
		weir_plan_destroy(plan);
	else
		set_transfer(call, *out);
	return ret;
}

/* Ends it; ret is what happened so far, and is returned unless it is 0 and more went wrong. */
static int finish(struct reader_call *call, struct weir_transfer *transfer, int ret)
{
	struct weir_error why = WEIR_ERROR_INIT;
	int end;

	set_transfer(call, NULL);
	end = weir_transfer_finish(transfer, READER_LENT_NS, &why);
	if (end == WEIR_LENT)
		end = weir_transfer_abandon(transfer, &why);
	if (ret == 0 && end < 0)
		*call->err = why;
	return ret ? ret : end;
}

/* The next completions; 0: there are no more. */
static int wait(struct reader_call *call, struct weir_transfer *transfer, struct weir_done *done,
		unsigned max)
{
	for (;;) {
		int ret = weir_transfer_wait(transfer, done, max, READER_ASK_NS, call->err);

		if (reader_interrupted(call))
			weir_transfer_cancel(transfer);
		if (ret != WEIR_TIMEOUT)
			return ret;
		/* A request that a dead server holds never comes back. */
		if (reader_gives_up(call))
			return reader_fail(call, WEIR_CANCELLED, 0, call->path,
					   "reading was cancelled");
	}
}

/* Takes all that comes, drops the buffers, adds up the bytes; the first failure ends it. */
static int drain(struct reader_call *call, struct weir_transfer *transfer, uint64_t *bytes)
{
	struct weir_done done[16];
	int ret = 0, count;

	while (ret == 0 && (count = wait(call, transfer, done, 16)) != 0) {
		if (count < 0)
			return count;
		for (int i = 0; i < count; i++) {
			if (done[i].status < 0 && ret == 0) {
				weir_transfer_error(transfer, &done[i], call->err);
				ret = done[i].status;
			}
			*bytes += done[i].status < 0 ? 0 : done[i].bytes;
			weir_buffer_unref(done[i].buffer);
		}
	}
	return ret;
}

/* ---- Plans ---- */

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Pieces for nobody; tagged by nothing. */
static int plan_dropped(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			uint64_t length, uint64_t most, struct weir_error *err)
{
	int ret = 0;

	while (ret == 0 && length > 0) {
		uint64_t piece = min_of(length, most - offset % most);

		ret = weir_plan_range(plan, object, offset, piece, weir_dest_alloc(), 0, err);
		offset += piece;
		length -= piece;
	}
	return ret;
}

/*
 * Where somebody has asked for the window's address he may look there for what was downloaded: as much of
 * the end as the last window held.
 */
static uint64_t kept_bytes(const struct reader *reader, const struct reader_range *range,
			   uint64_t length)
{
	uint64_t window = min_of(reader->window_bytes, (uint64_t)range->length);

	if (range->chunk > 0)
		window = min_of(window, (uint64_t)range->chunk);
	return length % window ? length % window : window;
}

/* What a caller may look at, or NULL: the window once its address was asked for. */
static void *window_of(struct reader *reader)
{
	void *window;

	pthread_mutex_lock(&reader->lock);
	window = reader->window;
	pthread_mutex_unlock(&reader->lock);
	return window;
}

/* ---- Reading ---- */

static bool is_by_rings(const struct weir_object *object)
{
	return strcmp(weir_object_scheme(object), "3fs") == 0;
}

static uint64_t piece_bytes(const struct reader *reader, const struct weir_object *object)
{
	uint64_t half = min_of(reader->window_bytes / 2, DROP_RING_MAX) / MIB * MIB;

	return is_by_rings(object) && half > DROP_PIECE ? half : DROP_PIECE;
}

/* To an address whose kind of memory is asked for: the device's default stream comes first. */
static int plan_kept(struct reader_call *call, struct weir_plan *plan, struct weir_object *object,
		     void *memory, uint64_t offset, uint64_t length)
{
	struct weir_dest dest;
	int ret = weir_dest_find(call->reader->ctx, memory, length, NULL, &dest, call->err);

	return ret < 0 ? ret : weir_plan_range(plan, object, offset, length, dest, 0, call->err);
}

/* A chunk is the most that one request asks for; where it is large, the engine asks for less. */
static struct manner manner_of(uint64_t piece, bool dropped, int64_t chunk)
{
	struct manner manner = {0};

	if (dropped) {
		manner.budget_bytes = piece > DROP_PIECE ? 2 * piece : 4 * piece;
		manner.request_bytes = piece > DROP_PIECE ? piece : 0;
	}
	if (chunk > 0 && chunk < CHUNK_MATTERS)
		manner.request_bytes = chunk > CHUNK_LEAST ? (uint64_t)chunk : CHUNK_LEAST;
	return manner;
}

/* Bytes to memory, or, where that is NULL, to nobody; adds them up. */
static int move(struct reader_call *call, struct weir_object *object, void *memory, uint64_t offset,
		uint64_t length, int64_t chunk, uint64_t *bytes)
{
	uint64_t piece = piece_bytes(call->reader, object);
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	int ret = weir_plan_create(call->reader->ctx, &plan, call->err);

	if (ret < 0)
		return ret;
	if (memory)
		ret = plan_kept(call, plan, object, memory, offset, length);
	else
		ret = plan_dropped(plan, object, offset, length, piece, call->err);
	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	ret = start(call, plan, manner_of(piece, !memory, chunk), &transfer);
	return ret < 0 ? ret : finish(call, transfer, drain(call, transfer, bytes));
}

/* Counted and dropped, but for the last window where somebody may look at it. */
static int download(struct reader_call *call, struct weir_object *object,
		    const struct reader_range *range, uint64_t length, uint64_t *bytes)
{
	uint64_t offset = (uint64_t)range->offset, end = offset + length;
	void *window = window_of(call->reader);
	uint64_t kept = window ? kept_bytes(call->reader, range, length) : 0;
	int ret = 0;

	while (ret == 0 && offset < end - kept) {
		uint64_t segment = min_of(end - kept - offset, DROP_SEGMENT);

		ret = move(call, object, NULL, offset, segment, range->chunk, bytes);
		offset += segment;
	}
	return ret == 0 && kept ? move(call, object, window, offset, kept, range->chunk, bytes)
				: ret;
}

static int fetch(struct reader_call *call, struct weir_object *object,
		 const struct reader_range *range, uint64_t length, uint64_t *bytes)
{
	if (range->address)
		return move(call, object, range->address, (uint64_t)range->offset, length,
			    range->chunk, bytes);
	return download(call, object, range, length, bytes);
}

static void count_read(struct reader *reader, const struct weir_object *object, uint64_t bytes)
{
	pthread_mutex_lock(&reader->lock);
	reader->counters.reads++;
	*(is_by_rings(object) ? &reader->counters.ring_bytes
			      : &reader->counters.file_bytes) += bytes;
	pthread_mutex_unlock(&reader->lock);
}

int64_t reader_read(struct reader_call *call, const char *path, const struct reader_range *range)
{
	struct reader_file *file;
	uint64_t size, bytes = 0;
	int ret;

	call->path = path;
	ret = reader_file_get(call, path, &file);

	if (ret < 0)
		return ret;
	size = weir_object_size(file->object);
	if (range->length > 0 && range->offset < 0)
		ret = reader_fail(call, WEIR_IO, EINVAL, path,
				  "no file has bytes at a negative offset");
	else if (range->length > 0 && (uint64_t)range->offset < size)
		ret = fetch(call, file->object, range,
			    min_of((uint64_t)range->length, size - (uint64_t)range->offset),
			    &bytes);
	if (ret == 0)
		count_read(call->reader, file->object, bytes);
	reader_file_put(call->reader, file);
	return ret < 0 ? ret : (int64_t)bytes;
}
