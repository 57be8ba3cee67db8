/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernels that are not ready, break, or hang: what becomes of the operations, and of the threads.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "io_rig.h"

/* ---- Faults ---- */

static _Atomic unsigned calls;

static ssize_t pread_interrupted(int fd, void *to, size_t len, off_t off)
{
	unsigned call = atomic_fetch_add(&calls, 1);

	if (call % 3 < 2) {
		errno = call % 3 ? EAGAIN : EINTR;
		return -1;
	}
	return pread(fd, to, len, off);
}

static void ST_02_ST_04_interrupted_and_not_ready_threads(void)
{
	struct sys sys = *sys_real();
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 5, 100);
	struct io *io;

	sys.pread = pread_interrupted;
	io = io_made(make_threads, &sys, 2);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 100);
	check_bytes(memory, 5, 100);
	check_int(atomic_load(&calls), 3);
	check_int(io->ops->destroy(io), 0);
}

static void ST_06_cancelled_in_the_kernel_ring(void)
{
	struct io *io = io_made(make_ring, sys_real(), 2);
	char memory[16];
	struct io_op *out, op;
	int ends[2];

	check_int(pipe(ends), 0);
	op = read_op(ends[0], memory, UINT64_MAX, 16);
	check_int(io->ops->push(io, &op), 0);
	check_int(io->ops->reap(io, &out, 1, in_ms(20)), 0);
	io->ops->cancel(io, &op);
	check_int(reap_one(io)->result, -ECANCELED);
	check_int(io->ops->destroy(io), 0);
}

static void destroy_ends_what_is_in_flight_ring(void)
{
	struct io *io = io_made(make_ring, sys_real(), 4);
	char memory[4][16];
	struct io_op ops[4];
	int ends[2];

	check_int(pipe(ends), 0);
	for (unsigned i = 0; i < 4; i++) {
		ops[i] = read_op(ends[0], memory[i], UINT64_MAX, 16);
		check_int(io->ops->push(io, &ops[i]), 0);
	}
	check_int(io->ops->destroy(io), 0);
}

/* The ring's own descriptor is closed by somebody: what was not taken fails, nothing hangs. */
static void PR_12_ST_06_ring_closed_behind_our_back(void)
{
	struct io *io = io_made(make_ring, sys_real(), 4);
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 0, 100), *out;
	int64_t start;

	check_int(io->ops->reap(io, &out, 1, 0), 0);
	for (int fd = 3; fd < 64; fd++)
		if (fd != op.fd)
			close(fd);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, -EBADF);
	start = sys_real()->now_ns();
	check_int(io->ops->reap(io, &out, 1, in_ms(20)), 0);
	check(ms_since(start) < 5000);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, -EBADF);
	check_int(io->ops->destroy(io), 0);
}

/* ---- Stuck threads ---- */

static int stuck_pipe[2];

static ssize_t pread_stuck(int fd, void *to, size_t len, off_t off)
{
	char byte;

	if (off != 777)
		return pread(fd, to, len, off);
	atomic_fetch_add(&calls, 1);
	return read(stuck_pipe[0], &byte, 1);
}

static void ST_16_a_stuck_worker_is_left_behind_threads(void)
{
	static unsigned char memory[2][100];
	static struct io_op ops[2];
	struct sys sys = *sys_real();
	int fd = file_made();
	int64_t start;
	struct io *io;

	check_int(pipe(stuck_pipe), 0);
	sys.pread = pread_stuck;
	io = io_made(make_threads, &sys, 4);
	ops[0] = read_op(fd, memory[0], 777, 100);
	ops[1] = read_op(fd, memory[1], 100, 100);
	check_int(io->ops->push(io, &ops[0]), 0);
	check_int(io->ops->push(io, &ops[1]), 0);
	check(reap_one(io) == &ops[1]);
	io->ops->cancel(io, &ops[0]);
	start = sys_real()->now_ns();
	check_int(io->ops->destroy(io), 1);
	check(ms_since(start) < 2000);
	/* It comes back later, touches nothing of ours, and frees what it stood on. */
	ops[0].result = 4711;
	check_int(write(stuck_pipe[1], "x", 1), 1);
	usleep(50000);
	check_int(ops[0].result, 4711);
}

