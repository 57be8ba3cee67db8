/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring - blocks of a file into shared memory, by one process, through io_uring
 *
 *	ring [-b BLOCK] [-q DEPTH] [-r] [-c] [-u] [FILE [OFFSET [LENGTH]]]
 *
 * What a ring server and its client are held against: the same blocks into the same kind of memory, with
 * nobody in between.  A registered file, fixed buffers unless -u; what has ended is replaced at once, and
 * one system call submits the new and waits for the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

#include "blocks.h"

struct reader {
	struct blocks blocks;
	struct io_uring ring;
};

static int make_ring(struct reader *reader)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	struct blocks *blocks = &reader->blocks;
	struct iovec memory = {blocks->memory, blocks->depth * blocks->block};
	int ret = io_uring_queue_init_params(blocks->depth, &reader->ring, &params);

	if (ret == 0)
		ret = io_uring_register_files_sparse(&reader->ring, 1);
	if (ret == 0 && !blocks->unregistered)
		ret = io_uring_register_buffers(&reader->ring, &memory, 1);
	errno = -ret;
	return ret < 0 ? yard_fail("io_uring") : 0;
}

/* The next block into that slot; 0: there is none. */
static int queue_block(struct reader *reader, const struct yard_job *job, unsigned slot)
{
	struct blocks *blocks = &reader->blocks;
	unsigned char *to = blocks->memory + slot * blocks->block;
	struct io_uring_sqe *sqe;
	uint64_t offset;

	if (!blocks_next(blocks, job, &offset))
		return 0;
	sqe = io_uring_get_sqe(&reader->ring);
	if (blocks->unregistered)
		io_uring_prep_read(sqe, 0, to, (unsigned)blocks->block, offset);
	else
		io_uring_prep_read_fixed(sqe, 0, to, (unsigned)blocks->block, offset, 0);
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, slot);
	return 1;
}

/* Takes what has ended and puts the next in its place; how many fewer are under way, or -1. */
static int replace(struct reader *reader, const struct yard_job *job, struct yard_window *window)
{
	unsigned head, count = 0;
	struct io_uring_cqe *cqe;
	int fewer = 0;

	io_uring_for_each_cqe(&reader->ring, head, cqe)
	{
		if (cqe->res != (int)reader->blocks.block) {
			errno = cqe->res < 0 ? -cqe->res : 0;
			return yard_fail("%s: a read gave %d", job->path, cqe->res);
		}
		window->bytes += reader->blocks.block;
		window->requests++;
		fewer += !queue_block(reader, job, (unsigned)cqe->user_data);
		count++;
	}
	io_uring_cq_advance(&reader->ring, count);
	return fewer;
}

static int read_all(struct reader *reader, const struct yard_job *job, struct yard_window *window)
{
	int flying = 0;

	for (unsigned slot = 0; slot < reader->blocks.depth; slot++)
		flying += queue_block(reader, job, slot);
	while (flying > 0) {
		int ret = io_uring_submit_and_wait(&reader->ring, 1), fewer;

		window->enters++;
		errno = -ret;
		if (ret < 0 && ret != -EINTR)
			return yard_fail("io_uring_enter");
		fewer = replace(reader, job, window);
		if (fewer < 0)
			return -1;
		flying -= fewer;
	}
	return 0;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	struct reader *reader = arg;
	int fd, ret;

	blocks_start(&reader->blocks, job);
	yard_begin(window);
	fd = blocks_open(&reader->blocks, job);
	if (fd < 0)
		return -1;
	ret = io_uring_register_files_update(&reader->ring, 0, &fd, 1) == 1 ? 0 : -1;
	if (ret == 0)
		ret = read_all(reader, job, window);
	close(fd);
	yard_end(window);
	return ret;
}

int main(int argc, char **argv)
{
	struct reader reader = {.blocks = {0}};

	if (blocks_options(&reader.blocks, argc, argv, NULL) < 0)
		return 2;
	if (blocks_memory(&reader.blocks) < 0 || make_ring(&reader) < 0)
		return 1;
	return yard_serve(argc - optind, argv + optind, run, &reader);
}
