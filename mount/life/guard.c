/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#define BYE_MS 2000

/* In the child.  It keeps the link and the run directory, nothing else. */
static _Noreturn void become(int link, int daemon, int64_t limit_ns, int64_t shutdown_ns,
			     struct rundir *run)
{
	struct watch watch = {
		.link = link,
		.daemon = daemon,
		.limit_ns = limit_ns,
		.shutdown_ns = shutdown_ns,
		.run = run,
		.abort_fd = -1,
		.prober_fd = -1,
		.waits_ns = NEVER,
		.lazy_ns = NEVER,
		.kill_ns = NEVER,
	};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	prctl(PR_SET_NAME, "weir-guard", 0, 0, 0);
	guard_run(&watch);
}

/*
 * All descriptors but these go: whoever reads our output to its end must not wait for the guard, and a
 * mount point that came as a descriptor is one of /dev/fuse.
 */
static void keep_only(int *kept[], int count)
{
	int null;

	for (int i = 0; i < count; i++)
		*kept[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, 16);
	for (int i = 0; i < count; i++)
		*kept[i] = dup3(*kept[i], 3 + i, O_CLOEXEC);
	syscall(SYS_close_range, 3 + count, ~0U, 0);
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
}

int guard_start(struct guard *guard, int64_t limit_ns, int64_t shutdown_ns, struct rundir *run,
		struct weir_error *err)
{
	int pair[2], daemon = (int)syscall(SYS_pidfd_open, getpid(), 0);

	*guard = (struct guard){.link = -1};
	if (daemon < 0)
		return error_sys(err, errno, NULL, "a descriptor of this process");
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
		int os_errno = errno;

		close(daemon);
		return error_sys(err, os_errno, NULL, "a socket for the guard");
	}
	guard->pid = fork();
	if (guard->pid == 0) {
		keep_only((int *[]){&pair[1], &daemon, &run->fd}, 3);
		become(pair[1], daemon, limit_ns, shutdown_ns, run);
	}
	close(pair[1]);
	close(daemon);
	if (guard->pid < 0) {
		int os_errno = errno;

		close(pair[0]);
		return error_sys(err, os_errno, NULL, "starting the guard");
	}
	guard->link = pair[0];
	return 0;
}

bool guard_send(const struct guard *guard, enum guard_word word, int64_t number,
		const struct anchor *anchor)
{
	struct guard_message message = {.word = word, .number = number};
	size_t bytes = anchor ? sizeof(message) : offsetof(struct guard_message, anchor);

	if (guard->link < 0)
		return false;
	if (anchor)
		message.anchor = *anchor;
	/* Full: it is busy unmounting, and will hear the next one. */
	return send(guard->link, &message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0 ||
	       errno == EAGAIN;
}

int guard_receive(const struct guard *guard, struct guard_message *out)
{
	ssize_t got;

	do {
		got = recv(guard->link, out, sizeof(*out), MSG_DONTWAIT);
	} while (got < 0 && errno == EINTR);
	if (got < 0 && errno == EAGAIN)
		return 0;
	return got < (ssize_t)offsetof(struct guard_message, anchor) ? -1 : 1;
}

void guard_end(struct guard *guard)
{
	struct pollfd end = {.fd = guard->link, .events = POLLIN};
	struct guard_message message;

	if (guard->link < 0)
		return;
	guard_send(guard, GUARD_BYE, 0, NULL);
	/* What it said before is read away; then its end closes. */
	while (poll(&end, 1, BYE_MS) > 0 && guard_receive(guard, &message) >= 0)
		;
	close(guard->link);
	guard->link = -1;
	waitpid(guard->pid, NULL, WNOHANG);
}
