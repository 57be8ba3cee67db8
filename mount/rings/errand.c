/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that run errands (see errand.h).
 */
#include "mount/rings/errand.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/size.h"
#include "base/thread.h"

#define LINGER_NS (10 * NS_PER_SEC) /* that a thread waits for more to do */

/* Users that have something here; whose turn was last stands last. */
struct user {
	struct list link; /* errands.users */
	struct list queue;
	uid_t uid;
	unsigned queued, running;
};

struct errands {
	const struct sys *sys;
	_Atomic unsigned refs; /* the owner's and every thread's */

	struct lock lock; /* of what follows */
	struct cond work, quiet;
	struct list users;
	unsigned threads, idle, running;
	bool stopping;
};

struct errands *errands_create(const struct sys *sys)
{
	struct errands *errands = calloc(1, sizeof(*errands));

	if (!errands)
		return NULL;
	errands->sys = sys;
	atomic_init(&errands->refs, 1);
	lock_init(&errands->lock);
	cond_init(&errands->work);
	cond_init(&errands->quiet);
	list_init(&errands->users);
	return errands;
}

static void unref(struct errands *errands)
{
	if (atomic_fetch_sub_explicit(&errands->refs, 1, memory_order_acq_rel) != 1)
		return;
	cond_fini(&errands->quiet);
	cond_fini(&errands->work);
	lock_fini(&errands->lock);
	free(errands);
}

/* ---- Users; all with the lock held ---- */

static struct user *user_of(struct errands *errands, uid_t uid)
{
	struct user *user;

	list_for_each(at, &errands->users) {
		user = list_entry(at, struct user, link);
		if (user->uid == uid)
			return user;
	}
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	list_init(&user->queue);
	list_push(&errands->users, &user->link);
	return user;
}

static void drop_idle(struct user *user)
{
	if (user->queued || user->running)
		return;
	list_remove(&user->link);
	free(user);
}

static bool may_begin(const struct errands *errands, const struct user *user)
{
	return user->queued && user->running < ERRANDS_MOST - errands->running;
}

/* About how many could begin now. */
static unsigned all_ready(const struct errands *errands)
{
	unsigned count = 0;

	list_for_each(at, &errands->users) {
		const struct user *user = list_entry(at, struct user, link);

		if (may_begin(errands, user))
			count += min_of(user->queued,
					ERRANDS_MOST - errands->running - user->running);
	}
	return count;
}

/* The next, with its user; users come in turn. */
static struct errand *take(struct errands *errands, struct user **whose)
{
	struct errand *errand;

	list_for_each(at, &errands->users) {
		struct user *user = list_entry(at, struct user, link);

		if (!may_begin(errands, user))
			continue;
		list_remove(&user->link);
		list_push(&errands->users, &user->link);
		user->queued--;
		user->running++;
		errands->running++;
		*whose = user;
		errand = list_entry(list_pop(&user->queue), struct errand, link);
		errand->queued = false;
		return errand;
	}
	return NULL;
}

/* ---- Threads ---- */

/* The same once there is one; NULL: it is time to end. */
static struct errand *await(struct errands *errands, struct user **whose)
{
	struct errand *errand;
	bool late = false;

	while (!(errand = take(errands, whose)) && !late && !errands->stopping) {
		errands->idle++;
		late = !cond_wait(&errands->work, &errands->lock,
				  errands->sys->now_ns() + LINGER_NS);
		errands->idle--;
	}
	return errand;
}

static void *run(void *arg);

/* With the lock held: somebody who will come by, or an errno. */
static int find_hands(struct errands *errands)
{
	struct weir_error err = WEIR_ERROR_INIT;
	pthread_t thread;

	if (errands->idle >= all_ready(errands) || errands->threads == ERRANDS_MOST) {
		cond_wake(&errands->work);
		return 0;
	}
	atomic_fetch_add_explicit(&errands->refs, 1, memory_order_relaxed);
	if (thread_start(errands->sys, &thread, "weir-errand", run, errands, &err) == 0) {
		thread_detach(thread);
		errands->threads++;
		return 0;
	}
	/* Never the last reference: the owner's is there. */
	atomic_fetch_sub_explicit(&errands->refs, 1, memory_order_relaxed);
	cond_wake(&errands->work);
	return errands->threads ? 0 : err.os_errno > 0 ? err.os_errno : EAGAIN;
}

static void *run(void *arg)
{
	struct errands *errands = arg;
	struct errand *errand;
	struct user *user;

	lock_take(&errands->lock);
	while ((errand = await(errands, &user))) {
		/* What ended before may have made room for more than this one. */
		if (all_ready(errands) > 0)
			(void)find_hands(errands);
		lock_drop(&errands->lock);
		errand->run(errand);
		lock_take(&errands->lock);
		user->running--;
		errands->running--;
		drop_idle(user);
	}
	errands->threads--;
	cond_wake_all(&errands->quiet);
	lock_drop(&errands->lock);
	unref(errands);
	return NULL;
}

int errand_post(struct errands *errands, struct errand *errand)
{
	struct user *user = NULL;
	int ret = ESHUTDOWN;

	list_init(&errand->link);
	errand->queued = false;
	lock_take(&errands->lock);
	if (!errands->stopping) {
		user = user_of(errands, errand->uid);
		ret = user ? 0 : ENOMEM;
	}
	if (user) {
		list_push(&user->queue, &errand->link);
		user->queued++;
		errand->queued = true;
		ret = find_hands(errands);
		if (ret) {
			errand->queued = false;
			list_remove(&errand->link);
			user->queued--;
			drop_idle(user);
		}
	}
	lock_drop(&errands->lock);
	return ret;
}

bool errand_recall(struct errands *errands, struct errand *errand)
{
	struct user *user;
	bool queued;

	lock_take(&errands->lock);
	queued = errand->queued;
	if (queued) {
		errand->queued = false;
		user = user_of(errands, errand->uid);
		list_remove(&errand->link);
		user->queued--;
		drop_idle(user);
	}
	lock_drop(&errands->lock);
	return queued;
}

bool errands_destroy(struct errands *errands, int64_t deadline_ns)
{
	bool clean;

	if (!errands)
		return true;
	lock_take(&errands->lock);
	errands->stopping = true;
	cond_wake_all(&errands->work);
	while (errands->threads && cond_wait(&errands->quiet, &errands->lock, deadline_ns))
		;
	clean = errands->threads == 0;
	lock_drop(&errands->lock);
	unref(errands);
	return clean;
}
