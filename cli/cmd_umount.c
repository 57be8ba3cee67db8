/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir umount: asks the daemon to go, and does by force what it does not do itself.
 *
 * Without --force a mount that is in use stays, and its users are named.  With it, readers get errors:
 * the daemon has a while to end in order; then its connection is aborted, the mount is taken out of
 * sight and the process is killed, all of it within thirty seconds.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mounting.h"
#include "out.h"
#include "report.h"
#include "verbs.h"

#define USERS_MAX    20
#define END_MS       35000 /* for a daemon that ends in order: its own limit, and a little */
#define FORCE_END_MS 12000
#define KILL_END_MS  3000

struct umount_options {
	struct common common;
	bool force;
};

static const struct option options[] = {
	{.name = "force",
	 .kind = OPTION_FLAG,
	 .help = "also where it is in use or does not answer: readers get errors",
	 .at = offsetof(struct umount_options, force)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct umount_options, common)},
	{options, 0},
	{0},
};

struct umount {
	char dir[PATH_MAX];
	unsigned connection;
	struct mounting_daemon daemon; /* pid 0: none */
	struct mounting_user users[USERS_MAX];
	size_t user_count;
};

static void note_daemon(void *arg, const struct mounting_daemon *daemon)
{
	struct umount *what = arg;
	const struct timespec *a = &daemon->since, *b = &what->daemon.since;

	if (strcmp(daemon->dir, what->dir) != 0)
		return;
	if (!what->daemon.pid || a->tv_sec > b->tv_sec ||
	    (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec))
		what->daemon = *daemon;
}

static bool wait_for_end(pid_t pid, int ms)
{
	struct pollfd end = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
	bool ended = end.fd < 0 || poll(&end, 1, ms) > 0;

	if (end.fd >= 0)
		close(end.fd);
	return ended;
}

static void run_fusermount(const char *dir, bool lazy)
{
	pid_t pid = fork();

	if (pid == 0) {
		const char *flags = lazy ? "-uz" : "-u";
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, STDERR_FILENO);
		execl("/usr/bin/fusermount3", "fusermount3", flags, "--", dir, (char *)NULL);
		execl("/bin/fusermount3", "fusermount3", flags, "--", dir, (char *)NULL);
		_exit(127);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
}

/* It, and not one beneath it. */
static bool stands(const struct umount *what)
{
	unsigned connection;

	return mounting_find(what->dir, &connection) && connection == what->connection;
}

/* Without its daemon.  False: it is still there. */
static bool detach(struct umount *what, bool lazy)
{
	if (umount2(what->dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) < 0 && errno == EPERM)
		run_fusermount(what->dir, lazy);
	return !stands(what);
}

