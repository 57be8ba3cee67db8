/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a session, for session.c (life and health) and registrar.c (calls that change names).
 */
#ifndef IO_USRBIO_SESSION_STATE_H
#define IO_USRBIO_SESSION_STATE_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/thread.h"
#include "io/usrbio/key.h"
#include "io/usrbio/session.h"
#include "io/usrbio/signal.h"

/* How long a caller waits for the registrar: to make, and to remove. */
#define REGISTRAR_LINK_NS   (60 * NS_PER_SEC)
#define REGISTRAR_UNLINK_NS (5 * NS_PER_SEC)

struct usrbio_session {
	struct list link; /* in the list of sessions, under its lock */
	const struct sys *sys;
	char mount[USRBIO_MOUNT_MAX];
	pid_t pid;
	volatile unsigned char
		*mine; /* 1, and 0 after fork(); NULL: the kernel has no such memory */
	int shm_dir;

	/* The registrar's: 3fs-virt/iovs, once opened; -1. */
	_Atomic int iovs;
	char bell_seen[USRBIO_MOUNT_MAX]; /* where submit-ios points; written before iovs is */

	struct lock lock;
	/* Under the lock. */
	struct cond changed;     /* by calls, and at the end */
	struct cond watched;     /* the prober's */
	struct list calls;       /* of the registrar, waiting */
	struct list spare_calls; /* one for each name that was made, to remove it with */
	uint32_t users, threads, watchers;
	bool ending, prober;
	bool worried; /* somebody began to wait: the next probe is due soon */
	struct usrbio_bell_file bells[USRBIO_BELLS];

	/* The prober's findings. */
	_Atomic int64_t probing_since; /* 0: no probe is under way */
	_Atomic bool gone;
};

/* Starts the registrar, which opens iovs/ and reads where submit-ios points: 0 or a code. */
int registrar_start(struct usrbio_session *session, struct weir_error *err);

/* Where a link in iovs/ points, by the registrar; an errno in err->os_errno. */
int registrar_read(struct usrbio_session *session, const char *name, char *out, size_t size,
		   struct weir_error *err);

/* Frees what was kept for removals; for the last who leaves. */
void registrar_free_spare(struct usrbio_session *session);

/* One thread less; the last thing that a thread of a session does. */
void session_thread_ends(struct usrbio_session *session);

#endif
