/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define EXIT_FAILED  1
#define EXIT_SKIPPED 77

bool check_same_text(const char *a, const char *b)
{
	return a && b && strcmp(a, b) == 0;
}

bool check_contains(const char *text, const char *part)
{
	return text && part && strstr(text, part);
}

/* On the stream that will name the case: a log then has both, side by side. */
void check_failed(const char *file, int line, const char *format, ...)
{
	va_list args;

	printf("    %s:%d: ", file, line);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
	fflush(NULL);
	_exit(EXIT_FAILED);
}

void skip(const char *why)
{
	fprintf(stderr, "skipped: %s\n", why);
	fflush(NULL);
	_exit(EXIT_SKIPPED);
}

/* Each case in a process of its own: a crash, a leak or a changed limit stays inside it. */
static int run_one(const struct test *test)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		test->run();
		fflush(NULL);
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return EXIT_FAILED;
	if (WIFSIGNALED(status))
		printf("    %s: killed by signal %d\n", test->name, WTERMSIG(status));
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

static bool chosen(int argc, char **argv, const char *name)
{
	for (int i = 1; i < argc; i++)
		if (strstr(name, argv[i]))
			return true;
	return argc < 2;
}

int tests_run(int argc, char **argv, const struct test *tests, size_t count)
{
	unsigned passed = 0, failed = 0, skipped = 0;

	if (argc == 2 && strcmp(argv[1], "--list") == 0) {
		for (size_t i = 0; i < count; i++)
			puts(tests[i].name);
		return 0;
	}
	for (size_t i = 0; i < count; i++) {
		int result;

		if (!chosen(argc, argv, tests[i].name))
			continue;
		result = run_one(&tests[i]);
		passed += result == 0;
		skipped += result == EXIT_SKIPPED;
		failed += result != 0 && result != EXIT_SKIPPED;
		printf("%s %s\n",
		       result == 0              ? "ok"
		       : result == EXIT_SKIPPED ? "SKIP"
						: "FAIL",
		       tests[i].name);
	}
	printf("%u passed, %u failed, %u skipped\n", passed, failed, skipped);
	return failed ? EXIT_FAILED : 0;
}
