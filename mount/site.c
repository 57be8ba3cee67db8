/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/site.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/sys.h"
#include "io/usrbio/layout.h"

#define CLAIM_NS (5 * NS_PER_SEC)

/* ---- mountinfo ---- */

/* \040 and its like, in place. */
static void decode(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] && at[3]) {
			*to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = 0;
}

/* "ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE SUPER" */
static bool parse(char *line, const char *path, struct site *out)
{
	char device[32], point[PATH_MAX], options[256], *end, *rest = strstr(line, " - ");
	struct site site = {0};

	if (!rest || sscanf(line, "%*s %*s %31s %*s %4095s %255s", device, point, options) != 3 ||
	    sscanf(rest, " - %31s %63s", site.type, site.source) != 2)
		return false;
	decode(point);
	if (strcmp(point, path) != 0)
		return false;
	site.major = (unsigned)strtoul(device, &end, 10);
	site.minor = *end == ':' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
	site.read_only = strncmp(options, "ro", 2) == 0;
	*out = site;
	return true;
}

bool site_find(const char *path, struct site *out)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0;
	bool found = false;

	if (!file)
		return false;
	while (getline(&line, &room, file) > 0)
		found |= parse(line, path, out);
	free(line);
	fclose(file);
	return found;
}

void site_read_ahead(const struct site *site, unsigned kib)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", site->major,
		 site->minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	dprintf(fd, "%u", kib);
	close(fd);
}

/* ---- Detaching ---- */

/* As an ordinary user: the set-uid helper of FUSE does it. */
static int run_fusermount(const char *path, bool lazy)
{
	const char *argv[] = {"fusermount3", "-u", "-q", lazy ? "-z" : "--", path, NULL};
	const char *env[] = {"PATH=/usr/bin:/bin", NULL};
	int status;
	pid_t pid;

	if (posix_spawn(&pid, "/usr/bin/fusermount3", NULL, NULL, (char **)argv, (char **)env))
		return EPERM;
	if (waitpid(pid, &status, 0) != pid || !WIFEXITED(status))
		return EPERM;
	return WEXITSTATUS(status) ? EBUSY : 0;
}

int site_detach(const char *path, bool lazy)
{
	int error = umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) ? errno : 0;

	return error == EPERM ? run_fusermount(path, lazy) : error;
}

/* ---- Before mounting ---- */

static int detach_dead(const char *path, struct log *log, struct weir_error *err)
{
	struct site site;
	int error;

	if (!site_find(path, &site) || strcmp(site.type, USRBIO_FS_TYPE) != 0 ||
	    strncmp(site.source, "weir.", 5) != 0)
		return error_set(err, WEIR_CONFLICT, path,
				 "%s: a dead mount that is not ours stands there; detach it with "
				 "'umount -l %s'",
				 path, path);
	error = site_detach(path, true);
	if (error)
		return error_sys(err, error, path, "%s: detaching the dead mount there", path);
	log_info(log, "%s: detached a dead mount of ours", path);
	return 0;
}

static bool is_empty(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	bool empty = true;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	while (dir && empty && (entry = readdir(dir)))
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (dir)
		closedir(dir);
	return empty;
}

/* A mount within its own source would be found by walking the source, and ask itself. */
static bool lies_within(const char *path, const char *source)
{
	char resolved[PATH_MAX];
	size_t bytes;

	if (!realpath(source, resolved))
		return false;
	bytes = strcmp(resolved, "/") == 0 ? 0 : strlen(resolved);
	return strncmp(path, resolved, bytes) == 0 && path[bytes] == '/' && path[bytes + 1];
}

static int check_place(const char *path, const char *source, bool nonempty, struct weir_error *err)
{
	struct stat stat_of;

	if (stat(path, &stat_of))
		return error_sys(err, errno, path, "%s", path);
	if (!S_ISDIR(stat_of.st_mode))
		return error_set(err, WEIR_ARG, path, "%s: is no directory to mount at", path);
	if (lies_within(path, source))
		return error_set(err, WEIR_ARG, path,
				 "%s: lies within %s, which it would show; mount it elsewhere",
				 path, source);
	if (!nonempty && !is_empty(path))
		return error_set(err, WEIR_ARG, path,
				 "%s: is not empty; what is in it would be hidden: give another "
				 "directory, or --nonempty",
				 path);
	return 0;
}

/* The path of the directory, though the mount there may be dead: of what is above, then the name. */
static char *absolute(const char *dir)
{
	char parent[PATH_MAX], resolved[PATH_MAX], *out;
	size_t bytes = strlen(dir);
	const char *name;

	while (bytes > 1 && dir[bytes - 1] == '/')
		bytes--;
	if (bytes >= sizeof(parent))
		return NULL;
	memcpy(parent, dir, bytes);
	parent[bytes] = 0;
	if (realpath(parent, resolved))
		return strdup(resolved);
	name = strrchr(parent, '/');
	if (!name)
		return realpath(".", resolved) && asprintf(&out, "%s/%s", resolved, parent) > 0
			       ? out
			       : NULL;
	parent[name - parent] = 0;
	if (!realpath(*parent ? parent : "/", resolved))
		return NULL;
	return asprintf(&out, "%s/%s", strcmp(resolved, "/") == 0 ? "" : resolved, name + 1) > 0
		       ? out
		       : NULL;
}

/* Attributes may still be cached: only opening asks for certain. */
static bool is_dead(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

/* Who cannot open or lock it mounts all the same: the kernel decides. */
static int claim_place(const char *path, int *claim, struct weir_error *err)
{
	const struct timespec pause = {.tv_nsec = 10 * NS_PER_MS};
	int64_t deadline = sys_real()->now_ns() + CLAIM_NS;

	*claim = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while (*claim >= 0 && flock(*claim, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK) {
		if (sys_real()->now_ns() > deadline)
			return error_set(
				err, WEIR_CONFLICT, path,
				"%s: locked by another process, which may be mounting there; "
				"wait for it, or end it",
				path);
		nanosleep(&pause, NULL);
	}
	return 0;
}

void site_unclaim(int *claim)
{
	if (*claim < 0)
		return;
	flock(*claim, LOCK_UN); /* children may have the descriptor, too */
	close(*claim);
	*claim = -1;
}

int site_prepare(const char *dir, const char *source, bool nonempty, struct log *log, char **path,
		 int *claim, struct weir_error *err)
{
	int ret;

	*path = NULL;
	if (strncmp(dir, "/dev/fd/", 8) == 0)
		return 0;
	*path = absolute(dir);
	if (!*path)
		return error_sys(err, errno, dir, "%s", dir);
	while (is_dead(*path)) {
		ret = detach_dead(*path, log, err);
		if (ret)
			return ret;
	}
	ret = claim_place(*path, claim, err);
	return ret ? ret : check_place(*path, source, nonempty, err);
}
