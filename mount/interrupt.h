/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals of callers, on their way into our system calls.
 *
 * The kernel tells that a caller no longer waits (a signal came); the thread that works for it may sit in
 * a system call that takes long: an open that waits for somebody's lease takes 45 seconds.  Such a call
 * is put between begin and end, and ends with EINTR then:
 *
 *	interrupt_begin(&front->interrupts, &interrupt, req);
 *	fd = open(...);
 *	interrupt_end(&interrupt);
 *
 * A signal that comes just before the call would be lost, so it is sent again every few milliseconds, by a
 * thread that sleeps otherwise, until the end.
 */
#ifndef MOUNT_INTERRUPT_H
#define MOUNT_INTERRUPT_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>

#include "base/list.h"
#include "base/thread.h"
#include "weir/error.h"

struct interrupts {
	struct lock lock;
	struct cond cond;
	struct list asked; /* those whose caller has given up */
	pthread_t thread;
	bool started, ending;
};

struct interrupt {
	struct list link;
	struct interrupts *all;
	fuse_req_t req;
	pthread_t thread;
};

int interrupts_start(struct interrupts *all, struct weir_error *err);
/* Nobody is between begin and end any more.  Fine where it was not started. */
void interrupts_stop(struct interrupts *all);

/* This thread's system calls may be interrupted: once, before its first request. */
void interrupts_allow(void);

void interrupt_begin(struct interrupts *all, struct interrupt *out, fuse_req_t req);
void interrupt_end(struct interrupt *interrupt);

#endif
