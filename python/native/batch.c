/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <string.h>

struct batch *batch_create(struct native_state *state)
{
	struct batch *batch = PyMem_Calloc(1, sizeof(*batch));

	if (!batch)
		PyErr_NoMemory();
	else
		batch->serial = ++state->last_serial;
	return batch;
}

void batch_let_go(struct batch *batch, struct batch_place *place)
{
	struct batch_place old = *place;

	if (!old.tag)
		return;
	memset(place, 0, sizeof(*place));
	batch->left--;
	/* From here on Python code may run. */
	if (old.view) {
		PyBuffer_Release(old.view);
		PyMem_Free(old.view);
	}
	Py_XDECREF(old.owner);
	Py_DECREF(old.tag);
}

void batch_destroy(struct batch *batch)
{
	while (batch) {
		struct batch *next = batch->next;

		for (uint32_t i = 0; i < batch->count; i++)
			batch_let_go(batch, &batch->places[i]);
		PyMem_Free(batch->places);
		PyMem_Free(batch);
		batch = next;
	}
}

void batch_leave_behind(struct batch *batch)
{
	for (; batch; batch = batch->next)
		for (uint32_t i = 0; i < batch->count; i++) {
			Py_XINCREF(batch->places[i].owner);
			batch->places[i].view = NULL;
		}
}

static bool grow(struct batch *batch)
{
	uint32_t room = batch->room ? batch->room * 2 : 16;
	struct batch_place *places;

	if (batch->count < batch->room)
		return true;
	if (batch->room > UINT32_MAX / 2) {
		PyErr_SetString(PyExc_OverflowError, "too many extents in one plan");
		return false;
	}
	places = PyMem_Realloc(batch->places, room * sizeof(places[0]));
	if (!places) {
		PyErr_NoMemory();
		return false;
	}
	batch->places = places;
	batch->room = room;
	return true;
}

static bool is_address(PyObject *into)
{
	Py_ssize_t size = PyTuple_Size(into);

	if (size == 3 || size == 5)
		return true;
	PyErr_SetString(PyExc_TypeError, "memory is (address, length, owner[, device, stream])");
	return false;
}

/* Memory that the caller vouches for: of the host, or of a CUDA device. */
static bool take_address(PyObject *into, struct batch_place *place, struct weir_dest *dest)
{
	bool on_device = PyTuple_Size(into) == 5;
	uint64_t address, length, device = 0, stream = 0;

	if (!is_address(into) || !native_u64(PyTuple_GetItem(into, 0), &address) ||
	    !native_u64(PyTuple_GetItem(into, 1), &length))
		return false;
	if (on_device && (!native_u64(PyTuple_GetItem(into, 3), &device) ||
			  !native_u64(PyTuple_GetItem(into, 4), &stream)))
		return false;
	place->owner = Py_NewRef(PyTuple_GetItem(into, 2));
	if (on_device)
		*dest = weir_dest_cuda((int)device, (void *)(uintptr_t)address, length,
				       (void *)(uintptr_t)stream);
	else
		*dest = weir_dest_host((void *)(uintptr_t)address, length);
	return true;
}

static bool take_buffer(PyObject *into, struct batch_place *place, bool readable_is_enough,
			struct weir_dest *dest)
{
	Py_buffer *view = PyMem_Calloc(1, sizeof(*view));

	if (!view) {
		PyErr_NoMemory();
		return false;
	}
	if (PyObject_GetBuffer(into, view, readable_is_enough ? PyBUF_SIMPLE : PyBUF_WRITABLE)) {
		PyMem_Free(view);
		return false;
	}
	place->view = view;
	place->owner = Py_NewRef(into);
	*dest = weir_dest_host(view->buf, (uint64_t)view->len);
	return true;
}

/* The number of a CUDA device, where weir allocates. */
static bool take_device(PyObject *into, struct batch_place *place, struct weir_dest *dest)
{
	long number = PyLong_AsLong(into);

	if (PyErr_Occurred())
		return false;
	if (number < 0 || number > INT32_MAX) {
		PyErr_Format(PyExc_ValueError, "%ld is no device", number);
		return false;
	}
	place->device = (int)number;
	*dest = weir_dest_cuda_alloc((int)number);
	return true;
}

static bool take(PyObject *into, struct batch_place *place, bool readable_is_enough,
		 struct weir_dest *dest)
{
	if (!into || into == Py_None) {
		*dest = weir_dest_alloc();
		return true;
	}
	if (PyLong_Check(into))
		return take_device(into, place, dest);
	return PyTuple_Check(into) ? take_address(into, place, dest)
				   : take_buffer(into, place, readable_is_enough, dest);
}

bool batch_add(struct batch *batch, PyObject *tag, PyObject *into, bool readable_is_enough,
	       struct weir_dest *dest, uint64_t *number)
{
	struct batch_place place = {NULL, NULL, NULL, -1};

	if (!grow(batch))
		return false;
	if (!take(into, &place, readable_is_enough, dest))
		return false;
	place.tag = Py_NewRef(tag);
	*number = (uint64_t)batch->serial << 32 | batch->count;
	batch->places[batch->count++] = place;
	batch->left++;
	return true;
}

void batch_drop_last(struct batch *batch)
{
	batch_let_go(batch, &batch->places[batch->count - 1]);
	batch->count--;
}

struct batch_place *batch_find(struct batch *batch, uint64_t number, struct batch **home)
{
	uint32_t at = (uint32_t)number;

	while (batch && batch->serial != number >> 32)
		batch = batch->next;
	*home = batch;
	return batch && at < batch->count && batch->places[at].tag ? &batch->places[at] : NULL;
}

bool batch_next_of(struct batch *batch, PyObject *tag, uint32_t *at, uint64_t *number)
{
	for (; *at < batch->count; (*at)++) {
		PyObject *own = Py_XNewRef(batch->places[*at].tag);
		bool same = own && (own == tag || PyObject_RichCompareBool(own, tag, Py_EQ) == 1);

		Py_XDECREF(own);
		if (same) {
			*number = (uint64_t)batch->serial << 32 | (*at)++;
			return true;
		}
	}
	PyErr_Clear();
	return false;
}
