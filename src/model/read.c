/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens the shards and reads their headers.
 *
 * From a warm page cache a file takes two microseconds or three, and waking another thread ten times as
 * long: so one thread does them all, or two where there are many and two processors.  Where the first few
 * took long (a disk that has to seek, a file server), more join it.  Each takes the next shard that
 * nobody has.
 */
#include <inttypes.h>
#include <sched.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "engine/context.h"
#include "engine/object.h"
#include "model/beneath.h"
#include "model/opening.h"

/* So many shards are looked at before others are called; slower ones than this are worth it. */
#define ALONE   4
#define SLOW_NS (NS_PER_MS / 2)

/* Readers beside the first. */
#define READERS_MAX 15

/* From so many shards on that nobody has, a second reader is worth its waking though all goes fast. */
#define MANY 32

struct reading {
	struct opening *opening;
	uint32_t count;

	struct header_guess guess;

	_Atomic uint32_t next;   /* shard that nobody has taken yet; past the count: all are */
	_Atomic uint32_t failed; /* the first shard in their order that failed; count: none did */

	struct lock lock;
	/* Under the lock; `failed` is written there, too. */
	struct cond ended;
	uint32_t readers; /* that are under way, the first not counted */
	int result;
	struct weir_error err; /* of that one */
};

/* A reader beside the first. */
struct reader {
	struct helper_call call;
	struct reading *reading;
};

static int open_shard(struct opening *opening, struct shard *shard, struct weir_error *err)
{
	if (opening->opts.flags & WEIR_MODEL_BENEATH && opening->dir)
		return beneath_open(opening->ctx, opening->dir, shard->name, shard->view.uri,
				    &opening->how, &shard->object, err);
	if (opening->at)
		return object_dir_find_here(opening->at, shard->view.uri, &opening->how,
					    &shard->object, err);
	return object_open_here(opening->ctx, shard->view.uri, &opening->how, &shard->object, err);
}

static int read_shard(struct reading *reading, struct shard *shard, struct weir_error *err)
{
	struct opening *opening = reading->opening;
	unsigned flags = opening->opts.flags & WEIR_MODEL_LENIENT ? FORMAT_LENIENT : 0;
	int ret;

	if (shard->object)
		return 0;
	ret = open_shard(opening, shard, err);
	if (ret == 0)
		ret = header_read(opening->model, shard->object, flags, &reading->guess,
				  &shard->index, err);
	/* Relaxed: a sign of life, nothing is published with it. */
	atomic_fetch_add_explicit(&opening->call.progress, 1, memory_order_relaxed);
	return ret;
}

/* The next shard for this reader, or NULL when it may go. */
static struct shard *take_shard(struct reading *reading, uint32_t *number)
{
	/* Relaxed: shards were there before any reader, and are looked at after all have ended. */
	if (atomic_load_explicit(&reading->failed, memory_order_relaxed) < reading->count)
		return NULL;
	*number = atomic_fetch_add_explicit(&reading->next, 1, memory_order_relaxed);
	return *number < reading->count ? &reading->opening->model->shards[*number] : NULL;
}

static uint32_t left(const struct reading *reading)
{
	uint32_t next = atomic_load_explicit(&reading->next, memory_order_relaxed);

	return next < reading->count ? reading->count - next : 0;
}

/* Of several failures the first in the order of the shards is told, whoever was faster. */
static void note_failure(struct reading *reading, uint32_t number, int code,
			 const struct weir_error *err)
{
	lock_take(&reading->lock);
	if (number < atomic_load_explicit(&reading->failed, memory_order_relaxed)) {
		atomic_store_explicit(&reading->failed, number, memory_order_relaxed);
		reading->result = code;
		reading->err = *err;
	}
	lock_drop(&reading->lock);
}

/* Shards one after another, until `most` are done or none is left. */
static void read_some(struct reading *reading, uint32_t most)
{
	struct weir_error err;
	struct shard *shard;
	uint32_t number;
	int ret;

	for (; most > 0 && (shard = take_shard(reading, &number)); most--) {
		ret = read_shard(reading, shard, &err);
		if (ret < 0)
			note_failure(reading, number, ret, &err);
	}
}

static int run_reader(struct helper_call *call)
{
	struct reading *reading = container_of(call, struct reader, call)->reading;

	read_some(reading, UINT32_MAX);
	lock_take(&reading->lock);
	reading->readers--;
	cond_wake(&reading->ended);
	lock_drop(&reading->lock);
	return 0;
}

static void free_reader(struct helper_call *call)
{
	free(container_of(call, struct reader, call));
}

static bool two_processors(void)
{
	cpu_set_t ours;

	return sched_getaffinity(0, sizeof(ours), &ours) == 0 && CPU_COUNT(&ours) > 1;
}

static void call_readers(struct reading *reading, uint32_t want)
{
	for (uint32_t i = 0; i < want; i++) {
		struct reader *reader = calloc(1, sizeof(*reader));

		if (!reader)
			return;
		reader->call.run = run_reader;
		reader->call.free = free_reader;
		reader->reading = reading;
		lock_take(&reading->lock);
		reading->readers++;
		lock_drop(&reading->lock);
		if (helper_post(reading->opening->ctx->helpers, &reader->call) == 0)
			continue;
		lock_take(&reading->lock);
		reading->readers--;
		lock_drop(&reading->lock);
		return;
	}
}

static void read_all(struct reading *reading)
{
	const struct sys *sys = reading->opening->ctx->sys;
	int64_t start = sys->now_ns();

	read_some(reading, ALONE);
	if (sys->now_ns() - start > ALONE * SLOW_NS)
		call_readers(reading, min_of(left(reading), (uint32_t)READERS_MAX));
	else if (left(reading) >= MANY && two_processors())
		call_readers(reading, 1);
	read_some(reading, UINT32_MAX);
	lock_take(&reading->lock);
	while (reading->readers > 0)
		cond_wait(&reading->ended, &reading->lock, NEVER);
	lock_drop(&reading->lock);
}

/* Fewer shards than this are not worth opening their directory. */
#define WORTH_A_DIR 4

/* The directory of the shards, where opening it spares some calls for each of them. */
static bool open_dir(struct opening *opening, struct object_dir *out)
{
	return opening->dir && opening->model->shard_count >= WORTH_A_DIR &&
	       !(opening->opts.flags & WEIR_MODEL_BENEATH) &&
	       object_dir_open_here(opening->ctx, opening->dir, out);
}

int read_shards(struct opening *opening)
{
	uint32_t count = opening->model->shard_count;
	struct object_dir dir;
	struct reading reading = {.opening = opening, .count = count};

	atomic_init(&reading.failed, count);
	lock_init(&reading.lock);
	cond_init(&reading.ended);
	if (open_dir(opening, &dir))
		opening->at = &dir;
	read_all(&reading);
	if (opening->at)
		object_dir_close(&dir);
	opening->at = NULL;
	cond_fini(&reading.ended);
	lock_fini(&reading.lock);
	if (reading.result && opening->err)
		*opening->err = reading.err;
	return reading.result;
}
