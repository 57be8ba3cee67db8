/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the extents of one plan need on Python's side: for each its tag (any object) and the object
 * whose memory it lands in.
 *
 * Completions come back with a number, (batch's serial << 32 | place), never with a pointer: a
 * completion that was taken out of a queue while its transfer ended finds nothing, and is dropped.
 * A destination is let go with the completion that says nothing can write to it any more.
 */
#ifndef NATIVE_BATCH_H
#define NATIVE_BATCH_H

#include "native.h"

struct batch_place {
	PyObject *tag;
	PyObject *owner; /* what was given as the destination; NULL where weir allocates */
	Py_buffer *view; /* of the owner, where it is a buffer; NULL where it was an address */
	int device;      /* where weir allocates; -1: the host's memory */
};

struct batch {
	struct batch *next;
	uint32_t serial, count, room;
	uint32_t left; /* places that still hold something */
	struct batch_place *places;
};

struct batch *batch_create(struct native_state *state); /* NULL with MemoryError set */
void batch_destroy(struct batch *batch);

/* Leaks what destinations need: their memory may still be written. */
void batch_leave_behind(struct batch *batch);

/*
 * One more extent.  `into` is None, a writable buffer, (address, length, owner), or for memory of a CUDA
 * device (address, length, owner, device, stream), or the number of such a device: weir allocates
 * there.  The last one can be taken back, where the plan did not want it.
 */
bool batch_add(struct batch *batch, PyObject *tag, PyObject *into, bool readable_is_enough,
	       struct weir_dest *dest, uint64_t *number);
void batch_drop_last(struct batch *batch);

/* The place a number means, in this batch or one behind it; NULL where it is gone. */
struct batch_place *batch_find(struct batch *batch, uint64_t number, struct batch **home);

/* Nothing can write there any more. */
void batch_let_go(struct batch *batch, struct batch_place *place);

/* The number of the first place with an equal tag, from number *at on; false where there is none. */
bool batch_next_of(struct batch *batch, PyObject *tag, uint32_t *at, uint64_t *number);

#endif
