/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir status: the mounts that run, and what goes on in them.  Daemons answer in lines of words
 * (mount/life/report.h); this file makes JSON or a table of them.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "mounting.h"
#include "out.h"
#include "report.h"
#include "values.h"
#include "verbs.h"

struct status_options {
	struct common common;
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct status_options, common)},
	{0},
};

/* A line of the answer. */
struct line {
	char *words[MOUNTING_WORDS];
	size_t count;
};

/* One daemon's answer, taken apart. */
struct mount {
	char *text;
	struct line *lines;
	size_t count;
};

struct show {
	bool json, detail, titled;
	const char *dir; /* the only one wanted; NULL: all */
	size_t told, silent;
};

static bool add_line(struct mount *mount, const struct line *line)
{
	/* Grows by doubling: full where the count is a power of two. */
	if ((mount->count & (mount->count - 1)) == 0) {
		size_t room = mount->count ? mount->count * 2 : 1;
		struct line *lines = reallocarray(mount->lines, room, sizeof(*lines));

		if (!lines)
			return false;
		mount->lines = lines;
	}
	mount->lines[mount->count++] = *line;
	return true;
}

/* False: it is no whole answer of a daemon. */
static bool take_apart(struct mount *mount)
{
	char *rest = mount->text;
	struct line line;

	while (rest && (line.count = mounting_line(&rest, line.words))) {
		if (strcmp(line.words[0], "end") == 0)
			return mount->count && strcmp(mount->lines[0].words[0], "weir-mount") == 0;
		if (!add_line(mount, &line))
			return false;
	}
	return false;
}

static const char *word(const struct line *line, size_t n)
{
	return n < line->count ? line->words[n] : "";
}

static uint64_t number(const struct line *line, size_t n)
{
	return strtoull(word(line, n), NULL, 10);
}

static const char *text_of(const struct mount *mount, const char *key)
{
	for (size_t n = 0; n < mount->count; n++) {
		if (strcmp(mount->lines[n].words[0], key) == 0)
			return word(&mount->lines[n], 1);
	}
	return "";
}

static uint64_t number_of(const struct mount *mount, const char *key)
{
	return strtoull(text_of(mount, key), NULL, 10);
}

static uint64_t counter_of(const struct mount *mount, const char *name)
{
	for (size_t n = 0; n < mount->count; n++) {
		if (strcmp(mount->lines[n].words[0], "counter") == 0 &&
		    strcmp(word(&mount->lines[n], 1), name) == 0)
			return number(&mount->lines[n], 2);
	}
	return 0;
}

/* How many lines have this key: rings, iovs. */
static uint64_t count_of(const struct mount *mount, const char *key)
{
	uint64_t count = 0;

	for (size_t n = 0; n < mount->count; n++)
		count += strcmp(mount->lines[n].words[0], key) == 0;
	return count;
}

/* ---- JSON ---- */

/* ring KEY UID PID BYTES HOW PRIORITY DEPTH ENTRIES TIMEOUT_MS IN_FLIGHT REQUESTS BYTES ERRORS STATE */
static void json_ring(struct json *json, const struct line *line)
{
	json_text(json, "key", word(line, 1));
	json_uint(json, "uid", number(line, 2));
	json_uint(json, "pid", number(line, 3));
	json_uint(json, "size_bytes", number(line, 4));
	json_text(json, "for", word(line, 5));
	json_int(json, "priority", strtoll(word(line, 6), NULL, 10));
	json_int(json, "depth", strtoll(word(line, 7), NULL, 10));
	json_uint(json, "entries", number(line, 8));
	json_uint(json, "timeout_ms", number(line, 9));
	json_uint(json, "in_flight", number(line, 10));
	json_uint(json, "requests", number(line, 11));
	json_uint(json, "bytes", number(line, 12));
	json_uint(json, "errors", number(line, 13));
	json_text(json, "state", word(line, 14));
}

