/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/helper.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"

/* How often a waiter looks at its cancel flag: firing one must be safe in a signal handler, so it
 * cannot take the lock that would be needed to wake anybody. */
#define CANCEL_POLL_NS (20 * NS_PER_MS)

struct helpers {
	const struct sys *sys;
	bool simulated;        /* calls run on the caller's thread */
	_Atomic uint32_t refs; /* the context and every thread */

	struct lock lock;
	/* Under the lock. */
	struct list waiting;
	struct cond work, answered;
	uint32_t threads, idle, given_up;
	uint32_t queued; /* calls in waiting */
	uint32_t posted; /* calls that nobody waits for, queued or running */
	bool stop;

	/* Calls that were started, and the thread that watches their time. */
	struct list watched;
	struct cond watch;
	bool watching;
	pthread_t watcher;
};

int helpers_create(const struct sys *sys, int simulated, struct helpers **out,
		   struct weir_error *err)
{
	struct helpers *helpers = calloc(1, sizeof(*helpers));

	if (!helpers)
		return error_nomem(err, NULL, "the helper threads");
	helpers->sys = sys;
	helpers->simulated = simulated;
	atomic_init(&helpers->refs, 1);
	lock_init(&helpers->lock);
	list_init(&helpers->waiting);
	cond_init(&helpers->work);
	cond_init(&helpers->answered);
	list_init(&helpers->watched);
	cond_init(&helpers->watch);
	*out = helpers;
	return 0;
}

static void unref(struct helpers *helpers)
{
	if (atomic_fetch_sub_explicit(&helpers->refs, 1, memory_order_acq_rel) != 1)
		return;
	cond_fini(&helpers->watch);
	cond_fini(&helpers->answered);
	cond_fini(&helpers->work);
	lock_fini(&helpers->lock);
	free(helpers);
}

/* Once: from here on it is done, and who started it is told.  With the lock held. */
static void answer(struct helper_call *call, int status)
{
	if (call->done)
		return;
	call->done = 1;
	list_remove(&call->watched);
	if (call->complete)
		call->complete(call, status);
}

/* The next call, or NULL when it is time to end.  With the lock held. */
static struct helper_call *next_call(struct helpers *helpers)
{
	struct list *link;

	while (!(link = list_pop(&helpers->waiting))) {
		if (helpers->stop)
			return NULL;
		helpers->idle++;
		cond_wait(&helpers->work, &helpers->lock, NEVER);
		helpers->idle--;
	}
	helpers->queued--;
	return list_entry(link, struct helper_call, link);
}

/* Runs it; what is left of it then is its waiter's, if it has one still. */
static void run_call(struct helpers *helpers, struct helper_call *call)
{
	bool ours, awaited;

	call->result = call->run(call);
	lock_take(&helpers->lock);
	call->returned = true;
	helpers->given_up -= call->done; /* its waiter left before */
	helpers->posted -= call->posted;
	ours = call->done || call->posted;
	awaited = !call->posted; /* who posted has its own way to wait */
	answer(call, call->result);
	lock_drop(&helpers->lock);
	/* Without the lock, which is the first thing that whoever wakes will want. */
	if (awaited)
		cond_wake_all(&helpers->answered);
	if (ours)
		call->free(call);
}

static void *work(void *arg)
{
	struct helpers *helpers = arg;
	struct helper_call *call;

	lock_take(&helpers->lock);
	while ((call = next_call(helpers))) {
		lock_drop(&helpers->lock);
		run_call(helpers, call);
		lock_take(&helpers->lock);
	}
	helpers->threads--;
	cond_wake_all(&helpers->answered);
	lock_drop(&helpers->lock);
	unref(helpers);
	return NULL;
}

/* With the lock held.  0 also where a thread could not be started but others will come by. */
static int start_thread(struct helpers *helpers, struct weir_error *err)
{
	pthread_t thread;
	int ret;

	if (helpers->threads >= HELPERS_MAX) {
		if (helpers->given_up < HELPERS_MAX)
			return 0;
		return error_set(err, WEIR_LIMIT, NULL,
				 "%d system calls are stuck in file systems that do not answer; "
				 "no more are started",
				 HELPERS_MAX);
	}
	atomic_fetch_add_explicit(&helpers->refs, 1, memory_order_relaxed);
	ret = thread_start(helpers->sys, &thread, "weir-helper", work, helpers, err);
	if (ret < 0) {
		/* The thread's reference: never the last, for the caller holds another. */
		atomic_fetch_sub_explicit(&helpers->refs, 1, memory_order_relaxed);
		return helpers->threads > helpers->given_up ? 0 : ret;
	}
	thread_detach(thread);
	helpers->threads++;
	return 0;
}

