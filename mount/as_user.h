/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making things that belong to whoever asked.
 *
 * Between begin and end this thread's files are made with that user's and group's ids, quota too.  Whether
 * the user may, the kernel has decided (default_permissions; the user's further groups are known to it
 * alone), so that the right to write directories is kept.  A daemon without the capability
 * stays who it is: it serves its own user only.
 */
#ifndef MOUNT_AS_USER_H
#define MOUNT_AS_USER_H

#include <sys/types.h>

struct as_user {
	uid_t uid; /* as it was before */
	gid_t gid;
};

void as_user_begin(struct as_user *before, uid_t uid, gid_t gid);
void as_user_end(const struct as_user *before);

#endif