/* iov KEY UID PID BYTES BLOCK_BYTES */
static void json_iov(struct json *json, const struct line *line)
{
	json_text(json, "key", word(line, 1));
	json_uint(json, "uid", number(line, 2));
	json_uint(json, "pid", number(line, 3));
	json_uint(json, "size_bytes", number(line, 4));
	json_uint(json, "block_bytes", number(line, 5));
}

static void json_each(struct json *json, const char *name, const struct mount *mount,
		      const char *key, void (*print)(struct json *json, const struct line *line))
{
	json_array(json, name);
	for (size_t n = 0; n < mount->count; n++) {
		if (strcmp(mount->lines[n].words[0], key) != 0)
			continue;
		json_object(json, NULL);
		print(json, &mount->lines[n]);
		json_end(json);
	}
	json_end(json);
}

static void json_counters(struct json *json, const struct mount *mount)
{
	json_object(json, "counters");
	for (size_t n = 0; n < mount->count; n++) {
		const struct line *line = &mount->lines[n];

		if (strcmp(line->words[0], "counter") == 0)
			json_uint(json, word(line, 1), number(line, 2));
	}
	json_end(json);
}

static void print_json(const struct mount *mount)
{
	struct json json;

	json_open(&json, stdout);
	json_object(&json, NULL);
	json_text(&json, "dir", text_of(mount, "dir"));
	json_text(&json, "source", text_of(mount, "source"));
	json_uint(&json, "pid", number_of(mount, "pid"));
	json_real(&json, "uptime_seconds", (double)number_of(mount, "uptime_ns") / 1e9);
	json_text(&json, "state", text_of(mount, "state"));
	json_text(&json, "profile", text_of(mount, "profile"));
	json_text(&json, "access", text_of(mount, "access"));
	json_text(&json, "ring_batch", text_of(mount, "ring_batch"));
	json_text(&json, "registration", text_of(mount, "registration"));
	json_real(&json, "watchdog_seconds", (double)number_of(mount, "watchdog_ns") / 1e9);
	json_uint(&json, "open_files", number_of(mount, "open_files"));
	json_uint(&json, "rings", count_of(mount, "ring"));
	json_uint(&json, "iovs", count_of(mount, "iov"));
	json_counters(&json, mount);
	json_each(&json, "ring_list", mount, "ring", json_ring);
	json_each(&json, "iov_list", mount, "iov", json_iov);
	json_end(&json);
	json_close(&json);
	out_check();
}

/* ---- For people ---- */

static void print_line(struct show *show, const struct mount *mount)
{
	char up[VALUE_MAX], bytes[VALUE_MAX];

	if (!show->titled)
		out_text("%8s %10s %6s %6s %6s %12s %12s  %s\n", "process", "up", "files", "rings",
			 "iovs", "ring I/O", "bytes", "mount");
	show->titled = true;
	out_text("%8s %10s %6" PRIu64 " %6" PRIu64 " %6" PRIu64 " %12" PRIu64 " %12s  ",
		 text_of(mount, "pid"),
		 value_print_seconds(up, (double)number_of(mount, "uptime_ns") / 1e9),
		 number_of(mount, "open_files"), count_of(mount, "ring"), count_of(mount, "iov"),
		 counter_of(mount, "ring_requests"),
		 value_print_size(bytes, counter_of(mount, "ring_bytes")));
	out_safe(stdout, text_of(mount, "dir"), strlen(text_of(mount, "dir")));
	out_text(" of ");
	out_safe(stdout, text_of(mount, "source"), strlen(text_of(mount, "source")));
	out_text(" (%s)\n", text_of(mount, "access"));
}

