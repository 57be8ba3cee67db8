/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads for calls that may hang: open, stat, list, commit, and reading headers.
 *
 * A dead file server hangs even open().  So such calls run here, and whoever wants the answer waits
 * only as long as it likes; a call that does not come back keeps its thread and what it needs, and is
 * counted.  At most HELPERS_MAX threads, of which stuck ones are part.
 */
#ifndef ENGINE_HELPER_H
#define ENGINE_HELPER_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sys.h"
#include "weir/error.h"

#define HELPERS_MAX 64

struct helpers;
struct weir_cancel;

/*
 * A call.  It is counted: by whoever waits and by the thread that runs it, so that either may go first.
 * `free` runs when both are done with it, on either's thread.
 */
struct helper_call {
	int (*run)(struct helper_call *call); /* fills err on failure */
	void (*free)(struct helper_call *call);

	/* The helpers' own. */
	struct list link;
	_Atomic uint32_t refs;
	int result;
	uint32_t done; /* under the helpers' lock */
	struct weir_error err;
};

int helpers_create(const struct sys *sys, int simulated, struct helpers **out,
		   struct weir_error *err);
/* Leaves stuck threads behind, with what they need. */
void helpers_destroy(struct helpers *helpers);

/*
 * Runs the call and waits for its answer: its result, WEIR_TIMEOUT or WEIR_CANCELLED.  `what` names it
 * in the message.  Takes the call over in any case; its fields may be read only in `run` and `free`,
 * so results travel by a pointer that `run` fills and `free` disposes of unless it was taken: see
 * engine/object.c.  `taken` (may be NULL) is called with the call, on this thread, after success.
 */
int helper_run(struct helpers *helpers, struct helper_call *call, const char *what,
	       int64_t timeout_ns, struct weir_cancel *cancel,
	       void (*taken)(struct helper_call *call, void *arg), void *arg,
	       struct weir_error *err);

/* How many calls do not come back at present. */
uint64_t helpers_stuck(struct helpers *helpers);

struct weir_cancel {
	_Atomic int fired;
};

#endif
