/* SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signals.h"

void out_init(void)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN};

	/* A file opened later must not become our standard output: take what is free of 0, 1, 2.
	 * Opened for reading, so that writing to a closed standard output still fails. */
	for (int fd = open("/dev/null", O_RDONLY); fd >= 0; fd = dup(fd)) {
		if (fd > 2) {
			close(fd);
			break;
		}
	}
	sigaction(SIGPIPE, &ignore, NULL);
}

static void end(int os_errno)
{
	if (os_errno == EPIPE)
		_exit(0);
	if (signals_caught()) /* which ended the wait for a reader */
		_exit(128 + signals_caught());
	fprintf(stderr, "weir: standard output: cannot write: %s\n", strerror(os_errno));
	_exit(1);
}

void out_check(void)
{
	if (ferror(stdout))
		end(errno ? errno : EIO);
}

void out_flush(void)
{
	if (fflush(stdout) != 0)
		end(errno);
	out_check();
}

void out_text(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	out_check();
}

/* C0, DEL, and the C1 codes as UTF-8 spells them: what a terminal would act on. */
static bool is_control(const unsigned char *at, size_t left)
{
	return *at < 0x20 || *at == 0x7f ||
	       (*at == 0xc2 && left > 1 && at[1] >= 0x80 && at[1] < 0xa0);
}

void out_safe(FILE *to, const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text;

	for (size_t n = 0; n < len; n++) {
		if (!is_control(at + n, len - n)) {
			putc(at[n], to);
			continue;
		}
		if (at[n] == 0xc2)
			fprintf(to, "\\x%02x", at[n++]);
		fprintf(to, "\\x%02x", at[n]);
	}
}

void out_bytes(const void *data, size_t len)
{
	const char *at = data;

	while (len && !signals_caught()) {
		ssize_t wrote = write(STDOUT_FILENO, at, len);

		if (wrote < 0 && errno == EAGAIN) {
			struct pollfd fd = {STDOUT_FILENO, POLLOUT, 0};

			poll(&fd, 1, 1000);
		} else if (wrote < 0 && errno != EINTR) {
			end(errno);
		} else if (wrote > 0) {
			at += wrote;
			len -= (size_t)wrote;
		}
	}
}
