/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir mount: checks the command line against its table and becomes weir-mount, the program that knows
 * FUSE.  That program stands in libexecdir, or beside this one in a build tree; never on the PATH.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "handing.h"
#include "mounting.h"
#include "out.h"
#include "report.h"
#include "verbs.h"
#include "weir/weir.h"

struct mount_options {
	struct common common;
	bool read_write, read_only, direct_io, allow_other, nonempty, foreground;
	int ring_batch, ring_gather, passthrough;
	const char *ring_spin, *watchdog, *shutdown_timeout, *budget, *threads, *ready_file, *log;
};

static const struct option options[] = {
	{.name = "read-write",
	 .kind = OPTION_FLAG,
	 .help = "files can be written, too",
	 .at = offsetof(struct mount_options, read_write)},
	{.name = "read-only",
	 .kind = OPTION_FLAG,
	 .help = "the opposite, and what holds anyway: rings can be registered all the same",
	 .at = offsetof(struct mount_options, read_only)},
	{.name = "ring-batch",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "relaxed|strict",
	 .initial = "relaxed: it goes out",
	 .help = "what becomes of a ring's partial batch whose client waits",
	 .at = offsetof(struct mount_options, ring_batch)},
	{.name = "ring-gather",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "on|off",
	 .initial = "on",
	 .help = "take ends of large requests together where many are under way, for fewer wake-ups",
	 .at = offsetof(struct mount_options, ring_gather)},
	{.name = "ring-spin",
	 .kind = OPTION_TEXT,
	 .value = "TIME",
	 .initial = "0",
	 .help = "look at rings for so long before sleeping: quicker answers for a processor that is kept "
		 "busy; at most 10ms, and not where the daemon may use one processor only",
	 .at = offsetof(struct mount_options, ring_spin)},
	{.name = "watchdog",
	 .kind = OPTION_TEXT,
	 .value = "TIME",
	 .initial = "120s; 0: never",
	 .help = "free readers when nothing has moved for so long",
	 .at = offsetof(struct mount_options, watchdog)},
	{.name = "shutdown-timeout",
	 .kind = OPTION_TEXT,
	 .value = "TIME",
	 .initial = "30s",
	 .help = "the end takes no longer",
	 .at = offsetof(struct mount_options, shutdown_timeout)},
	{.name = "budget",
	 .kind = OPTION_TEXT,
	 .value = "SIZE",
	 .initial = "16MiB",
	 .help = "memory for what passes through the daemon",
	 .at = offsetof(struct mount_options, budget)},
	{.name = "threads",
	 .kind = OPTION_TEXT,
	 .value = "N",
	 .initial = "16",
	 .help = "threads that answer the kernel",
	 .at = offsetof(struct mount_options, threads)},
	{.name = "direct-io",
	 .kind = OPTION_FLAG,
	 .help = "every read and write reaches the daemon: nothing is cached in the mount",
	 .at = offsetof(struct mount_options, direct_io)},
	{.name = "allow-other",
	 .kind = OPTION_FLAG,
	 .initial = "for root",
	 .help = "other users may use it, under the kernel's permission checks",
	 .at = offsetof(struct mount_options, allow_other)},
	{.name = "passthrough",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "auto|off",
	 .initial = "auto: where the kernel can, and for root",
	 .help = "the kernel reads and writes the files itself",
	 .at = offsetof(struct mount_options, passthrough)},
	{.name = "nonempty",
	 .kind = OPTION_FLAG,
	 .help = "mount over a directory that is not empty",
	 .at = offsetof(struct mount_options, nonempty)},
	{.name = "foreground",
	 .kind = OPTION_FLAG,
	 .help = "stay; else the command returns when the mount answers",
	 .at = offsetof(struct mount_options, foreground)},
	{.name = "ready-file",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "is made when the mount answers",
	 .at = offsetof(struct mount_options, ready_file)},
	{.name = "log",
	 .kind = OPTION_TEXT,
	 .value = "FILE",
	 .help = "what the daemon has to say is added there",
	 .at = offsetof(struct mount_options, log)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct mount_options, common)},
	{options, 0},
	{0},
};

static void become(const char *program, const struct command *command)
{
	const struct mount_options *mine = command->options;
	struct handing handing = {.count = 0};

	handing_add(&handing, program, "");
	handing_options(&handing, options, mine);
	if (mine->common.json)
		handing_add(&handing, "--json", "");
	handing_add(&handing, "--", "");
	for (size_t n = 0; n < command->arguments.count; n++)
		handing_add(&handing, command->arguments.items[n], "");
	if (mine->common.quiet && !mine->common.json) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, STDOUT_FILENO);
	}
	out_flush();
	execv(program, handing.words);
	handing_fini(&handing);
}

static int run(const struct command *command)
{
	const struct mount_options *mine = command->options;
	struct weir_error err = WEIR_ERROR_INIT;
	char program[PATH_MAX];

	if (mine->read_only && mine->read_write) {
		report_set(&err, WEIR_ARG, NULL, "mount: --read-only or --read-write, not both");
	} else if (!mounting_program(program)) {
		report_set(&err, WEIR_UNSUPPORTED, NULL,
			   "mount: %s is not there: this weir was built without mounts", program);
	} else {
		become(program, command);
		report_set(&err, WEIR_IO, NULL, "mount: %s: %s", program, strerror(errno));
	}
	report_failure(&err, mine->common.json);
	return err.code == WEIR_ARG ? STATUS_USAGE : STATUS_NO;
}

static const struct field fields[] = {
	{"dir", "The mount point."},
	{"source", "What is mounted there."},
	{"pid", "The daemon."},
	{NULL, NULL},
};

const struct verb verb_mount = {
	.name = "mount",
	.arguments = "SOURCE DIR",
	.summary = "mounts a directory, with rings for clients of 3FS",
	.story =
		"Shows the directory SOURCE (a path, or `file:///path`) at DIR, and in DIR/3fs-virt what "
		"programs need that read through the shared-memory rings of 3FS: to them DIR is a 3FS. The "
		"command returns when the mount answers; a daemon serves it until `weir umount`, "
		"umount(8) or SIGTERM.\n\n"
		"Files are read-only unless `--read-write` is given; rings and buffers can be registered "
		"either way. Mounted by root, other users may use it with their own rights; mounted by an "
		"ordinary user (through fusermount3), that user alone.\n\n"
		"Beside the daemon stands a small watchdog process: when the daemon is stopped or stuck "
		"while somebody waits, it ends the connection, and readers get an error instead of "
		"waiting for ever. A daemon that was killed leaves a mount that answers nothing; the next "
		"`weir mount` on DIR takes it away.",
	.sets = sets,
	.options_size = sizeof(struct mount_options),
	.json = fields,
	.arguments_min = 2,
	.arguments_max = 2,
	.examples = {{"weir mount /data/models /mnt/models", "a directory as a 3FS"},
		     {"weir mount --read-write --foreground --watchdog 10s file:///scratch /mnt/s",
		      "writable, in the foreground, with an impatient watchdog"}},
	.run = run,
};
