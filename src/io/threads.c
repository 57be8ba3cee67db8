/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io on plain threads, for where io_uring is refused: blocking preads and pwrites through struct sys.
 *
 *	push --> queued --worker--> running --worker--> ended --> reap
 *
 * One lock guards everything.  Workers are started when there is work that no idle one takes; one
 * that finishes takes the next from the queue without going to sleep, so with more operations in
 * flight than workers nobody is woken but the driver.
 *
 * A worker that is stuck in the kernel is not waited for long: at the end it is detached, with its
 * operation, the memory of that, and the part of the io that it will touch when it comes back.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "base/thread.h"
#include "io/io.h"

#define DEPTH_MAX   16384u
#define THREADS_MAX 256u

/* Pause before an operation that the kernel could not take is tried again. */
#define AGAIN_NS  (1 * NS_PER_MS)
/* How long destroy waits for what is running. */
#define LINGER_NS (100 * NS_PER_MS)

enum place { /* op->scratch[0] */
	QUEUED,
	RUNNING,
	UNWANTED, /* running, and cancelled */
	ENDED,
};

struct worker {
	struct threads *threads;
	pthread_t thread;
	bool started, gone; /* gone: about to return, to be joined */
};

struct threads {
	struct io io;
	uint32_t depth, in_flight;
	pid_t pid;

	/* What the driver sleeps on: a semaphore, since wake() may be a signal handler's. */
	sem_t news;
	_Atomic bool woken; /* set by wake(), taken by reap(); acq_rel both */
	_Atomic uint64_t system_calls;

	struct lock lock; /* for what follows */
	struct cond work; /* something is queued, or it is over */
	struct cond left; /* a worker left */
	struct list queued, running, ended;
	uint32_t queued_count, idle, living;
	bool driver_waits, over, abandoned;
	uint32_t worker_count;
	struct worker workers[];
};

static struct threads *threads_of(struct io *io)
{
	return container_of(io, struct threads, io);
}

/* ---- Workers ---- */

static ssize_t move_once(const struct sys *sys, const struct io_op *op)
{
	return op->code == IO_WRITE ? sys->pwrite(op->fd, op->memory, op->length, (off_t)op->offset)
				    : sys->pread(op->fd, op->memory, op->length, (off_t)op->offset);
}

static bool unwanted(struct threads *threads, const struct io_op *op)
{
	bool answer;

	lock_take(&threads->lock);
	answer = threads->over || op->scratch[0] == UNWANTED;
	lock_drop(&threads->lock);
	return answer;
}

/* Bytes, or a negative errno.  Without the lock; *op does not change meanwhile but for its place. */
static int32_t move(struct threads *threads, const struct io_op *op)
{
	const struct timespec pause = {.tv_nsec = AGAIN_NS};

	for (;;) {
		ssize_t moved = move_once(threads->io.sys, op);
		int os_errno = errno;

		atomic_fetch_add_explicit(&threads->system_calls, 1, memory_order_relaxed);
		if (moved >= 0)
			return (int32_t)moved;
		if (os_errno != EINTR && os_errno != EAGAIN)
			return -os_errno;
		if (unwanted(threads, op))
			return -ECANCELED;
		if (os_errno == EAGAIN)
			nanosleep(&pause, NULL);
	}
}

/* True where the driver sleeps and is to be woken, once the lock is dropped. */
static bool end_op(struct threads *threads, struct io_op *op, int32_t result)
{
	bool waits = threads->driver_waits;

	op->result = result;
	op->scratch[0] = ENDED;
	list_remove(&op->link);
	list_push(&threads->ended, &op->link);
	threads->driver_waits = false;
	return waits;
}

static struct io_op *next_op(struct threads *threads)
{
	struct list *link;

	while (!threads->over && list_empty(&threads->queued)) {
		threads->idle++;
		cond_wait(&threads->work, &threads->lock, NEVER);
		threads->idle--;
	}
	if (threads->over)
		return NULL;
	link = list_pop(&threads->queued);
	threads->queued_count--;
	list_push(&threads->running, link);
	return list_entry(link, struct io_op, link);
}

