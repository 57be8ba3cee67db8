/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors for DLPack.
 *
 * Memory of a CUDA device is handed over as such: its bytes are there for every stream, so there is nothing
 * that the consumer's would have to wait for.
 *
 * What is handed over holds a reference of the library's to the memory, and none of Python's: its
 * deleter may run in any thread, without the interpreter's lock, and after the interpreter has ended.
 */
#include <stdlib.h>
#include <string.h>

#include "tensor.h"

#define COPY_ALIGN 64

/* What one exchange owns. */
struct share {
	struct weir_buffer *buffer; /* counted; NULL: no bytes, or a copy */
	void *copy;
	union {
		struct dl_legacy legacy;
		struct dl_versioned versioned;
	};
	int64_t shape[]; /* and strides */
};

static void end(struct share *share)
{
	weir_buffer_unref(share->buffer);
	free(share->copy);
	free(share);
}

static void delete_legacy(struct dl_legacy *self)
{
	end(self->owner);
}

static void delete_versioned(struct dl_versioned *self)
{
	end(self->owner);
}

/* Of a capsule that nobody consumed; a consumed one has another name. */
static void capsule_gone(PyObject *capsule)
{
	if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
		struct dl_versioned *tensor = PyCapsule_GetPointer(capsule, "dltensor_versioned");

		tensor->deleter(tensor);
	} else if (PyCapsule_IsValid(capsule, "dltensor")) {
		struct dl_legacy *tensor = PyCapsule_GetPointer(capsule, "dltensor");

		tensor->deleter(tensor);
	}
}

/* To the host's memory, from a device's too. */
static bool copy_bytes(struct native_state *state, struct share *share,
		       const struct native_buffer *buffer)
{
	struct weir_error err = WEIR_ERROR_INIT;
	size_t bytes = (size_t)buffer->size;
	size_t room = (bytes + COPY_ALIGN) / COPY_ALIGN * COPY_ALIGN;

	int ret;

	share->copy = aligned_alloc(COPY_ALIGN, room);
	if (!share->copy) {
		PyErr_NoMemory();
		return false;
	}
	Py_BEGIN_ALLOW_THREADS
	ret = native_buffer_read(buffer, share->copy, &err);
	Py_END_ALLOW_THREADS
	if (ret < 0)
		native_raise(state, &err);
	return ret == 0;
}

static struct share *share_of(const struct native_tensor *self, bool copy)
{
	size_t rank = (size_t)self->rank;
	struct share *share = calloc(1, sizeof(*share) + 2 * rank * sizeof(share->shape[0]));

	if (!share) {
		PyErr_NoMemory();
		return NULL;
	}
	for (size_t i = 0; i < rank; i++) {
		share->shape[i] = self->extents[i];
		share->shape[rank + i] = self->strides[i] / self->kind.item_bytes;
	}
	if (copy && !copy_bytes(native_state_of((PyObject *)self->buffer), share, self->buffer)) {
		end(share);
		return NULL;
	}
	if (!copy && self->buffer->buffer)
		share->buffer = weir_buffer_ref(self->buffer->buffer);
	return share;
}

static struct dl_device device_of(const struct native_buffer *buffer)
{
	return buffer->device < 0 ? (struct dl_device){DL_CPU, 0}
				  : (struct dl_device){DL_CUDA, buffer->device};
}

static struct dl_tensor describe(const struct native_tensor *self, struct share *share,
				 struct dl_dtype dtype)
{
	return (struct dl_tensor){
		.data = share->copy ? share->copy : self->buffer->data,
		.device = share->copy ? (struct dl_device){DL_CPU, 0} : device_of(self->buffer),
		.rank = self->rank,
		.dtype = dtype,
		.shape = share->shape,
		.strides = share->shape + self->rank,
	};
}

static PyObject *wrap_legacy(const struct native_tensor *self, struct share *share)
{
	share->legacy = (struct dl_legacy){
		.tensor = describe(self, share, self->kind.dl),
		.owner = share,
		.deleter = delete_legacy,
	};
	return PyCapsule_New(&share->legacy, "dltensor", capsule_gone);
}

static PyObject *wrap_versioned(const struct native_tensor *self, struct share *share, int minor)
{
	bool newer = minor >= 1 && self->kind.dl_1_1.bits;

	share->versioned = (struct dl_versioned){
		.major = 1,
		.minor = newer ? 1 : 0,
		.owner = share,
		.deleter = delete_versioned,
		.flags = (share->copy ? DL_IS_COPIED : 0u) |
			 (!share->copy && self->buffer->read_only ? DL_READ_ONLY : 0u),
		.tensor = describe(self, share, newer ? self->kind.dl_1_1 : self->kind.dl),
	};
	return PyCapsule_New(&share->versioned, "dltensor_versioned", capsule_gone);
}

