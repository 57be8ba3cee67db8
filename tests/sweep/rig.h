/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces of work, each from its context to its end through the public API, for the sweeps to break.
 *
 * A piece returns 0, or the first failure that it met; whatever failed, it frees what it had.  Where
 * a call succeeded it checks what came of it, to the byte.
 */
#ifndef TESTS_SWEEP_RIG_H
#define TESTS_SWEEP_RIG_H

#include <stdbool.h>

#include "lib/fail.h"

struct piece {
	const char *name;
	int (*work)(void);
};

extern const struct piece pieces[];
extern const unsigned piece_count;

/* Writes the files that they read, once in each process. */
void rig_prepare(void);

/* All reads by plain threads, as where io_uring is forbidden: they go through the table. */
void rig_forbid_rings(void);

/*
 * Does the piece again and again while the n-th call fails, n from 1 until none fires; before the first
 * time it must succeed.  `expected` judges what it returns.  Returns how often one fired.
 */
unsigned sweep_allocations(const struct piece *piece, enum fail_mode mode);
unsigned sweep_calls(const struct piece *piece, enum fail_call call, enum fail_mode mode,
		     int os_errno, bool (*expected)(int ret));

#endif