static void abort_connection(const struct umount *what)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/sys/fs/fuse/connections/%u/abort", what->connection);
	fd = what->connection ? open(path, O_WRONLY | O_CLOEXEC) : -1;
	if (fd >= 0 && write(fd, "1", 1) == 1) {
		close(fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	umount2(what->dir, MNT_FORCE | UMOUNT_NOFOLLOW);
}

static int busy(struct umount *what, struct weir_error *err)
{
	what->user_count = mounting_users(what->dir, what->users, USERS_MAX);
	return report_set(err, WEIR_CONFLICT, what->dir, "%s: is in use by %s", what->dir,
			  what->user_count ? "these processes" : "processes that you may not see");
}

static int ask(struct umount *what, struct weir_error *err)
{
	char *answer = mounting_ask(what->daemon.socket, "unmount");
	int ret = 0;

	if (!answer)
		ret = report_set(err, WEIR_TIMEOUT, what->dir,
				 "%s: its daemon (process %d) does not answer", what->dir,
				 (int)what->daemon.pid);
	else if (strcmp(answer, "busy\n") == 0)
		ret = busy(what, err);
	else if (strcmp(answer, "done\n") != 0)
		ret = report_set(err, WEIR_IO, what->dir, "%s: cannot unmount: %s", what->dir,
				 strerror((int)strtol(answer + strcspn(answer, " "), NULL, 10)));
	else if (!wait_for_end(what->daemon.pid, END_MS))
		ret = report_set(err, WEIR_TIMEOUT, what->dir,
				 "%s: unmounted, but its daemon (process %d) does not end",
				 what->dir, (int)what->daemon.pid);
	free(answer);
	return ret;
}

static int force(struct umount *what, struct weir_error *err)
{
	if (what->daemon.pid) {
		char *answer = mounting_ask(what->daemon.socket, "force");
		bool ended = answer && wait_for_end(what->daemon.pid, FORCE_END_MS);

		free(answer);
		if (!ended) {
			abort_connection(what);
			kill(what->daemon.pid, SIGKILL);
			wait_for_end(what->daemon.pid, KILL_END_MS);
		}
	} else {
		abort_connection(what);
	}
	if (stands(what) && !detach(what, true))
		return report_set(err, WEIR_DENIED, what->dir, "%s: cannot be taken away: %s",
				  what->dir, strerror(errno));
	return 0;
}

static int end_mount(struct umount *what, const char *dir, bool forced, struct weir_error *err)
{
	int ret = mounting_resolve(dir, what->dir, err);

	if (ret)
		return ret;
	if (!mounting_find(what->dir, &what->connection))
		return report_set(err, WEIR_NOTFOUND, what->dir, "%s: is no mount of weir",
				  what->dir);
	if (mounting_is_anothers(what->dir))
		return report_set(err, WEIR_DENIED, what->dir, "%s: is another user's mount",
				  what->dir);
	mounting_each(note_daemon, what);
	if (forced)
		return force(what, err);
	if (what->daemon.pid)
		return ask(what, err);
	/* Its daemon has died. */
	return detach(what, false) ? 0 : busy(what, err);
}

static void print_users(const struct umount *what)
{
	for (size_t n = 0; n < what->user_count && n < USERS_MAX; n++) {
		fprintf(stderr, "      process %d (", (int)what->users[n].pid);
		out_safe(stderr, what->users[n].name, strlen(what->users[n].name));
		fprintf(stderr, ") %s\n", what->users[n].how);
	}
	if (what->user_count > USERS_MAX)
		fprintf(stderr, "      and %zu more\n", what->user_count - USERS_MAX);
	fputs("      `weir umount --force` ends it all the same\n", stderr);
}

static void print_json(const struct umount *what, const struct weir_error *err)
{
	struct json json;

	json_open(&json, stdout);
	json_object(&json, NULL);
	json_text(&json, "dir", what->dir);
	json_bool(&json, "unmounted", !err);
	if (err)
		report_json(&json, err);
	json_array(&json, "users");
	for (size_t n = 0; n < what->user_count && n < USERS_MAX; n++) {
		json_object(&json, NULL);
		json_int(&json, "pid", what->users[n].pid);
		json_text(&json, "name", what->users[n].name);
		json_text(&json, "how", what->users[n].how);
		json_end(&json);
	}
	json_end(&json);
	json_end(&json);
	json_close(&json);
}

static int run(const struct command *command)
{
	const struct umount_options *mine = command->options;
	struct weir_error err = WEIR_ERROR_INIT;
	struct umount *what = calloc(1, sizeof(*what));
	int ret;

	if (!what)
		return STATUS_NO;
	ret = end_mount(what, command->arguments.items[0], mine->force, &err);
	if (ret) {
		fputs("weir: umount: ", stderr);
		out_safe(stderr, err.message, strlen(err.message));
		fputs("\n", stderr);
	}
	if (ret == WEIR_CONFLICT)
		print_users(what);
	else if (ret == WEIR_TIMEOUT)
		fputs("      `weir umount --force` does not wait for it\n", stderr);
	if (mine->common.json)
		print_json(what, ret ? &err : NULL);
	free(what);
	return ret ? STATUS_NO : STATUS_YES;
}

static const struct field fields[] = {
	{"dir", "The mount point."},
	{"unmounted", "Whether it has gone."},
	{"users", "Where it is in use: a list of `pid`, `name` and `how`."},
	{NULL, NULL},
};

const struct verb verb_umount = {
	.name = "umount",
	.arguments = "DIR",
	.summary = "ends a mount",
	.story =
		"Ends the mount at DIR and its daemon, and returns when both are gone. A mount that is in "
		"use stays: its users are named, and the exit status is 1.\n\n"
		"With `--force` it ends all the same, within thirty seconds: who reads gets an error, "
		"rings go, and a daemon that does not answer is killed. A mount whose daemon has died "
		"is taken away either way.",
	.sets = sets,
	.options_size = sizeof(struct umount_options),
	.json = fields,
	.arguments_min = 1,
	.arguments_max = 1,
	.examples = {{"weir umount /mnt/models", "ends it when nobody uses it"},
		     {"weir umount --force /mnt/models", "ends it"}},
	.run = run,
};
