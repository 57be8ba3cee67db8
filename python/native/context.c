/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Contexts: a default one for each process, and those that a program makes for itself.
 */
#include "native.h"

static struct native_context *create(PyTypeObject *type, const struct weir_ctx_opts *opts,
				     struct native_state *state)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx = NULL;
	struct native_context *self;

	if (weir_ctx_create(opts, &ctx, &err) < 0) {
		native_raise(state, &err);
		return NULL;
	}
	self = PyObject_New(struct native_context, type);
	if (!self) {
		weir_ctx_destroy(ctx);
		return NULL;
	}
	self->ctx = ctx;
	self->pid = getpid();
	self->transfers = NULL;
	self->inside = 0;
	self->ending = false;
	native_context_known(state, self);
	return self;
}

static PyObject *context_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"budget",  "pool",         "lanes", "depth",
					    "request", "trace_events", "pin",   NULL};
	struct weir_ctx_opts opts = {.size = sizeof(opts)};

	if (!PyArg_ParseTupleAndKeywords(
		    args, kwargs, "|$O&O&O&O&O&O&O&", (char **)names, native_take_u64,
		    &opts.budget_bytes, native_take_u64, &opts.pool_bytes, native_take_u32,
		    &opts.lanes, native_take_u32, &opts.depth, native_take_u64, &opts.request_bytes,
		    native_take_u32, &opts.trace_events, native_take_u64, &opts.pin_bytes))
		return NULL;
	return (PyObject *)create(type, &opts, PyType_GetModuleState(type));
}

static void context_dealloc(PyObject *object)
{
	struct native_context *self = (struct native_context *)object;
	PyTypeObject *type = Py_TYPE(object);

	native_context_gone(PyType_GetModuleState(type), self);
	Py_BEGIN_ALLOW_THREADS
	weir_ctx_destroy(self->ctx);
	Py_END_ALLOW_THREADS
	PyObject_Free(object);
	Py_DECREF(type);
}

struct native_context *native_context_of(struct native_state *state, PyObject *context)
{
	struct native_context *own = (struct native_context *)state->default_context;

	if (context && context != Py_None) {
		if (Py_IS_TYPE(context, state->context_type))
			return (struct native_context *)Py_NewRef(context);
		PyErr_SetString(PyExc_TypeError, "context is a weir.Context, or None");
		return NULL;
	}
	if (!own || own->pid != getpid() || own->ending) {
		struct native_context *fresh = create(state->context_type, NULL, state);

		if (!fresh)
			return NULL;
		state->default_context = (PyObject *)fresh;
		Py_XDECREF((PyObject *)own);
		own = fresh;
	}
	return (struct native_context *)Py_NewRef((PyObject *)own);
}

void native_stay(struct native_context *context)
{
	context->inside++;
}

bool native_enter(struct native_context *context)
{
	if (context->ending) {
		native_raise_ending(context);
		return false;
	}
	native_stay(context);
	return true;
}

PyObject *native_raise_ending(const struct native_context *context)
{
	return native_raise_code(native_state_of((PyObject *)(uintptr_t)context), WEIR_CLOSED,
				 "the interpreter is ending");
}

void native_leave(struct native_context *context)
{
	context->inside--;
}

PyObject *native_default_context(PyObject *module, PyObject *none)
{
	(void)none;
	return (PyObject *)native_context_of(PyModule_GetState(module), NULL);
}

static PyObject *context_trim(PyObject *self, PyObject *none)
{
	struct native_context *context = (struct native_context *)self;
	uint64_t bytes;

	(void)none;
	native_stay(context);
	Py_BEGIN_ALLOW_THREADS
	bytes = weir_ctx_trim(context->ctx);
	Py_END_ALLOW_THREADS
	native_leave(context);
	return PyLong_FromUnsignedLongLong(bytes);
}

static PyObject *context_counters(PyObject *self, PyObject *none)
{
	struct weir_counters now;

	(void)none;
	weir_ctx_counters(((struct native_context *)self)->ctx, &now);
	return native_counters(&now);
}