/* With the lock held: behind those that wait already.  Then, without it, a thread is woken for it. */
static void enqueue(struct helpers *helpers, struct helper_call *call)
{
	list_push(&helpers->waiting, &call->link);
	helpers->queued++;
}

/* Waits with the lock held; 0 when the call is done. */
static int wait_done(struct helpers *helpers, struct helper_call *call, int64_t timeout_ns,
		     const struct weir_cancel *cancel)
{
	int64_t deadline_ns = deadline_after(helpers->sys, timeout_ns);
	uint32_t progress = 0;

	while (!call->done) {
		int64_t now = helpers->sys->now_ns();
		/* Relaxed, here and below: a sign alone, nothing is published with it. */
		uint32_t seen = atomic_load_explicit(&call->progress, memory_order_relaxed);

		if (seen != progress)
			deadline_ns = deadline_after(helpers->sys, timeout_ns);
		progress = seen;
		if (cancel && atomic_load_explicit(&cancel->fired, memory_order_relaxed)) {
			if (!call->heeds)
				return WEIR_CANCELLED;
			atomic_store_explicit(&call->leave, true, memory_order_relaxed);
		}
		if (now >= deadline_ns)
			return WEIR_TIMEOUT;
		cond_wait(&helpers->answered, &helpers->lock,
			  cancel ? min_of(deadline_ns, now + CANCEL_POLL_NS) : deadline_ns);
	}
	return 0;
}

/*
 * Nobody waits for it any more: true where nobody had begun it, so that it is still the waiter's; else
 * whoever runs it sees that it is done, and frees it.  With the lock held.
 */
static bool give_up(struct helpers *helpers, struct helper_call *call, int status)
{
	bool begun = list_empty(&call->link);

	if (begun) {
		helpers->given_up++;
	} else {
		list_remove(&call->link);
		helpers->queued--;
		call->returned = true; /* it never will be begun */
		call->result = status;
	}
	answer(call, status);
	return !begun;
}

/* 0 when it was run; else nobody will touch it on the waiter's behalf any more. */
static int run_elsewhere(struct helpers *helpers, struct helper_call *call, int64_t timeout_ns,
			 const struct weir_cancel *cancel, struct weir_error *err)
{
	bool ours = true;
	int ret = 0;

	lock_take(&helpers->lock);
	if (helpers->idle <= helpers->queued)
		ret = start_thread(helpers, err);
	if (ret == 0) {
		enqueue(helpers, call);
		lock_drop(&helpers->lock);
		cond_wake(&helpers->work);
		lock_take(&helpers->lock);
		ret = wait_done(helpers, call, timeout_ns, cancel);
		if (ret < 0)
			ours = give_up(helpers, call, ret);
	}
	lock_drop(&helpers->lock);
	if (ret < 0 && ours)
		call->free(call);
	return ret;
}

static void call_init(struct helper_call *call)
{
	atomic_init(&call->progress, 0);
	atomic_init(&call->leave, false);
	list_init(&call->link);
	list_init(&call->watched);
	call->returned = false;
	call->done = 0;
	call->posted = 0;
}

/* Before anybody begins it: else it could be done before its waiter looks. */
static bool is_cancelled(const struct helper_call *call, const struct weir_cancel *cancel)
{
	return cancel && !call->heeds && atomic_load_explicit(&cancel->fired, memory_order_relaxed);
}

int helper_run(struct helpers *helpers, struct helper_call *call, const char *what,
	       int64_t timeout_ns, struct weir_cancel *cancel,
	       void (*taken)(struct helper_call *call, void *arg), void *arg,
	       struct weir_error *err)
{
	int ret = 0;

	call_init(call);
	if (is_cancelled(call, cancel)) {
		call->free(call);
		return error_set(err, WEIR_CANCELLED, what, "%s: cancelled", what);
	}
	if (helpers->simulated)
		call->result = call->run(call);
	else
		ret = run_elsewhere(helpers, call, timeout_ns, cancel, err);
	if (ret == WEIR_TIMEOUT)
		return error_set(err, ret, what, "%s: no answer in time", what);
	if (ret == WEIR_CANCELLED)
		return error_set(err, ret, what, "%s: cancelled", what);
	if (ret < 0)
		return ret;
	ret = call->result;
	if (ret == 0 && taken)
		taken(call, arg);
	else if (ret < 0 && err)
		*err = call->err;
	call->free(call);
	return ret;
}

int helper_post(struct helpers *helpers, struct helper_call *call)
{
	uint32_t before;
	int ret = 0;

	call_init(call);
	call->posted = 1;
	if (helpers->simulated) {
		call->run(call);
		call->free(call);
		return 0;
	}
	lock_take(&helpers->lock);
	before = helpers->threads;
	/* Queued only where a thread is sure to come by: whoever posts may wait for it. */
	if (helpers->idle <= helpers->queued &&
	    (start_thread(helpers, NULL) < 0 || helpers->threads == before))
		ret = WEIR_LIMIT;
	if (ret == 0) {
		helpers->posted++;
		enqueue(helpers, call);
	}
	lock_drop(&helpers->lock);
	if (ret < 0)
		call->free(call);
	else
		cond_wake(&helpers->work);
	return ret;
}

