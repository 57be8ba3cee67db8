/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One load, from start to the last tensor, with a clock beside it.
 *
 *	loading_open()      room for the results, once; loading_to_device(): not in this memory
 *	loading_run()       one load; what it brought stays until the next run or the close
 *	loading_digest()    digests of what stayed: after the clock has stopped
 *	loading_close()
 *
 * With `discard` tensors go back as they arrive, so that a budget smaller than the model is enough, and
 * digests are made on the way; their processor time is measured apart and left out.
 */
#ifndef CLI_LOADING_H
#define CLI_LOADING_H

#include <stdbool.h>

#include "select.h"
#include "weir/weir.h"

/* What a run took. */
struct figures {
	int64_t wall_ns, cpu_ns; /* digests not counted */
	int64_t ended_ns;        /* on the monotonic clock */
	uint64_t bytes;          /* delivered */
	struct weir_counters counters;
};

struct loading {
	/* How; set by the caller between open and run. */
	struct weir_model *model;          /* borrowed */
	const struct selection *selection; /* borrowed */
	struct weir_load_opts load;        /* tensors and slices are filled in by run */
	bool discard, digest;
	const char *label; /* of the progress bar */

	/* What the last run brought. */
	int code; /* 0, or the class of the first failure */
	struct weir_error err;
	struct figures figures;

	/* By index of the tensor; owned. */
	struct arrived {
		struct weir_buffer *buffer; /* NULL: given back, or never came */
		const void *data;
		uint64_t bytes;
		uint64_t digest;
		int status;   /* 0, or the class of its failure */
		bool settled; /* false: it never came so far */
	} * arrived;
	struct weir_dest *dests; /* owned; NULL: the processor's memory */
	unsigned char *window;   /* owned; what is digested of a device's memory */
	int64_t digest_ns;       /* processor time spent on digests within the run */
};

int loading_open(struct loading *loading, struct weir_model *model,
		 const struct selection *selection, struct weir_error *err);

/* From here on into memory of that GPU. */
int loading_to_device(struct loading *loading, int device, struct weir_error *err);
int loading_run(struct loading *loading);
void loading_digest(struct loading *loading);

/* Gives the buffers back: the pool keeps their memory for the next run. */
void loading_release(struct loading *loading);
void loading_close(struct loading *loading);

#endif
