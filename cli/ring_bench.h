/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two clients that `weir bench ring` compares: weir's own, and a library with the C interface of 3FS.
 *
 * Both do the same: each thread keeps `depth` requests of `block_bytes` in flight, over one file, until it
 * has moved its part.
 */
#ifndef CLI_RING_BENCH_H
#define CLI_RING_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

struct ring_work {
	const char *uri; /* a file on a 3FS mount that is there */
	uint64_t block_bytes, depth, threads;
	uint64_t blocks; /* of each thread */
	uint64_t file_bytes;
	bool write, random;
};

/* Where the n-th request of a thread goes. */
uint64_t ring_work_offset(const struct ring_work *work, uint64_t thread, uint64_t n);

/* What one run took. */
struct ring_took {
	double wall_seconds, cpu_seconds;
};

/*
 * Runs a function in as many threads as the work has; the first error counts.  The function calls
 * ring_begin() when it has what it needs, and goes on when all have; ring_end() when the last request is
 * through.  What is measured lies between the two.
 */
struct ring_thread {
	const struct ring_work *work;
	uint64_t number;
	void *client;
	struct weir_error err;
	int ret;
	void *start; /* ring_run()'s */
};
void ring_begin(struct ring_thread *thread);
void ring_end(struct ring_thread *thread);
int ring_run(const struct ring_work *work, void (*run)(struct ring_thread *thread), void *client,
	     struct ring_took *out, struct weir_error *err);

/* ---- weir ---- */

struct ring_ours;
int ring_ours_open(const struct ring_work *work, struct ring_ours **out, struct weir_error *err);
int ring_ours_run(struct ring_ours *ours, struct ring_took *out, struct weir_error *err);
void ring_ours_close(struct ring_ours *ours); /* NULL is fine */

/* ---- A library ---- */

struct ring_library;
int ring_library_open(const char *path, struct ring_library **out, struct weir_error *err);
int ring_library_run(struct ring_library *library, const struct ring_work *work,
		     struct ring_took *out, struct weir_error *err);

#endif