static void release(struct threads *threads)
{
	sem_destroy(&threads->news);
	cond_fini(&threads->left);
	cond_fini(&threads->work);
	lock_fini(&threads->lock);
	free(threads);
}

/* The last one out of an io that was left behind turns off the light. */
static void leave(struct worker *worker)
{
	struct threads *threads = worker->threads;
	bool last;

	threads->living--;
	worker->gone = true;
	last = threads->abandoned && threads->living == 0;
	cond_wake(&threads->left);
	lock_drop(&threads->lock);
	if (last)
		release(threads);
}

static void *work(void *arg)
{
	struct worker *worker = arg;
	struct threads *threads = worker->threads;
	struct io_op *op;

	lock_take(&threads->lock);
	while ((op = next_op(threads))) {
		int32_t result;
		bool waits;

		op->scratch[0] = RUNNING;
		lock_drop(&threads->lock);
		result = move(threads, op);
		lock_take(&threads->lock);
		if (threads->abandoned) /* the operation is nobody's any more */
			break;
		waits = end_op(threads, op, result);
		if (waits) {
			lock_drop(&threads->lock);
			sem_post(&threads->news);
			lock_take(&threads->lock);
		}
	}
	leave(worker);
	return NULL;
}

/* Under the lock.  Where no thread can be started, those that there are do the work. */
static bool start_worker(struct threads *threads)
{
	struct worker *worker = NULL;

	for (uint32_t i = 0; i < threads->worker_count && !worker; i++)
		if (!threads->workers[i].started)
			worker = &threads->workers[i];
	if (!worker)
		return true;
	worker->threads = threads;
	if (thread_start(threads->io.sys, &worker->thread, "weir-io", work, worker, NULL))
		return threads->living > 0;
	worker->started = true;
	threads->living++;
	return true;
}

/* ---- The driver ---- */

static int threads_push(struct io *io, struct io_op *op)
{
	struct threads *threads = threads_of(io);
	bool idle;

	if (threads->in_flight >= threads->depth)
		return WEIR_LIMIT;
	threads->in_flight++;
	list_init(&op->link);
	lock_take(&threads->lock);
	op->scratch[0] = QUEUED;
	list_push(&threads->queued, &op->link);
	threads->queued_count++;
	/* Who was woken and has not come yet still counts as idle. */
	idle = threads->idle >= threads->queued_count;
	if (!idle && !start_worker(threads)) {
		threads->queued_count--;
		end_op(threads, op, -ENOMEM);
	}
	lock_drop(&threads->lock);
	if (idle)
		cond_wake(&threads->work);
	return 0;
}

static unsigned take_ended(struct threads *threads, struct io_op **out, unsigned max)
{
	unsigned count = 0;
	struct list *link;

	while (count < max && (link = list_pop(&threads->ended)))
		out[count++] = list_entry(link, struct io_op, link);
	threads->in_flight -= count;
	return count;
}

static bool take_wake(struct threads *threads)
{
	return atomic_load_explicit(&threads->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&threads->woken, false, memory_order_acq_rel);
}

/* Ends for a reason, for none, or at the deadline: whoever calls looks again. */
static void sleep_until(struct threads *threads, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / NS_PER_SEC, deadline_ns % NS_PER_SEC};

	if (deadline_ns == NEVER)
		sem_wait(&threads->news);
	else
		sem_clockwait(&threads->news, CLOCK_MONOTONIC, &until);
}

static unsigned threads_reap(struct io *io, struct io_op **out, unsigned max, int64_t deadline_ns)
{
	struct threads *threads = threads_of(io);
	unsigned count;
	bool late;

	io->system_calls = atomic_load_explicit(&threads->system_calls, memory_order_relaxed);
	for (;;) {
		late = deadline_ns != NEVER && io->sys->now_ns() >= deadline_ns;
		lock_take(&threads->lock);
		count = take_ended(threads, out, max);
		threads->driver_waits = count == 0 && !late;
		lock_drop(&threads->lock);
		if (count > 0 || take_wake(threads) || late)
			return count;
		sleep_until(threads, deadline_ns);
	}
}

