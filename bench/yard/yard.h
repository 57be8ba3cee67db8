/* SPDX-License-Identifier: Apache-2.0 */
/*
 * yard.h - what the yardsticks share: the measured window, destinations, jobs
 *
 * A yardstick is a small program that does one thing as plainly and as cheaply as the kernel lets it,
 * so that the engine can be held against it.  It shares no code with the engine.  A job is a range of
 * a file.  Given a file on the command line a yardstick does that one job; without one it reads jobs
 * from standard input, a line each, "OFFSET LENGTH PATH" (length 0: to the end; for a
 * directory the numbers mean what the program makes of them), and keeps its memory between them.
 * Either way it answers each with one line of JSON about the window alone: from the open of the file
 * until the last byte is in place, on the monotonic clock and by getrusage, with start-up, set-up and
 * clean-up outside.
 */
#ifndef YARD_H
#define YARD_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>

#define YARD_HUGE ((size_t)2 << 20)

struct yard_job {
	const char *path;
	uint64_t offset, length;
};

/* The window: begin and end bracket exactly what is to be measured. */
struct yard_window {
	struct timespec start, stop;
	struct rusage before, after;
	uint64_t disk_before, disk_after; /* bytes this process made the disk read */
	uint64_t bytes;
	uint64_t requests; /* read calls or ring entries */
	uint64_t enters;   /* system calls that submit or wait */
	uint64_t sum;      /* of what was read, where the program sums */
	const char *extra; /* more members for the line, or NULL; borrowed */
};

void yard_begin(struct yard_window *window);
void yard_end(struct yard_window *window);
void yard_print(FILE *out, const struct yard_window *window);

/* Does one job; returns 0, or -1 after yard_fail(). */
typedef int yard_run_fn(const struct yard_job *job, struct yard_window *window, void *arg);

/* Runs the jobs of the command line or of standard input; returns an exit status. */
int yard_serve(int count, char **args, yard_run_fn *run, void *arg);

/* One line on standard error, with errno's text where it is not 0; returns -1. */
int yard_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "512k", "2m", "1g"; ends the program on anything else. */
uint64_t yard_size(const char *text);

enum yard_pages {
	YARD_KEPT_HUGE,
	YARD_KEPT_SMALL,
	YARD_FRESH_HUGE,
	YARD_FRESH_SMALL
};

enum yard_pages yard_pages(const char *text); /* "huge", "small", "fresh-huge", "fresh-small" */

/* Memory to read into.  A kept one grows as needed, is touched, and stays. */
struct yard_dest {
	enum yard_pages pages;
	unsigned char *at; /* aligned to a huge page */
	size_t size;
	void *raw;
	size_t raw_size;
};

/*
 * Makes room for size bytes.  Kept: outside the window, touched.  Fresh: call it inside the window;
 * what the job before had is released by yard_dest_drop(), outside.
 */
int yard_dest_get(struct yard_dest *dest, size_t size);
void yard_dest_drop(struct yard_dest *dest);

/* The sum of all whole 8-byte words, as fast as memory gives them. */
uint64_t yard_sum(const void *from, size_t size);

#endif