/* ---- What the consumer asks for ---- */

struct asked {
	int major, minor; /* 0, 0: before 1.0 */
	bool copy;
};

/* Two numbers; anything else is a TypeError. */
static bool read_pair(PyObject *pair, int *first, int *second, const char *told)
{
	if (!PyTuple_Check(pair) || PyTuple_Size(pair) != 2) {
		PyErr_SetString(PyExc_TypeError, told);
		return false;
	}
	return PyArg_ParseTuple(pair, "ii", first, second);
}

static bool refuse(const char *why)
{
	PyErr_SetString(PyExc_BufferError, why);
	return false;
}

/* Where to: its own device, or the host, which is a copy. */
static bool read_device(PyObject *device, struct dl_device own, bool *to_host)
{
	int kind, number;

	*to_host = own.kind == DL_CPU;
	if (!device || device == Py_None)
		return true;
	if (!read_pair(device, &kind, &number, "dl_device is (kind, number)"))
		return false;
	*to_host = kind == DL_CPU;
	if (*to_host || (kind == own.kind && number == own.number))
		return true;
	return refuse(own.kind == DL_CPU
			      ? "this tensor is in memory of the host, and stays there"
			      : "this tensor can be had on its own device, or copied to the host");
}

/* 1 and 2 are the default streams, others are addresses; -1: the consumer wants no waiting. */
static bool check_stream(PyObject *stream, struct dl_device own)
{
	long long value;

	if (!stream || stream == Py_None)
		return true;
	if (own.kind == DL_CPU)
		return refuse("memory of the host has no stream");
	value = PyLong_AsLongLong(stream);
	if (value == -1 && PyErr_Occurred())
		return false;
	if (value == 0)
		return refuse("stream 0 could be either default stream: say 1 or 2");
	return value >= -1 || refuse("a stream is a positive number, or -1");
}

static bool read_copy(PyObject *copy, bool to_host, struct dl_device own, bool *out)
{
	int wants = copy == Py_None ? 0 : PyObject_IsTrue(copy);

	if (wants < 0)
		return false;
	*out = wants || (to_host && own.kind != DL_CPU);
	if (*out && !wants && copy != Py_None)
		return refuse("what is on a device comes to the host as a copy");
	return !*out || to_host || refuse("no copy on the device is made: one to the host is");
}

static bool read_asked(PyObject *args, PyObject *kwargs, struct dl_device own, struct asked *asked)
{
	static const char *const names[] = {"stream", "max_version", "dl_device", "copy", NULL};
	PyObject *stream = NULL, *version = Py_None, *device = NULL, *copy = Py_None;
	bool to_host;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO", (char **)names, &stream, &version,
					 &device, &copy) ||
	    !check_stream(stream, own) || !read_device(device, own, &to_host) ||
	    !read_copy(copy, to_host, own, &asked->copy))
		return false;
	asked->major = asked->minor = 0;
	if (version != Py_None &&
	    !read_pair(version, &asked->major, &asked->minor, "max_version is (major, minor)"))
		return false;
	if (asked->major > 1)
		asked->minor = 1;
	return true;
}

PyObject *native_tensor_dlpack(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct native_tensor *self = (struct native_tensor *)object;
	struct asked asked;
	struct share *share;
	PyObject *capsule;

	if (!read_asked(args, kwargs, device_of(self->buffer), &asked))
		return NULL;
	if (asked.major < 1 && self->buffer->read_only && !asked.copy) {
		PyErr_SetString(PyExc_BufferError,
				"read-only memory needs a consumer of DLPack 1.0, or a copy");
		return NULL;
	}
	share = share_of(self, asked.copy);
	if (!share)
		return NULL;
	capsule = asked.major < 1 ? wrap_legacy(self, share)
				  : wrap_versioned(self, share, asked.minor);
	if (!capsule)
		end(share);
	return capsule;
}

PyObject *native_tensor_dlpack_device(PyObject *self, PyObject *none)
{
	struct dl_device own = device_of(((struct native_tensor *)self)->buffer);

	(void)none;
	return Py_BuildValue("(ii)", (int)own.kind, (int)own.number);
}