/* All of one mount: its counters, its rings and buffers. */
static void print_detail(const struct mount *mount)
{
	for (size_t n = 0; n < mount->count; n++) {
		const struct line *line = &mount->lines[n];
		char size[VALUE_MAX];

		if (strcmp(line->words[0], "counter") == 0) {
			out_text("  %-28s %12s\n", word(line, 1), word(line, 2));
		} else if (strcmp(line->words[0], "ring") == 0) {
			out_text(
				"  ring  process %s, user %s: %s, depth %s, %s of %s entries under "
				"way, %s done, %s errors, %s\n",
				word(line, 3), word(line, 2), word(line, 5), word(line, 7),
				word(line, 10), word(line, 8), word(line, 11), word(line, 13),
				word(line, 14));
		} else if (strcmp(line->words[0], "iov") == 0) {
			out_text("  iov   process %s, user %s: %s\n", word(line, 3), word(line, 2),
				 value_print_size(size, number(line, 4)));
		}
	}
	if (strcmp(text_of(mount, "registration"), "impossible") == 0)
		out_text("  no rings can be registered: the mount itself is read-only\n");
}

static void tell(struct show *show, struct mount *mount)
{
	show->told++;
	if (show->json) {
		print_json(mount);
		return;
	}
	print_line(show, mount);
	if (show->detail)
		print_detail(mount);
}

static void look(void *arg, const struct mounting_daemon *daemon)
{
	struct show *show = arg;
	struct mount mount = {0};

	if (show->dir && strcmp(show->dir, daemon->dir) != 0)
		return;
	mount.text = mounting_ask(daemon->socket, "status");
	if (mount.text && take_apart(&mount)) {
		tell(show, &mount);
	} else {
		show->silent++;
		report_warning("%s: its daemon (process %d) does not answer", daemon->dir,
			       (int)daemon->pid);
	}
	free(mount.lines);
	free(mount.text);
}

static int run(const struct command *command)
{
	const struct status_options *mine = command->options;
	struct show show = {.json = mine->common.json};
	struct weir_error err = WEIR_ERROR_INIT;
	char dir[PATH_MAX];
	int ret = 0;

	if (command->arguments.count) {
		ret = mounting_resolve(command->arguments.items[0], dir, &err);
		show.dir = dir;
		show.detail = true;
	}
	if (!ret)
		mounting_each(look, &show);
	if (!ret && !show.told && !show.silent && show.dir)
		ret = report_set(&err, WEIR_NOTFOUND, dir, "%s: no daemon of weir serves it", dir);
	if (ret)
		report_failure(&err, mine->common.json);
	else if (!show.told && !show.silent && !show.json)
		out_text("no mounts\n");
	return ret || show.silent ? STATUS_NO : STATUS_YES;
}

static const struct field fields[] = {
	{"dir", "The mount point."},
	{"source", "What is mounted there."},
	{"pid", "The daemon."},
	{"uptime_seconds", "For how long it has run."},
	{"state", "`serving`, or `stopping`."},
	{"profile", "`system` (mounted by root) or `user`."},
	{"access", "`read-only` or `read-write`."},
	{"ring_batch", "`relaxed` or `strict`."},
	{"registration",
	 "`possible`; `impossible` where the mount itself is read-only, so that no client can register."},
	{"watchdog_seconds", "Its limit; 0: none."},
	{"open_files", "Files that are open through the mount."},
	{"rings", "How many are registered."},
	{"iovs", "How many buffers are registered."},
	{"counters", "Name and value of each."},
	{"ring_list",
	 "A list of `key`, `uid`, `pid`, `size_bytes`, `for`, `priority`, `depth`, `entries`, "
	 "`timeout_ms`, `in_flight`, `requests`, `bytes`, `errors`, `state`."},
	{"iov_list", "A list of `key`, `uid`, `pid`, `size_bytes`, `block_bytes`."},
	{NULL, NULL},
};

const struct verb verb_status = {
	.name = "status",
	.arguments = "[DIR]",
	.summary = "the mounts that run, and what goes on in them",
	.story =
		"Asks the daemons of this user's mounts (root: of root's), a line for each; with DIR, "
		"the counters, rings and buffers of that one, too.\n\n"
		"The exit status is 1 where a daemon does not answer, or DIR is not mounted.",
	.sets = sets,
	.options_size = sizeof(struct status_options),
	.json = fields,
	.each = true,
	.arguments_max = 1,
	.examples = {{"weir status", "all of them"},
		     {"weir status --json /mnt/models", "one, for a program to read"}},
	.run = run,
};
