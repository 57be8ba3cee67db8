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

/* One, and another that comes when the first is behind. */
#define WORKERS 2

enum thread_state {
	THREAD_NONE,
	THREAD_RUNS,
	THREAD_REFUSED, /* by the system: the others do it all, or whoever brings the jobs */
};

struct worker {
	struct populator *populator;
	pthread_t thread;
	/* Under the lock. */
	enum thread_state state;
	struct populate_job *job; /* whose step, or notify, is under way */
	uint64_t from;            /* where that step began; past everything when it is through */
};

struct populator {
	const struct sys *sys;
	struct pool *pool; /* counted */
	struct {
		struct lock lock;
		struct cond work; /* for the threads: a job, or the end */
		struct cond idle; /* for a cancel: a thread is through with a step */
		struct list jobs; /* of which steps have yet to begin */
		bool ending;
		struct worker worker[WORKERS];
	} shared; /* touch these only with shared.lock held */
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
	for (size_t i = 0; i < WORKERS; i++)
		populator->shared.worker[i].populator = populator;
	*out = populator;
	return 0;
}

/* Up to the next border of a step, so that steps are whole huge pages. */
static uint64_t step_from(const struct populate_job *job, uint64_t ready)
{
	uint64_t at = (uint64_t)(uintptr_t)job->at + ready;

	return min_of(round_down(at, POOL_UNIT) + STEP_BYTES - at, job->bytes - ready);
}

/* Up to where all steps of a job are through. */
static uint64_t ready_locked(const struct populator *populator, const struct populate_job *job)
{
	uint64_t ready = job->begun;

	for (size_t i = 0; i < WORKERS; i++)
		if (populator->shared.worker[i].job == job)
			ready = min_of(ready, populator->shared.worker[i].from);
	return ready;
}

/*
 * The next step of a job, without the lock in between.  The worker holds the job until its notify has
 * returned: that is what a cancel waits for.
 */
static void step_locked(struct populator *populator, struct worker *worker,
			struct populate_job *job)
{
	uint64_t from = job->begun, more = step_from(job, from);
	struct pool *pool = job->pool ? job->pool : populator->pool;
	bool made;

	worker->job = job;
	worker->from = from;
	job->begun += more;
	if (job->begun == job->bytes)
		list_remove(&job->link);
	lock_drop(&populator->shared.lock);
	made = more > 0 && pool_populate(pool, (char *)job->at + from, more, NULL) == 0;
	lock_take(&populator->shared.lock);
	if (!made) { /* no more than slower: the read makes the pages, or fails itself */
		job->begun = job->bytes;
		list_remove(&job->link);
		atomic_store_explicit(&job->failed, more > 0, memory_order_relaxed);
	}
	worker->from = UINT64_MAX;
	/* Pairs with the owner's acquire: the pages are there before they are said to be. */
	atomic_store_explicit(&job->ready, ready_locked(populator, job), memory_order_release);
	lock_drop(&populator->shared.lock);
	if (job->notify)
		job->notify(job->arg);
	lock_take(&populator->shared.lock);
	worker->job = NULL;
	cond_wake_all(&populator->shared.idle);
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct populator *populator = worker->populator;
	struct list *jobs = &populator->shared.jobs;

	lock_take(&populator->shared.lock);
	while (!populator->shared.ending) {
		if (list_empty(jobs))
			cond_wait(&populator->shared.work, &populator->shared.lock, NEVER);
		else
			step_locked(populator, worker,
				    list_entry(jobs->next, struct populate_job, link));
	}
	lock_drop(&populator->shared.lock);
	return NULL;
}

static bool have_thread_locked(struct populator *populator, unsigned which)
{
	struct worker *worker = &populator->shared.worker[which];

	if (worker->state == THREAD_NONE)
		worker->state = thread_start(populator->sys, &worker->thread, "weir-memory", run,
					     worker, NULL) == 0
					? THREAD_RUNS
					: THREAD_REFUSED;
	return worker->state == THREAD_RUNS;
}

void populate_start(struct populator *populator, struct populate_job *job)
{
	struct worker here = {.populator = populator};

	atomic_store_explicit(&job->ready, 0, memory_order_relaxed);
	job->begun = 0;
	atomic_store_explicit(&job->failed, false, memory_order_relaxed);
	list_init(&job->link);
	lock_take(&populator->shared.lock);
	if (have_thread_locked(populator, 0)) {
		list_push(&populator->shared.jobs, &job->link);
		cond_wake_all(&populator->shared.work);
	} else {
		do
			step_locked(populator, &here, job);
		while (job->begun < job->bytes);
	}
	lock_drop(&populator->shared.lock);
}

void populate_hurry(struct populator *populator)
{
	lock_take(&populator->shared.lock);
	have_thread_locked(populator, 1);
	lock_drop(&populator->shared.lock);
}

static bool busy_locked(const struct populator *populator, const struct populate_job *job)
{
	for (size_t i = 0; i < WORKERS; i++)
		if (populator->shared.worker[i].job == job)
			return true;
	return false;
}

void populate_cancel(struct populator *populator, struct populate_job *job)
{
	lock_take(&populator->shared.lock);
	list_remove(&job->link);
	while (busy_locked(populator, job))
		cond_wait(&populator->shared.idle, &populator->shared.lock, NEVER);
	lock_drop(&populator->shared.lock);
}

void populator_destroy(struct populator *populator)
{
	if (!populator)
		return;
	lock_take(&populator->shared.lock);
	populator->shared.ending = true;
	cond_wake_all(&populator->shared.work);
	lock_drop(&populator->shared.lock);
	for (size_t i = 0; i < WORKERS; i++)
		if (populator->shared.worker[i].state == THREAD_RUNS)
			thread_join(populator->shared.worker[i].thread);
	cond_fini(&populator->shared.idle);
	cond_fini(&populator->shared.work);
	lock_fini(&populator->shared.lock);
	pool_unref(populator->pool);
	free(populator);
}
