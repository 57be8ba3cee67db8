/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount: put together, run, taken down.
 *
 *	mount_start()                  checks, mounts, starts threads; returns when the mount answers
 *	... mount_ended_fd() polls readable when it was unmounted from outside, or its connection ended
 *	mount_stop()                   unmounts if it still stands, ends the rings, joins the threads
 *
 * All work is done by threads of its own, which have every signal blocked.  Signals, the daemon's
 * process and its watchdog are others' (main.c).
 */
#ifndef MOUNT_SESSION_H
#define MOUNT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "mount/options.h"
#include "mount/site.h"
#include "weir/error.h"

struct mount;
struct rings;
struct weir_ctx;

/* After the process has forked for the last time.  options and log are borrowed. */
int mount_start(const struct options *options, struct log *log, struct mount **out,
		struct weir_error *err);

/* Readable when nobody serves any more. */
int mount_ended_fd(const struct mount *mount);

/*
 * Unmounts, lazily after five seconds of being busy, and ends; may hang beyond the deadline
 * where a thread hangs in a dead file system, so somebody holds an alarm.
 */
void mount_stop(struct mount *mount, int64_t deadline_ns);

/* ---- What a watchdog and `weir status` want to know ---- */

/* Requests of the kernel.  Nothing moves while asked > answered: something is stuck. */
struct mount_progress {
	uint64_t asked, answered;
	int64_t active_ns;     /* when one was last read or answered */
	uint64_t open, backed; /* handles, and those that the kernel serves itself */
	bool passthrough;      /* agreed with the kernel */
};
void mount_progress(const struct mount *mount, struct mount_progress *out);

int mount_fuse_fd(const struct mount *mount);
const char *mount_path(const struct mount *mount); /* NULL: a descriptor */
struct rings *mount_rings(const struct mount *mount);

#endif
