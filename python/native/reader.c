/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The type weir._native.Reader: what fastsafetensor_3fs_reader is a thin face of.
 *
 * Arguments are taken as the package it replaces takes them: a number is anything that is one and no
 * float, an address has no sign.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "native.h"
#include "reader.h"

struct native_reader {
	PyObject_HEAD struct native_context *context; /* counted */
	struct reader core;
};

static struct reader *core_of(PyObject *self)
{
	return &((struct native_reader *)self)->core;
}

static struct native_context *context_of(PyObject *self)
{
	return ((struct native_reader *)self)->context;
}

/* False, with an exception set, in a process that did not make it: there its lock may be held. */
static bool is_ours(PyObject *self)
{
	if (core_of(self)->pid == getpid())
		return true;
	native_raise_code(native_state_of(self), WEIR_CLOSED,
			  "this reader was made before a fork: make one in each process");
	return false;
}

/* ---- Arguments ---- */

/* As a Python int; a new reference. */
static PyObject *number(PyObject *value)
{
	if (PyIndex_Check(value))
		return PyNumber_Index(value);
	if (PyNumber_Check(value) && !PyFloat_Check(value))
		return PyNumber_Long(value);
	PyErr_Format(PyExc_TypeError, "an integer is wanted, not %R", (PyObject *)Py_TYPE(value));
	return NULL;
}

static int out_of_range(PyObject *value)
{
	PyErr_Clear();
	PyErr_Format(PyExc_TypeError, "%R is out of range", value);
	return 0;
}

static int take_i64(PyObject *value, void *out)
{
	PyObject *index = number(value);

	if (!index)
		return 0;
	*(int64_t *)out = PyLong_AsLongLong(index);
	Py_DECREF(index);
	return PyErr_Occurred() ? out_of_range(value) : 1;
}

static int take_u64(PyObject *value, void *out)
{
	PyObject *index = number(value);

	if (!index)
		return 0;
	*(uint64_t *)out = PyLong_AsUnsignedLongLong(index);
	Py_DECREF(index);
	return PyErr_Occurred() ? out_of_range(value) : 1;
}

/* "rings", "fallback", "files". */
static int take_policy(PyObject *value, void *out)
{
	static const char *const words[] = {"rings", "fallback", "files"};

	for (int i = 0; PyUnicode_Check(value) && i < 3; i++)
		if (PyUnicode_CompareWithASCIIString(value, words[i]) == 0) {
			*(enum reader_policy *)out = (enum reader_policy)i;
			return 1;
		}
	PyErr_SetString(PyExc_ValueError, "a policy is \"rings\", \"fallback\" or \"files\"");
	return 0;
}

/* ---- Calls ---- */

/* What a call needs to look at signals: a thread that waits takes the interpreter's lock for it. */
struct signals {
	PyThreadState *state;
	const struct native_context *context;
	bool raised;
};

static bool look_at_signals(void *arg)
{
	struct signals *signals = arg;

	PyEval_RestoreThread(signals->state);
	signals->raised |= PyErr_CheckSignals() != 0;
	signals->state = PyEval_SaveThread();
	return signals->raised || signals->context->ending;
}

/* The exception for a failed call, with the path as it was given; NULL. */
static PyObject *raise(PyObject *self, const struct signals *signals, struct weir_error *err,
		       const char *path)
{
	size_t len = strlen(path), room = sizeof(err->object) - 1;

	if (signals->raised)
		return NULL;
	if (len <= room)
		memcpy(err->object, path, len + 1);
	return native_raise(native_state_of(self), err);
}

static PyObject *read_chunked(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"path",         "dev_ptr",    "file_offset",
					    "total_length", "chunk_size", NULL};
	struct weir_error err = WEIR_ERROR_INIT;
	struct signals signals = {NULL, context_of(self), false};
	struct reader_call call = {.reader = core_of(self),
				   .err = &err,
				   .interrupted = look_at_signals,
				   .interrupted_arg = &signals};
	struct reader_range range = {.chunk = 0};
	PyObject *path, *bytes = NULL;
	uint64_t address;
	int64_t got;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&O&O&|O&", (char **)names, &path,
					 take_u64, &address, take_i64, &range.offset, take_i64,
					 &range.length, take_i64, &range.chunk) ||
	    !is_ours(self) || !(bytes = native_uri(path)))
		return NULL;
	range.address = (void *)(uintptr_t)address; /* the caller's word for it, as ever */
	if (!native_enter(context_of(self))) {
		Py_DECREF(bytes);
		return NULL;
	}
	signals.state = PyEval_SaveThread();
	got = reader_call_begin(&call);
	if (got == 0) {
		got = reader_read(&call, PyBytes_AsString(bytes), &range);
		reader_call_end(&call);
	}
	PyEval_RestoreThread(signals.state);
	native_leave(context_of(self));
	if (got < 0)
		raise(self, &signals, &err, PyBytes_AsString(bytes));
	Py_DECREF(bytes);
	return got < 0 ? NULL : PyLong_FromLongLong(got);
}

