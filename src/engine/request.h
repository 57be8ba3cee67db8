/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on names that post a completion instead of keeping their caller.
 *
 * A request couples a helper's call (engine/helper.h) to a queue.  What it brings stays in the call until
 * the request is finished.
 */
#ifndef ENGINE_REQUEST_H
#define ENGINE_REQUEST_H

#include "engine/helper.h"
#include "engine/queue.h"
#include "weir/request.h"

struct weir_request {
	struct weir_ctx *ctx;
	struct weir_queue *queue;
	struct helper_call
		*call; /* NULL: given up, a thread still runs it; under the helpers' lock */
	int status;    /* likewise */
	char *what;    /* owned: the URI, for messages */
	struct completion completion;
};

/* Takes the call over in any case. */
int request_start(struct weir_ctx *ctx, struct helper_call *call, const char *what,
		  int64_t timeout_ns, struct weir_cancel *cancel, struct weir_queue *queue,
		  uint64_t tag, struct weir_request **out, struct weir_error *err);

/* Ends it: its status, and after success the call is given to `taken`. */
int request_finish(struct weir_request *request, void (*taken)(struct helper_call *call, void *arg),
		   void *arg, struct weir_error *err);

#endif
