/* SPDX-License-Identifier: Apache-2.0 */
#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>

#define FIRST_FREE 3

int fd_lift(const struct sys *sys, int fd)
{
	int lifted, saved;

	if (fd < 0 || fd >= FIRST_FREE)
		return fd;
	lifted = fcntl(fd, F_DUPFD_CLOEXEC, FIRST_FREE);
	saved = errno;
	sys->close(fd);
	errno = saved;
	return lifted;
}
