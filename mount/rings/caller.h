/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who a client is: the process behind a thread's number, and its rights on files for a moment.
 */
#ifndef MOUNT_RINGS_CALLER_H
#define MOUNT_RINGS_CALLER_H

#include <sys/types.h>

#include "base/sys.h"

/* FUSE tells the thread; 0: its process cannot be told from here (another pid namespace, no /proc). */
pid_t process_of(const struct sys *sys, pid_t thread);

/*
 * Opens and unlinks by this thread are judged as that user's until caller_restore().  A daemon without
 * the capability stays who it is, which can only be less than it asked for.
 */
struct caller_rights {
	uid_t uid;
	gid_t gid;
};
void caller_assume(struct caller_rights *before, uid_t uid, gid_t gid);
void caller_restore(const struct caller_rights *before);

#endif
