/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One range of one file.
 *
 * The range is cut at the file's end as it was when the file was opened, so that what arrives is exactly
 * that, or an error, and memory behind it is not touched.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "reader.h"

#define MIB UINT64_C(1048576)

/*
 * Bytes that are dropped: by rings a request costs more than its bytes do, so there each fills the window
 * that the caller has provided for.
 */
#define DROP_RING_LEAST (1 * MIB) /* what the engine asks for by itself */
#define DROP_RING_MAX   (64 * MIB)

/* The engine asks for no more than this at once by itself. */
#define CHUNK_MATTERS (512 << 10)
/* And for no less than this, however small the chunk. */
#define CHUNK_LEAST   4096

/* What takes so long that its end is best heard of on a descriptor, with no look at signals before. */
#define LONG_BYTES (64 * MIB)

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

/* A transfer of one extent, and where its completion comes out. */
struct reading {
	struct weir_transfer *transfer;
	struct weir_queue *queue;
	uint64_t length;
};

/*
 * Starts the plan's transfer where it can be cancelled; takes the plan over in any case.
 * request_bytes: 0: as the engine thinks best.
 */
static int start(struct reader_call *call, struct weir_plan *plan, uint64_t request_bytes,
		 struct reading *out)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts),
		.request_bytes = request_bytes,
		.timeout_ns = call->deadline_ns == WEIR_FOREVER ? 0 : reader_time_left(call),
	};
	int ret = weir_queue_create(call->reader->ctx, 0, &out->queue, call->err);

	if (ret == 0) {
		ret = weir_transfer_start(plan, out->queue, &opts, &out->transfer, call->err);
		if (ret < 0)
			weir_queue_destroy(out->queue);
	}
	if (ret < 0)
		weir_plan_destroy(plan);
	else
		set_transfer(call, out->transfer);
	return ret;
}

/* Ends it; ret is what happened so far, and is returned unless it is 0 and more went wrong. */
static int finish(struct reader_call *call, const struct reading *reading, int ret)
{
	struct weir_error why = WEIR_ERROR_INIT;
	int end;

	set_transfer(call, NULL);
	end = weir_transfer_finish(reading->transfer, READER_LENT_NS, &why);
	if (end == WEIR_LENT)
		end = weir_transfer_abandon(reading->transfer, &why);
	weir_queue_destroy(reading->queue);
	if (ret == 0 && end < 0)
		*call->err = why;
	return ret ? ret : end;
}

/* Its completion: 1, or a negative code. */
static int wait(struct reader_call *call, const struct reading *reading, struct weir_done *done)
{
	int64_t patience = reading->length < LONG_BYTES ? READER_ASK_NS : 0;

	for (;;) {
		int ret = weir_queue_wait(reading->queue, done, 1, patience, call->err);

		if (ret != WEIR_TIMEOUT)
			return ret;
		if (reader_interrupted(call))
			weir_transfer_cancel(reading->transfer);
		/* A request that a dead server holds never comes back. */
		if (reader_gives_up(call))
			return reader_fail(call, WEIR_CANCELLED, 0, call->path,
					   "reading was cancelled");
		if (call->ending_ns)
			patience = READER_END_NS;
		else
			patience = reader_sleep(call, weir_queue_fd(reading->queue))
					   ? 0
					   : READER_ASK_NS;
	}
}

static int take(struct reader_call *call, const struct reading *reading, uint64_t *bytes)
{
	struct weir_done done;
	int ret = wait(call, reading, &done);

	if (ret < 0)
		return ret;
	if (done.status < 0)
		weir_transfer_error(reading->transfer, &done, call->err);
	else
		*bytes += done.bytes;
	return done.status;
}

/* ---- Plans ---- */

static uint64_t min_of(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
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

/*
 * An address is a number that somebody took for one: where nothing is mapped, an error is better
 * than a signal when the bytes are copied.  The call walks the table of mappings and does nothing
 * else.
 */
static bool is_mapped(void *memory, uint64_t length)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)memory;
	uintptr_t start = at & ~(page - 1);

	return length <= UINTPTR_MAX - at &&
	       (msync((void *)start, (size_t)(at + length - start), MS_ASYNC) == 0 ||
		errno != ENOMEM);
}

/* To an address whose kind of memory is asked for: the device's default stream comes first. */
static int plan_kept(struct reader_call *call, struct weir_plan *plan, struct weir_object *object,
		     void *memory, uint64_t offset, uint64_t length)
{
	struct weir_dest dest;
	int ret = weir_dest_find(call->reader->ctx, memory, length, NULL, &dest, call->err);

	if (ret == 0 && dest.kind == WEIR_DEST_HOST && !is_mapped(memory, length))
		ret = reader_fail(call, WEIR_IO, EFAULT, call->path,
				  "no memory is mapped at the address that it is to be read to");
	return ret < 0 ? ret : weir_plan_range(plan, object, offset, length, dest, 0, call->err);
}

