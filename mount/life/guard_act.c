/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guard can do: abort a connection, unmount, kill.
 *
 * Aborting goes by fusectl, which root mounts where it is absent; else a forced unmount does it, for
 * those who may; else the daemon is killed, which ends the connection as well.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount/life/guard.h"

#define CONNECTIONS "/sys/fs/fuse/connections"
#define FUSECTL     0x65735543
#define HELPER_MS   5000

static bool have_fusectl(void)
{
	struct statfs stat;

	if (statfs(CONNECTIONS, &stat) < 0)
		return false;
	if ((unsigned long)stat.f_type == FUSECTL)
		return true;
	return mount("fusectl", CONNECTIONS, "fusectl", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) ==
	       0;
}

static int open_file(const struct watch *watch, const char *name, int flags)
{
	char path[96];

	snprintf(path, sizeof(path), CONNECTIONS "/%u/%s", watch->anchor.connection, name);
	return open(path, flags | O_CLOEXEC);
}

void watch_open(struct watch *watch)
{
	if (!watch->anchor.known || !have_fusectl())
		return;
	watch->abort_fd = open_file(watch, "abort", O_WRONLY);
}

/* Where nobody can tell, somebody does.  The file is for one read, from its start. */
bool watch_waits(const struct watch *watch)
{
	int fd = watch->abort_fd < 0 ? -1 : open_file(watch, "waiting", O_RDONLY);
	char first = '1';

	if (fd < 0)
		return true;
	if (read(fd, &first, 1) != 1)
		first = '1';
	close(fd);
	return first != '0';
}

void watch_abort(struct watch *watch)
{
	if (watch->aborted)
		return;
	watch->aborted = true;
	if (watch->abort_fd >= 0 && write(watch->abort_fd, "1", 1) == 1)
		return;
	if (watch->anchor.dir[0] && umount2(watch->anchor.dir, MNT_FORCE | UMOUNT_NOFOLLOW) == 0)
		return;
	watch_kill(watch);
}

void watch_kill(const struct watch *watch)
{
	syscall(SYS_pidfd_send_signal, watch->daemon, SIGKILL, NULL, 0);
}

/* Not the next daemon's, which may have come while we noticed the end of ours? */
static bool is_still_ours(const struct anchor *before)
{
	struct anchor now = {.known = false};

	if (!before->dir[0] || !anchor_is_ours(before->dir))
		return false;
	snprintf(now.dir, sizeof(now.dir), "%s", before->dir);
	anchor_find(&now);
	return !before->known || (now.known && now.connection == before->connection);
}

int watch_unmount(const struct watch *watch, bool lazy)
{
	if (!is_still_ours(&watch->anchor))
		return EINVAL;
	return anchor_unmount(watch->anchor.dir, lazy);
}

/* Runs it with nothing of ours, and not for long. */
static int run_helper(const char *path, char *const *argv)
{
	char search[] = "PATH=/usr/bin:/bin";
	char *const environment[] = {search, NULL};
	struct pollfd end = {.fd = -1, .events = POLLIN};
	int status = -1;
	pid_t pid = fork();

	if (pid < 0)
		return errno;
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		dup2(null, 0);
		dup2(null, 1);
		dup2(null, 2);
		execve(path, argv, environment);
		_exit(127);
	}
	end.fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (poll(&end, 1, HELPER_MS) <= 0)
		kill(pid, SIGKILL);
	waitpid(pid, &status, WNOHANG);
	close(end.fd);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return ENOENT;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

int anchor_unmount(const char *dir, bool lazy)
{
	static const char *const helpers[] = {"/usr/bin/fusermount3", "/bin/fusermount3"};
	char name[] = "fusermount3", u[] = "-u", z[] = "-z", end[] = "--";
	char place[PATH_MAX];
	char *argv[] = {name, u, lazy ? z : end, lazy ? end : place, lazy ? place : NULL, NULL};
	int ret = ENOENT;

	if (umount2(dir, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return errno;
	snprintf(place, sizeof(place), "%s", dir);
	for (unsigned i = 0; i < 2 && ret == ENOENT; i++)
		ret = run_helper(helpers[i], argv);
	return ret;
}
