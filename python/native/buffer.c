/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers: memory that weir allocated, as a bytes-like object.
 *
 * The object holds one reference to the counted memory; arrays made from it hold the object.  The
 * last one to go, in any thread and after everything else, gives the memory back.
 */
#include "native.h"

PyObject *native_buffer_new(struct native_state *state, struct weir_buffer *buffer, void *data,
			    uint64_t size)
{
	static char nothing[1];
	struct native_buffer *self = PyObject_New(struct native_buffer, state->buffer_type);

	if (!self) {
		weir_buffer_unref(buffer);
		return NULL;
	}
	self->buffer = buffer;
	self->data = data ? data : nothing;
	self->size = size;
	self->read_only = buffer && weir_buffer_is_mapped(buffer);
	return (PyObject *)self;
}

static void buffer_dealloc(PyObject *object)
{
	PyTypeObject *type = Py_TYPE(object);

	weir_buffer_unref(((struct native_buffer *)object)->buffer);
	PyObject_Free(object);
	Py_DECREF(type);
}

static int buffer_get(PyObject *object, Py_buffer *view, int flags)
{
	struct native_buffer *self = (struct native_buffer *)object;

	return PyBuffer_FillInfo(view, object, self->data, (Py_ssize_t)self->size, self->read_only,
				 flags);
}

static Py_ssize_t buffer_length(PyObject *self)
{
	return (Py_ssize_t)((struct native_buffer *)self)->size;
}

static PyObject *buffer_address(PyObject *self, void *none)
{
	(void)none;
	return PyLong_FromVoidPtr(((struct native_buffer *)self)->data);
}

static PyObject *buffer_nbytes(PyObject *self, void *none)
{
	(void)none;
	return PyLong_FromUnsignedLongLong(((struct native_buffer *)self)->size);
}

static PyObject *buffer_mapped(PyObject *self, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct native_buffer *)self)->read_only);
}

static PyGetSetDef attributes[] = {
	{"address", buffer_address, NULL, "Of the first byte.", NULL},
	{"nbytes", buffer_nbytes, NULL, NULL, NULL},
	{"mapped", buffer_mapped, NULL, "Is it a mapping of the file?  Then it is read only.",
	 NULL},
	{NULL},
};

static char doc[] = "Memory that weir allocated; give it to memoryview() or numpy.frombuffer().";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_dealloc, buffer_dealloc},
	{Py_tp_getset, attributes},
	{Py_sq_length, buffer_length},
	{Py_bf_getbuffer, buffer_get},
	{0, NULL},
};

PyType_Spec native_buffer_spec = {
	.name = "weir._native.Buffer",
	.basicsize = sizeof(struct native_buffer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
