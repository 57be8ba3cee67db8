/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io_uring misbehaving on request: this program's own definitions of liburing's calls come before the
 * library's, and spoil what those answer.
 */
#include <dlfcn.h>
#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "io/io.h"
#include "io/ring.h"
#include "lib/check.h"

/* ---- The spoilers ---- */

static unsigned entered;     /* enters so far */
static unsigned spoil_first; /* from this one on ... */
static unsigned spoil_count; /* ... so many fail, */
static int spoil_answer;     /* with this, and without entering */
static unsigned spoil_cqes;  /* so many completions of operations */
static int spoil_result;     /* say this instead */
static bool spoil_more;      /* repeating polls end with their first completion */
static int spoil_register;   /* registering anything answers this, unless 0 */

static void *next(const char *name)
{
	void *function = dlsym(RTLD_NEXT, name);

	check(function != NULL);
	return function;
}

#define NEXT(name) ((__typeof__(&(name)))next(#name))

static bool refused(void)
{
	entered++;
	return entered >= spoil_first && entered - spoil_first < spoil_count;
}

static int spoiled(struct io_uring *ring, int ret)
{
	struct io_uring_cqe *cqe;
	unsigned head;

	io_uring_for_each_cqe(ring, head, cqe)
	{
		if (spoil_more && cqe->user_data < 16)
			cqe->flags &= ~IORING_CQE_F_MORE;
		if (cqe->user_data < 16 || spoil_cqes == 0 || cqe->res == spoil_result)
			continue;
		cqe->res = spoil_result;
		spoil_cqes--;
	}
	return ret;
}

int io_uring_submit(struct io_uring *ring)
{
	return refused() ? spoil_answer : spoiled(ring, NEXT(io_uring_submit)(ring));
}

int io_uring_submit_and_get_events(struct io_uring *ring)
{
	return refused() ? spoil_answer : spoiled(ring, NEXT(io_uring_submit_and_get_events)(ring));
}

int io_uring_submit_and_wait_timeout(struct io_uring *ring, struct io_uring_cqe **cqe,
				     unsigned count, struct __kernel_timespec *timeout,
				     sigset_t *mask)
{
	return refused() ? spoil_answer
			 : spoiled(ring, NEXT(io_uring_submit_and_wait_timeout)(ring, cqe, count,
										timeout, mask));
}

int io_uring_register(unsigned int fd, unsigned int code, const void *arg, unsigned int count)
{
	return spoil_register ? spoil_register : NEXT(io_uring_register)(fd, code, arg, count);
}

int io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off,
					 const struct iovec *iovecs, const __u64 *tags,
					 unsigned count)
{
	return spoil_register
		       ? spoil_register
		       : NEXT(io_uring_register_buffers_update_tag)(ring, off, iovecs, tags, count);
}

/* ---- What all cases use ---- */

#define FILE_BYTES 100000u
#define COUNT      8

static unsigned char memory[COUNT][FILE_BYTES];
static struct io_op ops[COUNT];
static struct io *io;

static unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 2654435761u >> 13);
}

static int file_made(void)
{
	FILE *file = tmpfile();

	check(file != NULL);
	for (unsigned i = 0; i < FILE_BYTES; i++)
		putc(byte_at(i), file);
	fflush(file);
	return fileno(file);
}

static int64_t in_ms(int64_t ms)
{
	return sys_real()->now_ns() + ms * NS_PER_MS;
}

static void push(unsigned i, int fd)
{
	ops[i] = (struct io_op){.fd = fd,
				.code = IO_READ,
				.memory = memory[i],
				.offset = i * 1000,
				.length = 5000 + i};
	memset(memory[i], 0, ops[i].length);
	check_int(io->ops->push(io, &ops[i]), 0);
}

static void check_read(const struct io_op *op)
{
	const unsigned char *at = op->memory;

	check_int(op->result, op->length);
	for (unsigned i = 0; i < op->length; i++)
		check(at[i] == byte_at(op->offset + i));
}

static unsigned reap(struct io_op **out, unsigned max, int64_t ms)
{
	return io->ops->reap(io, out, max, in_ms(ms));
}