/* A chunk is the most that one request asks for; where it is large, the engine asks for less. */
static uint64_t request_bytes(const struct reader_call *call, const struct weir_object *object,
			      bool dropped, int64_t chunk)
{
	if (chunk > 0 && chunk < CHUNK_MATTERS)
		return chunk > CHUNK_LEAST ? (uint64_t)chunk : CHUNK_LEAST;
	if (dropped && is_by_rings(object) && call->reader->window_bytes > DROP_RING_LEAST)
		return min_of(call->reader->window_bytes, DROP_RING_MAX);
	return 0;
}

/* Bytes to memory, or, where that is NULL, to nobody; adds them up. */
static int move(struct reader_call *call, struct weir_object *object, void *memory, uint64_t offset,
		uint64_t length, int64_t chunk, uint64_t *bytes)
{
	struct reading reading = {.length = length};
	struct weir_plan *plan;
	int ret = weir_plan_create(call->reader->ctx, &plan, call->err);

	if (ret < 0)
		return ret;
	if (memory)
		ret = plan_kept(call, plan, object, memory, offset, length);
	else
		ret = weir_plan_range(plan, object, offset, length, weir_dest_none(), 0, call->err);
	if (ret < 0) {
		weir_plan_destroy(plan);
		return ret;
	}
	ret = start(call, plan, request_bytes(call, object, !memory, chunk), &reading);
	return ret < 0 ? ret : finish(call, &reading, take(call, &reading, bytes));
}

/* Counted and dropped, but for the last window where somebody may look at it. */
static int download(struct reader_call *call, struct weir_object *object,
		    const struct reader_range *range, uint64_t length, uint64_t *bytes)
{
	uint64_t offset = (uint64_t)range->offset;
	void *window = window_of(call->reader);
	uint64_t kept = window ? kept_bytes(call->reader, range, length) : 0;
	uint64_t dropped = length - kept;
	int ret = 0;

	if (dropped)
		ret = move(call, object, NULL, offset, dropped, range->chunk, bytes);
	if (ret == 0 && kept)
		ret = move(call, object, window, offset + dropped, kept, range->chunk, bytes);
	return ret;
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

static int read_file(struct reader_call *call, const struct reader_file *file,
		     const struct reader_range *range, uint64_t *bytes)
{
	uint64_t size = weir_object_size(file->object);
	int ret = 0;

	*bytes = 0;
	if (range->length > 0 && range->offset < 0)
		ret = reader_fail(call, WEIR_IO, EINVAL, call->path,
				  "no file has bytes at a negative offset");
	else if (range->length > 0 && (uint64_t)range->offset < size)
		ret = fetch(call, file->object, range,
			    min_of((uint64_t)range->length, size - (uint64_t)range->offset), bytes);
	if (ret == 0)
		count_read(call->reader, file->object, *bytes);
	return ret;
}

/*
 * May it be read before anybody was asked what the path means?  Nothing may be written that the
 * caller must not see if the answer is another: rings fill with zeros what a file has no more.
 */
static bool can_begin(const struct reader_file *file, const struct reader_range *range)
{
	uint64_t size = weir_object_size(file->object);

	return (!range->address || !is_by_rings(file->object)) && range->offset >= 0 &&
	       range->length > 0 && (uint64_t)range->offset < size &&
	       (uint64_t)range->length <= size - (uint64_t)range->offset;
}

/* False: it is to be read after the path was asked for. */
static bool read_at_once(struct reader_call *call, const struct reader_range *range, int *ret,
			 uint64_t *bytes)
{
	struct reader_file *file = reader_file_here(call, call->path);
	bool done = false;

	if (!file)
		return false;
	if (can_begin(file, range)) {
		*ret = read_file(call, file, range, bytes);
		done = *ret != WEIR_CHANGED && *ret != WEIR_TRUNCATED;
	}
	reader_file_put(call->reader, file);
	return done;
}

int64_t reader_read(struct reader_call *call, const char *path, const struct reader_range *range)
{
	struct reader_file *file;
	uint64_t bytes = 0;
	int ret;

	call->path = path;
	if (!read_at_once(call, range, &ret, &bytes)) {
		*call->err = (struct weir_error)WEIR_ERROR_INIT;
		ret = reader_file_get(call, path, &file);
		if (ret < 0)
			return ret;
		ret = read_file(call, file, range, &bytes);
		reader_file_put(call->reader, file);
	}
	return ret < 0 ? ret : (int64_t)bytes;
}
