/* SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
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

/*
 * What a terminal acts on, or shows nothing of: C0, DEL and C1; marks of direction, embeddings, overrides
 * and isolates, which show a name as another; joiners, separators and tags.
 */
static bool is_control(uint32_t character)
{
	static const struct {
		uint32_t first, last;
	} spans[] = {
		{0x0000, 0x001f}, {0x007f, 0x009f}, {0x00ad, 0x00ad},   {0x061c, 0x061c},
		{0x180e, 0x180e}, {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},
		{0xfeff, 0xfeff}, {0xfff9, 0xfffb}, {0xe0000, 0xe007f},
	};

	for (size_t n = 0; n < sizeof(spans) / sizeof(spans[0]); n++)
		if (character >= spans[n].first && character <= spans[n].last)
			return true;
	return false;
}

/* The character that begins here and how many bytes it has; a byte that begins none is its own. */
static size_t decode(const unsigned char *at, size_t left, uint32_t *out)
{
	size_t len = at[0] < 0xc2 ? 1 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 1;

	*out = at[0];
	if (len == 1 || len > left)
		return 1;
	*out = at[0] & (0x7fu >> len);
	for (size_t n = 1; n < len; n++) {
		if ((at[n] & 0xc0) != 0x80) {
			*out = at[0];
			return 1;
		}
		*out = *out << 6 | (at[n] & 0x3fu);
	}
	return len;
}

void out_safe(FILE *to, const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text;

	for (size_t n = 0, step; n < len; n += step) {
		uint32_t character;

		step = decode(at + n, len - n, &character);
		if (!is_control(character)) {
			fwrite(at + n, 1, step, to);
			continue;
		}
		for (size_t i = 0; i < step; i++)
			fprintf(to, "\\x%02x", at[n + i]);
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
