/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libcufile that is none: a table (mem/cufile.h) that reads files into the memory of the CUDA
 * driver that is none (lib/fake_cuda.h), at a speed that a test chooses.
 *
 * A call that no correct program makes (no context current, a file that is not registered, memory that is
 * not the device's, closing while files are registered) ends the test and says so.
 */
#ifndef TESTS_LIB_FAKE_CUFILE_H
#define TESTS_LIB_FAKE_CUFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/cufile.h"

struct fake_cufile_how {
	void (*pass)(int64_t ns);  /* lets time pass; NULL: sleeps */
	int64_t latency_ns;        /* of each read */
	uint64_t bytes_per_second; /* of each read; 0: no limit */
	bool compat;               /* nvidia-fs is not loaded */
	unsigned status;           /* which storage it serves; 0: all */
	bool old;                  /* has no version */
	bool open_already;         /* by somebody else in the process */
};

/* Forgets all that was.  how NULL: defaults. */
const struct cufile_driver *fake_cufile_start(const struct fake_cufile_how *how);

/* The nth call (1: the next) of a function, by its name in the table, answers that; `times` of them. */
void fake_cufile_fail(const char *function, unsigned nth, unsigned times, int answer);
/* Reads do not end; or do again. */
void fake_cufile_hang(bool hang);

struct fake_cufile_counts {
	uint64_t calls, opens, closes, reads, bytes;
	uint64_t files;   /* registered now */
	uint64_t running; /* reads that have not ended */
};
void fake_cufile_counts(struct fake_cufile_counts *out);

#endif