/* ---- Headers ---- */

/* The paths of one call, each once, and what was read for each. */
struct paths {
	PyObject **keys;  /* as they were given */
	PyObject **bytes; /* as the system wants them */
	struct reader_header *headers;
	Py_ssize_t count;
};

static void paths_fini(struct paths *paths)
{
	for (Py_ssize_t i = 0; i < paths->count; i++) {
		Py_DECREF(paths->keys[i]);
		Py_DECREF(paths->bytes[i]);
		free(paths->headers[i].text);
	}
	free(paths->keys);
	free(paths->bytes);
	free(paths->headers);
}

static bool paths_add(struct paths *paths, PyObject *seen, PyObject *key)
{
	PyObject *bytes;
	int there = PySet_Contains(seen, key);

	if (there)
		return there > 0;
	bytes = native_uri(key);
	if (!bytes)
		return false;
	paths->keys[paths->count] = Py_NewRef(key);
	paths->bytes[paths->count] = bytes;
	paths->headers[paths->count++] = (struct reader_header){.path = PyBytes_AsString(bytes)};
	return PySet_Add(seen, key) == 0;
}

static bool paths_init(struct paths *paths, PyObject *list)
{
	PyObject *items = PySequence_List(list), *seen = PySet_New(NULL);
	Py_ssize_t count = items ? PyList_Size(items) : 0;
	size_t room = (size_t)count + 1;
	bool fine = items && seen;

	*paths = (struct paths){calloc(room, sizeof(PyObject *)), calloc(room, sizeof(PyObject *)),
				calloc(room, sizeof(struct reader_header)), 0};
	if (fine && (!paths->keys || !paths->bytes || !paths->headers)) {
		PyErr_NoMemory();
		fine = false;
	}
	for (Py_ssize_t i = 0; fine && i < count; i++)
		fine = paths_add(paths, seen, PyList_GetItem(items, i));
	Py_XDECREF(items);
	Py_XDECREF(seen);
	if (!fine)
		paths_fini(paths);
	return fine;
}

static PyObject *raise_utf8(PyObject *self, const struct reader_header *header)
{
	struct weir_error err = WEIR_ERROR_INIT;

	PyErr_Clear();
	err.code = WEIR_H_UTF8;
	err.offset_bytes = 8;
	snprintf(err.object, sizeof(err.object), "%s", header->path);
	snprintf(err.message, sizeof(err.message), "%.400s: its header is not UTF-8", header->path);
	return native_raise(native_state_of(self), &err);
}

/* path: (json, where the data begins, size of the file). */
static PyObject *answer(PyObject *self, const struct paths *paths)
{
	PyObject *all = PyDict_New();

	for (Py_ssize_t i = 0; all && i < paths->count; i++) {
		const struct reader_header *header = &paths->headers[i];
		PyObject *text = PyUnicode_DecodeUTF8(header->text, (Py_ssize_t)header->bytes,
						      NULL);
		PyObject *item;

		if (!text) {
			if (PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
				raise_utf8(self, header);
			Py_CLEAR(all);
			break;
		}
		item = Py_BuildValue("NKK", text, (unsigned long long)header->bytes + 8,
				     (unsigned long long)header->file_bytes);
		if (!item || PyDict_SetItem(all, paths->keys[i], item) < 0)
			Py_CLEAR(all);
		Py_XDECREF(item);
	}
	return all;
}

static PyObject *read_headers(PyObject *self, const struct paths *paths, int64_t width)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct signals signals = {NULL, context_of(self), false};
	struct reader_call call = {.reader = core_of(self),
				   .err = &err,
				   .interrupted = look_at_signals,
				   .interrupted_arg = &signals};
	int ret;

	if (!native_enter(context_of(self)))
		return NULL;
	signals.state = PyEval_SaveThread();
	ret = reader_call_begin(&call);
	if (ret == 0) {
		ret = reader_headers(&call, paths->headers, (uint64_t)paths->count,
				     width < 1 ? 1 : (uint64_t)width);
		reader_call_end(&call);
	}
	PyEval_RestoreThread(signals.state);
	native_leave(context_of(self));
	return ret < 0 ? raise(self, &signals, &err, err.object) : answer(self, paths);
}

