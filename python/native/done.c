/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Completions, as Python sees them.
 */
#include <stdio.h>

#include "flight.h"

static PyStructSequence_Field done_fields[] = {
	{"tag", "what the plan was given"},
	{"buffer", "a Buffer, or the destination; None where it failed"},
	{"nbytes", "delivered"},
	{"error", "an exception, or None"},
	{"lent", "failed, and the destination may still be written: a second completion follows"},
	{"released", "that second one"},
	{NULL},
};

PyStructSequence_Desc native_done_desc = {"weir._native.Done", "The end of one extent.",
					  done_fields, 6};

/* What has to be known of a completion before Python code runs: by then its transfer may be gone. */
struct told {
	PyObject *tag, *owner; /* references; owner NULL where weir allocated */
	struct weir_error err;
};

static void read_error(const struct weir_done *done, struct weir_error *err)
{
	*err = (struct weir_error)WEIR_ERROR_INIT;
	if (done->status == 0 ||
	    (done->transfer && weir_transfer_error(done->transfer, done, err) != 0))
		return;
	err->code = done->status;
	snprintf(err->message, sizeof(err->message), "%s", weir_code_text(done->status));
}

/* Takes over the completion's buffer and the reference to the owner. */
static PyObject *buffer_of(struct native_state *state, const struct weir_done *done,
			   PyObject *owner, int device)
{
	if (done->status != 0) {
		Py_XDECREF(owner);
		Py_RETURN_NONE;
	}
	return owner ? owner
		     : native_buffer_new(state, done->buffer, done->data, done->bytes, device);
}

static PyObject *make(struct native_state *state, const struct weir_done *done, struct batch *batch,
		      struct batch_place *place)
{
	int device = place->device; /* before the place is let go */
	struct told told = {Py_NewRef(place->tag), Py_XNewRef(place->owner), WEIR_ERROR_INIT};

	read_error(done, &told.err);
	if (!(done->flags & WEIR_DONE_LENT))
		batch_let_go(batch, place);
	return native_struct(
		state->done_type,
		(PyObject *[]){
			told.tag,
			buffer_of(state, done, told.owner, device),
			PyLong_FromUnsignedLongLong(done->bytes),
			done->status ? native_exception(state, &told.err) : Py_NewRef(Py_None),
			PyBool_FromLong((done->flags & WEIR_DONE_LENT) != 0),
			PyBool_FromLong((done->flags & WEIR_DONE_RELEASED) != 0),
		},
		6);
}

static struct batch_place *find(struct native_transfer *transfer, uint64_t number,
				struct batch **home)
{
	for (; transfer; transfer = transfer->next) {
		struct batch_place *place = batch_find(transfer->batches, number, home);

		if (place)
			return place;
	}
	return NULL;
}

PyObject *native_dones(struct native_state *state, struct native_transfer *const *first,
		       const struct weir_done *done, int count)
{
	PyObject *list = PyList_New(0);

	for (int i = 0; i < count; i++) {
		struct batch *home;
		struct batch_place *place = find(*first, done[i].tag, &home);
		PyObject *one = NULL;

		if (!place || !list) {
			weir_buffer_unref(done[i].buffer);
			continue;
		}
		one = make(state, &done[i], home, place);
		if (!one || PyList_Append(list, one) < 0)
			Py_CLEAR(list);
		Py_XDECREF(one);
	}
	return list;
}
