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
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/list.h"
#include "base/sys.h"
#include "weir/error.h"

#define HELPERS_MAX 64

struct helpers;
struct weir_cancel;

/*
 * A call.  Who waits for it frees it, so that nothing of it is left when the wait is over; a call whose
 * waiter left is freed by the thread that ran it.
 */
struct helper_call {
	int (*run)(struct helper_call *call); /* fills err on failure */
	void (*free)(struct helper_call *call);

	/* Raised by `run` as it gets on: the time-out counts from the last time. */
	_Atomic uint32_t progress;

	/* `run` looks at `leave` and ends soon: who cancels asks by that, and waits. */
	bool heeds;
	_Atomic bool leave;

	/*
	 * Of a call that is started: told the answer once, under the helpers' lock, by the thread that ran
	 * it or by the one that watches the time.  Where the call has not `returned` it is the thread's
	 * from then on, and the caller forgets it.
	 */
	void (*complete)(struct helper_call *call, int status);
	void *waiter; /* whom complete() tells */

	/* The helpers' own. */
	struct list link;    /* waits for a thread */
	struct list watched; /* was started, and has no answer yet */
	int64_t timeout_ns, deadline_ns;
	uint32_t seen_progress;
	struct weir_cancel *cancel;
	bool returned;
	int result;
	uint32_t done;   /* or given up; under the helpers' lock */
	uint32_t posted; /* nobody waits */
	struct weir_error err;
};

int helpers_create(const struct sys *sys, int simulated, struct helpers **out,
		   struct weir_error *err);
/* True: threads are stuck and were left behind, and will need what their calls need if they return. */
bool helpers_destroy(struct helpers *helpers);

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

/*
 * Runs the call on another thread while this one goes on; nobody waits, and its result goes nowhere.
 * For calls that are under way on a helper thread themselves and know how to wait for what they post.
 * 0, and `free` follows; or WEIR_LIMIT: no thread is to be had, and the call is freed.
 */
must_use int helper_post(struct helpers *helpers, struct helper_call *call);

/*
 * Starts the call and does not wait: `complete` will be called, also where the time is up before the call
 * comes back.  The call is the caller's until it is freed, left or forgotten; on failure it is freed.
 */
must_use int helper_start(struct helpers *helpers, struct helper_call *call, int64_t timeout_ns,
			  struct weir_cancel *cancel, struct weir_error *err);

/*
 * Leaves a call that was started: complete() is not called from here on.  *call, which complete() may
 * have cleared, is what to dispose of when this returns, or NULL where a thread still runs it.
 */
void helper_leave(struct helpers *helpers, struct helper_call **call);

/* How many calls do not come back at present. */
uint64_t helpers_stuck(struct helpers *helpers);

struct weir_cancel {
	_Atomic int fired;
};

#endif
