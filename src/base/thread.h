/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, locks and conditions that cannot fail silently.
 *
 * Starting a thread can fail, and says so.  Locking cannot: a lock that reports an error is memory
 * that was overwritten, and ends the program.  Conditions wait on the monotonic clock.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

struct lock {
	pthread_mutex_t mutex;
};

struct cond {
	pthread_cond_t cond;
};

void lock_init(struct lock *lock);
void lock_fini(struct lock *lock);
void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);

void cond_init(struct cond *cond);
void cond_fini(struct cond *cond);
void cond_wake(struct cond *cond);
void cond_wake_all(struct cond *cond);

/* Waits with the lock held; false when the deadline passed.  Wakes without a reason now and then. */
bool cond_wait(struct cond *cond, struct lock *lock, int64_t deadline_ns);

/*
 * A thread of ours: all signals blocked, named for debuggers (at most 15 characters), a small stack
 * (nothing of ours recurses).  thread_detach() gives up the right to join.
 */
must_use int thread_start(const struct sys *sys, pthread_t *out, const char *name,
			  void *(*run)(void *), void *arg, struct weir_error *err);
void thread_join(pthread_t thread);
void thread_detach(pthread_t thread);

#endif
