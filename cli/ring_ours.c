/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir as a client of rings: each thread drives a feed, which is a lane with rings of its own.
 *
 * The memory is what weir allocates for reads from that mount, so the daemon writes straight into it: it is
 * had by reading as many bytes once.  What is written goes to a file beside the one named, which is
 * never given a name.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "report.h"
#include "ring_bench.h"

struct ring_ours {
	const struct ring_work *work;
	struct weir_ctx *ctx;
	struct weir_object *object, *draft;
	struct weir_buffer *buffer;
};

/* Reads the first bytes of the file into memory of weir's. */
static int make_memory(struct ring_ours *ours, uint64_t bytes, struct weir_error *err)
{
	struct weir_transfer *transfer = NULL;
	struct weir_plan *plan = NULL;
	struct weir_done done;
	int ret = weir_plan_create(ours->ctx, &plan, err);

	if (ret)
		return ret;
	ret = weir_plan_range(plan, ours->object, 0, bytes, weir_dest_alloc(), 0, err);
	if (!ret)
		ret = weir_transfer_start(plan, NULL, NULL, &transfer, err);
	if (ret) {
		weir_plan_destroy(plan);
		return ret;
	}
	ret = weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, err);
	if (ret == 1)
		ours->buffer = done.buffer;
	ret = weir_transfer_finish(transfer, WEIR_FOREVER, err);
	return ret;
}

int ring_ours_open(const struct ring_work *work, struct ring_ours **out, struct weir_error *err)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .log = report_log};
	struct weir_object_opts live = {.size = sizeof(live), .flags = WEIR_OBJECT_LIVE};
	struct ring_ours *ours = calloc(1, sizeof(*ours));
	int ret;

	if (!ours)
		return report_set(err, WEIR_NOMEM, NULL, "out of memory");
	ours->work = work;
	ret = weir_ctx_create(&opts, &ours->ctx, err);
	if (!ret)
		ret = weir_object_open(ours->ctx, work->uri, &live, &ours->object, err);
	if (!ret && work->write)
		ret = weir_object_create(ours->ctx, work->uri, work->file_bytes, &live,
					 &ours->draft, err);
	if (!ret)
		ret = make_memory(ours, work->threads * work->depth * work->block_bytes, err);
	if (ret)
		ring_ours_close(ours);
	else
		*out = ours;
	return ret;
}

struct drive {
	struct ring_thread *thread;
	struct ring_ours *ours;
	struct weir_feed *feed;
	struct weir_feed_io *ios;
	uint64_t pushed, reaped;
};

static int push(struct drive *drive, struct weir_feed_io *io)
{
	const struct ring_work *work = drive->thread->work;

	io->offset = ring_work_offset(work, drive->thread->number, drive->pushed);
	if (weir_feed_push(drive->feed, io))
		return report_set(&drive->thread->err, WEIR_LIMIT, NULL, "the feed is full");
	drive->pushed++;
	return 0;
}

static int take(struct drive *drive)
{
	const struct ring_work *work = drive->thread->work;
	struct weir_feed_io *done[64];
	unsigned count = weir_feed_reap(drive->feed, done, 64, WEIR_FOREVER);
	int ret = 0;

	for (unsigned n = 0; n < count && !ret; n++) {
		drive->reaped++;
		if (done[n]->result != (int64_t)work->block_bytes)
			ret = report_set(
				&drive->thread->err,
				done[n]->result < 0 ? (int)done[n]->result : WEIR_IO, work->uri,
				"%s: %" PRId64 " of %" PRIu64 " bytes at %" PRIu64, work->uri,
				done[n]->result, work->block_bytes, done[n]->offset);
		else if (drive->pushed < work->blocks)
			ret = push(drive, done[n]);
	}
	return ret;
}

static int drive_feed(struct drive *drive)
{
	const struct ring_work *work = drive->thread->work;
	char *memory = weir_buffer_data(drive->ours->buffer);
	int ret = 0;

	memory += drive->thread->number * work->depth * work->block_bytes;
	for (uint64_t n = 0; n < work->depth && n < work->blocks && !ret; n++) {
		drive->ios[n].object = work->write ? drive->ours->draft : drive->ours->object;
		drive->ios[n].memory = memory + n * work->block_bytes;
		drive->ios[n].length = work->block_bytes;
		drive->ios[n].flags = work->write ? WEIR_FEED_WRITE : 0;
		ret = push(drive, &drive->ios[n]);
	}
	while (drive->reaped < drive->pushed && !ret)
		ret = take(drive);
	return ret;
}

static void run(struct ring_thread *thread)
{
	const struct ring_work *work = thread->work;
	struct drive drive = {.thread = thread, .ours = thread->client};
	struct weir_feed_opts opts = {
		.size = sizeof(opts),
		.depth = (uint32_t)work->depth,
		.requests = (uint32_t)(work->depth > 4096 ? 4096 : work->depth),
		.flying_bytes = work->depth * work->block_bytes,
		.object = drive.ours->object,
	};

	drive.ios = calloc(work->depth, sizeof(*drive.ios));
	if (!drive.ios)
		thread->ret = report_set(&thread->err, WEIR_NOMEM, NULL, "out of memory");
	else
		thread->ret = weir_feed_create(drive.ours->ctx, &opts, &drive.feed, &thread->err);
	if (!thread->ret) {
		ring_begin(thread);
		thread->ret = drive_feed(&drive);
		ring_end(thread);
	}
	if (weir_feed_destroy(drive.feed) == 0)
		free(drive.ios); /* else they are written to for ever */
}

int ring_ours_run(struct ring_ours *ours, struct ring_took *out, struct weir_error *err)
{
	return ring_run(ours->work, run, ours, out, err);
}

void ring_ours_close(struct ring_ours *ours)
{
	if (!ours)
		return;
	weir_buffer_unref(ours->buffer);
	weir_object_unref(ours->draft);
	weir_object_unref(ours->object);
	weir_ctx_destroy(ours->ctx);
	free(ours);
}
