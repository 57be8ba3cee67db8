/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run directory: /run/weir for root, $XDG_RUNTIME_DIR/weir for others (/tmp/weir-UID without one).
 *
 * Each daemon has PID.sock, its control socket, and PID.pid there.  The directory is 0700 and its
 * owner's; one that is not is refused.
 */
#ifndef MOUNT_LIFE_RUNDIR_H
#define MOUNT_LIFE_RUNDIR_H

#include <limits.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "weir/error.h"

struct rundir {
	int fd;
	char path[PATH_MAX];
	char socket[32], pid_file[32]; /* names in it; "" before rundir_claim() */
};

must_use int rundir_open(struct rundir *dir, struct weir_error *err);

/* This process is the daemon: writes the pid file, and takes away what daemons that have died left. */
must_use int rundir_claim(struct rundir *dir, const char *mount_point, struct weir_error *err);

/* Removes what belongs to the claim.  The guard does it for a daemon that was killed. */
void rundir_release(struct rundir *dir);
void rundir_close(struct rundir *dir);

#endif
