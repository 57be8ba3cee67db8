/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ios against one set of promises: each case runs on io_uring and on plain threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "io/io.h"
#include "lib/check.h"

#define FILE_BYTES (1u << 20)

/* ---- What all cases use ---- */

typedef int make_io_fn(const struct sys *sys, uint32_t depth, struct io **out);

static int make_ring(const struct sys *sys, uint32_t depth, struct io **out)
{
	return io_ring_create(sys, depth, out, NULL);
}

static int make_threads(const struct sys *sys, uint32_t depth, struct io **out)
{
	return io_threads_create(sys, depth, 4, out, NULL);
}

static struct io *io_made(make_io_fn *make, const struct sys *sys, uint32_t depth)
{
	struct io *io = NULL;

	check_int(make(sys, depth, &io), 0);
	return io;
}

/* One case for each io. */
#define BOTH(name)                                                                                 \
	static void name(make_io_fn *make);                                                        \
	static void name##_ring(void)                                                              \
	{                                                                                          \
		name(make_ring);                                                                   \
	}                                                                                          \
	static void name##_threads(void)                                                           \
	{                                                                                          \
		name(make_threads);                                                                \
	}                                                                                          \
	static void name(make_io_fn *make)
#define TEST_BOTH(name) TEST(name##_ring), TEST(name##_threads)

static unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 2654435761u >> 13);
}

/* An unnamed file with position-dependent content. */
static int file_made(void)
{
	FILE *file = tmpfile();

	check(file != NULL);
	for (unsigned i = 0; i < FILE_BYTES; i++)
		putc(byte_at(i), file);
	fflush(file);
	return fileno(file);
}

static void check_bytes(const unsigned char *at, uint64_t offset, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (at[i] != byte_at(offset + i))
			check_failed(__FILE__, __LINE__, "byte %zu is wrong", (size_t)offset + i);
}

static struct io_op read_op(int fd, void *memory, uint64_t offset, uint32_t length)
{
	return (struct io_op){
		.fd = fd, .code = IO_READ, .memory = memory, .offset = offset, .length = length};
}

static int64_t in_ms(int64_t ms)
{
	return sys_real()->now_ns() + ms * NS_PER_MS;
}

static struct io_op *reap_one(struct io *io)
{
	struct io_op *op = NULL;

	check_int(io->ops->reap(io, &op, 1, in_ms(20000)), 1);
	return op;
}

static double ms_since(int64_t start_ns)
{
	return (double)(sys_real()->now_ns() - start_ns) / (double)NS_PER_MS;
}

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

/* ---- Registered memory ---- */

BOTH(registered_memory_reads_the_same)
{
	size_t bytes = 4u << 20;
	unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io *io = io_made(make, sys_real(), 4);
	struct io_op ops[4];
	int fd = file_made();

	io->ops->register_memory(io, memory + 4096, bytes - 8192);
	ops[0] = read_op(fd, memory + 5000, 3000, 200000);
	ops[1] = read_op(fd, memory + bytes - 4106, 5000, 10);
	ops[2] = read_op(fd, memory + bytes - 5000, 6000, 5000); /* out over its end */
	ops[3] = read_op(fd, memory + 4000, 7000, 5000);         /* in from before it */
	for (unsigned i = 0; i < 4; i++) {
		check_int(io->ops->push(io, &ops[i]), 0);
		check_int(reap_one(io)->result, ops[i].length);
		check_bytes(ops[i].memory, ops[i].offset, ops[i].length);
	}
	check_int(io->ops->destroy(io), 0);
	munmap(memory, bytes);
}

/* What is more than may be locked goes unregistered, and works. */
BOTH(PR_10_ST_22_little_lockable_memory)
{
	struct rlimit limit = {64 << 10, 64 << 10};
	size_t bytes = 4u << 20;
	unsigned char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct io_op op;
	struct io *io;

	check_int(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (getuid() == 0) /* who is exempt; and users share a limit, so a new one */
		check_int(setuid(200000 + (uid_t)getpid()), 0);
	io = io_made(make, sys_real(), 4);
	io->ops->register_memory(io, memory, bytes);
	op = read_op(file_made(), memory, 0, 100000);
	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 100000);
	check_bytes(memory, 0, 100000);
	check_int(io->ops->destroy(io), 0);
	munmap(memory, bytes);
}

