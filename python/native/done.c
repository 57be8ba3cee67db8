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

static PyObject *error_of(struct native_state *state, const struct weir_done *done)
{
	struct weir_error err = WEIR_ERROR_INIT;

	if (done->status == 0)
		Py_RETURN_NONE;
	if (!done->transfer || weir_transfer_error(done->transfer, done, &err) == 0) {
		err.code = done->status;
		snprintf(err.message, sizeof(err.message), "%s", weir_code_text(done->status));
	}
	return native_exception(state, &err);
}

/* Takes over the completion's buffer. */
static PyObject *buffer_of(struct native_state *state, const struct weir_done *done,
			   const struct batch_place *place)
{
	if (done->status != 0)
		Py_RETURN_NONE;
	if (place->owner)
		return Py_NewRef(place->owner);
	return native_buffer_new(state, done->buffer, done->data, done->bytes);
}

static PyObject *make(struct native_state *state, const struct weir_done *done, struct batch *batch,
		      struct batch_place *place)
{
	PyObject *values[] = {
		Py_NewRef(place->tag),
		buffer_of(state, done, place),
		PyLong_FromUnsignedLongLong(done->bytes),
		error_of(state, done),
		PyBool_FromLong((done->flags & WEIR_DONE_LENT) != 0),
		PyBool_FromLong((done->flags & WEIR_DONE_RELEASED) != 0),
	};

	if (!(done->flags & WEIR_DONE_LENT))
		batch_let_go(batch, place);
	return native_struct(state->done_type, values, 6);
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

PyObject *native_dones(struct native_state *state, struct native_transfer *transfer,
		       const struct weir_done *done, int count)
{
	PyObject *list = PyList_New(0);

	for (int i = 0; i < count; i++) {
		struct batch *home;
		struct batch_place *place = find(transfer, done[i].tag, &home);
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