static void threads_wake(struct io *io)
{
	struct threads *threads = threads_of(io);

	if (!atomic_exchange_explicit(&threads->woken, true, memory_order_acq_rel))
		sem_post(&threads->news);
}

/* What runs is in the kernel, which does not give it up; it is not tried again. */
static void threads_cancel(struct io *io, struct io_op *op)
{
	struct threads *threads = threads_of(io);

	lock_take(&threads->lock);
	if (op->scratch[0] == QUEUED) {
		threads->queued_count--;
		end_op(threads, op, -ECANCELED);
	} else if (op->scratch[0] == RUNNING) {
		op->scratch[0] = UNWANTED;
	}
	lock_drop(&threads->lock);
}

static void threads_register_memory(struct io *io, void *memory, uint64_t bytes)
{
	/* Nothing to gain: each read names its memory anew. */
	(void)io;
	(void)memory;
	(void)bytes;
}

/* ---- Life ---- */

/* Under the lock, which nobody who is gone takes again. */
static void part_with_workers(struct threads *threads)
{
	for (uint32_t i = 0; i < threads->worker_count; i++) {
		struct worker *worker = &threads->workers[i];

		if (!worker->started)
			continue;
		if (worker->gone)
			thread_join(worker->thread);
		else
			thread_detach(worker->thread);
	}
}

/*
 * Until all workers have left, or until the end for those that are in the kernel: the others are on their
 * way, however long a busy machine lets them wait.  Under the lock.
 */
static void wait_for_workers(struct threads *threads, int64_t end)
{
	while (threads->living > 0 && cond_wait(&threads->left, &threads->lock, end))
		;
	while (threads->living > 0 && list_empty(&threads->running))
		cond_wait(&threads->left, &threads->lock, NEVER);
}

/* Operations in the kernel.  Under the lock. */
static unsigned count_running(const struct threads *threads)
{
	unsigned count = 0;

	list_for_each(link, &threads->running)
		count++;
	return count;
}

static unsigned threads_destroy(struct io *io)
{
	struct threads *threads = threads_of(io);
	unsigned stuck;

	/* A forked child has no workers, and a lock that one of them may hold for ever. */
	if (getpid() != threads->pid) {
		free(threads);
		return 0;
	}
	lock_take(&threads->lock);
	threads->over = true;
	cond_wake_all(&threads->work);
	wait_for_workers(threads, io->sys->now_ns() + LINGER_NS);
	part_with_workers(threads);
	stuck = count_running(threads);
	threads->abandoned = stuck > 0;
	lock_drop(&threads->lock);
	if (stuck == 0)
		release(threads);
	return stuck;
}

static const struct io_ops threads_ops = {
	.name = "threads",
	.destroy = threads_destroy,
	.register_memory = threads_register_memory,
	.push = threads_push,
	.reap = threads_reap,
	.wake = threads_wake,
	.cancel = threads_cancel,
};

int io_threads_create(const struct sys *sys, uint32_t depth, uint32_t count, struct io **out,
		      struct weir_error *err)
{
	struct threads *threads;

	if (depth == 0 || depth > DEPTH_MAX || count == 0 || count > THREADS_MAX)
		return error_set(err, WEIR_ARG, NULL, "plain threads: %u for a depth of %u", count,
				 depth);
	threads = calloc(1, sizeof(*threads) + count * sizeof(struct worker));
	if (!threads)
		return error_nomem(err, NULL, "plain threads");
	threads->io = (struct io){.ops = &threads_ops, .sys = sys};
	threads->depth = depth;
	threads->worker_count = count;
	threads->pid = getpid();
	sem_init(&threads->news, 0, 0);
	lock_init(&threads->lock);
	cond_init(&threads->work);
	cond_init(&threads->left);
	list_init(&threads->queued);
	list_init(&threads->running);
	list_init(&threads->ended);
	*out = &threads->io;
	return 0;
}
