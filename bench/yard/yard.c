/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the yardsticks share; yard.h tells the story.
 */
#include "yard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* read_bytes of /proc/self/io: what all threads of this process caused the disk to read. */
static uint64_t disk_bytes(void)
{
	char text[512];
	int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	if (got <= 0)
		return 0;
	text[got] = '\0';
	const char *at = strstr(text, "\nread_bytes: ");
	return at ? strtoull(at + strlen("\nread_bytes: "), NULL, 10) : 0;
}

void yard_begin(struct yard_window *window)
{
	window->disk_before = disk_bytes();
	getrusage(RUSAGE_SELF, &window->before);
	clock_gettime(CLOCK_MONOTONIC, &window->start);
}

void yard_end(struct yard_window *window)
{
	clock_gettime(CLOCK_MONOTONIC, &window->stop);
	getrusage(RUSAGE_SELF, &window->after);
	window->disk_after = disk_bytes();
}

static double seconds(const struct timeval *from, const struct timeval *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_usec - from->tv_usec) * 1e-6;
}

void yard_print(FILE *out, const struct yard_window *window)
{
	const struct rusage *before = &window->before, *after = &window->after;
	const char *extra = window->extra && *window->extra ? window->extra : NULL;
	double wall = (double)(window->stop.tv_sec - window->start.tv_sec) +
		      (double)(window->stop.tv_nsec - window->start.tv_nsec) * 1e-9;
	double user = seconds(&before->ru_utime, &after->ru_utime);
	double kernel = seconds(&before->ru_stime, &after->ru_stime);

	fprintf(out,
		"{\"bytes\": %llu, \"wall_seconds\": %.9f, \"cpu_seconds\": %.6f, "
		"\"user_seconds\": %.6f, \"system_seconds\": %.6f, \"page_faults\": %ld, "
		"\"disk_bytes\": %llu, \"requests\": %llu, \"enters\": %llu, \"sum\": %llu%s%s}\n",
		(unsigned long long)window->bytes, wall, user + kernel, user, kernel,
		after->ru_minflt - before->ru_minflt + after->ru_majflt - before->ru_majflt,
		(unsigned long long)(window->disk_after - window->disk_before),
		(unsigned long long)window->requests, (unsigned long long)window->enters,
		(unsigned long long)window->sum, extra ? ", " : "", extra ? extra : "");
	fflush(out);
}

int yard_fail(const char *format, ...)
{
	int error = errno;
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
	return -1;
}

/* Fills in a length of 0; the range must lie inside the file. */
static int complete(struct yard_job *job)
{
	struct stat info;

	if (stat(job->path, &info) < 0)
		return yard_fail("%s", job->path);
	if (!S_ISREG(info.st_mode))
		return 0;
	uint64_t size = (uint64_t)info.st_size;
	errno = 0;
	if (job->offset > size || job->length > size - job->offset)
		return yard_fail("%s: range past the end", job->path);
	if (job->length == 0)
		job->length = size - job->offset;
	return 0;
}

static int run_one(struct yard_job *job, yard_run_fn *run, void *arg)
{
	struct yard_window window = {0};

	if (complete(job) < 0 || run(job, &window, arg) < 0) {
		printf("{\"error\": \"see standard error\"}\n");
		fflush(stdout);
		return -1;
	}
	yard_print(stdout, &window);
	return 0;
}

static int serve_lines(yard_run_fn *run, void *arg)
{
	char line[4352];
	int ret = 0;

	while (fgets(line, sizeof(line), stdin)) {
		unsigned long long offset, length;
		char path[4096];

		if (sscanf(line, "%llu %llu %4095[^\n]", &offset, &length, path) != 3) {
			fprintf(stderr, "not a job: %s", line);
			return 2;
		}
		struct yard_job job = {.path = path, .offset = offset, .length = length};
		if (run_one(&job, run, arg) < 0)
			ret = 1;
	}
	return ret;
}

int yard_serve(int count, char **args, yard_run_fn *run, void *arg)
{
	if (count == 0)
		return serve_lines(run, arg);
	struct yard_job job = {
		.path = args[0],
		.offset = count > 1 ? yard_size(args[1]) : 0,
		.length = count > 2 ? yard_size(args[2]) : 0,
	};
	return run_one(&job, run, arg) < 0;
}

uint64_t yard_size(const char *text)
{
	char *end = NULL;
	uint64_t size = strtoull(text, &end, 10);
	unsigned shift = 0;

	switch (*end) {
	case 'k':
		shift = 10;
		break;
	case 'm':
		shift = 20;
		break;
	case 'g':
		shift = 30;
		break;
	case '\0':
		break;
	default:
		end = NULL;
	}
	if (!end || end == text || (shift && end[1]) || size > UINT64_MAX >> shift) {
		fprintf(stderr, "not a size: %s\n", text);
		exit(2);
	}
	return size << shift;
}

enum yard_pages yard_pages(const char *text)
{
	static const char *const names[] = {"huge", "small", "fresh-huge", "fresh-small"};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (strcmp(text, names[i]) == 0)
			return (enum yard_pages)i;
	fprintf(stderr, "not a kind of memory: %s\n", text);
	exit(2);
}

static int map_pages(struct yard_dest *dest, size_t size)
{
	int huge = dest->pages == YARD_KEPT_HUGE || dest->pages == YARD_FRESH_HUGE;

	dest->raw_size = size + YARD_HUGE;
	dest->raw = mmap(NULL, dest->raw_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (dest->raw == MAP_FAILED) {
		dest->raw = NULL;
		return yard_fail("mapping %zu bytes", dest->raw_size);
	}
	size_t skip = (size_t)(-(uintptr_t)dest->raw) & (YARD_HUGE - 1);
	dest->at = (unsigned char *)dest->raw + skip;
	dest->size = size;
	if (madvise(dest->raw, dest->raw_size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE) < 0)
		return yard_fail("madvise");
	return 0;
}

int yard_dest_get(struct yard_dest *dest, size_t size)
{
	int kept = dest->pages == YARD_KEPT_HUGE || dest->pages == YARD_KEPT_SMALL;

	size = (size + YARD_HUGE - 1) & ~(YARD_HUGE - 1);
	if (kept && dest->size >= size)
		return 0;
	yard_dest_drop(dest);
	if (map_pages(dest, size) < 0 || !dest->at)
		return -1;
	if (kept)
		memset(dest->at, 1, size);
	return 0;
}

void yard_dest_drop(struct yard_dest *dest)
{
	if (dest->raw)
		munmap(dest->raw, dest->raw_size);
	dest->raw = NULL;
	dest->at = NULL;
	dest->size = 0;
}

/* Eight sums side by side, so that the processor waits for memory and not for the additions. */
uint64_t yard_sum(const void *from, size_t size)
{
	const unsigned char *at = from;
	uint64_t sums[8] = {0}, words[8], sum = 0;

	for (; size >= sizeof(words); size -= sizeof(words), at += sizeof(words)) {
		memcpy(words, at, sizeof(words));
		for (int i = 0; i < 8; i++)
			sums[i] += words[i];
	}
	for (int i = 0; i < 8; i++)
		sum += sums[i];
	return sum;
}