/* ---- Processes ---- */

static bool has_ring_memory(void)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	bool found = false;

	while (maps && fgets(line, sizeof(line), maps))
		found |= strstr(line, "io_uring") != NULL;
	if (maps)
		fclose(maps);
	return found;
}

BOTH(PR_13_a_forked_child_only_frees)
{
	struct io *io = io_made(make, sys_real(), 4);
	unsigned char memory[100];
	struct io_op op = read_op(file_made(), memory, 0, 100);
	int status;
	pid_t pid;

	check_int(io->ops->push(io, &op), 0);
	check_int(reap_one(io)->result, 100);
	check_int(io->ops->push(io, &op), 0);
	check_int(has_ring_memory(), make == make_ring);
	pid = fork();
	if (pid == 0)
		_exit(has_ring_memory() || io->ops->destroy(io) != 0);
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	check_int(reap_one(io)->result, 100);
	check_bytes(memory, 0, 100);
	check_int(io->ops->destroy(io), 0);
}

static unsigned count_fds(int from, int *not_cloexec)
{
	unsigned count = 0;

	for (int fd = from; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		count += flags >= 0;
		if (flags >= 0 && !(flags & FD_CLOEXEC) && not_cloexec)
			(*not_cloexec)++;
	}
	return count;
}

/* With 0, 1 and 2 closed nothing of ours takes their places; all is closed by exec, and at the end. */
BOTH(PR_11_PR_14_descriptors)
{
	unsigned before = count_fds(3, NULL);
	int not_cloexec = 0, inherited = 0;
	struct io_op *out;
	struct io *io;

	count_fds(3, &inherited);
	close(0);
	close(1);
	close(2);
	io = io_made(make, sys_real(), 4);
	check_int(io->ops->reap(io, &out, 1, 0), 0);
	check_int(fcntl(0, F_GETFD), -1);
	check_int(fcntl(1, F_GETFD), -1);
	check_int(fcntl(2, F_GETFD), -1);
	count_fds(3, &not_cloexec);
	check_int(not_cloexec, inherited);
	check_int(io->ops->destroy(io), 0);
	check_int(count_fds(0, NULL), before);
}

BOTH(PR_11_no_descriptor_left)
{
	struct rlimit limit = {16, 16};
	struct io *io = NULL;
	int ret;

	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int fd = 3; fd < 16; fd++)
		dup2(0, fd);
	ret = make(sys_real(), 4, &io);
	for (int fd = 3; fd < 16; fd++)
		close(fd); /* what looks for leaks needs some */
	if (make == make_threads)
		check_int(io->ops->destroy(io), 0);
	else
		check_int(ret, WEIR_IO);
}

static void depths_that_make_no_sense(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct io *io;

	check_int(io_ring_create(sys_real(), 0, &io, &err), WEIR_ARG);
	check_int(io_threads_create(sys_real(), 0, 1, &io, &err), WEIR_ARG);
	check_int(io_threads_create(sys_real(), 1, 0, &io, &err), WEIR_ARG);
	check_int(io_ring_create(sys_real(), UINT32_MAX, &io, &err), WEIR_ARG);
	check_has(err.message, "4294967295");
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
		TEST(ST_02_ST_04_interrupted_and_not_ready_threads),
		TEST(ST_06_cancelled_in_the_kernel_ring),
		TEST(destroy_ends_what_is_in_flight_ring),
		TEST(PR_12_ST_06_ring_closed_behind_our_back),
		TEST(ST_16_a_stuck_worker_is_left_behind_threads),
		TEST(a_worker_that_does_nothing_is_not_stuck_threads),
		TEST(PR_08_no_thread_can_be_started),
		TEST(PR_08_one_thread_does_the_work_of_four),
		TEST(cancelled_in_the_queue_threads),
		TEST_BOTH(registered_memory_reads_the_same),
		TEST_BOTH(PR_10_ST_22_little_lockable_memory),
		TEST_BOTH(PR_13_a_forked_child_only_frees),
		TEST_BOTH(PR_11_PR_14_descriptors),
		TEST_BOTH(PR_11_no_descriptor_left),
		TEST(depths_that_make_no_sense),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
