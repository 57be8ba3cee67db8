/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The work of a ring and nothing else: a client and a server that reads nothing, in one process.
 *
 *	budget-ring           RUNS requests, RUN of them at once: for callgrind (tests/budget/run)
 *	budget-ring time      many of them; prints the median of nanoseconds for one
 *
 * A request is prepared, claimed, completed and reaped; for each RUN of them the bell is rung and taken
 * down, and completions posted and taken.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "io/usrbio/client.h"
#include "io/usrbio/guard.h"
#include "io/usrbio/server.h"
#include "io/usrbio/signal.h"

/* Found by its name among what callgrind counted, so gcc may not make a copy of it under another. */
#ifdef __clang__
#define COUNTED __attribute__((noinline))
#else
#define COUNTED __attribute__((noinline, noclone))
#endif

#define RUN     16
#define RUNS    1000
#define ENTRIES 64
#define SAMPLES 1001

struct rig {
	struct usrbio_client client;
	struct usrbio_server server;
	struct usrbio_sem bell;
};

static int fail(const char *what)
{
	fprintf(stderr, "budget-ring: %s\n", what);
	return 1;
}

static bool prepare_run(struct rig *rig)
{
	struct usrbio_args args = {.length = 4096};

	for (uint64_t i = 0; i < RUN; i++) {
		args.file_offset = i * 4096;
		args.userdata = i;
		if (usrbio_client_prepare(&rig->client, &args, 1 << 20) < 0)
			return false;
	}
	usrbio_sem_post(sys_real(), &rig->bell);
	return true;
}

static bool serve_run(struct rig *rig)
{
	struct usrbio_claim claims[RUN];

	usrbio_sem_drain(&rig->bell);
	if (usrbio_server_claim(&rig->server, claims, RUN) != RUN)
		return false;
	for (int i = 0; i < RUN; i++)
		if (usrbio_server_complete(&rig->server, claims[i].index, claims[i].userdata,
					   (int64_t)claims[i].args.length))
			return false;
	usrbio_server_post(&rig->server);
	return true;
}

static bool reap_run(struct rig *rig)
{
	struct usrbio_cqe cqes[RUN];

	usrbio_sem_drain(rig->client.view.done);
	return usrbio_client_reap(&rig->client, cqes, RUN) == RUN && cqes[0].result == 4096;
}

/* What is counted. */
static COUNTED bool ring_work(struct rig *rig, unsigned runs)
{
	bool fine = true;

	for (unsigned i = 0; i < runs && fine; i++)
		fine = prepare_run(rig) && serve_run(rig) && reap_run(rig);
	return fine;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static int time_it(struct rig *rig)
{
	static int64_t taken[SAMPLES];
	int64_t median;

	for (unsigned i = 0; i < SAMPLES; i++) {
		int64_t start = now_ns();

		if (!ring_work(rig, 100))
			return fail("the ring broke");
		taken[i] = now_ns() - start;
	}
	qsort(taken, SAMPLES, sizeof(taken[0]), by_size);
	median = taken[SAMPLES / 2];
	printf("{\"ns_per_io\": %.1f}\n", (double)median / (100.0 * RUN));
	return 0;
}

int main(int argc, char **argv)
{
	static struct rig rig;
	uint64_t bytes = usrbio_ring_bytes(ENTRIES);
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || usrbio_guard_install() ||
	    usrbio_server_init(&rig.server, sys_real(), memory, bytes) ||
	    usrbio_client_init(&rig.client, memory, ENTRIES))
		return fail("no ring");
	usrbio_sem_init(&rig.bell);
	if (argc > 1 && strcmp(argv[1], "time") == 0)
		return time_it(&rig);
	return ring_work(&rig, RUNS) ? 0 : fail("the ring broke");
}
