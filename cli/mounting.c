/* SPDX-License-Identifier: Apache-2.0 */
#include "mounting.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "report.h"

#define ANSWER_MAX   ((size_t)64 << 20)
#define PATIENCE_S   10
#define BUILD_FOLDER "/cli"

/* ---- Places ---- */

/* In a build tree the command is cli/weir and the other mount/weir-mount; else it is in libexecdir, which
 * goes along where a whole tree was moved. */
bool mounting_program(char path[PATH_MAX])
{
	char own[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);
	char *slash;

	own[len > 0 ? len : 0] = '\0';
	slash = strrchr(own, '/');
	if (slash) {
		*slash = '\0';
		len = (ssize_t)strlen(own);
		if (len > 4 && strcmp(own + len - 4, BUILD_FOLDER) == 0 &&
		    snprintf(path, PATH_MAX, "%.*s/mount/weir-mount", (int)len - 4, own) <
			    PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
		if (snprintf(path, PATH_MAX, "%s/%s/weir-mount", own, WEIR_LIBEXEC_FROM_BIN) <
			    PATH_MAX &&
		    access(path, X_OK) == 0)
			return true;
	}
	return snprintf(path, PATH_MAX, "%s/weir-mount", WEIR_LIBEXEC) < PATH_MAX &&
	       access(path, X_OK) == 0;
}

/* Of a path whose last name is taken as it is.  A link there leads to the mount; readlink() asks no mount. */
static bool follow_last(char path[PATH_MAX])
{
	char copy[PATH_MAX];

	if (readlink(path, copy, sizeof(copy)) < 0)
		return true;
	snprintf(copy, sizeof(copy), "%s", path);
	return realpath(copy, path) != NULL;
}

int mounting_resolve(const char *dir, char out[PATH_MAX], struct weir_error *err)
{
	char copy[PATH_MAX];
	size_t len = strlen(dir);
	char *slash;
	bool found;

	if (!len || len >= sizeof(copy))
		return report_set(err, WEIR_ARG, dir, "'%.64s' is no path", dir);
	memcpy(copy, dir, len + 1);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	slash = strrchr(copy, '/');
	/* The parent is looked at, and the last name only where it is a dot. */
	if (strcmp(slash ? slash + 1 : copy, ".") == 0 ||
	    strcmp(slash ? slash + 1 : copy, "..") == 0 || slash == copy) {
		found = realpath(slash == copy && copy[1] ? "/" : copy, out) != NULL;
		if (found && slash == copy && copy[1])
			snprintf(out, PATH_MAX, "%s", copy);
	} else if (!slash) {
		found = realpath(".", out) && strlen(out) + len + 1 < PATH_MAX;
		if (found)
			snprintf(out + strlen(out), PATH_MAX - strlen(out), "/%s", copy);
	} else {
		*slash = '\0';
		found = realpath(copy, out) && strlen(out) + strlen(slash + 1) + 1 < PATH_MAX;
		if (found)
			snprintf(out + strlen(out), PATH_MAX - strlen(out), "/%s", slash + 1);
	}
	found = found && follow_last(out);
	return found ? 0 : report_set(err, WEIR_NOTFOUND, dir, "%s: %s", dir, strerror(errno));
}

bool mounting_find(const char *dir, unsigned *connection)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char text[3 * PATH_MAX];
	struct mntent entry;
	struct statx stat;
	bool ours = false;

	if (!mounts)
		return false;
	while (getmntent_r(mounts, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_dir, dir) == 0)
			ours = strcmp(entry.mnt_type, "fuse.hf3fs") == 0 &&
			       strstr(entry.mnt_fsname, "weir");
	}
	endmntent(mounts);
	*connection = 0;
	/* Of what is cached: the daemon is not asked. */
	if (ours && statx(AT_FDCWD, dir, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &stat) == 0)
		*connection = stat.stx_dev_minor;
	return ours;
}

bool mounting_is_anothers(const char *dir)
{
	FILE *mounts = geteuid() == 0 ? NULL : setmntent("/proc/self/mounts", "re");
	char text[3 * PATH_MAX];
	struct mntent entry;
	const char *owner;
	bool anothers = false;

	while (mounts && getmntent_r(mounts, &entry, text, sizeof(text))) {
		owner = strcmp(entry.mnt_dir, dir) == 0 ? hasmntopt(&entry, "user_id") : NULL;
		if (owner)
			anothers = strtoul(owner + strlen("user_id="), NULL, 10) != geteuid();
	}
	if (mounts)
		endmntent(mounts);
	return anothers;
}

/* ---- Daemons ---- */

