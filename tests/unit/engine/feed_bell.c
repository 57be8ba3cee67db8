/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbell of a feed: a semaphore of the C library in shared memory, which posts ring, with io_uring
 * and with a thread that listens.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/filter.h"
#include "lib/pattern.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_feed *feed;
static struct weir_feed_io *out[8];

/* What two processes share. */
static struct shared {
	sem_t bell, answer;
} * shared;

/* Ends that the last sleep asked the kernel for: our own definition comes before liburing's. */
static _Atomic unsigned asked_for;

typedef int sleep_fn(void *ring, void **cqe, unsigned count, void *timeout, sigset_t *mask);
sleep_fn io_uring_submit_and_wait_timeout;

int io_uring_submit_and_wait_timeout(void *ring, void **cqe, unsigned count, void *timeout,
				     sigset_t *mask)
{
	static sleep_fn *library;

	if (!library)
		library = (sleep_fn *)dlsym(RTLD_NEXT, "io_uring_submit_and_wait_timeout");
	asked_for = count;
	return library(ring, cqe, count, timeout, mask);
}

static void begin_with(const struct weir_feed_opts *opts)
{
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_feed_create(ctx, opts, &feed, &err), 0);
}

static void begin(const char *scheme)
{
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(shared != MAP_FAILED);
	check_int(sem_init(&shared->bell, 1, 0), 0);
	check_int(sem_init(&shared->answer, 1, 0), 0);
	begin_with(WEIR_FEED_OPTS(.scheme = scheme, .doorbell = {.word = (uint32_t *)shared}));
}

static void end(void)
{
	check_int(weir_feed_destroy(feed), 0);
	weir_ctx_destroy(ctx);
	munmap(shared, 4096);
}

static uint64_t waiters(void)
{
	return __atomic_load_n((uint64_t *)shared, __ATOMIC_SEQ_CST) >> 32;
}

static int64_t in_ms(int64_t ms)
{
	return deadline_after(sys_real(), ms * NS_PER_MS);
}

static void pause_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * NS_PER_MS};

	nanosleep(&pause, NULL);
}

static void *post_later(void *arg)
{
	(void)arg;
	pause_ms(30);
	sem_post(&shared->bell);
	return NULL;
}

static void it_ends_a_wait(const char *scheme)
{
	int64_t start;
	pthread_t thread;

	begin(scheme);
	start = sys_real()->now_ns();
	check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	check(sys_real()->now_ns() - start >= 20 * NS_PER_MS);
	pthread_create(&thread, NULL, post_later, NULL);
	check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
	check(sys_real()->now_ns() - start < 10 * NS_PER_SEC);
	pthread_join(thread, NULL);
	/* It is level: until somebody takes it down there is no waiting. */
	check_int(weir_feed_reap(feed, out, 8, WEIR_FOREVER), 0);
	check_int(sem_trywait(&shared->bell), 0);
	check_int(weir_feed_reap(feed, out, 8, in_ms(1)), 0);
	end();
}

static void io_uring_listens(void)
{
	begin("file");
	if (strcmp(weir_feed_doorbell_kind(feed), "io_uring") != 0)
		skip("no FUTEX_WAIT in io_uring");
	end();
	it_ends_a_wait("file");
}

/* Who waits for four ends together is woken by one post all the same, and by the deadline. */
static void it_ends_a_wait_for_several(void)
{
	int64_t start = sys_real()->now_ns();
	pthread_t thread;

	begin("file");
	weir_feed_gather(feed, 4);
	for (int i = 0; i < 3; i++) {
		pthread_create(&thread, NULL, post_later, NULL);
		check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
		check_int(sem_trywait(&shared->bell), 0);
		pthread_join(thread, NULL);
		check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	}
	check(sys_real()->now_ns() - start >= 3 * 50 * NS_PER_MS);
	check(sys_real()->now_ns() - start < 10 * NS_PER_SEC);
	end();
}

static void so_many_ends_are_asked_for_together(void)
{
	static const unsigned least[] = {1, 3, 4, 2, 8};
	pthread_t thread;

	begin("file");
	if (strcmp(weir_feed_doorbell_kind(feed), "io_uring") != 0)
		skip("no FUTEX_WAIT in io_uring");
	for (unsigned i = 0; i < array_size(least); i++) {
		weir_feed_gather(feed, least[i]);
		/* The first sleep after a change ends with the bell as it was armed before. */
		pthread_create(&thread, NULL, post_later, NULL);
		check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
		check_int(sem_trywait(&shared->bell), 0);
		pthread_join(thread, NULL);
		check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
		check_int(asked_for, least[i]);
	}
	end();
}

static void a_thread_listens_where_io_uring_cannot(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
	begin("file");
	check_str(weir_feed_doorbell_kind(feed), "thread");
	end();
	it_ends_a_wait("file");
}

static void a_thread_listens_for_other_sources(void)
{
	begin("memory");
	check_str(weir_feed_doorbell_kind(feed), "thread");
	end();
	it_ends_a_wait("memory");
}

