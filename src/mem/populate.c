/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/populate.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "base/thread.h"

/* Two milliseconds of zeroing: what a cancel waits for at most. */
#define STEP_BYTES (4 * POOL_UNIT)

enum thread_state {
	THREAD_NONE,
	THREAD_RUNS,
	THREAD_REFUSED, /* by the system: jobs are done where they come in */
};

struct populator {
	const struct sys *sys;
	struct pool *pool; /* counted */
	struct {
		struct lock lock;
		struct cond work; /* for the thread: a job, or the end */
		struct cond idle; /* for a cancel: the thread is at none of your job */
		struct list jobs;
		const struct populate_job *busy; /* its step, or its notify, is under way */
		bool busy_cancelled;
		bool ending;
		enum thread_state state;
	} shared; /* touch these only with shared.lock held */
	pthread_t thread;
};

int populator_create(const struct sys *sys, struct pool *pool, struct populator **out,
		     struct weir_error *err)
{
	struct populator *populator = calloc(1, sizeof(*populator));

	if (!populator)
		return error_nomem(err, NULL, "the thread that makes memory");
	populator->sys = sys;
	populator->pool = pool_ref(pool);
	lock_init(&populator->shared.lock);
	cond_init(&populator->shared.work);
	cond_init(&populator->shared.idle);
	list_init(&populator->shared.jobs);
	*out = populator;
	return 0;
}

/* Up to the next border of a step, so that steps are whole huge pages. */
static uint64_t step_from(const struct populate_job *job, uint64_t ready)
{
	uint64_t at = (uint64_t)(uintptr_t)job->at + ready;

	return min_of(round_down(at, POOL_UNIT) + STEP_BYTES - at, job->bytes - ready);
}

/*
 * One step; true when the job is done, and then it may be gone already.  Not under the lock: only
 * whoever does the steps of a job writes its `ready`.
 */
static bool step(struct populator *populator, struct populate_job *job)
{
	void (*notify)(void *arg) = job->notify;
	void *arg = job->arg;
	uint64_t bytes = job->bytes;
	uint64_t ready = atomic_load_explicit(&job->ready, memory_order_relaxed);
	uint64_t more = step_from(job, ready);

	if (more > 0 && pool_populate(populator->pool, (char *)job->at + ready, more, NULL) == 0)
		ready += more;
	else
		ready = bytes; /* no more than slower: the read makes the pages, or fails itself */
	/* Pairs with the owner's acquire: the pages are there before they are said to be. */
	atomic_store_explicit(&job->ready, ready, memory_order_release);
	if (notify)
		notify(arg);
	return ready == bytes;
}

/* The first job's next step.  A job is off the list before its last step makes it the owner's. */
static void step_first_locked(struct populator *populator)
{
	struct list *link = list_pop(&populator->shared.jobs); /* there is one: see the caller */
	struct populate_job *job = list_entry(link, struct populate_job, link);
	bool done;

	assert(link);
	populator->shared.busy = job;
	populator->shared.busy_cancelled = false;
	lock_drop(&populator->shared.lock);
	done = step(populator, job);
	lock_take(&populator->shared.lock);
	if (!done && !populator->shared.busy_cancelled)
		list_push_front(&populator->shared.jobs, link);
	populator->shared.busy = NULL;
	cond_wake_all(&populator->shared.idle);
}

static void *run(void *arg)
{
	struct populator *populator = arg;

	lock_take(&populator->shared.lock);
	while (!populator->shared.ending) {
		if (list_empty(&populator->shared.jobs))
			cond_wait(&populator->shared.work, &populator->shared.lock, NEVER);
		else
			step_first_locked(populator);
	}
	lock_drop(&populator->shared.lock);
	return NULL;
}

static bool have_thread_locked(struct populator *populator)
{
	if (populator->shared.state == THREAD_NONE)
		populator->shared.state = thread_start(populator->sys, &populator->thread,
						       "weir-memory", run, populator, NULL) == 0
						  ? THREAD_RUNS
						  : THREAD_REFUSED;
	return populator->shared.state == THREAD_RUNS;
}

void populate_start(struct populator *populator, struct populate_job *job)
{
	bool have_thread;

	atomic_store_explicit(&job->ready, 0, memory_order_relaxed);
	list_init(&job->link);
	lock_take(&populator->shared.lock);
	have_thread = have_thread_locked(populator);
	if (have_thread) {
		list_push(&populator->shared.jobs, &job->link);
		cond_wake(&populator->shared.work);
	}
	lock_drop(&populator->shared.lock);
	while (!have_thread && !step(populator, job))
		;
}

void populate_cancel(struct populator *populator, struct populate_job *job)
{
	lock_take(&populator->shared.lock);
	list_remove(&job->link);
	while (populator->shared.busy == job) {
		populator->shared.busy_cancelled = true;
		cond_wait(&populator->shared.idle, &populator->shared.lock, NEVER);
	}
	lock_drop(&populator->shared.lock);
}

void populator_destroy(struct populator *populator)
{
	if (!populator)
		return;
	lock_take(&populator->shared.lock);
	populator->shared.ending = true;
	cond_wake(&populator->shared.work);
	lock_drop(&populator->shared.lock);
	if (populator->shared.state == THREAD_RUNS)
		thread_join(populator->thread);
	cond_fini(&populator->shared.idle);
	cond_fini(&populator->shared.work);
	lock_fini(&populator->shared.lock);
	pool_unref(populator->pool);
	free(populator);
}