/* ---- Calls that are started ---- */

/* Whose time is up, or who was cancelled; when to look again.  With the lock held. */
static int64_t look_at_watched(struct helpers *helpers, int64_t now)
{
	int64_t next = NEVER;

	list_for_each_safe(link, &helpers->watched) {
		struct helper_call *call = list_entry(link, struct helper_call, watched);
		uint32_t seen = atomic_load_explicit(&call->progress, memory_order_relaxed);

		if (seen != call->seen_progress)
			call->deadline_ns = deadline_after(helpers->sys, call->timeout_ns);
		call->seen_progress = seen;
		if (call->cancel &&
		    atomic_load_explicit(&call->cancel->fired, memory_order_relaxed))
			give_up(helpers, call, WEIR_CANCELLED);
		else if (now >= call->deadline_ns)
			give_up(helpers, call, WEIR_TIMEOUT);
		else
			next = min_of(next,
				      call->cancel ? min_of(call->deadline_ns, now + CANCEL_POLL_NS)
						   : call->deadline_ns);
	}
	return next;
}

static void *watch(void *arg)
{
	struct helpers *helpers = arg;

	lock_take(&helpers->lock);
	while (!helpers->stop) {
		int64_t next = look_at_watched(helpers, helpers->sys->now_ns());

		cond_wait(&helpers->watch, &helpers->lock, next);
	}
	lock_drop(&helpers->lock);
	return NULL;
}

/* With the lock held. */
static int start_watching(struct helpers *helpers, struct weir_error *err)
{
	int ret;

	if (helpers->watching)
		return 0;
	ret = thread_start(helpers->sys, &helpers->watcher, "weir-watch", watch, helpers, err);
	helpers->watching = ret == 0;
	return ret;
}

int helper_start(struct helpers *helpers, struct helper_call *call, int64_t timeout_ns,
		 struct weir_cancel *cancel, struct weir_error *err)
{
	bool queued = false;
	int ret = 0;

	call_init(call);
	call->timeout_ns = timeout_ns;
	call->seen_progress = 0;
	call->deadline_ns = deadline_after(helpers->sys, timeout_ns);
	call->cancel = cancel;
	if (is_cancelled(call, cancel)) {
		call->result = WEIR_CANCELLED;
		call->returned = true;
	} else if (helpers->simulated) {
		call->result = call->run(call);
		call->returned = true;
	}
	lock_take(&helpers->lock);
	if (call->returned)
		answer(call, call->result);
	else if ((ret = start_watching(helpers, err)) == 0 && helpers->idle <= helpers->queued)
		ret = start_thread(helpers, err);
	if (ret == 0 && !call->returned) {
		list_push(&helpers->watched, &call->watched);
		enqueue(helpers, call);
		queued = true;
	}
	lock_drop(&helpers->lock);
	if (queued) {
		cond_wake(&helpers->work);
		cond_wake(&helpers->watch);
	}
	if (ret < 0)
		call->free(call);
	return ret;
}

void helper_leave(struct helpers *helpers, struct helper_call **call)
{
	lock_take(&helpers->lock);
	if (*call && !(*call)->done) {
		(*call)->complete = NULL;
		if (!give_up(helpers, *call, WEIR_CANCELLED))
			*call = NULL;
	}
	lock_drop(&helpers->lock);
}

uint64_t helpers_stuck(struct helpers *helpers)
{
	uint64_t stuck;

	lock_take(&helpers->lock);
	stuck = helpers->given_up;
	lock_drop(&helpers->lock);
	return stuck;
}

bool helpers_destroy(struct helpers *helpers)
{
	bool stuck;

	if (!helpers)
		return false;
	lock_take(&helpers->lock);
	helpers->stop = true;
	cond_wake_all(&helpers->work);
	cond_wake_all(&helpers->watch);
	if (helpers->watching) {
		lock_drop(&helpers->lock);
		thread_join(helpers->watcher);
		lock_take(&helpers->lock);
	}
	/*
	 * Threads that can end do so at once; the stuck ones hold a reference of their own.  What was
	 * posted is part of a call, so by now of one whose waiter left.
	 */
	while (helpers->threads > helpers->given_up + helpers->posted)
		cond_wait(&helpers->answered, &helpers->lock, NEVER);
	stuck = helpers->threads > 0;
	lock_drop(&helpers->lock);
	unref(helpers);
	return stuck;
}