static PyObject *read_headers_batch(PyObject *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"paths", "num_threads", NULL};
	PyObject *list, *all;
	struct paths paths;
	int64_t width = 8;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O&", (char **)names, &list, take_i64,
					 &width) ||
	    !is_ours(self) || !paths_init(&paths, list))
		return NULL;
	all = paths.count ? read_headers(self, &paths, width) : PyDict_New();
	paths_fini(&paths);
	return all;
}

/* ---- The rest ---- */

static PyObject *reader_py_close(PyObject *self, PyObject *none)
{
	(void)none;
	if (!is_ours(self))
		return NULL;
	native_stay(context_of(self));
	Py_BEGIN_ALLOW_THREADS
	reader_close(core_of(self));
	Py_END_ALLOW_THREADS
	native_leave(context_of(self));
	Py_RETURN_NONE;
}

static PyObject *reader_py_cancel(PyObject *self, PyObject *none)
{
	(void)none;
	if (!is_ours(self))
		return NULL;
	native_stay(context_of(self));
	Py_BEGIN_ALLOW_THREADS
	reader_cancel(core_of(self));
	Py_END_ALLOW_THREADS
	native_leave(context_of(self));
	Py_RETURN_NONE;
}

static PyObject *has(PyObject *self, PyObject *path)
{
	PyObject *bytes, *found;

	if (!is_ours(self) || !(bytes = native_uri(path)))
		return NULL;
	found = PyBool_FromLong(reader_has(core_of(self), PyBytes_AsString(bytes)));
	Py_DECREF(bytes);
	return found;
}

/* With the reader's lock held, which nobody keeps while he wants the interpreter's. */
static PyObject *list_paths(const struct reader *core)
{
	PyObject *all = PyList_New(0);

	for (unsigned i = 0; all && i < READER_BUCKETS; i++)
		for (struct reader_file *file = core->files[i]; all && file; file = file->next) {
			PyObject *path = PyUnicode_DecodeFSDefault(file->path);

			if (!path || PyList_Append(all, path) < 0)
				Py_CLEAR(all);
			Py_XDECREF(path);
		}
	return all;
}

static PyObject *paths(PyObject *self, PyObject *none)
{
	struct reader *core = core_of(self);
	PyObject *all;

	(void)none;
	if (!is_ours(self))
		return NULL;
	pthread_mutex_lock(&core->lock);
	all = list_paths(core);
	pthread_mutex_unlock(&core->lock);
	return all;
}

static PyObject *counters(PyObject *self, PyObject *none)
{
	struct reader *core = core_of(self);
	struct reader_counters now;

	(void)none;
	if (!is_ours(self))
		return NULL;
	pthread_mutex_lock(&core->lock);
	now = core->counters;
	pthread_mutex_unlock(&core->lock);
	return Py_BuildValue("{s:K,s:K,s:K,s:K,s:K}", "reads", (unsigned long long)now.reads,
			     "headers", (unsigned long long)now.headers, "opens",
			     (unsigned long long)now.opens, "ring_bytes",
			     (unsigned long long)now.ring_bytes, "file_bytes",
			     (unsigned long long)now.file_bytes);
}

static PyObject *window(PyObject *self, void *none)
{
	void *memory;

	(void)none;
	if (!is_ours(self))
		return NULL;
	memory = reader_window(core_of(self));
	if (!memory)
		return PyErr_NoMemory();
	return PyLong_FromUnsignedLongLong((uintptr_t)memory);
}

static PyObject *window_bytes(PyObject *self, void *none)
{
	(void)none;
	return PyLong_FromUnsignedLongLong(core_of(self)->window_bytes);
}

static PyObject *get_timeout(PyObject *self, void *none)
{
	int64_t timeout = core_of(self)->timeout_ns;

	(void)none;
	if (timeout == WEIR_FOREVER)
		Py_RETURN_NONE;
	return PyFloat_FromDouble((double)timeout / 1e9);
}

