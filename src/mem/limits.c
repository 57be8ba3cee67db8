/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left is read afresh each time, from the files that the kernel keeps for it: /proc/meminfo
 * for the machine, and for control groups (both versions) each group from ours up to the root, since
 * the tightest counts.  What a group could give up at once (inactive file pages) counts as left.
 */
#include "mem/limits.h"

#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/size.h"

#define UNKNOWN UINT64_MAX

/* Version 1 says "no limit" with the largest multiple of a page that a signed long holds. */
#define NO_LIMIT ((uint64_t)1 << 60)

/* The longest of the files that we read whole; mountinfo of a host full of containers. */
#define TEXT_MAX ((size_t)256 << 10)

/* One part in that many is never handed out: tables, rings and stacks need some as well. */
#define RESERVE_PART 64

/* ---- Small files ---- */

/* The text of a small file, allocated, ended with NUL; NULL where there is none. */
static char *read_text(const struct sys *sys, const char *path)
{
	int fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	size_t room = 4096, len = 0;
	char *text = NULL;
	ssize_t got = -1;

	if (fd < 0)
		return NULL;
	while (len + 1 < TEXT_MAX) {
		char *more = len + 1 < room && text ? text : realloc(text, room *= 2);

		got = more ? sys->pread(fd, more + len, room - len - 1, (off_t)len) : -1;
		if (!more)
			break;
		text = more;
		if (got <= 0)
			break;
		len += (size_t)got;
	}
	sys->close(fd);
	if (got < 0) {
		free(text);
		return NULL;
	}
	text[len] = '\0';
	return text;
}

/* The number behind a name that begins a line; UNKNOWN where there is none, or "max". */
static uint64_t number_after(const char *text, const char *name)
{
	size_t len = strlen(name);

	for (const char *line = text; line; line = strchr(line, '\n')) {
		char *end;
		unsigned long long value;

		line += *line == '\n';
		if (strncmp(line, name, len) != 0)
			continue;
		value = strtoull(line + len, &end, 10);
		return end == line + len ? UNKNOWN : (uint64_t)value;
	}
	return UNKNOWN;
}

static uint64_t read_number(const struct sys *sys, const char *dir, const char *file,
			    const char *name)
{
	char path[PATH_MAX];
	uint64_t value = UNKNOWN;
	char *text;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return UNKNOWN;
	text = read_text(sys, path);
	if (text)
		value = number_after(text, name);
	free(text);
	return value;
}

/* ---- The machine and the process ---- */

static uint64_t machine_left(const struct sys *sys)
{
	char *text = read_text(sys, "/proc/meminfo");
	uint64_t bytes = UNKNOWN, kib = UNKNOWN;

	if (text)
		kib = number_after(text, "MemAvailable:");
	free(text);
	return kib != UNKNOWN && size_mul(kib, 1024, &bytes) ? bytes : UNKNOWN;
}

static uint64_t process_left(const struct sys *sys)
{
	struct rlimit limit;
	uint64_t kib, used = 0;
	char *text;

	if (getrlimit(RLIMIT_AS, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UNKNOWN;
	text = read_text(sys, "/proc/self/status");
	kib = text ? number_after(text, "VmSize:") : UNKNOWN;
	free(text);
	if (kib == UNKNOWN || !size_mul(kib, 1024, &used))
		used = 0;
	return limit.rlim_cur > used ? limit.rlim_cur - used : 0;
}

/* ---- Control groups ---- */

struct group_files {
	const char *limit, *soft, *used, *given_up;
};

static const struct group_files files_v1 = {
	.limit = "memory.limit_in_bytes",
	.used = "memory.usage_in_bytes",
	.given_up = "total_inactive_file ",
};
static const struct group_files files_v2 = {
	.limit = "memory.max",
	.soft = "memory.high",
	.used = "memory.current",
	.given_up = "inactive_file ",
};

static uint64_t group_left(const struct sys *sys, const char *dir, const struct group_files *files)
{
	uint64_t limit = read_number(sys, dir, files->limit, "");
	uint64_t used, given_up;

	if (files->soft)
		limit = min_of(limit, read_number(sys, dir, files->soft, ""));
	if (limit >= NO_LIMIT)
		return UNKNOWN;
	used = read_number(sys, dir, files->used, "");
	if (used == UNKNOWN)
		return limit;
	given_up = read_number(sys, dir, "memory.stat", files->given_up);
	if (given_up != UNKNOWN)
		used -= min_of(used, given_up);
	return limit > used ? limit - used : 0;
}

/* From dir up to the mount point, whose first `top` bytes dir begins with. */
static uint64_t path_left(const struct sys *sys, char *dir, size_t top,
			  const struct group_files *files)
{
	uint64_t left = UNKNOWN;

	for (;;) {
		char *slash;

		left = min_of(left, group_left(sys, dir, files));
		slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < top || strlen(dir) <= top)
			return left;
		*slash = '\0';
	}
}

/* Is `word` one of the comma-separated words in [list, end)? */
static bool has_word(const char *list, const char *end, const char *word)
{
	size_t len = strlen(word);

	while (list < end) {
		const char *comma = memchr(list, ',', (size_t)(end - list));
		const char *stop = comma ? comma : end;

		if ((size_t)(stop - list) == len && memcmp(list, word, len) == 0)
			return true;
		list = stop + 1;
	}
	return false;
}

/*
 * Our group in the hierarchy of the memory controller, from lines "4:memory:/a/b" (version 1) or
 * "0::/a/b" (version 2); NULL where there is none.  Not ended: a line feed stands behind it.
 */
static const char *group_path(const char *text, bool v2)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		const char *names, *path;

		line += *line == '\n';
		names = strchr(line, ':');
		path = names ? strchr(names + 1, ':') : NULL;
		if (!path)
			return NULL;
		if (v2 ? path == names + 1 : has_word(names + 1, path, "memory"))
			return path + 1;
	}
	return NULL;
}

