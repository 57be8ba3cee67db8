/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread that makes fresh memory exist ahead of the reads, and a second one where it is behind.
 *
 * Zeroing a huge page costs more than reading into it, so it is done beside the reads and not within
 * them.  One thread zeroes faster than most disks read, unless a hypervisor has taken the pages and has
 * to bring them back first; then a second one, started by populate_hurry(), is worth its processor.
 * A job is a range; its owner looks at `ready`, or is told through `notify` as it grows, and
 * reads into what is ready.  Jobs are done in the order they came, in steps of a few huge pages.
 */
#ifndef MEM_POPULATE_H
#define MEM_POPULATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sys.h"
#include "mem/pool.h"

struct populator;

struct populate_job {
	void *at;
	uint64_t bytes;
	struct pool *pool; /* whose memory it is, and who keeps it; NULL: the populator's */
	void (*notify)(
		void *arg); /* after each step, on a thread of the populator's; of two at once */
	void *arg;
	_Atomic uint64_t ready; /* bytes from the start; release, paired with the reader's acquire.
				 * Equal to bytes also where populating failed: reading still works */
	_Atomic bool failed;    /* it did; set before `ready` */
	/* The populator's, until populate_cancel(). */
	uint64_t begun; /* bytes from the start whose steps are under way or through */
	struct list link;
};

/* The thread starts with the first job. */
int populator_create(const struct sys *sys, struct pool *pool, struct populator **out,
		     struct weir_error *err);
void populator_destroy(struct populator *populator); /* all jobs have been cancelled */

/* Where no thread can be started, the job is done at once, here. */
void populate_start(struct populator *populator, struct populate_job *job);

/* Reads wait for memory: from now on two threads make it.  Any thread. */
void populate_hurry(struct populator *populator);

/*
 * After it returned the job is the caller's again, its memory is not touched and notify() is not
 * running.  Owed to every job before it or its arg goes away, also to one that is ready; not from within
 * notify().
 */
void populate_cancel(struct populator *populator, struct populate_job *job);

#endif
