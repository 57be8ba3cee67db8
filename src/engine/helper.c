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
	bool stop;
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
	*out = helpers;
	return 0;
}

static void unref(struct helpers *helpers)
{
	if (atomic_fetch_sub_explicit(&helpers->refs, 1, memory_order_acq_rel) != 1)
		return;
	cond_fini(&helpers->answered);
	cond_fini(&helpers->work);
	lock_fini(&helpers->lock);
	free(helpers);
}

static void call_unref(struct helper_call *call)
{
	if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) == 1)
		call->free(call);
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
	return list_entry(link, struct helper_call, link);
}

static void *work(void *arg)
{
	struct helpers *helpers = arg;
	struct helper_call *call;

	lock_take(&helpers->lock);
	while ((call = next_call(helpers))) {
		lock_drop(&helpers->lock);
		call->result = call->run(call);
		lock_take(&helpers->lock);
		helpers->given_up -= call->done; /* its waiter left before */
		call->done = 1;
		cond_wake_all(&helpers->answered);
		lock_drop(&helpers->lock);
		call_unref(call);
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
		unref(helpers);
		return helpers->threads > helpers->given_up ? 0 : ret;
	}
	thread_detach(thread);
	helpers->threads++;
	return 0;
}

/* Waits with the lock held; 0 when the call is done. */
static int wait_done(struct helpers *helpers, struct helper_call *call, int64_t deadline_ns,
		     const struct weir_cancel *cancel)
{
	while (!call->done) {
		int64_t now = helpers->sys->now_ns();

		/* Relaxed: a flag alone, nothing is published with it. */
		if (cancel && atomic_load_explicit(&cancel->fired, memory_order_relaxed))
			return WEIR_CANCELLED;
		if (now >= deadline_ns)
			return WEIR_TIMEOUT;
		cond_wait(&helpers->answered, &helpers->lock,
			  cancel ? min_of(deadline_ns, now + CANCEL_POLL_NS) : deadline_ns);
	}
	return 0;
}

static int run_elsewhere(struct helpers *helpers, struct helper_call *call, int64_t deadline_ns,
			 const struct weir_cancel *cancel, struct weir_error *err)
{
	int ret = 0;

	lock_take(&helpers->lock);
	if (helpers->idle == 0)
		ret = start_thread(helpers, err);
	if (ret < 0) {
		lock_drop(&helpers->lock);
		call_unref(call);
		call_unref(call);
		return ret;
	}
	list_push(&helpers->waiting, &call->link);
	cond_wake(&helpers->work);
	ret = wait_done(helpers, call, deadline_ns, cancel);
	if (ret < 0 && !list_empty(&call->link)) {
		list_remove(&call->link); /* nobody had begun it */
		call_unref(call);
	} else if (ret < 0) {
		call->done = 1; /* whoever runs it sees that nobody waits */
		helpers->given_up++;
	}
	lock_drop(&helpers->lock);
	if (ret < 0)
		call_unref(call);
	return ret;
}

int helper_run(struct helpers *helpers, struct helper_call *call, const char *what,
	       int64_t timeout_ns, struct weir_cancel *cancel,
	       void (*taken)(struct helper_call *call, void *arg), void *arg,
	       struct weir_error *err)
{
	int64_t deadline = deadline_after(helpers->sys, timeout_ns);
	int ret = 0;

	atomic_init(&call->refs, 2);
	list_init(&call->link);
	call->done = 0;
	if (helpers->simulated) {
		call->result = call->run(call);
		call_unref(call);
	} else {
		ret = run_elsewhere(helpers, call, deadline, cancel, err);
	}
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
	call_unref(call);
	return ret;
}

uint64_t helpers_stuck(struct helpers *helpers)
{
	uint64_t stuck;

	lock_take(&helpers->lock);
	stuck = helpers->given_up;
	lock_drop(&helpers->lock);
	return stuck;
}

void helpers_destroy(struct helpers *helpers)
{
	if (!helpers)
		return;
	lock_take(&helpers->lock);
	helpers->stop = true;
	cond_wake_all(&helpers->work);
	/* Threads that can end do so at once; the stuck ones hold a reference of their own. */
	while (helpers->threads > helpers->given_up)
		cond_wait(&helpers->answered, &helpers->lock, NEVER);
	lock_drop(&helpers->lock);
	unref(helpers);
}
