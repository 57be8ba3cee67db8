/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving bytes, and waiting for them, on either io.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "io_rig.h"

/* ---- Moving bytes ---- */

BOTH(reads_what_was_asked)
{
	struct io *io = io_made(make, sys_real(), 8);
	int fd = file_made();
	static unsigned char memory[8][200000];
	struct io_op ops[8];
	unsigned ended = 0;

	for (unsigned i = 0; i < 8; i++) {
		ops[i] = read_op(fd, memory[i], i * 100003, i % 2 ? 200000 : 777);
		check_int(io->ops->push(io, &ops[i]), 0);
	}
	while (ended < 8) {
		struct io_op *out[3];
		unsigned got = io->ops->reap(io, out, 3, in_ms(20000));

		check(got > 0 && got <= 3);
		ended += got;
	}
	for (unsigned i = 0; i < 8; i++) {
		check_int(ops[i].result, i % 2 ? 200000 : 777);
		check_bytes(memory[i], ops[i].offset, (size_t)ops[i].result);
	}
	check(io->system_calls > 0);
	check_int(io->ops->destroy(io), 0);
}

BOTH(short_results_are_handed_up)
{
	struct io *io = io_made(make, sys_real(), 2);
	unsigned char memory[1000];
	struct io_op near = read_op(file_made(), memory, FILE_BYTES - 100, 1000);
	struct io_op behind = read_op(near.fd, memory, FILE_BYTES + 100, 1000);

	check_int(io->ops->push(io, &near), 0);
	check_int(reap_one(io)->result, 100);
	check_bytes(memory, FILE_BYTES - 100, 100);
	check_int(io->ops->push(io, &behind), 0);
	check_int(reap_one(io)->result, 0);
	check_int(io->ops->destroy(io), 0);
}

BOTH(writes)
{
	struct io *io = io_made(make, sys_real(), 2);
	unsigned char memory[5000], back[5000];
	int fd = fileno(tmpfile());
	struct io_op op = {
		.fd = fd, .code = IO_WRITE, .memory = memory, .length = 5000, .offset = 300000};

	for (unsigned i = 0; i < sizeof(memory); i++)
		memory[i] = byte_at(i);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 5000);
	check_int(pread(fd, back, 5000, 300000), 5000);
	check(memcmp(memory, back, 5000) == 0);
	check_int(io->ops->destroy(io), 0);
}

BOTH(errors_are_negative_errnos)
{
	struct io *io = io_made(make, sys_real(), 2);
	unsigned char memory[16];
	struct io_op op = read_op(9999, memory, 0, 16);

	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, -EBADF);
	check_int(io->ops->destroy(io), 0);
}

BOTH(no_deeper_than_said)
{
	struct io *io = io_made(make, sys_real(), 2);
	unsigned char memory[3][16];
	int fd = file_made();
	struct io_op ops[3];

	for (unsigned i = 0; i < 3; i++) {
		ops[i] = read_op(fd, memory[i], 0, 16);
		check_int(io->ops->push(io, &ops[i]), i < 2 ? 0 : WEIR_LIMIT);
	}
	reap_one(io);
	check_int(io->ops->push(io, &ops[2]), 0);
	reap_one(io);
	reap_one(io);
	check_int(io->ops->destroy(io), 0);
}

/* Deeper than any queue of the kernel's. */
BOTH(many_at_once)
{
	enum {
		COUNT = 3000
	};
	struct io *io = io_made(make, sys_real(), COUNT);
	static unsigned char memory[COUNT][64];
	static struct io_op ops[COUNT];
	struct io_op *out[64];
	int fd = file_made();
	unsigned ended = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		ops[i] = read_op(fd, memory[i], i * 300, 64);
		check_int(io->ops->push(io, &ops[i]), 0);
	}
	while (ended < COUNT) {
		unsigned got = io->ops->reap(io, out, 64, in_ms(20000));

		check(got > 0);
		for (unsigned i = 0; i < got; i++) {
			check_int(out[i]->result, 64);
			check_bytes(out[i]->memory, out[i]->offset, 64);
		}
		ended += got;
	}
	check_int(io->ops->destroy(io), 0);
}

static void *drive(void *arg)
{
	struct io *io = arg;
	unsigned char memory[5000];
	struct io_op op = read_op(file_made(), memory, 77, 5000);

	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 5000);
	check_bytes(memory, 77, 5000);
	return NULL;
}

/* Made here, driven there, destroyed here again. */
BOTH(the_driver_may_be_another_thread)
{
	static unsigned char memory[65536];
	struct io *io = io_made(make, sys_real(), 2);
	pthread_t thread;

	io->ops->register_memory(io, memory, sizeof(memory));
	check_int(pthread_create(&thread, NULL, drive, io), 0);
	pthread_join(thread, NULL);
	check_int(io->ops->destroy(io), 0);
}

