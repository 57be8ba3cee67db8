/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct life, for the files of this folder.
 */
#ifndef MOUNT_LIFE_INSIDE_H
#define MOUNT_LIFE_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/thread.h"
#include "mount/life/guard.h"
#include "mount/life/life.h"
#include "mount/life/start.h"

struct life {
	const struct options *options;
	struct anchor anchor;
	char source[PATH_MAX]; /* resolved, for those who ask */
	struct rundir run;
	struct guard guard;
	struct start start;
	struct pulse pulse; /* of the thread that beats */
	int64_t begun_ns;

	int signals; /* a signalfd */
	int control; /* listens; -1 */
	int wake;    /* an eventfd: the threads end */
	int over;    /* likewise: it is to end without the guard */
	int client;  /* waits for the guard's word about unmounting; -1 */
	pthread_t keeper, beater;
	bool running; /* both */

	struct lock lock; /* over the session, which may be asked while it stands */
	struct life_session session;
	bool stands;
	atomic_bool failed; /* the start did: the mount did not answer */
};

/* The threads. */
void *keeper_run(void *life);
void *beater_run(void *life);

#endif
