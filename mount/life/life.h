/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's life around the mount: how it starts, what watches it, who may talk to it, how it ends.
 *
 *	life_begin      before any thread: a dead mount is taken away, the process goes to the background,
 *	                the guard is forked, privileges that nobody needs are dropped
 *	(the session mounts and makes its threads)
 *	life_mounted    the guard is told; a thread for signals and for `weir status`, one for the heartbeat;
 *	                the system-call filter.  Whoever waits for the start hears of it when the root answers
 *	(the session runs until it is unmounted)
 *	life_end        goodbye to the guard; what stands in the run directory goes
 *
 *	guard.*     the process beside: heartbeat, abort, unmounting (it may run fusermount3, we may not)
 *	keeper.c    the thread: signals, the control socket, the guard's answers
 *	control.*   the socket and its words            rundir.*   where it lies
 *	confine.*   privileges and the filter           start.*    background, the answer of the start
 *	pulse.*     does it get on?                     anchor.*   the mount point, as the kernel tells of it
 *
 * The guard does not know the /dev/fuse descriptor: it is forked before that is opened.  So a daemon
 * that is killed frees its readers at once.
 */
#ifndef MOUNT_LIFE_LIFE_H
#define MOUNT_LIFE_LIFE_H

#include "mount/life/pulse.h"
#include "mount/options.h"
#include "weir/error.h"

struct life;
struct report;

/* Forks.  In the process that was started it does not return (unless --foreground): that one waits for
 * the answer and exits with it. */
int life_begin(const struct options *options, struct life **out, struct weir_error *err);

/* What the session tells of itself. */
struct life_session {
	int fuse_fd;

	/* Writes what `weir status` tells: mount/life/report.h.  Any thread, at any time. */
	void (*report)(void *arg, struct report *to);

	/* What of a kind is under way, and what has been done in all.  It never waits long. */
	void (*pace)(void *arg, enum pulse_kind kind, uint64_t *under_way, uint64_t *done);
	void *arg;
};

/* Mounted, and its threads run or will run. */
int life_mounted(struct life *life, const struct life_session *session, struct weir_error *err);

/* Readable when it is to end and there is no guard to unmount it. */
int life_over_fd(const struct life *life);

/*
 * No report is asked for any more; from here on the process ends within the shutdown limit, or is ended
 * by the guard.  Before the session is taken down.  NULL is fine.
 */
void life_ending(struct life *life);

/* The end.  A start that failed says why to whoever waits: err, else NULL.  Returns an exit status. */
int life_end(struct life *life, const struct weir_error *err);

#endif
