/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guard does all day: it sleeps until a message or the next deadline.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "mount/life/guard.h"

#define LAZY_AFTER_NS  (5 * NS_PER_SEC)
#define RETRY_MS       200
#define ANSWER_WAIT_NS (30 * NS_PER_SEC)

static int64_t now(void)
{
	return sys_real()->now_ns();
}

static void tell(const struct watch *watch, enum guard_word word, int64_t number)
{
	const struct guard end = {.link = watch->link};

	guard_send(&end, word, number, NULL);
}

/* ---- Does the root answer?  A child of ours looks, for looking may wait. ---- */

static void start_prober(struct watch *watch)
{
	if (!watch->anchor.dir[0]) {
		tell(watch, GUARD_ANSWERS, 0);
		return;
	}
	watch->prober = fork();
	if (watch->prober == 0) {
		struct stat stat;
		int root = open(watch->anchor.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		/* The root of another user's mount may be closed to us: it has answered. */
		_exit(root >= 0 || lstat(watch->anchor.dir, &stat) == 0 ? 0 : errno & 0x7f);
	}
	watch->prober_fd = watch->prober > 0 ? (int)syscall(SYS_pidfd_open, watch->prober, 0) : -1;
	watch->prober_until_ns = now() + ANSWER_WAIT_NS;
	if (watch->prober_fd < 0) {
		watch->prober = 0;
		tell(watch, GUARD_ANSWERS, EAGAIN);
	}
}

static void end_prober(struct watch *watch, bool late)
{
	int status = 0, os_errno = ETIMEDOUT;

	if (late)
		kill(watch->prober, SIGKILL);
	else if (waitpid(watch->prober, &status, WNOHANG) == watch->prober && WIFEXITED(status))
		os_errno = WEXITSTATUS(status);
	close(watch->prober_fd);
	watch->prober_fd = -1;
	watch->prober = 0;
	tell(watch, GUARD_ANSWERS, os_errno);
}

/* ---- The end of the daemon ---- */

static void begin_end(struct watch *watch, int64_t patience_ns)
{
	int64_t at = now();

	if (watch->kill_ns == NEVER)
		watch->kill_ns = at + watch->shutdown_ns;
	watch->lazy_ns = at + patience_ns;
}

/* A mount point that nobody knows cannot be unmounted: it came as a descriptor. */
static void go_on_ending(struct watch *watch)
{
	int ret;

	if (watch->lazy_ns == NEVER)
		return;
	ret = watch->mounted ? watch_unmount(watch, false) : 0;
	if (ret == EBUSY && now() < watch->lazy_ns)
		return;
	if (ret == EBUSY)
		watch_unmount(watch, true);
	if (ret == EBUSY || (ret && !watch->anchor.dir[0]))
		watch_abort(watch);
	watch->lazy_ns = NEVER;
}

/* Unmounted or not, nobody is to wait for a daemon that goes. */
static void force_end(struct watch *watch)
{
	begin_end(watch, 0);
	if (watch->mounted) {
		watch_unmount(watch, true);
		watch_abort(watch);
	}
	watch->lazy_ns = NEVER;
}

static _Noreturn void leave(struct watch *watch)
{
	rundir_release(watch->run);
	_exit(0);
}

static void hear(struct watch *watch, const struct guard_message *message)
{
	switch (message->word) {
	case GUARD_BEAT:
		watch->beat_ns = now();
		watch->stuck_ns = message->number;
		break;
	case GUARD_MOUNTED:
		watch->anchor = message->anchor;
		watch->mounted = true;
		watch->beat_ns = now();
		watch_open(watch);
		start_prober(watch);
		break;
	case GUARD_UNMOUNT:
		tell(watch, GUARD_UNMOUNTED, watch_unmount(watch, false));
		break;
	case GUARD_STOP:
		begin_end(watch, LAZY_AFTER_NS);
		break;
	case GUARD_FORCE:
		force_end(watch);
		break;
	case GUARD_ENDING:
		watch->mounted = false;
		begin_end(watch, 0);
		break;
	case GUARD_BYE:
		leave(watch);
	default:
		break;
	}
}

/* All that has come; leaves where the daemon has gone. */
static void listen_to_daemon(struct watch *watch)
{
	const struct guard end = {.link = watch->link};
	struct guard_message message;
	int got;

	while ((got = guard_receive(&end, &message)) > 0)
		hear(watch, &message);
	if (got < 0)
		leave(watch);
}

/* Somebody waits, and did so a moment ago: a daemon that was woken again has time to answer. */
static bool somebody_waits(struct watch *watch, bool late)
{
	if (!late || !watch_waits(watch)) {
		watch->waits_ns = NEVER;
		return false;
	}
	if (watch->waits_ns == NEVER)
		watch->waits_ns = now();
	return now() - watch->waits_ns >= watch->limit_ns / 16;
}

/* An eighth of the limit is for noticing and for acting. */
static void look_at_beat(struct watch *watch)
{
	int64_t silent = now() - watch->beat_ns;

	if (!watch->mounted || !watch->limit_ns || watch->aborted)
		return;
	if (!somebody_waits(watch,
			    silent + watch->stuck_ns >= watch->limit_ns - watch->limit_ns / 8))
		return;
	watch_abort(watch);
	tell(watch, GUARD_ABORTED, 0);
	/* A daemon without a connection is of no use; one that runs will end by itself. */
	if (watch->kill_ns == NEVER)
		watch->kill_ns = now() + watch->shutdown_ns;
}

static int sleep_ms(const struct watch *watch)
{
	int64_t ms = -1;

	if (watch->lazy_ns != NEVER)
		return RETRY_MS;
	if (watch->mounted && watch->limit_ns && !watch->aborted) {
		ms = watch->limit_ns / 32 / NS_PER_MS;
		ms = ms < 5 ? 5 : ms > 1000 ? 1000 : ms;
	}
	if (ms < 0 && (watch->kill_ns != NEVER || watch->prober))
		ms = 1000;
	return (int)ms;
}

_Noreturn void guard_run(struct watch *watch)
{
	for (;;) {
		struct pollfd fds[] = {
			{.fd = watch->link, .events = POLLIN},
			{.fd = watch->prober_fd, .events = POLLIN},
		};

		poll(fds, 2, sleep_ms(watch));
		listen_to_daemon(watch);
		if (watch->prober && (fds[1].revents || now() >= watch->prober_until_ns))
			end_prober(watch, !fds[1].revents);
		look_at_beat(watch);
		go_on_ending(watch);
		if (now() >= watch->kill_ns) {
			watch_abort(watch);
			watch_kill(watch);
			watch->kill_ns = NEVER;
		}
	}
}