struct mount {
	char root[PATH_MAX], at[PATH_MAX];
};

/* A line of mountinfo: "31 23 0:28 ROOT AT options ... - TYPE device OPTIONS". */
static bool parse_mount(const char *line, bool v2, struct mount *out)
{
	const char *end = strchrnul(line, '\n');
	const char *dash = memmem(line, (size_t)(end - line), " - ", 3);
	char type[16], options[256];

	_Static_assert(PATH_MAX == 4096, "the widths below");
	if (!dash || sscanf(line, "%*s %*s %*s %4095s %4095s", out->root, out->at) != 2)
		return false;
	if (sscanf(dash + 3, "%15s %*s %255s", type, options) < 1)
		return false;
	if (v2)
		return strcmp(type, "cgroup2") == 0;
	return strcmp(type, "cgroup") == 0 &&
	       has_word(options, options + strlen(options), "memory");
}

static bool find_mount(const char *text, bool v2, struct mount *out)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		line += *line == '\n';
		if (parse_mount(line, v2, out))
			return true;
	}
	return false;
}

/* Where our group stands in the file system: what the mount shows as its root is cut off its path. */
static bool group_dir(const struct mount *mount, const char *path, char *out, size_t room)
{
	size_t len = strcspn(path, "\n"), root = strlen(mount->root);

	if (root == 1)
		root = 0; /* "/" */
	if (len < root || strncmp(path, mount->root, root) != 0)
		len = root = 0; /* a group that this mount does not show: its top is all we see */
	while (len > root && path[len - 1] == '/')
		len--;
	return snprintf(out, room, "%s%.*s", mount->at, (int)(len - root), path + root) < (int)room;
}

static uint64_t hierarchy_left(const struct sys *sys, const char *groups, const char *mounts,
			       bool v2)
{
	const char *path = group_path(groups, v2);
	struct mount *mount = malloc(sizeof(*mount));
	uint64_t left = UNKNOWN;
	char dir[2 * PATH_MAX];

	if (path && mount && find_mount(mounts, v2, mount) &&
	    group_dir(mount, path, dir, sizeof(dir)))
		left = path_left(sys, dir, strlen(mount->at), v2 ? &files_v2 : &files_v1);
	free(mount);
	return left;
}

static uint64_t cgroup_left(const struct sys *sys)
{
	char *groups = read_text(sys, "/proc/self/cgroup");
	char *mounts = groups ? read_text(sys, "/proc/self/mountinfo") : NULL;
	uint64_t left = UNKNOWN;

	if (mounts)
		left = min_of(hierarchy_left(sys, groups, mounts, false),
			      hierarchy_left(sys, groups, mounts, true));
	free(mounts);
	free(groups);
	return left;
}

/* ---- The answer ---- */

void memory_left(const struct sys *sys, struct memory_left *out)
{
	out->machine_bytes = machine_left(sys);
	out->cgroup_bytes = cgroup_left(sys);
	out->process_bytes = process_left(sys);
}

int memory_check(const struct sys *sys, uint64_t bytes, const char *what, struct weir_error *err)
{
	struct memory_left left;
	const char *who = "this machine has";
	uint64_t least;

	memory_left(sys, &left);
	least = left.machine_bytes;
	if (left.cgroup_bytes < least) {
		least = left.cgroup_bytes;
		who = "the control group of this process has";
	}
	if (left.process_bytes < least) {
		least = left.process_bytes;
		who = "the address-space limit of this process (ulimit -v) leaves";
	}
	if (least == UNKNOWN || bytes <= least - least / RESERVE_PART)
		return 0;
	return error_set(err, WEIR_NOMEM, NULL,
			 "%s: %llu MiB are needed, but %s %llu MiB left; load a smaller part, or "
			 "stream it within a budget (--budget)",
			 what, (unsigned long long)((bytes + MIB - 1) / MIB), who,
			 (unsigned long long)(least / MIB));
}