struct late {
	void *(*run)(void *);
	void *arg;
};

static void *come_late(void *arg)
{
	struct late late = *(struct late *)arg;

	free(arg);
	usleep(300000);
	return late.run(late.arg);
}

static int thread_create_late(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			      void *arg)
{
	struct late *late = malloc(sizeof(*late));

	*late = (struct late){run, arg};
	return pthread_create(out, attr, come_late, late);
}

/* On a busy machine a thread may not run for as long as one that is stuck is waited for. */
static void a_worker_that_does_nothing_is_not_stuck_threads(void)
{
	struct sys sys = *sys_real();
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 0, 100);
	struct io *io;

	sys.thread_create = thread_create_late;
	io = io_made(make_threads, &sys, 4);
	check_int(io->ops->push(io, &op), 0);
	io->ops->cancel(io, &op);
	check_int(reap_one(io)->result, -ECANCELED);
	check_int(io->ops->destroy(io), 0);
}

static int thread_create_fails(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			       void *arg)
{
	if (atomic_fetch_add(&calls, 1) > 0)
		return EAGAIN;
	return pthread_create(out, attr, run, arg);
}

static int thread_create_never(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			       void *arg)
{
	(void)out;
	(void)attr;
	(void)run;
	(void)arg;
	return EAGAIN;
}

static void PR_08_no_thread_can_be_started(void)
{
	struct sys sys = *sys_real();
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 0, 100);
	struct io *io;

	sys.thread_create = thread_create_never;
	io = io_made(make_threads, &sys, 4);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, -ENOMEM);
	check_int(io->ops->destroy(io), 0);
}

static void PR_08_one_thread_does_the_work_of_four(void)
{
	struct sys sys = *sys_real();
	static unsigned char memory[16][100];
	struct io_op ops[16];
	int fd = file_made();
	struct io *io;

	sys.thread_create = thread_create_fails;
	io = io_made(make_threads, &sys, 16);
	for (unsigned i = 0; i < 16; i++) {
		ops[i] = read_op(fd, memory[i], i * 1000, 100);
		check_int(io->ops->push(io, &ops[i]), 0);
	}
	for (unsigned i = 0; i < 16; i++)
		check_int(reap_one(io)->result, 100);
	check_int(io->ops->destroy(io), 0);
}

static ssize_t pread_slow(int fd, void *to, size_t len, off_t off)
{
	usleep(20000);
	return pread(fd, to, len, off);
}

static void cancelled_in_the_queue_threads(void)
{
	struct sys sys = *sys_real();
	static unsigned char memory[8][100];
	struct io_op ops[8];
	unsigned cancelled = 0;
	int fd = file_made();
	struct io *io;

	sys.pread = pread_slow;
	io = io_made(make_threads, &sys, 8);
	for (unsigned i = 0; i < 8; i++) {
		ops[i] = read_op(fd, memory[i], 0, 100);
		check_int(io->ops->push(io, &ops[i]), 0);
	}
	io->ops->cancel(io, &ops[7]);
	for (unsigned i = 0; i < 8; i++)
		cancelled += reap_one(io)->result == -ECANCELED;
	check_int(cancelled, 1);
	check_int(ops[7].result, -ECANCELED);
	check_int(io->ops->destroy(io), 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_02_ST_04_interrupted_and_not_ready_threads),
		TEST(ST_06_cancelled_in_the_kernel_ring),
		TEST(destroy_ends_what_is_in_flight_ring),
		TEST(PR_12_ST_06_ring_closed_behind_our_back),
		TEST(ST_16_a_stuck_worker_is_left_behind_threads),
		TEST(a_worker_that_does_nothing_is_not_stuck_threads),
		TEST(PR_08_no_thread_can_be_started),
		TEST(PR_08_one_thread_does_the_work_of_four),
		TEST(cancelled_in_the_queue_threads),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
