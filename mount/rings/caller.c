/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/rings/caller.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>

/* "Tgid:" stands among the first lines of a thread's status. */
static pid_t parse_tgid(const char *text)
{
	const char *at = strstr(text, "\nTgid:");

	return at ? (pid_t)strtol(at + strlen("\nTgid:"), NULL, 10) : 0;
}

pid_t process_of(const struct sys *sys, pid_t thread)
{
	char path[64], text[512];
	ssize_t got;
	int fd;

	if (thread <= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)thread);
	fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return 0;
	got = sys->pread(fd, text, sizeof(text) - 1, 0);
	sys->close(fd);
	if (got <= 0)
		return 0;
	text[got] = 0;
	return parse_tgid(text);
}

/* The group first: without the user's rights it could not be changed any more. */
void caller_assume(struct caller_rights *before, uid_t uid, gid_t gid)
{
	before->gid = (gid_t)setfsgid(gid);
	before->uid = (uid_t)setfsuid(uid);
}

void caller_restore(const struct caller_rights *before)
{
	setfsuid(before->uid);
	setfsgid(before->gid);
}
