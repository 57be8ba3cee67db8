/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "report.h"
#include "ring_bench.h"

uint64_t ring_work_offset(const struct ring_work *work, uint64_t thread, uint64_t n)
{
	uint64_t blocks = work->file_bytes / work->block_bytes;
	uint64_t at = thread * work->blocks + n;

	if (work->random) { /* the same places for both clients, in an order that no disk foresees */
		at ^= at >> 30;
		at *= UINT64_C(0xbf58476d1ce4e5b9);
		at ^= at >> 27;
		at *= UINT64_C(0x94d049bb133111eb);
		at ^= at >> 31;
	}
	return at % blocks * work->block_bytes;
}

static double now(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

struct start {
	struct ring_thread thread;
	pthread_t id;
	pthread_barrier_t *ready;
	void (*run)(struct ring_thread *thread);
	bool runs, begun;
	double wall, cpu; /* at the end */
};

void ring_begin(struct ring_thread *thread)
{
	struct start *start = thread->start;

	start->begun = true;
	pthread_barrier_wait(start->ready);
}

void ring_end(struct ring_thread *thread)
{
	struct start *start = thread->start;

	start->wall = now(CLOCK_MONOTONIC);
	start->cpu = now(CLOCK_PROCESS_CPUTIME_ID);
}

static void *begin(void *arg)
{
	struct start *start = arg;

	start->run(&start->thread);
	if (!start->begun)
		ring_begin(&start->thread); /* the others wait for all */
	return NULL;
}

static void start_threads(struct start *starts, uint64_t count)
{
	for (uint64_t n = 0; n < count; n++) {
		starts[n].runs = pthread_create(&starts[n].id, NULL, begin, &starts[n]) == 0;
		if (!starts[n].runs)
			starts[n].thread.ret = report_set(&starts[n].thread.err, WEIR_LIMIT, NULL,
							  "a thread does not start");
	}
}

static int join_threads(struct start *starts, uint64_t count, struct ring_took *out,
			struct weir_error *err)
{
	int ret = 0;

	for (uint64_t n = 0; n < count; n++) {
		if (starts[n].runs)
			pthread_join(starts[n].id, NULL);
		if (starts[n].thread.ret && !ret) {
			ret = starts[n].thread.ret;
			*err = starts[n].thread.err;
		}
		if (starts[n].wall > out->wall_seconds) {
			out->wall_seconds = starts[n].wall;
			out->cpu_seconds = starts[n].cpu;
		}
	}
	return ret;
}

int ring_run(const struct ring_work *work, void (*run)(struct ring_thread *thread), void *client,
	     struct ring_took *out, struct weir_error *err)
{
	struct start *starts = calloc(work->threads, sizeof(*starts));
	pthread_barrier_t ready;
	double wall, cpu;
	int ret;

	*out = (struct ring_took){0, 0};
	if (!starts || pthread_barrier_init(&ready, NULL, (unsigned)work->threads + 1)) {
		free(starts);
		return report_set(err, WEIR_NOMEM, NULL, "out of memory");
	}
	for (uint64_t n = 0; n < work->threads; n++) {
		starts[n].thread = (struct ring_thread){.work = work,
							.number = n,
							.client = client,
							.err = WEIR_ERROR_INIT,
							.start = &starts[n]};
		starts[n].run = run;
		starts[n].ready = &ready;
	}
	start_threads(starts, work->threads);
	for (uint64_t n = 0; n < work->threads; n++)
		if (!starts[n].runs) { /* its place at the barrier stays empty: all ends here */
			report_error(&starts[n].thread.err);
			exit(report_status(starts[n].thread.ret));
		}
	pthread_barrier_wait(&ready);
	wall = now(CLOCK_MONOTONIC);
	cpu = now(CLOCK_PROCESS_CPUTIME_ID);
	ret = join_threads(starts, work->threads, out, err);
	out->wall_seconds -= wall;
	out->cpu_seconds -= cpu;
	pthread_barrier_destroy(&ready);
	free(starts);
	return ret;
}
