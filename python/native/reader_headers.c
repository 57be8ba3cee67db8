/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The headers of many files: each is described, opened and read, and all of them at once as far as the
 * caller's width goes.
 *
 *	start --> described and opened --> first bytes --> (the rest) --> done
 *
 * The first read is a guess that nearly always brings the length and all of the text.  The length is
 * judged before any memory is taken for it.  The text is handed out as it is, not parsed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reader.h"

#define KIB         UINT64_C(1024)
#define GUESS_BYTES (256 * KIB)
#define TEXT_MAX    UINT64_C(100000000)
#define WIDTH_MAX   32
#define PREFIX      8

/* What a tag says beside the job's number. */
enum step {
	STEP_STAT,
	STEP_OPEN,
	STEP_READ,
	STEPS
};

struct job {
	struct reader_header *header;
	struct weir_request *stat_request, *open_request;
	struct weir_stat stat;
	struct weir_object *object; /* owned */
	struct weir_transfer *transfer;
	char *guess; /* the batch's */
	uint64_t guessed;
};

struct batch {
	struct reader_call *call;
	struct weir_queue *queue;
	struct job jobs[WIDTH_MAX];
	uint64_t width, busy;
	struct reader_header *next, *end;
	char *memory;
	bool lent; /* something may still be written to it, for ever */
	int ret;   /* the first failure; no more jobs are started after it */
};

static int fail(struct batch *batch, const struct job *job, int code, const char *why,
		uint64_t number)
{
	struct weir_error *err = batch->call->err;

	*err = (struct weir_error)WEIR_ERROR_INIT;
	err->code = code;
	err->offset_bytes = 0;
	snprintf(err->object, sizeof(err->object), "%s", job->header->path);
	snprintf(err->message, sizeof(err->message), "%.400s: %s (%llu)", job->header->path, why,
		 (unsigned long long)number);
	return code;
}

static uint64_t tag_of(const struct batch *batch, const struct job *job, enum step step)
{
	return (uint64_t)(job - batch->jobs) * STEPS + step;
}

/* ---- One job ---- */

static int begin(struct batch *batch, struct job *job)
{
	struct reader_call *call = batch->call;
	struct weir_object_opts opts = reader_object_opts(call);
	char *uri = reader_uri(call, job->header->path);
	struct weir_ctx *ctx = call->reader->ctx;
	int ret;

	if (!uri)
		return fail(batch, job, WEIR_NOMEM, "no memory", 0);
	/* Described first: a change in between is noticed at the next look, never missed. */
	ret = weir_stat_start(ctx, uri, &opts, batch->queue, tag_of(batch, job, STEP_STAT),
			      &job->stat_request, call->err);
	opts.direct = WEIR_DIRECT_OFF;
	if (ret == 0)
		ret = weir_object_open_start(ctx, uri, &opts, batch->queue,
					     tag_of(batch, job, STEP_OPEN), &job->open_request,
					     call->err);
	free(uri);
	return ret;
}

static int read_more(struct batch *batch, struct job *job, char *to, uint64_t offset,
		     uint64_t length)
{
	struct reader_call *call = batch->call;
	struct weir_transfer_opts opts = {
		.size = sizeof(opts),
		.timeout_ns = call->deadline_ns == WEIR_FOREVER ? 0 : reader_time_left(call),
	};
	struct weir_plan *plan;
	int ret = weir_plan_create(call->reader->ctx, &plan, call->err);

	if (ret < 0)
		return ret;
	ret = weir_plan_range(plan, job->object, offset, length, weir_dest_host(to, length),
			      tag_of(batch, job, STEP_READ), call->err);
	if (ret == 0)
		ret = weir_transfer_start(plan, batch->queue, &opts, &job->transfer, call->err);
	if (ret < 0)
		weir_plan_destroy(plan);
	return ret;
}

static int first_read(struct batch *batch, struct job *job)
{
	uint64_t size = weir_object_size(job->object);

	job->header->file_bytes = size;
	job->guessed = size < GUESS_BYTES ? size : GUESS_BYTES;
	if (size < PREFIX)
		return fail(batch, job, WEIR_H_SHORT, "is shorter than a header's length", size);
	return read_more(batch, job, job->guess, 0, job->guessed);
}

/* What the length says, held against the cap and the file. */
static int judge_length(struct batch *batch, struct job *job)
{
	const unsigned char *first = (const unsigned char *)job->guess;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < PREFIX; i++)
		bytes |= (uint64_t)first[i] << (8 * i);
	job->header->bytes = bytes;
	if (bytes > TEXT_MAX)
		return fail(batch, job, WEIR_H_LIMIT, "its header is longer than 100000000 bytes",
			    bytes);
	if (bytes > job->header->file_bytes - PREFIX)
		return fail(batch, job, WEIR_H_LEN, "its header reaches past the end of the file",
			    bytes);
	return 0;
}

/* All of it is there: the file joins the others, open. */
static int complete(struct batch *batch, struct job *job)
{
	struct weir_object *object = job->object;
	int ret = reader_check_kind(batch->call, job->header->path, &job->stat);

	job->object = NULL;
	if (ret == 0)
		return reader_file_add(batch->call, job->header->path, &job->stat, object);
	weir_object_unref(object);
	return ret;
}

/* The guess is in: takes the text from it, and asks for what is missing. */
static int take_guess(struct batch *batch, struct job *job)
{
	struct reader_header *header = job->header;
	uint64_t have = job->guessed - PREFIX;
	int ret = judge_length(batch, job);

	if (ret < 0)
		return ret;
	header->text = malloc((size_t)header->bytes + 1);
	if (!header->text)
		return fail(batch, job, WEIR_NOMEM, "no memory for its header", header->bytes);
	if (have > header->bytes)
		have = header->bytes;
	memcpy(header->text, job->guess + PREFIX, (size_t)have);
	header->text[header->bytes] = '\0';
	if (have == header->bytes)
		return complete(batch, job);
	return read_more(batch, job, header->text + have, PREFIX + have, header->bytes - have);
}

