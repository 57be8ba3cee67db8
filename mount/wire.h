/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between libfuse and /dev/fuse: every request and every answer passes here.
 *
 * Three things happen on the way: INIT is completed (fuse_init.h), an answer to OPEN gets its backing id,
 * and it is counted what is asked and what is answered, so that somebody can tell whether we still live.
 */
#ifndef MOUNT_WIRE_H
#define MOUNT_WIRE_H

#include <stdatomic.h>
#include <stdint.h>

#include "mount/fuse_init.h"

struct fuse_session;

struct wire {
	struct fuse_init init;
	int fd;                    /* /dev/fuse; the session's */
	_Atomic uint64_t asked;    /* requests that want an answer */
	_Atomic uint64_t answered; /* and have it */
	_Atomic int64_t active_ns; /* when something was last read or answered; monotonic */
	_Atomic bool ready;        /* INIT is done */
};

/* After fuse_session_mount(): 0, or a negative errno. */
int wire_attach(struct wire *wire, struct fuse_session *session);

/* Answers of this thread, which are to OPEN or CREATE, carry the backing id until it says
 * WIRE_NO_BACKING. */
#define WIRE_NO_BACKING (-1)
void wire_back_next(int32_t backing_id);

#endif
