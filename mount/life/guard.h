/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard: a small process beside the daemon, for what the daemon cannot do to itself.
 *
 * It hears a heartbeat, which tells how long the oldest request has been under way.  When that, or the
 * silence, grows past the limit while somebody waits, it aborts the connection: readers are freed.  It
 * unmounts (the daemon may run no program), carries out the end of the daemon step by step, and kills
 * it when the end takes too long.
 *
 * Forked before threads and before /dev/fuse is opened, it holds the connection's abort file and never
 * the descriptor.  Messages travel over a socket pair, one datagram each; the end of the socket is the
 * end of the daemon.
 */
#ifndef MOUNT_LIFE_GUARD_H
#define MOUNT_LIFE_GUARD_H

#include <stdint.h>
#include <sys/types.h>

#include "mount/life/anchor.h"
#include "mount/life/rundir.h"

enum guard_word {
	/* To the guard. */
	GUARD_BEAT = 1, /* number: nanoseconds that the oldest request has taken */
	GUARD_MOUNTED,  /* anchor: where */
	GUARD_UNMOUNT,  /* if nobody uses it: answered */
	GUARD_STOP,   /* unmount, after a while lazily, abort; the daemon has the shutdown limit */
	GUARD_FORCE,  /* the same, at once */
	GUARD_ENDING, /* unmounted by others: the daemon has the shutdown limit */
	GUARD_BYE,    /* the daemon ends as it should */

	/* From it. */
	GUARD_ANSWERS,   /* number: 0, or the errno of looking at the root */
	GUARD_UNMOUNTED, /* number: 0, or an errno */
	GUARD_ABORTED,   /* the limit has passed */
};

struct guard_message {
	uint32_t word, reserved;
	int64_t number;
	struct anchor anchor; /* only sent with GUARD_MOUNTED */
};

struct guard {
	int link; /* -1: no guard */
	pid_t pid;
};

/* limit_ns 0: it aborts nothing by itself. */
int guard_start(struct guard *guard, int64_t limit_ns, int64_t shutdown_ns, struct rundir *run,
		struct weir_error *err);

/* Never waits; false: the guard is gone. */
bool guard_send(const struct guard *guard, enum guard_word word, int64_t number,
		const struct anchor *anchor);

/* 1: a message; 0: none now; -1: the guard is gone. */
int guard_receive(const struct guard *guard, struct guard_message *out);

/* Says goodbye, and waits for it for a moment. */
void guard_end(struct guard *guard);

/* ---- Of the guard itself: guard_run.c, guard_act.c ---- */

struct watch {
	int link;
	int daemon; /* a pidfd */
	int64_t limit_ns, shutdown_ns;
	struct rundir *run;

	struct anchor anchor;
	bool mounted;
	int abort_fd; /* of fusectl; -1 */

	int64_t beat_ns;  /* when it came */
	int64_t stuck_ns; /* what it said */
	int64_t waits_ns; /* since when it is late and somebody waits; NEVER */
	bool aborted;

	pid_t prober; /* looks at the root; 0: none */
	int prober_fd;
	int64_t prober_until_ns;

	int64_t lazy_ns, kill_ns; /* NEVER: not ending */
};

_Noreturn void guard_run(struct watch *watch);

/* Opens the files of the connection. */
void watch_open(struct watch *watch);
bool watch_waits(const struct watch *watch); /* somebody waits for an answer */
void watch_abort(struct watch *watch);
void watch_kill(const struct watch *watch);
int watch_unmount(const struct watch *watch, bool lazy); /* 0 or an errno */

/* umount2(), or fusermount3 for those who may not. */
int anchor_unmount(const char *dir, bool lazy);

#endif
