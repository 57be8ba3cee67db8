/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of bytes in order, in pieces, with some in flight on either side.
 *
 *	an object --reads-->  +-----------------+  --writes--> an object that is being written
 *	or fill()  ---------> | pieces of 4 MiB | ----------> or drain(), in order
 *	                      +-----------------+
 *
 * `weir cat` is an object and a drain, `weir cp` two objects, `weir make-model` a fill and an object.
 * One thread runs a pump; several may run side by side.  Ctrl-C ends it with CANCELLED.
 */
#ifndef CLI_PUMP_H
#define CLI_PUMP_H

#include <stdatomic.h>
#include <stdbool.h>

#include "weir/weir.h"

struct pump {
	struct weir_ctx *ctx;
	uint64_t offset, size; /* of the stream: where it starts in `from`, and how long it is */

	struct weir_object *from; /* borrowed; or NULL and: */
	void (*fill)(void *arg, uint64_t offset, void *to, size_t len);

	/* Of a range of `from`: is it all zeroes, and need not be moved?  NULL: nothing is. */
	bool (*hole)(void *arg, uint64_t offset, size_t len);

	struct weir_object *to; /* borrowed; or NULL and: */
	int (*drain)(void *arg, const void *data, size_t len, struct weir_error *err);

	void *arg;

	/* Bytes that came through; may be shared by many pumps.  NULL is fine. */
	_Atomic uint64_t *done_bytes;
	void (*tick)(void *arg); /* called often, by the thread that runs it; NULL is fine */
};

int pump_run(const struct pump *pump, struct weir_error *err);

#endif
