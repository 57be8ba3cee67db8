/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans, transfers and queues: what their files share.
 */
#ifndef NATIVE_FLIGHT_H
#define NATIVE_FLIGHT_H

#include "batch.h"
#include "native.h"

struct native_plan {
	PyObject_HEAD struct native_context *context;
	struct weir_plan *plan; /* NULL: a transfer has taken it */
	struct batch *batch;
	PyObject *models; /* list of those that are read, each in use */
	bool filling;     /* an addition is under way: no other, and no start */
};

struct native_queue {
	PyObject_HEAD struct native_context *context;
	struct weir_queue *queue;
	struct native_transfer *transfers; /* that post to it; borrowed: they take themselves out */
	unsigned waiting;                  /* threads, without the interpreter's lock */
};

struct native_transfer {
	PyObject_HEAD struct native_context *context;
	struct weir_transfer *transfer; /* NULL: finished */
	struct native_queue *queue;     /* NULL: a private one */
	struct native_transfer *next;   /* on the queue's list */
	struct native_transfer *beside; /* on the context's */
	struct batch *batches;          /* newest first */
	PyObject *models;
	int64_t stall_ns; /* patience; negative: for ever */
	unsigned busy;    /* calls under way without the interpreter's lock */
	bool ending;      /* no further ones */
	bool lent;        /* finish has said so: its object does not wait again */
};

/* ---- plan.c ---- */

/* The plan of an argument that nobody took yet; NULL with an exception set. */
struct native_plan *native_plan_of(struct native_state *state, PyObject *plan);

/* Ends the use of each model of a list, and the list. */
void native_models_release(PyObject *models);

/* ---- transfer.c ---- */

PyObject *native_start(PyObject *plan, PyObject *args, PyObject *kwargs);

/*
 * Ends one that runs by that time, of CLOCK_MONOTONIC; abandons it where something may still write by
 * then.  False: another thread is in a call on it and does not come out.
 */
bool native_transfer_end(struct native_transfer *transfer, int64_t until_ns);

/* ---- done.c ---- */

/*
 * Completions as a list of Done.  Takes over what they hold, also when it fails.  Those of transfers
 * that are not on the list are dropped; it may change meanwhile.
 */
PyObject *native_dones(struct native_state *state, struct native_transfer *const *first,
		       const struct weir_done *done, int count);

/* One at a time is slow, and many are memory on the stack. */
#define NATIVE_DONE_MAX 64

#endif