/* Nobody is counted as waiting who does not sleep: posting would cost a system call. */
static void waiters_are_counted_for_as_long_as_they_sleep(void)
{
	pthread_t thread;

	begin("file");
	if (strcmp(weir_feed_doorbell_kind(feed), "io_uring") != 0)
		skip("no FUTEX_WAIT in io_uring");
	check_int(waiters(), 0);
	pthread_create(&thread, NULL, post_later, NULL);
	check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
	check_int(waiters(), 0);
	check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
	check_int(waiters(), 0);
	pthread_join(thread, NULL);
	end();
}

enum {
	ROUNDS = 3000
};

static void ring_and_wait(void)
{
	for (int i = 0; i < ROUNDS; i++) {
		sem_post(&shared->bell);
		while (sem_wait(&shared->answer) && errno == EINTR)
			;
	}
}

static void answer_all(void)
{
	for (int answered = 0; answered < ROUNDS;) {
		check_int(weir_feed_reap(feed, out, 8, in_ms(20000)), 0);
		while (sem_trywait(&shared->bell) == 0) {
			answered++;
			sem_post(&shared->answer);
		}
	}
}

/* Another process posts and waits for an answer, over and over: no post is slept through. */
static void no_post_is_lost(const char *scheme)
{
	pid_t child;
	int status;

	begin(scheme);
	child = fork();
	if (child == 0) {
		ring_and_wait();
		_exit(0);
	}
	answer_all();
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
	end();
}

static void no_post_is_lost_with_io_uring(void)
{
	no_post_is_lost("file");
}

static void no_post_is_lost_with_a_thread(void)
{
	no_post_is_lost("memory");
}

/* ---- Memory that a peer takes away ---- */

static int calls_look, calls_wait, answer;

static int look(void *arg)
{
	(void)arg;
	calls_look++;
	return answer;
}

static int count_in(void *arg)
{
	(void)arg;
	calls_wait++;
	return answer;
}

static void count_out(void *arg)
{
	(void)arg;
}

static void a_doorbell_that_is_gone_is_left_alone(void)
{
	static uint32_t word;

	begin_with(WEIR_FEED_OPTS(.doorbell = {&word, look, count_in, count_out, NULL}));
	answer = 1;
	check_int(weir_feed_reap(feed, out, 8, WEIR_FOREVER), 0);
	check_int(calls_look, 1);
	answer = -1;
	check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	check_int(calls_look, 2);
	weir_feed_destroy(feed);
	weir_ctx_destroy(ctx);
}

/* The word lies in no memory: the kernel says so, and the wait goes on to its deadline. */
static void a_word_that_the_kernel_cannot_read(void)
{
	char *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	begin_with(WEIR_FEED_OPTS(.doorbell = {(uint32_t *)(void *)hole, look, count_in, count_out,
					       NULL}));
	check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	check_int(weir_feed_reap(feed, out, 8, in_ms(20)), 0);
	weir_feed_destroy(feed);
	weir_ctx_destroy(ctx);
	munmap(hole, 4096);
}

/* ---- With requests ---- */

static void ios_come_back_beside_it(void)
{
	enum {
		COUNT = 2000
	};
	static char memory[8][4096];
	char *path = pattern_file("bell", 3, 4 * MIB);
	struct weir_feed_io ios[8];
	struct weir_object *object;
	int rung = 0, done = 0;

	begin("file");
	check_int(weir_object_open(ctx, path, WEIR_OBJECT_OPTS(.flags = WEIR_OBJECT_LIVE), &object,
				   &err),
		  0);
	for (int i = 0; i < 8; i++) {
		ios[i] = (struct weir_feed_io){.object = object,
					       .memory = memory[i],
					       .length = 4096,
					       .flags = WEIR_FEED_BUFFERED};
		check_int(weir_feed_push(feed, &ios[i]), 0);
	}
	while (done < COUNT + 8 ||
	       rung < COUNT) { /* the last 8 go in and out without a successor */
		unsigned n = weir_feed_reap(feed, out, 8, in_ms(20000));

		for (unsigned i = 0; i < n; i++, done++) {
			check_int(out[i]->result, 4096);
			check_int(pattern_check(out[i]->memory, 3, out[i]->offset, 4096), 4096);
			out[i]->offset = (uint64_t)(done % 1000) * 4096;
			if (done < COUNT)
				check_int(weir_feed_push(feed, out[i]), 0);
		}
		while (sem_trywait(&shared->bell) == 0)
			rung++;
		if (rung < COUNT)
			sem_post(&shared->bell);
	}
	weir_object_unref(object);
	unlink(path);
	free(path);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(io_uring_listens),
		TEST(it_ends_a_wait_for_several),
		TEST(so_many_ends_are_asked_for_together),
		TEST(a_thread_listens_where_io_uring_cannot),
		TEST(a_thread_listens_for_other_sources),
		TEST(waiters_are_counted_for_as_long_as_they_sleep),
		TEST(no_post_is_lost_with_io_uring),
		TEST(no_post_is_lost_with_a_thread),
		TEST(a_doorbell_that_is_gone_is_left_alone),
		TEST(a_word_that_the_kernel_cannot_read),
		TEST(ios_come_back_beside_it),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