/* A read that has ended, or is to end now. */
static void drop_read(struct batch *batch, struct job *job)
{
	if (job->transfer &&
	    weir_transfer_finish(job->transfer, READER_LENT_NS, NULL) == WEIR_LENT) {
		weir_transfer_abandon(job->transfer, NULL);
		batch->lent = true;
		job->header->text = NULL; /* as the guess: left to what is stuck */
	}
	job->transfer = NULL;
}

/* Everything that it still holds; what is under way is cancelled. */
static void end(struct batch *batch, struct job *job)
{
	struct weir_object *late;

	drop_read(batch, job);

	if (job->stat_request)
		weir_stat_finish(job->stat_request, &job->stat, NULL);
	if (job->open_request && weir_object_open_finish(job->open_request, &late, NULL) == 0)
		weir_object_unref(late);
	if (job->object)
		weir_object_unref(job->object);
	*job = (struct job){.guess = job->guess};
	batch->busy--;
}

/* ---- What comes in ---- */

static int stepped_stat(struct batch *batch, struct job *job)
{
	int ret = weir_stat_finish(job->stat_request, &job->stat, batch->call->err);

	job->stat_request = NULL;
	if (ret == 0)
		ret = reader_check_kind(batch->call, job->header->path, &job->stat);
	if (ret < 0 || job->open_request)
		return ret;
	return job->object ? first_read(batch, job)
			   : fail(batch, job, WEIR_IO, "cannot be opened as a file", 0);
}

static int stepped_open(struct batch *batch, struct job *job)
{
	int ret = weir_object_open_finish(job->open_request, &job->object, batch->call->err);

	job->open_request = NULL;
	/* What is no file cannot be opened, and the description says so better. */
	if (ret == WEIR_ARG)
		return job->stat_request
			       ? 0
			       : reader_check_kind(batch->call, job->header->path, &job->stat);
	return ret == 0 && !job->stat_request ? first_read(batch, job) : ret;
}

static int stepped_read(struct batch *batch, struct job *job, const struct weir_done *done)
{
	if (done->status < 0)
		weir_transfer_error(job->transfer, done, batch->call->err);
	drop_read(batch, job);
	if (done->status < 0)
		return done->status;
	return job->header->text ? complete(batch, job) : take_guess(batch, job);
}

/* Is anything of it still under way? */
static bool is_busy(const struct job *job)
{
	return job->stat_request || job->open_request || job->transfer;
}

/* The failure is about the path as the caller knows it. */
static int name_it(struct batch *batch, const struct job *job, int ret)
{
	struct weir_error *err = batch->call->err;

	snprintf(err->object, sizeof(err->object), "%s", job->header->path);
	return ret;
}

static void step(struct batch *batch, const struct weir_done *done)
{
	struct job *job = &batch->jobs[done->tag / STEPS];
	int ret;

	switch ((enum step)(done->tag % STEPS)) {
	case STEP_STAT:
		ret = stepped_stat(batch, job);
		break;
	case STEP_OPEN:
		ret = stepped_open(batch, job);
		break;
	default:
		ret = stepped_read(batch, job, done);
	}
	if (ret < 0) /* and it is the first: nothing is taken after it */
		batch->ret = name_it(batch, job, ret);
	if (ret < 0 || !is_busy(job))
		end(batch, job);
}

/* ---- All of them ---- */

static void fill(struct batch *batch)
{
	for (uint64_t i = 0; i < batch->width && batch->next < batch->end; i++) {
		struct job *job = &batch->jobs[i];

		if (job->header || batch->ret < 0)
			continue;
		job->header = batch->next++;
		batch->busy++;
		batch->ret = begin(batch, job);
		if (batch->ret < 0)
			end(batch, job);
	}
}

static void run(struct batch *batch)
{
	struct reader_call *call = batch->call;

	for (fill(batch); batch->busy > 0 && batch->ret == 0; fill(batch)) {
		struct weir_done done;
		int ret = weir_queue_wait(batch->queue, &done, 1, READER_ASK_NS, call->err);

		if (ret > 0)
			step(batch, &done);
		else if (ret != WEIR_TIMEOUT)
			batch->ret = ret;
		if (batch->ret == 0 && reader_interrupted(call))
			batch->ret = fail(batch, &(struct job){.header = batch->next - 1},
					  WEIR_CANCELLED, "cancelled", 0);
	}
}

int reader_headers(struct reader_call *call, struct reader_header *headers, uint64_t count,
		   uint64_t width)
{
	struct batch batch = {.call = call, .next = headers, .end = headers + count};

	if (count == 0)
		return 0;
	batch.width = width < 1 ? 1 : width > WIDTH_MAX ? WIDTH_MAX : width;
	if (batch.width > count)
		batch.width = count;
	batch.memory = malloc((size_t)(batch.width * GUESS_BYTES));
	if (!batch.memory)
		return fail(&batch, &(struct job){.header = headers}, WEIR_NOMEM, "no memory", 0);
	for (uint64_t i = 0; i < batch.width; i++)
		batch.jobs[i].guess = batch.memory + i * GUESS_BYTES;
	batch.ret = weir_queue_create(call->reader->ctx, 0, &batch.queue, call->err);
	if (batch.ret == 0)
		run(&batch);
	for (uint64_t i = 0; i < batch.width; i++)
		if (batch.jobs[i].header)
			end(&batch, &batch.jobs[i]);
	weir_queue_destroy(batch.queue);
	if (!batch.lent)
		free(batch.memory);
	return batch.ret;
}
