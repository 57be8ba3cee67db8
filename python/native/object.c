/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: something opened by URI, for ranges of bytes.
 */
#include "native.h"

static struct native_object *wrap(struct native_state *state, struct native_context *context,
				  struct weir_object *object)
{
	struct native_object *self = PyObject_New(struct native_object, state->object_type);

	if (!self) {
		weir_object_unref(object);
		return NULL;
	}
	self->context = (struct native_context *)Py_NewRef((PyObject *)context);
	self->object = object;
	return self;
}

static void object_dealloc(PyObject *object)
{
	struct native_object *self = (struct native_object *)object;
	PyTypeObject *type = Py_TYPE(object);

	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	weir_object_unref(self->object);
	Py_END_ALLOW_THREADS
	native_leave(self->context);
	Py_DECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

/* Opens the one that is there, or with a size makes a new one. */
static PyObject *object_at(struct native_state *state, struct native_context *context,
			   PyObject *uri, const uint64_t *size, const struct weir_object_opts *opts)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_object *object = NULL;
	const char *path = PyBytes_AsString(uri);
	int ret;

	if (!native_enter(context))
		return NULL;
	Py_BEGIN_ALLOW_THREADS
	ret = size ? weir_object_create(context->ctx, path, *size, opts, &object, &err)
		   : weir_object_open(context->ctx, path, opts, &object, &err);
	Py_END_ALLOW_THREADS
	native_leave(context);
	return ret < 0 ? native_raise(state, &err) : (PyObject *)wrap(state, context, object);
}

PyObject *native_open_object(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"uri",  "context", "direct", "cache",
					    "live", "timeout", NULL};
	struct native_state *state = PyModule_GetState(module);
	struct weir_object_opts opts = {.size = sizeof(opts)};
	const char *direct = "auto", *cache = "leave";
	PyObject *uri, *asked = NULL, *timeout = NULL, *bytes, *object = NULL;
	struct native_context *context;
	int live = 0;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OsspO", (char **)names, &uri, &asked,
					 &direct, &cache, &live, &timeout) ||
	    !native_direct(state, direct, &opts.direct) ||
	    !native_cache(state, cache, &opts.cache) ||
	    !native_seconds(timeout, 0, &opts.timeout_ns) || !(bytes = native_uri(uri)))
		return NULL;
	opts.flags = live ? WEIR_OBJECT_LIVE : 0u;
	context = native_context_of(state, asked);
	if (context) {
		object = object_at(state, context, bytes, NULL, &opts);
		Py_DECREF((PyObject *)context);
	}
	Py_DECREF(bytes);
	return object;
}

/* ---- Writing ---- */

PyObject *native_create_object(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"uri", "nbytes", "context", "timeout", NULL};
	struct native_state *state = PyModule_GetState(module);
	struct weir_object_opts opts = {.size = sizeof(opts)};
	PyObject *uri, *asked = NULL, *timeout = NULL, *bytes, *object = NULL;
	struct native_context *context;
	uint64_t size;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&|$OO", (char **)names, &uri,
					 native_take_u64, &size, &asked, &timeout) ||
	    !native_seconds(timeout, 0, &opts.timeout_ns) || !(bytes = native_uri(uri)))
		return NULL;
	context = native_context_of(state, asked);
	if (context) {
		object = object_at(state, context, bytes, &size, &opts);
		Py_DECREF((PyObject *)context);
	}
	Py_DECREF(bytes);
	return object;
}

static PyObject *ended(struct native_object *self, int ret, const struct weir_error *err)
{
	native_leave(self->context);
	if (ret < 0)
		return native_raise(native_state_of((PyObject *)self), err);
	Py_RETURN_NONE;
}

static PyObject *object_commit(PyObject *object, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"durable", NULL};
	struct native_object *self = (struct native_object *)object;
	struct weir_error err = WEIR_ERROR_INIT;
	int durable = 0, ret;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$p", (char **)names, &durable))
		return NULL;
	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_object_commit(self->object, durable ? WEIR_DURABLE_DATA : WEIR_DURABLE_NO, &err);
	Py_END_ALLOW_THREADS
	return ended(self, ret, &err);
}

static PyObject *object_abort(PyObject *object, PyObject *none)
{
	struct native_object *self = (struct native_object *)object;
	struct weir_error err = WEIR_ERROR_INIT;
	int ret;

	(void)none;
	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_object_abort(self->object, &err);
	Py_END_ALLOW_THREADS
	return ended(self, ret, &err);
}

/* ---- Describing ---- */

static PyStructSequence_Field stat_fields[] = {
	{"nbytes", NULL},
	{"modified", "seconds since 1970"},
	{"direct_align", "file offsets of direct reads are multiples of it; 0: not possible"},
	{"memory_align", "and so are their addresses of this"},
	{"version", "changes when the content does"},
	{NULL},
};

PyStructSequence_Desc native_stat_desc = {"weir._native.Stat", "What an object is like.",
					  stat_fields, 5};

static PyObject *object_stat(PyObject *object, PyObject *none)
{
	struct native_state *state = native_state_of(object);
	struct native_object *self = (struct native_object *)object;
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_stat stat;
	int ret;

	(void)none;
	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	ret = weir_object_stat(self->object, &stat, &err);
	Py_END_ALLOW_THREADS
	native_leave(self->context);
	if (ret < 0)
		return native_raise(state, &err);
	return native_struct(state->stat_type,
			     (PyObject *[]){PyLong_FromUnsignedLongLong(stat.size_bytes),
					    PyFloat_FromDouble((double)stat.modified_ns / 1e9),
					    PyLong_FromUnsignedLong(stat.direct_align),
					    PyLong_FromUnsignedLong(stat.memory_align),
					    PyUnicode_FromString(stat.version)},
			     5);
}

static PyObject *object_uri(PyObject *self, void *none)
{
	(void)none;
	return PyUnicode_DecodeFSDefault(weir_object_uri(((struct native_object *)self)->object));
}

static PyObject *object_context(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef((PyObject *)((struct native_object *)self)->context);
}

static PyMethodDef methods[] = {
	{"stat", object_stat, METH_NOARGS, "stat() -> Stat"},
	{"commit", WITH_KEYWORDS(object_commit), METH_VARARGS | METH_KEYWORDS,
	 "commit(*, durable=False)\n\n"
	 "Of one that was created and written: gives it its name, whole; durable: and to the disk."},
	{"abort", object_abort, METH_NOARGS,
	 "abort()\n\nRemoves what was written; so does dropping the object before its commit."},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"uri", object_uri, NULL, "As it was opened.", NULL},
	{"context", object_context, NULL, NULL, NULL},
	{NULL},
};

static char doc[] = "Something opened by URI, pinned to its version.  See weir.Plan.range().";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_dealloc, object_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{0, NULL},
};

PyType_Spec native_object_spec = {
	.name = "weir._native.Object",
	.basicsize = sizeof(struct native_object),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