/* By a descriptor of its folder: a path may be longer than an address. */
static int call(const char *path)
{
	const struct timeval patience = {.tv_sec = PATIENCE_S};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int target = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d", target);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	}
	if (target < 0 || fd < 0 ||
	    connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	if (target >= 0)
		close(target);
	return fd;
}

/* Whoever listens at the socket is the process that the file beside it names; nobody does where it has died,
 * and its number may be another's by now. */
static bool listens(const char *socket, pid_t pid)
{
	struct ucred peer = {.pid = 0};
	socklen_t len = sizeof(peer);
	int fd = call(socket);
	bool same = fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
		    peer.pid == pid;

	if (fd >= 0)
		close(fd);
	return same;
}

/* PID.pid has a line with the process; the rest is the mount point, which may have lines of its own. */
static bool read_pid_file(int folder, const char *name, struct mounting_daemon *out)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	char text[PATH_MAX + 32];
	struct stat stat;
	ssize_t len = fd < 0 || fstat(fd, &stat) < 0 || !S_ISREG(stat.st_mode)
			      ? -1
			      : read(fd, text, sizeof(text) - 1);
	char *dir;

	if (fd >= 0)
		close(fd);
	if (len <= 0 || text[len - 1] != '\n')
		return false;
	text[len - 1] = '\0';
	out->pid = (pid_t)strtol(text, &dir, 10);
	out->since = stat.st_mtim;
	return out->pid > 0 && *dir == '\n' &&
	       snprintf(out->dir, sizeof(out->dir), "%s", dir + 1) < (int)sizeof(out->dir);
}

static bool read_daemon(const char *path, int folder, const char *name, struct mounting_daemon *out)
{
	size_t len = strlen(name);

	if (len < 5 || strcmp(name + len - 4, ".pid") != 0 ||
	    snprintf(out->socket, sizeof(out->socket), "%s/%.*s.sock", path, (int)len - 4, name) >=
		    (int)sizeof(out->socket))
		return false;
	return read_pid_file(folder, name, out) && listens(out->socket, out->pid);
}

/* A folder that another user made, or may write to, says nothing: who is named in it may be killed. */
static DIR *open_folder(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat stat;
	DIR *list = NULL;

	if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_uid == geteuid() && !(stat.st_mode & 077))
		list = fdopendir(fd);
	if (!list && fd >= 0)
		close(fd);
	return list;
}

static void each_in(const char *folder,
		    void (*each)(void *arg, const struct mounting_daemon *daemon), void *arg)
{
	DIR *list = open_folder(folder);
	const struct dirent *entry;
	struct mounting_daemon daemon;

	if (!list)
		return;
	while ((entry = readdir(list))) {
		if (read_daemon(folder, dirfd(list), entry->d_name, &daemon))
			each(arg, &daemon);
	}
	closedir(list);
}

void mounting_each(void (*each)(void *arg, const struct mounting_daemon *daemon), void *arg)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char folder[PATH_MAX];

	each_in("/run/weir", each, arg);
	if (runtime && *runtime == '/')
		snprintf(folder, sizeof(folder), "%s/weir", runtime);
	else
		snprintf(folder, sizeof(folder), "/tmp/weir-%u", (unsigned)geteuid());
	each_in(folder, each, arg);
}

static char *read_all(int fd)
{
	size_t len = 0, room = 4096;
	char *text = malloc(room + 1), *more;
	ssize_t got;

	while (text && (got = recv(fd, text + len, room - len, 0)) > 0) {
		len += (size_t)got;
		if (len < room)
			continue;
		room *= 2;
		more = room <= ANSWER_MAX ? realloc(text, room + 1) : NULL;
		if (!more)
			free(text);
		text = more;
	}
	if (text)
		text[len] = '\0';
	if (text && !len) {
		free(text);
		text = NULL;
	}
	return text;
}

char *mounting_ask(const char *socket, const char *word)
{
	int fd = call(socket);
	char *text = NULL;
	char line[32];
	int len = snprintf(line, sizeof(line), "%s\n", word);

	if (fd < 0)
		return NULL;
	if (send(fd, line, (size_t)len, MSG_NOSIGNAL) == len)
		text = read_all(fd);
	close(fd);
	return text;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static void unescape(char *word)
{
	char *to = word;

	for (; *word; word++) {
		int high = word[0] == '%' ? digit(word[1]) : -1;
		int low = high >= 0 ? digit(word[2]) : -1;

		*to++ = low >= 0 ? (char)(high * 16 + low) : *word;
		word += low >= 0 ? 2 : 0;
	}
	*to = '\0';
}

size_t mounting_line(char **text, char *words[MOUNTING_WORDS])
{
	char *line = strsep(text, "\n"), *word;
	size_t count = 0;

	while (line && (word = strsep(&line, " ")) && count < MOUNTING_WORDS) {
		unescape(word);
		words[count++] = word;
	}
	return count && *words[0] ? count : 0;
}