static void ring_made(void)
{
	check_int(io_ring_create(sys_real(), COUNT, &io, NULL), 0);
}

/* ---- Completions ---- */

static void retried(int result)
{
	struct io_op *out;
	int64_t start;

	ring_made();
	spoil_cqes = 5;
	spoil_result = result;
	push(0, file_made());
	start = sys_real()->now_ns();
	check_int(reap(&out, 1, 20000), 1);
	check_int(spoil_cqes, 0);
	/* A pause before each, so nothing spins. */
	check(sys_real()->now_ns() - start >= 4 * NS_PER_MS);
	check_read(out);
	check_int(io->ops->destroy(io), 0);
}

static void ST_04_EAGAIN_is_tried_again(void)
{
	retried(-EAGAIN);
}

static void ST_02_EINTR_is_tried_again(void)
{
	retried(-EINTR);
}

/* In the pause before its next try an operation is the io's alone, and ends at once. */
static void cancelled_while_it_waits_for_another_try(void)
{
	struct io_op *out;

	ring_made();
	spoil_cqes = UINT32_MAX;
	spoil_result = -EAGAIN;
	push(0, file_made());
	check_int(reap(&out, 1, 10), 0);
	io->ops->cancel(io, &ops[0]);
	check_int(reap(&out, 1, 1000), 1);
	check_int(out->result, -ECANCELED);
	push(1, ops[0].fd);
	check_int(reap(&out, 1, 10), 0);
	check_int(io->ops->destroy(io), 0);
}

static void ST_06_short_and_cancelled_results_go_up(void)
{
	static const int results[] = {1, 0, -ECANCELED, -EIO};
	int fd = file_made();
	struct io_op *out;

	ring_made();
	for (unsigned i = 0; i < array_size(results); i++) {
		spoil_cqes = 1;
		spoil_result = results[i];
		push(0, fd);
		check_int(reap(&out, 1, 20000), 1);
		check_int(out->result, results[i]);
	}
	check_int(io->ops->destroy(io), 0);
}

/* The poll behind the wake ends: it is armed again. */
static void wakes_go_on_when_the_poll_ends(void)
{
	struct io_op *out;
	int64_t start;

	ring_made();
	spoil_more = true;
	for (unsigned i = 0; i < 5; i++) {
		check_int(reap(&out, 1, 0), 0);
		io->ops->wake(io);
		start = sys_real()->now_ns();
		check_int(reap(&out, 1, 10000), 0);
		check(sys_real()->now_ns() - start < 5 * NS_PER_SEC);
	}
	check_int(io->ops->destroy(io), 0);
}

/* ---- Ends together ---- */

static int pipes[COUNT][2];

/* One byte into each pipe, with a pause between. */
static void *feed_slowly(void *arg)
{
	const struct timespec pause = {.tv_nsec = 20 * NS_PER_MS};

	for (unsigned i = 0; i < COUNT; i++) {
		nanosleep(&pause, NULL);
		check_int(write(pipes[i][1], "x", 1), 1);
	}
	return arg;
}

/* Four reads at a time, or one, and what is there at the deadline. */
static void a_reap_waits_for_as_many_ends_as_it_is_told(void)
{
	static const unsigned least[] = {4, 1, 4};
	struct io_op *out[COUNT];
	pthread_t thread;
	unsigned got = 0;

	ring_made();
	for (unsigned i = 0; i < COUNT; i++) {
		check_int(pipe(pipes[i]), 0);
		push(i, pipes[i][0]);
	}
	pthread_create(&thread, NULL, feed_slowly, NULL);
	for (unsigned i = 0; i < array_size(least); i++) {
		unsigned now;

		io->ops->gather(io, least[i]);
		now = reap(out, COUNT, i == 2 ? 1000 : 20000);
		got += now;
		/* A machine that is busy lets more of them end meanwhile. */
		check(now >= least[i] || got == COUNT);
	}
	pthread_join(thread, NULL);
	while (got < COUNT)
		got += reap(out, COUNT, 20000);
	check_int(got, COUNT);
	check_int(io->ops->destroy(io), 0);
}