static PyObject *context_choice(PyObject *self, PyObject *uri)
{
	struct native_context *context = (struct native_context *)self;
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_choice choice;
	PyObject *bytes = native_uri(uri);
	const char *path;
	int ret;

	if (!bytes)
		return NULL;
	path = PyBytes_AsString(bytes);
	native_stay(context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_ctx_choice(context->ctx, path, &choice, &err);
	Py_END_ALLOW_THREADS
	native_leave(context);
	Py_DECREF(bytes);
	if (ret < 0)
		return native_raise(native_state_of(self), &err);
	return Py_BuildValue("{s:s,s:N,s:I,s:I,s:K}", "kind", choice.kind, "direct",
			     PyBool_FromLong(choice.direct), "lanes", choice.lanes, "depth",
			     choice.depth, "request", (unsigned long long)choice.request_bytes);
}

static PyObject *context_write_trace(PyObject *self, PyObject *path)
{
	struct native_context *context = (struct native_context *)self;
	struct weir_error err = WEIR_ERROR_INIT;
	PyObject *bytes = native_uri(path);
	const char *name;
	int ret;

	if (!bytes)
		return NULL;
	name = PyBytes_AsString(bytes);
	native_stay(context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_ctx_trace_write(context->ctx, name, &err);
	Py_END_ALLOW_THREADS
	native_leave(context);
	Py_DECREF(bytes);
	if (ret < 0)
		return native_raise(native_state_of(self), &err);
	Py_RETURN_NONE;
}

/* put_memory(name, data): an object of memory://NAME. */
static PyObject *context_put_memory(PyObject *self, PyObject *args)
{
	struct native_context *context = (struct native_context *)self;
	struct weir_error err = WEIR_ERROR_INIT;
	const char *name;
	Py_buffer data;
	int ret;

	if (!PyArg_ParseTuple(args, "sy*", &name, &data))
		return NULL;
	native_stay(context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_memory_put(context->ctx, name, data.buf, (uint64_t)data.len, &err);
	Py_END_ALLOW_THREADS
	native_leave(context);
	PyBuffer_Release(&data);
	if (ret < 0)
		return native_raise(native_state_of(self), &err);
	Py_RETURN_NONE;
}

/* behave_memory(latency, jitter, bytes_per_second) of the objects of memory://. */
static PyObject *context_behave_memory(PyObject *self, PyObject *args)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_memory_opts opts = {.size = sizeof(opts)};
	PyObject *latency, *jitter = NULL;

	if (!PyArg_ParseTuple(args, "O|OO&", &latency, &jitter, native_take_u64,
			      &opts.bytes_per_second) ||
	    !native_seconds(latency, 0, &opts.latency_ns) ||
	    !native_seconds(jitter, 0, &opts.jitter_ns))
		return NULL;
	if (weir_memory_behave(((struct native_context *)self)->ctx, &opts, &err) < 0)
		return native_raise(native_state_of(self), &err);
	Py_RETURN_NONE;
}

static PyObject *context_pid(PyObject *self, void *none)
{
	(void)none;
	return PyLong_FromLong(((struct native_context *)self)->pid);
}

static PyMethodDef methods[] = {
	{"trim", context_trim, METH_NOARGS,
	 "trim() -> int\n\nGives back memory that is kept for the next load; says how much."},
	{"counters", context_counters, METH_NOARGS, "counters() -> dict[str, int]"},
	{"choice", context_choice, METH_O, "choice(uri) -> dict\n\nHow this URI is read."},
	{"write_trace", context_write_trace, METH_O,
	 "write_trace(path)\n\nWhat was traced, in Chrome's trace-event format."},
	{"put_memory", context_put_memory, METH_VARARGS,
	 "put_memory(name, data)\n\nMakes the object memory://NAME of a copy of the bytes."},
	{"behave_memory", context_behave_memory, METH_VARARGS,
	 "behave_memory(latency, jitter=0, bytes_per_second=0)\n\nHow memory:// answers; seconds."},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"pid", context_pid, NULL, "The process it belongs to.", NULL},
	{NULL},
};

static char doc[] =
	"Context(*, budget=0, pool=0, lanes=0, depth=0, request=0, trace_events=0, pin=0)\n\n"
	"What moves bytes, and the memory kept for it.  It belongs to one process.";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},         {Py_tp_new, context_new},   {Py_tp_dealloc, context_dealloc},
	{Py_tp_methods, methods}, {Py_tp_getset, attributes}, {0, NULL},
};

PyType_Spec native_context_spec = {
	.name = "weir._native.Context",
	.basicsize = sizeof(struct native_context),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
