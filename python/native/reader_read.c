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

/* Bytes that are dropped: this much in flight, in pieces of that size. */
#define DROP_BUDGET (8 * MIB)
#define DROP_PIECE  (2 * MIB)

/* How often a waiting call asks whether it shall end. */
#define ASK_NS INT64_C(50000000)

/* What a caller waits, beyond its time, for memory that is still lent. */
#define LENT_NS INT64_C(100000000)

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

int reader_start(struct reader_call *call, struct weir_plan *plan, uint64_t budget_bytes,
		 struct weir_transfer **out)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts),
		.budget_bytes = budget_bytes,
		.timeout_ns = call->deadline_ns == WEIR_FOREVER ? 0 : reader_time_left(call),
	};
	int ret = weir_transfer_start(plan, NULL, &opts, out, call->err);

	if (ret < 0)
		weir_plan_destroy(plan);
	else
		set_transfer(call, *out);
	return ret;
}

int reader_finish(struct reader_call *call, struct weir_transfer *transfer, int ret)
{
	struct weir_error why = WEIR_ERROR_INIT;
	int end;

	set_transfer(call, NULL);
	end = weir_transfer_finish(transfer, LENT_NS, &why);
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
		int ret = weir_transfer_wait(transfer, done, max, ASK_NS, call->err);

		if (ret != WEIR_TIMEOUT)
			return ret;
		if (call->interrupted && call->interrupted(call->interrupted_arg))
			weir_transfer_cancel(transfer);
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
			uint64_t length, struct weir_error *err)
{
	int ret = 0;

	while (ret == 0 && length > 0) {
		uint64_t piece = min_of(length, DROP_PIECE - offset % DROP_PIECE);

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

static int plan_range(struct weir_plan *plan, struct reader *reader, struct weir_object *object,
		      const struct reader_range *range, uint64_t length, struct weir_error *err)
{
	uint64_t offset = (uint64_t)range->offset, kept;
	void *window;
	int ret;

	if (range->address)
		return weir_plan_range(plan, object, offset, length,
				       weir_dest_host(range->address, length), 0, err);
	pthread_mutex_lock(&reader->lock);
	window = reader->window;
	pthread_mutex_unlock(&reader->lock);
	kept = window ? kept_bytes(reader, range, length) : 0;
	ret = plan_dropped(plan, object, offset, length - kept, err);
	if (ret == 0 && kept)
		ret = weir_plan_range(plan, object, offset + length - kept, kept,
				      weir_dest_host(window, kept), 0, err);
	return ret;
}

/* ---- Reading ---- */

static int move(struct reader_call *call, struct weir_object *object,
		const struct reader_range *range, uint64_t length, uint64_t *bytes)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	int ret = weir_plan_create(call->reader->ctx, &plan, call->err);

	if (ret < 0)
		return ret;
	ret = plan_range(plan, call->reader, object, range, length, call->err);
	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	ret = reader_start(call, plan, range->address ? 0 : DROP_BUDGET, &transfer);
	return ret < 0 ? ret : reader_finish(call, transfer, drain(call, transfer, bytes));
}

static void count_read(struct reader *reader, const struct weir_object *object, uint64_t bytes)
{
	bool rings = strcmp(weir_object_scheme(object), "3fs") == 0;

	pthread_mutex_lock(&reader->lock);
	reader->counters.reads++;
	*(rings ? &reader->counters.ring_bytes : &reader->counters.file_bytes) += bytes;
	pthread_mutex_unlock(&reader->lock);
}

static int refuse_offset(struct reader_call *call, const char *path, int64_t offset)
{
	struct weir_error *err = call->err;

	*err = (struct weir_error)WEIR_ERROR_INIT;
	err->code = WEIR_IO;
	err->os_errno = EINVAL;
	snprintf(err->object, sizeof(err->object), "%s", path);
	snprintf(err->message, sizeof(err->message), "%.400s: no file has bytes at offset %lld",
		 path, (long long)offset);
	return err->code;
}

int64_t reader_read(struct reader_call *call, const char *path, const struct reader_range *range)
{
	struct reader_file *file;
	uint64_t size, bytes = 0;
	int ret = reader_file_get(call, path, &file);

	if (ret < 0)
		return ret;
	size = weir_object_size(file->object);
	if (range->length > 0 && range->offset < 0)
		ret = refuse_offset(call, path, range->offset);
	else if (range->length > 0 && (uint64_t)range->offset < size)
		ret = move(call, file->object, range,
			   min_of((uint64_t)range->length, size - (uint64_t)range->offset), &bytes);
	if (ret == 0)
		count_read(call->reader, file->object, bytes);
	reader_file_put(call->reader, file);
	return ret < 0 ? ret : (int64_t)bytes;
}