static uint32_t silent_word;

static int begin_wait(void *arg)
{
	(void)arg;
	return 0;
}

static void end_wait(void *arg)
{
	(void)arg;
}

/* It was armed while one end was enough, and nobody rings. */
static void a_silent_bell_does_not_keep_ends_from_coming_together(void)
{
	static const struct bell bell = {
		.word = &silent_word, .wait = begin_wait, .done = end_wait};
	struct io_op *out[COUNT];
	pthread_t thread;
	unsigned got;

	ring_made();
	if (!io->ops->listen(io, &bell)) {
		check_int(io->ops->destroy(io), 0);
		skip("no io_uring that waits for a word");
	}
	for (unsigned i = 0; i < COUNT; i++) {
		check_int(pipe(pipes[i]), 0);
		push(i, pipes[i][0]);
	}
	check_int(reap(out, COUNT, 10), 0);
	io->ops->gather(io, 4);
	pthread_create(&thread, NULL, feed_slowly, NULL);
	got = reap(out, COUNT, 20000);
	check(got >= 4);
	pthread_join(thread, NULL);
	while (got < COUNT)
		got += reap(out, COUNT, 20000);
	check_int(io->ops->destroy(io), 0);
}

/* ---- Enters ---- */

/* Pushes COUNT and reaps for a while: how many came back; each with its bytes or with `failure`. */
static unsigned round_of_reads(int failure)
{
	int fd = file_made();
	struct io_op *out[COUNT];
	unsigned ended = 0, idle = 0;

	for (unsigned i = 0; i < COUNT; i++)
		push(i, fd);
	while (ended < COUNT && idle < 3) {
		unsigned got = reap(out, COUNT, 50);

		idle = got ? 0 : idle + 1;
		ended += got;
		for (unsigned i = 0; i < got; i++)
			if (out[i]->result != failure)
				check_read(out[i]);
	}
	close(fd);
	return ended;
}

/* What may pass: each enter in turn fails a few times, and no request is lost. */
static void ST_06_full_queues_and_interruptions(void)
{
	static const int answers[] = {-EBUSY, -EAGAIN, -EINTR, -ENOMEM};

	spoil_count = 3;
	for (unsigned i = 0; i < array_size(answers); i++) {
		for (spoil_first = 1; spoil_first < 8; spoil_first++) {
			entered = 0;
			spoil_answer = answers[i];
			ring_made();
			check_int(round_of_reads(1), COUNT);
			check_int(io->ops->destroy(io), 0);
		}
	}
}

/*
 * What does not pass: what the kernel has not taken fails with the errno; what it has is told of at the
 * end, and everything is accounted for.
 */
static void ST_06_enters_fail_for_good(void)
{
	spoil_count = UINT32_MAX;
	spoil_answer = -EPERM;
	for (spoil_first = 1; spoil_first < 6; spoil_first++) {
		unsigned ended;

		entered = 0;
		ring_made();
		ended = round_of_reads(-EPERM);
		check_int(io->ops->destroy(io), COUNT - ended);
		check(spoil_first > 1 || ended == COUNT);
	}
}

static void ST_06_switching_on_fails(void)
{
	struct io_op *out;

	ring_made();
	spoil_register = -EPERM;
	push(0, file_made());
	check_int(reap(&out, 1, 1000), 1);
	check_int(out->result, -EPERM);
	check_int(reap(&out, 1, 10), 0);
	check_int(io->ops->destroy(io), 0);
}

static void ST_22_registering_fails(void)
{
	ring_made();
	spoil_register = -ENOMEM;
	io->ops->register_memory(io, memory, sizeof(memory));
	spoil_register = 0;
	check_int(round_of_reads(1), COUNT);
	check_int(io->ops->destroy(io), 0);
}

/* ---- Pins ---- */

static unsigned fixed_prepared(void)
{
	const struct io_uring_sq *sq = &ring_of(io)->uring.sq;
	unsigned count = 0;

	for (unsigned at = *sq->khead; at != sq->sqe_tail; at++)
		count += sq->sqes[at & *sq->kring_mask].opcode == IORING_OP_READ_FIXED;
	return count;
}

