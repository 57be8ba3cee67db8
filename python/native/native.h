/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of weir._native share.
 *
 * The module is a thin face of include/weir/: one heap type for each noun, no policy.  It keeps to
 * CPython's limited API (3.11), so one build serves every later Python.
 *
 *	Context   owns a weir_ctx; every other object holds a reference to its Context
 *	Model     owns a weir_model; closed when nothing reads it any more
 *	Plan      owns a weir_plan until a transfer takes it, and what its destinations need
 *	Transfer  owns a weir_transfer; keeps destinations alive until they are released
 *	Queue     owns a weir_queue; keeps the transfers that post to it alive until they are finished
 *	Buffer    owns one reference to a weir_buffer
 *	Reader    owns a reader of files into addresses (reader.h), with its open files
 *	Tensor    a Buffer with a type and a shape, for DLPack and the buffer protocol
 *
 * Everything that can block runs without the interpreter's lock.  State is per module and nothing is
 * static, so each interpreter of a process has its own.
 */
#ifndef NATIVE_H
#define NATIVE_H

#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <unistd.h>

#include "weir/weir.h"

struct native_state {
	PyObject *make_error; /* weir.errors.from_native */
	PyObject *default_context;
	struct native_context *contexts; /* all that live; borrowed: they take themselves out */
	pid_t told_pid;                  /* the process whose interpreter ends them when it ends */
	uint32_t last_serial;
	PyTypeObject *context_type, *model_type, *object_type, *plan_type, *transfer_type,
		*queue_type, *buffer_type, *reader_type, *tensor_type;
	PyTypeObject *tensor_info_type, *shard_type, *done_type, *stat_type;
};

struct native_context {
	PyObject_HEAD struct weir_ctx *ctx;
	pid_t pid;
	struct native_context *next;       /* of the module's */
	struct native_transfer *transfers; /* that run; borrowed: they take themselves out */
	unsigned inside; /* calls on it under way without the interpreter's lock */
	bool ending;     /* the interpreter is: no further ones */
};

struct native_model {
	PyObject_HEAD struct native_context *context;
	struct weir_model *model;
	unsigned users; /* plans and transfers that read it, and calls under way */
	bool closed;
	PyObject *names;   /* tuple, made on demand */
	PyObject *tensors; /* dict of name to TensorInfo, made on demand */
};

struct native_object {
	PyObject_HEAD struct native_context *context;
	struct weir_object *object;
};

struct native_buffer {
	PyObject_HEAD struct weir_buffer *buffer; /* NULL: no bytes */
	void *data;
	uint64_t size;
	int device; /* CUDA; -1: the host */
	bool read_only;
};

/* Functions with keywords have another type than a method table's; this is the documented way. */
#define WITH_KEYWORDS(function) (PyCFunction)(void (*)(void))(function)

/* ---- module.c ---- */

extern struct PyModuleDef native_module;

/* Of the module that made this object's type, and of the running module. */
struct native_state *native_state_of(PyObject *self);

/* ---- error.c ---- */

/* Raises the exception of weir.errors that the class asks for; returns NULL. */
PyObject *native_raise(struct native_state *state, const struct weir_error *err);

/* The same exception as a value; NULL with an exception set where even that failed. */
PyObject *native_exception(struct native_state *state, const struct weir_error *err);

/* Raises a failure of our own making. */
PyObject *native_raise_code(struct native_state *state, int code, const char *message);

/* ---- value.c: what comes in from Python ---- */

/* Seconds, or None, to nanoseconds; None is `absent`.  False: with an exception set. */
bool native_seconds(PyObject *seconds, int64_t absent, int64_t *out);

/* A path or a URI as bytes; a new reference, or NULL. */
PyObject *native_uri(PyObject *uri);

/* A number of 64 bits without a sign. */
bool native_u64(PyObject *number, uint64_t *out);

