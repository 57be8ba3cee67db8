/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two threads of a daemon's life.  One hears signals, clients of the control socket and the guard;
 * the other sends the heartbeat.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "mount/life/control.h"
#include "mount/life/inside.h"
#include "mount/life/report.h"

#define BEATS_IN_LIMIT 16
#define BEAT_MAX_NS    (5 * NS_PER_SEC)

static void answer(int client, const char *text)
{
	control_answer(client, text, strlen(text));
}

/* ---- status ---- */

static void describe(struct life *life, struct report *to)
{
	const struct options *options = life->options;

	report_text(to, "weir-mount", "1");
	report_text(to, "dir", life->anchor.dir[0] ? life->anchor.dir : options->dir);
	report_text(to, "source", life->source);
	report_count(to, "pid", (uint64_t)getpid());
	report_count(to, "uptime_ns", (uint64_t)(sys_real()->now_ns() - life->begun_ns));
	report_text(to, "profile", geteuid() == 0 ? "system" : "user");
	report_text(to, "access", options->read_write ? "read-write" : "read-only");
	report_text(to, "ring_batch", options->strict ? "strict" : "relaxed");
	report_count(to, "watchdog_ns", (uint64_t)options->watchdog_ns);
}

static void tell_status(struct life *life, int client)
{
	struct report report = {0};

	describe(life, &report);
	lock_take(&life->lock);
	report_text(&report, "state", life->stands ? "serving" : "stopping");
	if (life->stands)
		life->session.report(life->session.arg, &report);
	lock_drop(&life->lock);
	report_begin(&report, "end");
	report_line(&report);
	if (!report.failed)
		control_answer(client, report.text, report.len);
	else
		close(client);
	report_fini(&report);
}

/* ---- Wishes ---- */

/* Without a guard nobody unmounts; but a daemon that is told to end does. */
static void wish_end(struct life *life, enum guard_word word)
{
	const uint64_t one = 1;

	if (!guard_send(&life->guard, word, 0, NULL))
		(void)!write(life->over, &one, sizeof(one));
}

static void hear_unmounted(struct life *life, int os_errno)
{
	char text[32];

	if (life->client < 0)
		return;
	if (os_errno && os_errno != EBUSY)
		snprintf(text, sizeof(text), "failed %d\n", os_errno);
	answer(life->client, !os_errno ? "done\n" : os_errno == EBUSY ? "busy\n" : text);
	life->client = -1;
}

static void wish_unmount(struct life *life, int client)
{
	if (life->client >= 0) {
		answer(client, "busy\n");
		return;
	}
	life->client = client;
	if (!guard_send(&life->guard, GUARD_UNMOUNT, 0, NULL))
		hear_unmounted(life, EPIPE);
}

static void serve_client(struct life *life)
{
	int client;

	switch (control_accept(life->control, &client)) {
	case CONTROL_STATUS:
		tell_status(life, client);
		break;
	case CONTROL_UNMOUNT:
		wish_unmount(life, client);
		break;
	case CONTROL_STOP:
		wish_end(life, GUARD_STOP);
		answer(client, "done\n");
		break;
	case CONTROL_FORCE:
		wish_end(life, GUARD_FORCE);
		answer(client, "done\n");
		break;
	case CONTROL_NONE:
		break;
	}
}

/* The second one means it. */
static void hear_signal(struct life *life, unsigned *heard)
{
	struct signalfd_siginfo info;

	if (read(life->signals, &info, sizeof(info)) != sizeof(info))
		return;
	wish_end(life, (*heard)++ ? GUARD_FORCE : GUARD_STOP);
}

/* ---- The guard ---- */

static void hear_answer(struct life *life, int os_errno)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = 0;

	if (os_errno)
		ret = error_sys(&err, os_errno, life->anchor.dir, "%s: the mount does not answer",
				life->anchor.dir);
	if (!ret)
		ret = start_ready_file(&life->start, &err);
	if (ret) {
		atomic_store(&life->failed, true);
		start_answer(&life->start, &err);
		wish_end(life, GUARD_FORCE);
	} else {
		start_answer(&life->start, NULL);
	}
}

/* False: it has gone.  The mount serves on; the kernel's own limit stands behind it. */
static bool hear_guard(struct life *life)
{
	struct guard_message message;
	int got;

	while ((got = guard_receive(&life->guard, &message)) > 0) {
		switch (message.word) {
		case GUARD_ANSWERS:
			hear_answer(life, (int)message.number);
			break;
		case GUARD_UNMOUNTED:
			hear_unmounted(life, (int)message.number);
			break;
		case GUARD_ABORTED:
			fprintf(stderr, "weir-mount: nothing moved for the watchdog's limit: the "
					"connection is aborted\n");
			break;
		default:
			break;
		}
	}
	if (got < 0) {
		fprintf(stderr, "weir-mount: the watchdog process has ended\n");
		hear_unmounted(life, EPIPE);
		if (!life->start.answered) /* nobody else will say whether the mount does */
			hear_answer(life, EPIPE);
	}
	return got >= 0;
}

void *keeper_run(void *arg)
{
	struct life *life = arg;
	struct pollfd fds[] = {
		{.fd = life->wake, .events = POLLIN},
		{.fd = life->signals, .events = POLLIN},
		{.fd = life->control, .events = POLLIN},
		{.fd = life->guard.link, .events = POLLIN},
	};
	unsigned heard = 0;

	while (!fds[0].revents) {
		if (poll(fds, 4, -1) < 0)
			continue;
		if (fds[1].revents)
			hear_signal(life, &heard);
		if (fds[3].revents && !hear_guard(life))
			fds[3].fd = -1;
		if (fds[2].revents)
			serve_client(life);
	}
	return NULL;
}

/* ---- The heartbeat ---- */

static int64_t stuck(struct life *life)
{
	int64_t now_ns = sys_real()->now_ns(), longest = 0;

	lock_take(&life->lock);
	for (int kind = 0; kind < PULSE_KINDS && life->stands; kind++) {
		uint64_t under_way = 0, done = 0;
		int64_t stuck_ns;

		life->session.pace(life->session.arg, (enum pulse_kind)kind, &under_way, &done);
		stuck_ns = pulse_look(&life->pulse, (enum pulse_kind)kind, under_way, done, now_ns);
		longest = stuck_ns > longest ? stuck_ns : longest;
	}
	lock_drop(&life->lock);
	return longest;
}

void *beater_run(void *arg)
{
	struct life *life = arg;
	struct pollfd wake = {.fd = life->wake, .events = POLLIN};
	int64_t every_ns = life->options->watchdog_ns / BEATS_IN_LIMIT;

	if (!every_ns || every_ns > BEAT_MAX_NS)
		every_ns = BEAT_MAX_NS;
	do {
		guard_send(&life->guard, GUARD_BEAT, stuck(life), NULL);
	} while (poll(&wake, 1, (int)(every_ns / NS_PER_MS) + 1) <= 0);
	return NULL;
}
