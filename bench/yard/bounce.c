/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounce - the round trip of two semaphores between two processes
 *
 *	bounce [COUNT]
 *
 * One process posts and waits, the other waits and posts: what it costs to ask another process for
 * anything and to sleep until it answers.  The latency of a ring is held against it.  Prints a line
 * of JSON: the median and the 99th percentile of COUNT round trips, and the processor time of one.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "yard.h"

struct table {
	sem_t there, back;
};

static void take(sem_t *sem)
{
	while (sem_wait(sem) < 0 && errno == EINTR)
		;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

	return (left > right) - (left < right);
}

static void answer(struct table *table, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		take(&table->there);
		sem_post(&table->back);
	}
	_exit(0);
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

static double cpu_of(int who)
{
	struct rusage usage;

	getrusage(who, &usage);
	return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int main(int argc, char **argv)
{
	size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
	struct table *table = mmap(NULL, sizeof(*table), PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint64_t *taken = calloc(count ? count : 1, sizeof(*taken));
	uint64_t half, most;
	pid_t child;

	if (table == MAP_FAILED || !taken || count == 0 || sem_init(&table->there, 1, 0) < 0 ||
	    sem_init(&table->back, 1, 0) < 0 || (child = fork()) < 0) {
		free(taken);
		return yard_fail("bounce") < 0;
	}
	if (child == 0)
		answer(table, count);
	for (size_t i = 0; i < count; i++) {
		uint64_t start = now_ns();

		sem_post(&table->there);
		take(&table->back);
		taken[i] = now_ns() - start;
	}
	waitpid(child, NULL, 0);
	qsort(taken, count, sizeof(*taken), by_size);
	half = taken[count / 2];
	most = taken[count - 1 - count / 100];
	printf("{\"count\": %zu, \"p50_us\": %.3f, \"p99_us\": %.3f, \"cpu_us\": %.3f}\n", count,
	       (double)half / 1e3, (double)most / 1e3,
	       (cpu_of(RUSAGE_SELF) + cpu_of(RUSAGE_CHILDREN)) / (double)count * 1e6);
	free(taken);
	return 0;
}