/* Likewise for "O&" of PyArg_Parse...: what does not fit is an OverflowError, where "K" and "I" cut. */
int native_take_u64(PyObject *number, void *out);
int native_take_u32(PyObject *number, void *out);

/* "auto", "on", "off" and "leave", "fill". */
bool native_direct(struct native_state *state, const char *word, int *out);
bool native_cache(struct native_state *state, const char *word, int *out);

/*
 * A wait in slices, so that signals are seen and objects can end under it:
 *
 *	native_slices_begin(&slices, timeout)
 *	do ... wait for native_slice(&slices) ... while (timed out && native_slices_next(&slices));
 *
 * next() is false at the deadline, and where a signal's handler raised (then an exception is set).
 */
#define NATIVE_SLICE_NS 50000000

struct native_slices {
	int64_t deadline_ns; /* of CLOCK_MONOTONIC; WEIR_FOREVER */
};

int64_t native_now_ns(void); /* of CLOCK_MONOTONIC */

bool native_slices_begin(struct native_slices *slices, PyObject *timeout);
bool native_slices_next(struct native_slices *slices);
int64_t native_slice(const struct native_slices *slices); /* safe without the interpreter's lock */

/* A struct sequence of values that are all new references or NULL; takes them over. */
PyObject *native_struct(PyTypeObject *type, PyObject *const *values, Py_ssize_t count);

/* ---- counters.c ---- */

PyObject *native_counters(const struct weir_counters *counters);

/* ---- context.c ---- */

/*
 * The context an argument means: itself, or this process' default one for None and NULL.  A new
 * reference.  In a forked child the default is a new context.
 */
struct native_context *native_context_of(struct native_state *state, PyObject *context);

PyObject *native_default_context(PyObject *module, PyObject *none);

/*
 * Around each call that runs without the interpreter's lock and uses the context, or what was made from
 * it.  enter() raises and is false where the interpreter is ending.  What only gives back counts itself
 * by stay(), which never refuses.
 */
bool native_enter(struct native_context *context);
void native_stay(struct native_context *context);
void native_leave(struct native_context *context);

/* What enter() raises, for waits that see it happen. */
PyObject *native_raise_ending(const struct native_context *context);

/* ---- ending.c ---- */

void native_context_known(struct native_state *state, struct native_context *context);
void native_context_gone(struct native_state *state, struct native_context *context);

/* Of this process, at the end of its interpreter: all of them are closed, within seconds. */
PyObject *native_end(PyObject *module, PyObject *none);

/* ---- model.c, object.c ---- */

PyObject *native_open(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *native_open_object(PyObject *module, PyObject *args, PyObject *kwargs);
PyObject *native_create_object(PyObject *module, PyObject *args, PyObject *kwargs);

/* The open model of an argument, counted as in use; NULL with an exception set. */
struct native_model *native_model_use(struct native_state *state, PyObject *model);
void native_model_release(struct native_model *model);

/* The index of a tensor that is given by name or number; false with KeyError or IndexError set. */
bool native_model_index(struct native_model *model, PyObject *tensor, uint64_t *out);

/* ---- buffer.c ---- */

/* Takes over the reference to `buffer`, also when it fails.  device: as there, for one of no bytes. */
PyObject *native_buffer_new(struct native_state *state, struct weir_buffer *buffer, void *data,
			    uint64_t size, int device);

/* All of it to memory of the host; without the interpreter's lock. */
int native_buffer_read(const struct native_buffer *buffer, void *to, struct weir_error *err);

/* For the buffer protocol; false with BufferError set. */
bool native_buffer_on_host(const struct native_buffer *buffer, Py_buffer *view);

/* ---- The types, for module.c ---- */

extern PyType_Spec native_context_spec, native_model_spec, native_object_spec, native_plan_spec,
	native_transfer_spec, native_queue_spec, native_buffer_spec, native_reader_spec,
	native_tensor_spec;
extern PyStructSequence_Desc native_tensor_info_desc, native_shard_desc, native_done_desc,
	native_stat_desc;

#endif
