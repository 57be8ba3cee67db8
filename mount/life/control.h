/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: PID.sock in the run directory, for the user who started the daemon and for root.
 *
 * A client sends one line and reads until the end:
 *
 *	status      the daemon's report (mount/life/report.h)
 *	unmount     unless somebody uses the mount: "done", "busy", or "failed ERRNO"
 *	stop        as SIGTERM does; "done" when it has begun
 *	force       the same at once, whoever uses the mount
 */
#ifndef MOUNT_LIFE_CONTROL_H
#define MOUNT_LIFE_CONTROL_H

#include "mount/life/rundir.h"

enum control_word {
	CONTROL_NONE,
	CONTROL_STATUS,
	CONTROL_UNMOUNT,
	CONTROL_STOP,
	CONTROL_FORCE
};

/* A listening socket, or a negative code. */
int control_open(const struct rundir *dir, struct weir_error *err);

/* Takes a client in and reads what it wants.  NONE: it may not ask, or said nothing in time. */
enum control_word control_accept(int listener, int *client);

/* All of it, or as much as it takes in time; then hangs up. */
void control_answer(int client, const char *text, size_t len);

#endif
