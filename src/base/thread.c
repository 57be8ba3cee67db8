/* SPDX-License-Identifier: Apache-2.0 */
#include "base/thread.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"

/* Enough for the deepest call of a lane with room to spare, and for what sanitizers add. */
#define STACK_BYTES ((size_t)256 << 10)

static void must(int os_errno, const char *what)
{
	if (likely(os_errno == 0))
		return;
	fprintf(stderr, "weir: bug: %s: %s\n", what, strerrordesc_np(os_errno));
	abort();
}

void lock_init(struct lock *lock)
{
	must(pthread_mutex_init(&lock->mutex, NULL), "lock_init");
}

void lock_fini(struct lock *lock)
{
	must(pthread_mutex_destroy(&lock->mutex), "lock_fini");
}

void lock_take(struct lock *lock)
{
	must(pthread_mutex_lock(&lock->mutex), "lock_take");
}

void lock_drop(struct lock *lock)
{
	must(pthread_mutex_unlock(&lock->mutex), "lock_drop");
}

void cond_init(struct cond *cond)
{
	pthread_condattr_t attr;

	must(pthread_condattr_init(&attr), "cond_init");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "cond_init");
	must(pthread_cond_init(&cond->cond, &attr), "cond_init");
	pthread_condattr_destroy(&attr);
}

void cond_fini(struct cond *cond)
{
	must(pthread_cond_destroy(&cond->cond), "cond_fini");
}

void cond_wake(struct cond *cond)
{
	must(pthread_cond_signal(&cond->cond), "cond_wake");
}

void cond_wake_all(struct cond *cond)
{
	must(pthread_cond_broadcast(&cond->cond), "cond_wake_all");
}

bool cond_wait(struct cond *cond, struct lock *lock, int64_t deadline_ns)
{
	struct timespec until;
	int ret;

	if (deadline_ns == NEVER) {
		must(pthread_cond_wait(&cond->cond, &lock->mutex), "cond_wait");
		return true;
	}
	if (deadline_ns < 0)
		deadline_ns = 0;
	until.tv_sec = deadline_ns / NS_PER_SEC;
	until.tv_nsec = deadline_ns % NS_PER_SEC;
	ret = pthread_cond_timedwait(&cond->cond, &lock->mutex, &until);
	if (ret == ETIMEDOUT)
		return false;
	must(ret, "cond_wait");
	return true;
}

static int start_blocked(const struct sys *sys, pthread_t *out, void *(*run)(void *), void *arg)
{
	size_t stack = max_of(STACK_BYTES, (size_t)PTHREAD_STACK_MIN);
	sigset_t all, before;
	pthread_attr_t attr;
	int ret = pthread_attr_init(&attr);

	if (ret)
		return ret;
	pthread_attr_setstacksize(&attr, stack);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = sys->thread_create(out, &attr, run, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

int thread_start(const struct sys *sys, pthread_t *out, const char *name, void *(*run)(void *),
		 void *arg, struct weir_error *err)
{
	int ret = start_blocked(sys, out, run, arg);

	if (ret)
		return error_sys(err, ret == EAGAIN ? ENOMEM : ret, NULL,
				 "starting the thread '%s'", name);
	pthread_setname_np(*out, name);
	return 0;
}

void thread_join(pthread_t thread)
{
	must(pthread_join(thread, NULL), "thread_join");
}

void thread_detach(pthread_t thread)
{
	must(pthread_detach(thread), "thread_detach");
}
