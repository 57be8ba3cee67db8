/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/start.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

struct answer {
	bool failed;
	pid_t pid;
	struct weir_error err;
};

static void print_json_text(const char *key, const char *text)
{
	printf("\"%s\":\"", key);
	for (size_t valid = utf8_valid_prefix(text, strlen(text)); *text; text++, valid--) {
		if (!valid) {
			/* The byte is none of UTF-8, which JSON is. */
			printf("\xef\xbf\xbd");
			valid = utf8_valid_prefix(text + 1, strlen(text + 1)) + 1;
		} else if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", (unsigned)*text);
		else
			putchar(*text);
	}
	printf("\"");
}

static void print_json(const struct start *start, const struct answer *answer)
{
	printf("{");
	if (answer->failed) {
		printf("\"error\":{");
		print_json_text("class", weir_code_name(answer->err.code));
		printf(",");
		print_json_text("message", answer->err.message);
		printf("}");
	} else {
		print_json_text("dir", start->dir);
		printf(",");
		print_json_text("source", start->source);
		printf(",\"pid\":%d", (int)answer->pid);
	}
	printf("}\n");
}

/* What whoever started it reads. */
static void print(const struct start *start, const struct answer *answer)
{
	if (answer->failed)
		fprintf(stderr, "weir: mount: %s\n", answer->err.message);
	if (start->options->json)
		print_json(start, answer);
	else if (!answer->failed)
		printf("%s is mounted at %s (process %d)\n", start->source, start->dir,
		       (int)answer->pid);
	fflush(stdout);
}

/* The process that was started: all that it still does. */
static _Noreturn void wait_for_answer(const struct start *start, int from, pid_t daemon)
{
	struct answer answer = {.failed = true};
	size_t have = 0;
	ssize_t got;

	while (have < sizeof(answer)) {
		got = read(from, (char *)&answer + have, sizeof(answer) - have);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		have += (size_t)got;
	}
	if (have < sizeof(answer)) {
		answer.failed = true;
		(void)error_set(&answer.err, WEIR_IO, NULL,
				"the daemon (process %d) ended before it could say why",
				(int)daemon);
	}
	print(start, &answer);
	_exit(answer.failed ? 1 : 0);
}

int start_background(struct start *start, struct weir_error *err)
{
	int ends[2];
	pid_t pid;

	start->answer_fd = -1;
	if (start->options->foreground)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return error_sys(err, errno, NULL, "a pipe");
	fflush(NULL);
	pid = fork();
	if (pid > 0) {
		close(ends[1]);
		wait_for_answer(start, ends[0], pid);
	}
	close(ends[0]);
	if (pid < 0) {
		int os_errno = errno;

		close(ends[1]);
		return error_sys(err, os_errno, NULL, "starting the daemon");
	}
	setsid();
	start->answer_fd = ends[1];
	return 0;
}

int start_log(const struct start *start, struct weir_error *err)
{
	const char *path = start->options->log;
	int fd;

	if (!path)
		return 0;
	/* A FIFO that nobody reads is an error, and one whose reader is slow loses lines: nobody waits for a log. */
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return error_sys(err, errno, path, "%s", path);
	dup2(fd, STDERR_FILENO);
	close(fd);
	return 0;
}

int start_ready_file(const struct start *start, struct weir_error *err)
{
	const char *path = start->options->ready_file;
	int fd, ret;

	if (!path)
		return 0;
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
	if (fd < 0)
		return error_sys(err, errno, path, "%s", path);
	ret = dprintf(fd, "%d\n", (int)getpid()) < 0 ? error_sys(err, errno, path, "%s", path) : 0;
	close(fd);
	return ret;
}

static void let_go(const struct start *start)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (!start->options->log)
		dup2(null, STDERR_FILENO);
	close(null);
	/* No file system is kept busy by where we were started. */
	if (chdir("/") < 0)
		return;
}

void start_answer(struct start *start, const struct weir_error *err)
{
	struct answer answer = {.failed = err != NULL, .pid = getpid()};

	if (start->answered)
		return;
	start->answered = true;
	if (err)
		answer.err = *err;
	if (start->answer_fd < 0) {
		print(start, &answer);
		return;
	}
	let_go(start);
	/* Less than PIPE_BUF, so all or nothing; nobody may listen any more. */
	if (write(start->answer_fd, &answer, sizeof(answer)) < 0)
		return;
	close(start->answer_fd);
	start->answer_fd = -1;
}