/* ---- Waiting ---- */

BOTH(reap_ends_at_its_deadline)
{
	struct io *io = io_made(make, sys_real(), 2);
	int64_t start = sys_real()->now_ns();
	struct io_op *op;

	check_int(io->ops->reap(io, &op, 1, 0), 0);
	check_int(io->ops->reap(io, &op, 1, start), 0);
	check(ms_since(start) < 1000);
	start = sys_real()->now_ns();
	check_int(io->ops->reap(io, &op, 1, in_ms(50)), 0);
	check(ms_since(start) >= 50);
	check_int(io->ops->destroy(io), 0);
}

static void *wake_later(void *arg)
{
	struct io *io = arg;

	usleep(30000);
	io->ops->wake(io);
	return NULL;
}

BOTH(wake_ends_a_reap)
{
	struct io *io = io_made(make, sys_real(), 2);
	struct io_op *op;

	for (unsigned round = 0; round < 5; round++) {
		int64_t start = sys_real()->now_ns();
		pthread_t thread;

		pthread_create(&thread, NULL, wake_later, io);
		check_int(io->ops->reap(io, &op, 1, NEVER), 0);
		check(ms_since(start) >= 25);
		pthread_join(thread, NULL);
	}
	check_int(io->ops->destroy(io), 0);
}

/* A wake that comes before the reap is not lost, and a hundred are one. */
BOTH(wakes_are_kept_and_coalesced)
{
	struct io *io = io_made(make, sys_real(), 2);
	struct io_op *op;
	int64_t start;

	for (unsigned i = 0; i < 100; i++)
		io->ops->wake(io);
	start = sys_real()->now_ns();
	check_int(io->ops->reap(io, &op, 1, in_ms(10000)), 0);
	check(ms_since(start) < 5000);
	start = sys_real()->now_ns();
	check_int(io->ops->reap(io, &op, 1, in_ms(50)), 0);
	check(ms_since(start) >= 50);
	check_int(io->ops->destroy(io), 0);
}

static struct io *woken_by_signal;

static void on_alarm(int number)
{
	(void)number;
	woken_by_signal->ops->wake(woken_by_signal);
}

BOTH(wake_from_a_signal_handler)
{
	struct sigaction action = {.sa_handler = on_alarm};
	struct io *io = io_made(make, sys_real(), 2);
	struct io_op *op;

#ifdef __SANITIZE_THREAD__
	/* It keeps a handler back until a call that it knows, and io_uring_enter() is none. */
	skip("the thread sanitizer delays signal handlers");
#endif
	woken_by_signal = io;
	sigaction(SIGALRM, &action, NULL);
	ualarm(30000, 0);
	check_int(io->ops->reap(io, &op, 1, NEVER), 0);
	check_int(io->ops->destroy(io), 0);
}

static void on_nothing(int number)
{
	(void)number;
}

/* Signals without SA_RESTART a thousand times a second. */
BOTH(PR_01_signals_while_waiting)
{
	struct itimerval often = {{0, 1000}, {0, 1000}};
	struct sigaction action = {.sa_handler = on_nothing};
	struct io *io = io_made(make, sys_real(), 4);
	static unsigned char memory[FILE_BYTES];
	struct io_op op = read_op(file_made(), memory, 0, FILE_BYTES);
	struct io_op *out;
	int64_t start = sys_real()->now_ns();

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	check_int(io->ops->reap(io, &out, 1, in_ms(100)), 0);
	check(ms_since(start) >= 100);
	for (unsigned i = 0; i < 50; i++) {
		check_int(io->ops->push(io, &op), 0);
		check_int(reap_one(io)->result, FILE_BYTES);
	}
	check_bytes(memory, 0, FILE_BYTES);
	check_int(io->ops->destroy(io), 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(reads_what_was_asked),
		TEST_BOTH(short_results_are_handed_up),
		TEST_BOTH(writes),
		TEST_BOTH(errors_are_negative_errnos),
		TEST_BOTH(no_deeper_than_said),
		TEST_BOTH(many_at_once),
		TEST_BOTH(the_driver_may_be_another_thread),
		TEST_BOTH(reap_ends_at_its_deadline),
		TEST_BOTH(wake_ends_a_reap),
		TEST_BOTH(wakes_are_kept_and_coalesced),
		TEST_BOTH(wake_from_a_signal_handler),
		TEST_BOTH(PR_01_signals_while_waiting),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
