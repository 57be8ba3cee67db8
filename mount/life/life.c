/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/life.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "mount/life/confine.h"
#include "mount/life/control.h"
#include "mount/life/inside.h"

#define DESCRIPTOR "/dev/fd/"

/* Where: as an absolute path, unless it came as a descriptor. */
static int find_place(struct life *life, struct weir_error *err)
{
	const char *dir = life->options->dir;
	int ret;

	life->start.dir = dir;
	if (!realpath(life->options->source, life->source))
		return error_sys(err, errno, life->options->source, "%s: the directory to mount",
				 life->options->source);
	life->start.source = life->source;
	if (strncmp(dir, DESCRIPTOR, strlen(DESCRIPTOR)) == 0)
		return 0;
	ret = anchor_resolve(dir, life->anchor.dir, err);
	if (ret)
		return ret;
	life->start.dir = life->anchor.dir;
	return 0;
}

/* Signals reach the keeper alone: blocked here, they are in all threads. */
static int take_signals(struct life *life, struct weir_error *err)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	life->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	life->wake = eventfd(0, EFD_CLOEXEC);
	life->over = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (life->signals < 0 || life->wake < 0 || life->over < 0)
		return error_sys(err, errno, NULL, "descriptors for signals");
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

static int prepare(struct life *life, struct weir_error *err)
{
	int ret = find_place(life, err);

	ret = ret ? ret : start_background(&life->start, err);
	ret = ret ? ret : start_log(&life->start, err);
	ret = ret ? ret : take_signals(life, err);
	ret = ret ? ret : rundir_open(&life->run, err);
	ret = ret ? ret : rundir_claim(&life->run, life->start.dir, err);
	ret = ret ? ret : confine_early(err);
	if (ret)
		return ret;
	return guard_start(&life->guard, life->options->watchdog_ns, life->options->shutdown_ns,
			   &life->run, err);
}

int life_begin(const struct options *options, struct life **out, struct weir_error *err)
{
	struct life *life = calloc(1, sizeof(*life));
	int ret;

	if (!life)
		return error_nomem(err, NULL, "the daemon");
	life->options = life->start.options = options;
	life->start.answer_fd = life->signals = life->control = life->wake = life->over =
		life->client = -1;
	life->run.fd = life->guard.link = -1;
	life->begun_ns = sys_real()->now_ns();
	lock_init(&life->lock);
	*out = life;
	ret = prepare(life, err);
	if (ret) {
		life_end(life, err);
		*out = NULL;
	}
	return ret;
}

static int start_threads(struct life *life, struct weir_error *err)
{
	const struct sys *sys = sys_real();
	uint64_t one = 1;
	int ret = thread_start(sys, &life->keeper, "weir-keeper", keeper_run, life, err);

	if (ret)
		return ret;
	ret = thread_start(sys, &life->beater, "weir-heart", beater_run, life, err);
	life->running = !ret;
	if (ret) {
		if (write(life->wake, &one, sizeof(one)) == sizeof(one))
			thread_join(life->keeper);
	}
	return ret;
}

int life_mounted(struct life *life, const struct life_session *session, struct weir_error *err)
{
	int ret = confine_late(err);

	if (ret)
		return ret;
	anchor_find(&life->anchor);
	if (!life->anchor.dir[0])
		anchor_find_by_descriptor(&life->anchor, session->fuse_fd);
	life->control = control_open(&life->run, err);
	if (life->control < 0)
		return life->control;
	life->session = *session;
	life->stands = true;
	ret = start_threads(life, err);
	if (ret)
		return ret;
	if (!guard_send(&life->guard, GUARD_MOUNTED, 0, &life->anchor))
		return error_set(err, WEIR_PEER_GONE, NULL, "the watchdog process has ended");
	return 0;
}

int life_over_fd(const struct life *life)
{
	return life->over;
}

void life_ending(struct life *life)
{
	if (!life)
		return;
	/* First: what follows may wait. */
	guard_send(&life->guard, GUARD_ENDING, 0, NULL);
	lock_take(&life->lock);
	life->stands = false;
	lock_drop(&life->lock);
}

static void end_threads(struct life *life)
{
	uint64_t one = 1;

	if (!life->running || write(life->wake, &one, sizeof(one)) != sizeof(one))
		return;
	thread_join(life->keeper);
	thread_join(life->beater);
}

static void close_all(const int *fds, int count)
{
	for (int i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

int life_end(struct life *life, const struct weir_error *err)
{
	struct weir_error ended = WEIR_ERROR_INIT;
	bool failed;

	end_threads(life);
	/* The end of the session may be here before the guard's word about it. */
	if (life->client >= 0)
		control_answer(life->client, "done\n", strlen("done\n"));
	life->client = -1;
	/* The guard first: when the answer is out, nothing of ours is left. */
	guard_end(&life->guard);
	rundir_release(&life->run);
	if (!err && !life->start.answered)
		(void)error_set(&ended, WEIR_CANCELLED, NULL, "%s: unmounted before it answered",
				life->options->dir);
	if (!life->start.answered)
		start_answer(&life->start, err ? err : &ended);
	failed = err || ended.code || atomic_load(&life->failed);
	close_all((const int[]){life->signals, life->control, life->wake, life->over,
				life->start.answer_fd},
		  5);
	rundir_close(&life->run);
	lock_fini(&life->lock);
	free(life);
	return failed ? 1 : 0;
}
