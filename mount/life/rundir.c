/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/rundir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

static void name_path(char path[PATH_MAX])
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	uid_t uid = geteuid();

	if (uid == 0)
		snprintf(path, PATH_MAX, "/run/weir");
	else if (runtime && *runtime == '/')
		snprintf(path, PATH_MAX, "%s/weir", runtime);
	else
		snprintf(path, PATH_MAX, "/tmp/weir-%u", (unsigned)uid);
}

int rundir_open(struct rundir *dir, struct weir_error *err)
{
	struct stat stat;

	*dir = (struct rundir){.fd = -1};
	name_path(dir->path);
	if (mkdir(dir->path, 0700) < 0 && errno != EEXIST)
		return error_sys(err, errno, dir->path, "%s", dir->path);
	dir->fd = open(dir->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->fd < 0 || fstat(dir->fd, &stat) < 0) {
		int os_errno = errno;

		rundir_close(dir);
		return error_sys(err, os_errno, dir->path, "%s", dir->path);
	}
	if (stat.st_uid != geteuid() || (stat.st_mode & 077)) {
		rundir_close(dir);
		return error_set(err, WEIR_DENIED, dir->path,
				 "%s: belongs to user %u with mode %03o, not to user %u with 700",
				 dir->path, (unsigned)stat.st_uid, (unsigned)stat.st_mode & 0777,
				 (unsigned)geteuid());
	}
	return 0;
}

/* "PID.sock", "PID.pid" of a process that is gone. */
static bool is_left(const char *name)
{
	char *end;
	long pid = strtol(name, &end, 10);

	if (end == name || pid <= 0 || (strcmp(end, ".sock") != 0 && strcmp(end, ".pid") != 0))
		return false;
	return kill((pid_t)pid, 0) < 0 && errno == ESRCH;
}

static void sweep(const struct rundir *dir)
{
	int fd = openat(dir->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;

	if (!list) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((entry = readdir(list))) {
		if (is_left(entry->d_name))
			unlinkat(dir->fd, entry->d_name, 0);
	}
	closedir(list);
}

int rundir_claim(struct rundir *dir, const char *mount_point, struct weir_error *err)
{
	char text[PATH_MAX + 32];
	int len, fd;

	sweep(dir);
	snprintf(dir->socket, sizeof(dir->socket), "%d.sock", (int)getpid());
	snprintf(dir->pid_file, sizeof(dir->pid_file), "%d.pid", (int)getpid());
	/* Of a process of this number that has died, and this is another one. */
	unlinkat(dir->fd, dir->socket, 0);
	unlinkat(dir->fd, dir->pid_file, 0);
	fd = openat(dir->fd, dir->pid_file, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	len = snprintf(text, sizeof(text), "%d\n%s\n", (int)getpid(), mount_point);
	if (fd < 0 || write(fd, text, (size_t)len) != len) {
		int os_errno = errno;

		if (fd >= 0)
			close(fd);
		return error_sys(err, os_errno, dir->path, "%s/%s", dir->path, dir->pid_file);
	}
	close(fd);
	return 0;
}

void rundir_release(struct rundir *dir)
{
	if (dir->fd < 0)
		return;
	if (dir->socket[0])
		unlinkat(dir->fd, dir->socket, 0);
	if (dir->pid_file[0])
		unlinkat(dir->fd, dir->pid_file, 0);
}

void rundir_close(struct rundir *dir)
{
	if (dir->fd >= 0)
		close(dir->fd);
	dir->fd = -1;
}
