/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define BACKLOG 8

int control_open(const struct rundir *dir, struct weir_error *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t mask;
	int ret;

	/* By descriptor: the directory's own path may be longer than an address. */
	snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir->fd,
		 dir->socket);
	mask = umask(0177);
	ret = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&address, sizeof(address));
	umask(mask);
	if (ret < 0 || listen(fd, BACKLOG) < 0) {
		int os_errno = errno;

		if (fd >= 0)
			close(fd);
		return error_sys(err, os_errno, dir->path, "%s/%s", dir->path, dir->socket);
	}
	return fd;
}

static bool may_ask(int client)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

static enum control_word word_of(const char *line)
{
	static const char *const words[] = {
		[CONTROL_STATUS] = "status\n",
		[CONTROL_UNMOUNT] = "unmount\n",
		[CONTROL_STOP] = "stop\n",
		[CONTROL_FORCE] = "force\n",
	};

	for (int i = CONTROL_STATUS; i <= CONTROL_FORCE; i++) {
		if (strcmp(line, words[i]) == 0)
			return (enum control_word)i;
	}
	return CONTROL_NONE;
}

enum control_word control_accept(int listener, int *client)
{
	const struct timeval patience = {.tv_usec = 500000};
	enum control_word word = CONTROL_NONE;
	char line[32];
	ssize_t got;

	*client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (*client < 0)
		return CONTROL_NONE;
	setsockopt(*client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(*client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	got = may_ask(*client) ? recv(*client, line, sizeof(line) - 1, 0) : -1;
	if (got > 0) {
		line[got] = '\0';
		word = word_of(line);
	}
	if (word == CONTROL_NONE) {
		close(*client);
		*client = -1;
	}
	return word;
}

void control_answer(int client, const char *text, size_t len)
{
	while (len) {
		ssize_t sent = send(client, text, len, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0)
			break;
		text += sent;
		len -= (size_t)sent;
	}
	close(client);
}