static int set_timeout(PyObject *self, PyObject *value, void *none)
{
	struct reader *core = core_of(self);
	int64_t timeout;

	(void)none;
	if (!is_ours(self) || !native_seconds(value, WEIR_FOREVER, &timeout))
		return -1;
	pthread_mutex_lock(&core->lock);
	core->timeout_ns = timeout;
	pthread_mutex_unlock(&core->lock);
	return 0;
}

static PyObject *get_policy(PyObject *self, void *none)
{
	static const char *const words[] = {"rings", "fallback", "files"};

	(void)none;
	return PyUnicode_FromString(words[core_of(self)->policy]);
}

static int set_policy(PyObject *self, PyObject *value, void *none)
{
	struct reader *core = core_of(self);
	enum reader_policy policy;

	(void)none;
	if (!is_ours(self) || !value || !take_policy(value, &policy))
		return -1;
	pthread_mutex_lock(&core->lock);
	core->policy = policy;
	pthread_mutex_unlock(&core->lock);
	return 0;
}

/* ---- The type ---- */

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"window", "policy", "timeout", "context", NULL};
	struct native_state *state = PyType_GetModuleState(type);
	PyObject *timeout = NULL, *context = NULL;
	enum reader_policy policy = READER_RINGS;
	struct native_reader *self;
	uint64_t bytes;
	int64_t timeout_ns;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&|$O&OO", (char **)names, take_u64, &bytes,
					 take_policy, &policy, &timeout, &context) ||
	    !native_seconds(timeout, WEIR_FOREVER, &timeout_ns))
		return NULL;
	if (bytes == 0)
		return native_raise_code(state, WEIR_ARG, "a staging area of 0 bytes");
	self = PyObject_New(struct native_reader, type);
	if (!self)
		return NULL;
	memset(&self->core, 0, sizeof(self->core));
	self->context = native_context_of(state, context);
	reader_init(&self->core, self->context ? self->context->ctx : NULL, bytes);
	self->core.policy = policy;
	self->core.timeout_ns = timeout_ns;
	if (!self->context)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static void reader_dealloc(PyObject *object)
{
	struct native_reader *self = (struct native_reader *)object;
	PyTypeObject *type = Py_TYPE(object);

	if (self->context)
		native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	reader_fini(&self->core);
	Py_END_ALLOW_THREADS
	if (self->context)
		native_leave(self->context);
	Py_XDECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

static PyMethodDef methods[] = {
	{"read_chunked", WITH_KEYWORDS(read_chunked), METH_VARARGS | METH_KEYWORDS,
	 "read_chunked(path, dev_ptr, file_offset, total_length, chunk_size=0) -> int\n\n"
	 "Bytes of a file to an address (0: counted and dropped); how many: fewer only at the end."},
	{"read_headers_batch", WITH_KEYWORDS(read_headers_batch), METH_VARARGS | METH_KEYWORDS,
	 "read_headers_batch(paths, num_threads=8) -> dict\n\n"
	 "path: (JSON text, where the data begins, size of the file).  The files stay open."},
	{"close", reader_py_close, METH_NOARGS,
	 "close()\n\nCloses all files; reading opens again."},
	{"cancel", reader_py_cancel, METH_NOARGS, "cancel()\n\nEnds every call under way."},
	{"has", has, METH_O, "has(path) -> bool\n\nIs it open?"},
	{"paths", paths, METH_NOARGS, "paths() -> list[str]\n\nWhat is open."},
	{"counters", counters, METH_NOARGS, "counters() -> dict[str, int]"},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"window", window, NULL, "Address of memory of window_bytes, for callers that want one.",
	 NULL},
	{"window_bytes", window_bytes, NULL, NULL, NULL},
	{"timeout", get_timeout, set_timeout, "Seconds for each call, or None.", NULL},
	{"policy", get_policy, set_policy, "\"rings\", \"fallback\" or \"files\".", NULL},
	{NULL},
};

static PyType_Slot slots[] = {
	{Py_tp_doc, (void *)"Reader(window, *, policy='rings', timeout=None, context=None)\n\n"
			    "Reads ranges of files into addresses; files stay open until close()."},
	{Py_tp_new, reader_new},
	{Py_tp_dealloc, reader_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{0, NULL},
};

PyType_Spec native_reader_spec = {
	.name = "weir._native.Reader",
	.basicsize = sizeof(struct native_reader),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
