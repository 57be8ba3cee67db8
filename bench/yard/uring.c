/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uring - a file read directly, through io_uring
 *
 *	uring [-b REQUEST] [-q DEPTH] [-p PAGES] [-r REUSE] [-B] [-u] [FILE [OFFSET [LENGTH]]]
 *
 * O_DIRECT, a registered file, fixed buffers over the whole destination, completions reaped by the
 * task that submits.  One enter submits one request, because a batch of neighbours is merged by the
 * block layer into fewer and slower ones; -B batches all the same.  -u leaves the destination
 * unregistered (what an ordinary user's limit on locked memory allows).  -r reads everything into the
 * same REUSE bytes over and over, as fio does: that delivers nothing, but shows what the disk alone
 * gives.  Offset and length must be multiples of 4 KiB; a shorter end of the file is read as it comes.
 */
#include "yard.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 1024
#define PIECE     ((size_t)1 << 30) /* the most that one fixed buffer may span */

struct reader {
	size_t request;
	unsigned depth;
	int batch, unregistered;
	size_t reuse; /* 0: every byte has its own place */
	struct yard_dest dest;
	size_t registered; /* bytes of the destination known to the ring */
	struct io_uring ring;
};

static int make_ring(struct reader *reader)
{
	struct io_uring_params params = {
		.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
	};
	int ret = io_uring_queue_init_params(reader->depth, &reader->ring, &params);

	if (ret == 0)
		ret = io_uring_register_files_sparse(&reader->ring, 1);
	errno = -ret;
	return ret < 0 ? yard_fail("io_uring") : 0;
}

static int register_dest(struct reader *reader, size_t size)
{
	struct iovec pieces[64];
	unsigned count = 0;

	if (reader->unregistered || reader->registered >= size)
		return 0;
	if (reader->registered)
		io_uring_unregister_buffers(&reader->ring);
	reader->registered = reader->dest.size;
	for (size_t at = 0; at < reader->dest.size && count < 64; at += PIECE, count++) {
		size_t left = reader->dest.size - at;
		pieces[count].iov_base = reader->dest.at + at;
		pieces[count].iov_len = left < PIECE ? left : PIECE;
	}
	int ret = io_uring_register_buffers(&reader->ring, pieces, count);
	errno = -ret;
	return ret < 0 ? yard_fail("registering %zu bytes", reader->dest.size) : 0;
}

static void queue_read(struct reader *reader, const struct yard_job *job, uint64_t at)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&reader->ring);
	uint64_t left = job->length - at;
	unsigned size = left < reader->request ? (unsigned)left : (unsigned)reader->request;

	uint64_t to = reader->reuse ? at % reader->reuse : at;
	size = (size + 4095u) & ~4095u;
	if (reader->unregistered)
		io_uring_prep_read(sqe, 0, reader->dest.at + to, size, job->offset + at);
	else
		io_uring_prep_read_fixed(sqe, 0, reader->dest.at + to, size, job->offset + at,
					 (int)(to / PIECE));
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data64(sqe, at);
}

/* Takes the completions that are there; returns how many, or -1. */
static int reap(struct reader *reader, const struct yard_job *job, uint64_t *bytes)
{
	struct io_uring_cqe *cqe;
	unsigned head;
	int count = 0;

	io_uring_for_each_cqe(&reader->ring, head, cqe)
	{
		uint64_t left = job->length - cqe->user_data;
		uint64_t want = left < reader->request ? left : reader->request;
		if (cqe->res < 0 || (uint64_t)cqe->res < want) {
			errno = cqe->res < 0 ? -cqe->res : 0;
			return yard_fail("%s: read at %llu gave %d", job->path,
					 (unsigned long long)(job->offset + cqe->user_data),
					 cqe->res);
		}
		*bytes += want;
		count++;
	}
	io_uring_cq_advance(&reader->ring, (unsigned)count);
	return count;
}

static int enter(struct reader *reader, struct yard_window *window, unsigned wait)
{
	int ret = io_uring_submit_and_wait(&reader->ring, wait);

	window->enters++;
	errno = -ret;
	return ret < 0 && ret != -EINTR ? yard_fail("io_uring_enter") : 0;
}

static int read_all(struct reader *reader, const struct yard_job *job, struct yard_window *window)
{
	unsigned flying = 0;
	uint64_t next = 0;

	while (next < job->length || flying > 0) {
		while (next < job->length && flying < reader->depth) {
			queue_read(reader, job, next);
			next += reader->request;
			flying++;
			window->requests++;
			if (!reader->batch && flying < reader->depth && next < job->length &&
			    enter(reader, window, 0) < 0)
				return -1;
		}
		if (enter(reader, window, 1) < 0)
			return -1;
		int done = reap(reader, job, &window->bytes);
		if (done < 0)
			return -1;
		flying -= (unsigned)done;
	}
	return 0;
}

static int run(const struct yard_job *job, struct yard_window *window, void *arg)
{
	struct reader *reader = arg;
	int fresh = reader->dest.pages >= YARD_FRESH_HUGE;

	uint64_t room = reader->reuse ? reader->reuse : job->length;
	if (!fresh && (yard_dest_get(&reader->dest, room) < 0 || register_dest(reader, room) < 0))
		return -1;
	yard_begin(window);
	int fd = open(job->path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return yard_fail("%s", job->path);
	int ret = io_uring_register_files_update(&reader->ring, 0, &fd, 1) == 1 ? 0 : -1;
	if (ret == 0 && fresh)
		ret = yard_dest_get(&reader->dest, job->length);
	if (ret == 0)
		ret = read_all(reader, job, window);
	close(fd);
	yard_end(window);
	if (fresh)
		yard_dest_drop(&reader->dest);
	return ret;
}

int main(int argc, char **argv)
{
	struct reader reader = {.request = 512 << 10, .depth = 32};
	int option;

	while ((option = getopt(argc, argv, "b:q:p:r:Bu")) != -1) {
		switch (option) {
		case 'b':
			reader.request = yard_size(optarg);
			break;
		case 'q':
			reader.depth = (unsigned)atoi(optarg);
			break;
		case 'p':
			reader.dest.pages = yard_pages(optarg);
			break;
		case 'r':
			reader.reuse = yard_size(optarg);
			break;
		case 'B':
			reader.batch = 1;
			break;
		case 'u':
			reader.unregistered = 1;
			break;
		default:
			return 2;
		}
	}
	if (reader.dest.pages >= YARD_FRESH_HUGE)
		reader.unregistered = 1;
	if (reader.depth < 1 || reader.depth > DEPTH_MAX || reader.request == 0 ||
	    PIECE % reader.request || reader.reuse % reader.request) {
		errno = 0;
		yard_fail("uring: depth 1 to %d, requests that divide 1 GiB and REUSE", DEPTH_MAX);
		return 2;
	}
	if (make_ring(&reader) < 0)
		return 1;
	return yard_serve(argc - optind, argv + optind, run, &reader);
}
