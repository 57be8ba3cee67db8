/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The threads that read requests and answer them: a fixed number, each one request at a time.
 */
#ifndef MOUNT_WORKERS_H
#define MOUNT_WORKERS_H

#include <pthread.h>

#include "weir/error.h"

struct fuse_session;

struct workers {
	struct fuse_session *session;
	pthread_t *threads;
	unsigned count;
	int ended_fd; /* an eventfd: readable when the first has found the connection gone */
};

int workers_start(struct workers *workers, struct fuse_session *session, unsigned count,
		  struct weir_error *err);

/* Waits for what they are at.  Also after a failed start, and where ended_fd is -1. */
void workers_stop(struct workers *workers);

#endif
