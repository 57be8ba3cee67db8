/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-feed - a feed of the engine, put where the yardstick "ring" stands
 *
 *	weir-feed [-b BLOCK] [-q DEPTH] [-r] [-c] [-u] [FILE [OFFSET [LENGTH]]]
 *
 * The same blocks into the same kind of memory, of a file that is opened as a server has it: around a
 * descriptor.  What is cached is copied from the cache, -c or not.  Sees the public headers alone.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weir/weir.h"

#include "yard/blocks.h"

#define BATCH 64

struct feeder {
	struct blocks blocks;
	struct weir_ctx *ctx;
	struct weir_feed *feed;
	struct weir_feed_io *ios;
	uint32_t region;
};

static struct weir_error err = WEIR_ERROR_INIT;

static int complain(void)
{
	return yard_fail("%s", err.message);
}

static int make_feed(struct feeder *feeder)
{
	struct blocks *blocks = &feeder->blocks;

	feeder->ios = calloc(blocks->depth, sizeof(feeder->ios[0]));
	if (!feeder->ios)
		return yard_fail("memory");
	if (weir_ctx_create(NULL, &feeder->ctx, &err) < 0 ||
	    weir_feed_create(feeder->ctx, NULL, &feeder->feed, &err) < 0)
		return complain();
	if (!blocks->unregistered &&
	    weir_feed_register(feeder->feed, blocks->memory, blocks->depth * blocks->block,
			       &feeder->region, &err) < 0)
		return complain();
	return 0;
}

static int push_block(struct feeder *feeder, const struct yard_job *job, struct weir_feed_io *io)
{
	if (!blocks_next(&feeder->blocks, job, &io->offset))
		return 0;
	return weir_feed_push(feeder->feed, io) == 0;
}

static int read_all(struct feeder *feeder, const struct yard_job *job, struct weir_object *object,
		    struct yard_window *window)
{
	struct blocks *blocks = &feeder->blocks;
	struct weir_feed_io *out[BATCH];
	int flying = 0;

	for (unsigned slot = 0; slot < blocks->depth; slot++) {
		feeder->ios[slot] = (struct weir_feed_io){
			.object = object,
			.memory = blocks->memory + slot * blocks->block,
			.length = blocks->block,
			.region = feeder->region,
		};
		flying += push_block(feeder, job, &feeder->ios[slot]);
	}
	while (flying > 0) {
		unsigned n = weir_feed_reap(feeder->feed, out, BATCH, WEIR_FOREVER);

		for (unsigned i = 0; i < n; i++) {
			if (out[i]->result != (int64_t)blocks->block)
				return yard_fail("%s: a read gave %lld", job->path,
						 (long long)out[i]->result);
			window->bytes += blocks->block;
			window->requests++;
			flying -= !push_block(feeder, job, out[i]);
		}
	}
	return 0;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	struct feeder *feeder = arg;
	struct weir_feed_counters before, after;
	struct weir_object *object;
	int fd, ret;

	blocks_start(&feeder->blocks, job);
	weir_feed_counters(feeder->feed, &before);
	yard_begin(window);
	fd = open(job->path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return yard_fail("%s", job->path);
	ret = weir_object_from_fd(feeder->ctx, fd, job->path, NULL, &object, &err);
	close(fd);
	if (ret < 0)
		return complain();
	ret = read_all(feeder, job, object, window);
	weir_object_unref(object);
	yard_end(window);
	weir_feed_counters(feeder->feed, &after);
	window->enters = after.system_calls - before.system_calls;
	return ret;
}

int main(int argc, char **argv)
{
	struct feeder feeder = {.blocks = {0}};

	if (blocks_options(&feeder.blocks, argc, argv, NULL) < 0)
		return 2;
	if (blocks_memory(&feeder.blocks) < 0 || make_feed(&feeder) < 0)
		return 1;
	return yard_serve(argc - optind, argv + optind, run, &feeder);
}
