/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Buffers: memory that weir allocated, as a bytes-like object.
 *
 * The object holds one reference to the counted memory; arrays made from it hold the object.  The
 * last one to go, in any thread and after everything else, gives the memory back.
 */
#include <string.h>

#include "native.h"

PyObject *native_buffer_new(struct native_state *state, struct weir_buffer *buffer, void *data,
			    uint64_t size, int device)
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
	self->device = device;
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

bool native_buffer_on_host(const struct native_buffer *self, Py_buffer *view)
{
	if (self->device < 0)
		return true;
	view->obj = NULL;
	PyErr_Format(PyExc_BufferError,
		     "memory of CUDA device %d is no buffer: take it by DLPack, or read() it",
		     self->device);
	return false;
}

static int buffer_get(PyObject *object, Py_buffer *view, int flags)
{
	struct native_buffer *self = (struct native_buffer *)object;

	if (!native_buffer_on_host(self, view))
		return -1;
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

static PyObject *buffer_device(PyObject *self, void *none)
{
	int device = ((struct native_buffer *)self)->device;

	(void)none;
	if (device < 0)
		Py_RETURN_NONE;
	return PyLong_FromLong(device);
}

int native_buffer_read(const struct native_buffer *self, void *to, struct weir_error *err)
{
	if (self->device >= 0 && self->buffer)
		return weir_buffer_read(self->buffer, 0, to, self->size, err);
	memcpy(to, self->data, self->size); /* of the host also in a forked child */
	return 0;
}

static PyObject *buffer_read(PyObject *object, PyObject *none)
{
	struct native_buffer *self = (struct native_buffer *)object;
	PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)self->size);
	struct weir_error err = WEIR_ERROR_INIT;
	char *to = bytes ? PyBytes_AsString(bytes) : NULL;
	int ret;

	(void)none;
	if (!bytes)
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = native_buffer_read(self, to, &err);
	Py_END_ALLOW_THREADS
	if (ret == 0)
		return bytes;
	Py_DECREF(bytes);
	return native_raise(native_state_of(object), &err);
}

static PyMethodDef methods[] = {
	{"read", buffer_read, METH_NOARGS, "read() -> bytes\n\nA copy, from a device too."},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"address", buffer_address, NULL, "Of the first byte.", NULL},
	{"nbytes", buffer_nbytes, NULL, NULL, NULL},
	{"device", buffer_device, NULL, "The CUDA device whose memory it is; None: the host's.",
	 NULL},
	{"mapped", buffer_mapped, NULL, "Is it a mapping of the file?  Then it is read only.",
	 NULL},
	{NULL},
};

static char doc[] = "Memory that weir allocated; give it to memoryview() or numpy.frombuffer().";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_dealloc, buffer_dealloc},
	{Py_tp_methods, methods},
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
