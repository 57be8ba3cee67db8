/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-mount: a directory as a 3FS.  `weir mount` starts it.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "mount/options.h"
#include "mount/session.h"

static void say(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "weir-mount: %s\n", line);
}

static int fail(const struct weir_error *err, int status)
{
	fprintf(stderr, "weir-mount: %s\n", err->message);
	return status;
}

/* The signals that ask for the end, as a descriptor; all threads have them blocked. */
static int listen_to_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	return signalfd(-1, &set, SFD_CLOEXEC);
}

static void wait_for_end(const struct mount *mount, int signals)
{
	struct pollfd fds[2] = {{signals, POLLIN, 0}, {mount_ended_fd(mount), POLLIN, 0}};

	while (poll(fds, 2, -1) <= 0)
		;
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct log log = {.fn = say, .level = WEIR_LOG_INFO, .sys = sys_real()};
	enum options_answer answer;
	struct options options;
	struct mount *mount;
	int signals;

	if (options_parse(&options, argc, argv, &answer, &err))
		return fail(&err, 2);
	if (answer == OPTIONS_DONE)
		return 0;
	signals = listen_to_signals();
	if (mount_start(&options, &log, &mount, &err))
		return fail(&err, 1);
	wait_for_end(mount, signals);
	/* Whatever hangs is left to the kernel, which ends the connection with us. */
	alarm((unsigned)(options.shutdown_ns / NS_PER_SEC) + 1);
	mount_stop(mount, deadline_after(sys_real(), options.shutdown_ns));
	return 0;
}
