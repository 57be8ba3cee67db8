/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The source of local and mounted files.  See file.h for what stands where.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/process.h"
#include "io/io.h"
#include "source/file.h"

/* The engine's start where nobody said otherwise (weir/context.h). */
#define DEPTH_DEFAULT 32

static void destroy(struct source *source)
{
	if (process_id() == file_source_of(source)->pid)
		lock_fini(&file_source_of(source)->lock);
	free(file_source_of(source));
}

static void choice(struct source *base, struct weir_choice *out)
{
	struct file_source *source = file_source_of(base);
	bool ring = !atomic_load_explicit(&source->ring_refused, memory_order_relaxed) &&
		    io_ring_possible();

	memset(out, 0, sizeof(*out));
	snprintf(out->kind, sizeof(out->kind), "%s", ring ? "io_uring" : "threads");
	out->direct = atomic_load_explicit(&source->direct_seen, memory_order_relaxed);
	out->lanes = atomic_load_explicit(&source->lanes, memory_order_relaxed);
	out->depth = DEPTH_DEFAULT;
	out->request_bytes = ring ? FILE_RING_REQUEST_BYTES : FILE_THREAD_REQUEST_BYTES;
}

static const struct source_ops file_ops = {
	.scheme = "file",
	.features = SOURCE_WRITES | SOURCE_LISTS | SOURCE_ONE_DIRECT_LANE,
	.destroy = destroy,
	.open = file_open,
	.stat = file_stat,
	.describe = file_describe,
	.read = file_read,
	.map = file_map,
	.list = file_list,
	.create = file_create,
	.clone = file_clone,
	.commit = file_commit,
	.abort = file_abort,
	.mkdir = file_mkdir,
	.adopt = file_adopt,
	.duplicate = file_duplicate,
	.close = file_close,
	.check = file_check,
	.in_place = file_in_place,
	.way = file_way,
	.lane_create = file_lane_create,
	.lane_destroy = file_lane_destroy,
	.lane_register = file_lane_register,
	.lane_pin = file_lane_pin,
	.lane_unpin = file_lane_unpin,
	.lane_listen = file_lane_listen,
	.lane_gather = file_lane_gather,
	.submit = file_submit,
	.reap = file_reap,
	.wake = file_wake,
	.cancel = file_cancel,
	.next_ns = file_next_ns,
	.choice = choice,
	.system_calls = file_system_calls,
};

int source_file_create(const struct source_env *env, struct source **out, struct weir_error *err)
{
	struct file_source *source = calloc(1, sizeof(*source));

	if (!source)
		return error_nomem(err, NULL, "the source of files");
	source->source = (struct source){.ops = &file_ops, .env = env};
	source->pid = process_id();
	lock_init(&source->lock);
	list_init(&source->open);
	source->open_max = file_open_limit();
	*out = &source->source;
	return 0;
}
