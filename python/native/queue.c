/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queues: where the completions of several transfers come out, and the descriptor an event loop
 * sleeps on.
 */
#include "flight.h"

static PyObject *queue_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"context", "capacity", NULL};
	struct native_state *state = PyType_GetModuleState(type);
	struct weir_error err = WEIR_ERROR_INIT;
	PyObject *asked = NULL;
	struct native_queue *self;
	uint32_t capacity = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO&", (char **)names, &asked,
					 native_take_u32, &capacity))
		return NULL;
	self = PyObject_New(struct native_queue, type);
	if (!self)
		return NULL;
	self->queue = NULL;
	self->transfers = NULL;
	self->waiting = 0;
	self->context = native_context_of(state, asked);
	if (self->context &&
	    weir_queue_create(self->context->ctx, capacity, &self->queue, &err) < 0)
		native_raise(state, &err);
	if (!self->queue) {
		Py_DECREF((PyObject *)self);
		return NULL;
	}
	return (PyObject *)self;
}

/* Transfers hold a reference, so that none is left here. */
static void queue_dealloc(PyObject *object)
{
	struct native_queue *self = (struct native_queue *)object;
	PyTypeObject *type = Py_TYPE(object);

	weir_queue_destroy(self->queue);
	Py_XDECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

static PyObject *queue_wait(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"max", "timeout", NULL};
	struct native_queue *self = (struct native_queue *)object;
	struct native_state *state = native_state_of(object);
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_done done[NATIVE_DONE_MAX];
	struct native_slices slices;
	PyObject *timeout = NULL;
	uint32_t max = NATIVE_DONE_MAX;
	int ret;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O&O", (char **)names, native_take_u32,
					 &max, &timeout) ||
	    !native_slices_begin(&slices, timeout))
		return NULL;
	if (!native_enter(self->context))
		return NULL;
	max = max < NATIVE_DONE_MAX ? max : NATIVE_DONE_MAX;
	do {
		Py_BEGIN_ALLOW_THREADS
		ret = weir_queue_wait(self->queue, done, max, native_slice(&slices), &err);
		Py_END_ALLOW_THREADS
	} while (ret == WEIR_TIMEOUT && !self->context->ending && native_slices_next(&slices));
	native_leave(self->context);
	if (PyErr_Occurred())
		return NULL;
	if (ret == WEIR_TIMEOUT && self->context->ending)
		return native_raise_ending(self->context);
	if (ret < 0)
		return native_raise(state, &err);
	return native_dones(state, &self->transfers, done, ret);
}

static PyObject *queue_fileno(PyObject *self, PyObject *none)
{
	int fd = weir_queue_fd(((struct native_queue *)self)->queue);

	(void)none;
	if (fd < 0)
		return native_raise_code(native_state_of(self), WEIR_CLOSED,
					 "no descriptor: of another process, or none left");
	return PyLong_FromLong(fd);
}

static PyMethodDef methods[] = {
	{"wait", WITH_KEYWORDS(queue_wait), METH_VARARGS | METH_KEYWORDS,
	 "wait(max=64, timeout=None) -> list[Done]\n\nAt least one; weir.Timeout where none came."},
	{"fileno", queue_fileno, METH_NOARGS,
	 "fileno() -> int\n\nReadable while there are completions; weir's own."},
	{NULL},
};

static char doc[] = "Queue(context=None, capacity=0)\n\nWhere completions come out.";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_new, queue_new},
	{Py_tp_dealloc, queue_dealloc},
	{Py_tp_methods, methods},
	{0, NULL},
};

PyType_Spec native_queue_spec = {
	.name = "weir._native.Queue",
	.basicsize = sizeof(struct native_queue),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