static void pushed_pinned(unsigned i, int fd, uint32_t pin)
{
	ops[i] = (struct io_op){.fd = fd,
				.code = IO_READ,
				.memory = memory[i],
				.offset = i * 1000,
				.length = 5000 + i,
				.pin = pin};
	memset(memory[i], 0, ops[i].length);
	check_int(io->ops->push(io, &ops[i]), 0);
}

static void check_all_come(unsigned count)
{
	struct io_op *out[COUNT];

	while (count > 0) {
		unsigned got = reap(out, COUNT, 20000);

		check(got > 0);
		for (unsigned i = 0; i < got; i++)
			check_read(out[i]);
		count -= got;
	}
}

/* Staging stays registered when the table grows, and can be registered after that. */
static void pins_stand_beside_staging(void)
{
	int fd = file_made();
	uint32_t pin;

	ring_made();
	io->ops->register_memory(io, memory[0], FILE_BYTES);
	pin = io->ops->pin(io, memory[1], FILE_BYTES);
	check(pin > 0);
	io->ops->register_memory(io, memory[2], FILE_BYTES);
	pushed_pinned(0, fd, 0);
	pushed_pinned(1, fd, pin);
	pushed_pinned(2, fd, 0);
	check_int(fixed_prepared(), 3);
	pushed_pinned(3, fd, 0);
	check_int(fixed_prepared(), 3);
	check_all_come(4);
	check_int(io->ops->destroy(io), 0);
}

/* Memory that its pin does not hold, or no longer, is named as ever. */
static void a_pin_that_is_gone_is_no_error(void)
{
	int fd = file_made();
	uint32_t pin;

	ring_made();
	pin = io->ops->pin(io, memory[0], FILE_BYTES);
	check(pin > 0);
	pushed_pinned(1, fd, pin);
	check_int(fixed_prepared(), 0);
	pushed_pinned(0, fd, pin); /* prepared, not handed over */
	check_int(fixed_prepared(), 1);
	io->ops->unpin(io, pin);
	check_int(fixed_prepared(), 0);
	check_all_come(2);
	pushed_pinned(0, fd, pin);
	check_int(fixed_prepared(), 0);
	check_all_come(1);
	/* Its number is another's now. */
	check_int(io->ops->pin(io, memory[2], FILE_BYTES), pin);
	pushed_pinned(0, fd, pin);
	check_int(fixed_prepared(), 0);
	pushed_pinned(2, fd, pin);
	check_int(fixed_prepared(), 1);
	check_all_come(2);
	check_int(io->ops->destroy(io), 0);
}

static void ST_22_pinning_fails(void)
{
	int fd = file_made();

	ring_made();
	spoil_register = -ENOMEM;
	check_int(io->ops->pin(io, memory[0], FILE_BYTES), 0);
	check_int(io->ops->pin(io, memory[0], FILE_BYTES), 0);
	spoil_register = 0;
	check(io->ops->pin(io, memory[0], FILE_BYTES) > 0);
	pushed_pinned(0, fd, 1);
	check_all_come(1);
	check_int(io->ops->destroy(io), 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_04_EAGAIN_is_tried_again),
		TEST(ST_02_EINTR_is_tried_again),
		TEST(cancelled_while_it_waits_for_another_try),
		TEST(ST_06_short_and_cancelled_results_go_up),
		TEST(wakes_go_on_when_the_poll_ends),
		TEST(a_reap_waits_for_as_many_ends_as_it_is_told),
		TEST(a_silent_bell_does_not_keep_ends_from_coming_together),
		TEST(ST_06_full_queues_and_interruptions),
		TEST(ST_06_enters_fail_for_good),
		TEST(ST_06_switching_on_fails),
		TEST(ST_22_registering_fails),
		TEST(pins_stand_beside_staging),
		TEST(a_pin_that_is_gone_is_no_error),
		TEST(ST_22_pinning_fails),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
