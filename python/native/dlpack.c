/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors for DLPack.
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

static bool copy_bytes(struct share *share, const struct native_buffer *buffer)
{
	size_t bytes = (size_t)buffer->size;
	size_t room = (bytes + COPY_ALIGN) / COPY_ALIGN * COPY_ALIGN;

	share->copy = aligned_alloc(COPY_ALIGN, room);
	if (!share->copy) {
		PyErr_NoMemory();
		return false;
	}
	Py_BEGIN_ALLOW_THREADS
	memcpy(share->copy, buffer->data, bytes);
	Py_END_ALLOW_THREADS
	return true;
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
	if (copy && !copy_bytes(share, self->buffer)) {
		free(share);
		return NULL;
	}
	if (!copy && self->buffer->buffer)
		share->buffer = weir_buffer_ref(self->buffer->buffer);
	return share;
}

static struct dl_tensor describe(const struct native_tensor *self, struct share *share,
				 struct dl_dtype dtype)
{
	return (struct dl_tensor){
		.data = share->copy ? share->copy : self->buffer->data,
		.device = {DL_CPU, 0},
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

static bool only_host(PyObject *device)
{
	int kind, number;

	if (!device || device == Py_None)
		return true;
	if (!read_pair(device, &kind, &number, "dl_device is (kind, number)"))
		return false;
	if (kind == DL_CPU)
		return true;
	PyErr_SetString(PyExc_BufferError, "this tensor is in memory of the host, and stays there");
	return false;
}

static bool no_stream(PyObject *stream)
{
	if (!stream || stream == Py_None)
		return true;
	PyErr_SetString(PyExc_BufferError, "memory of the host has no stream");
	return false;
}

static bool read_asked(PyObject *args, PyObject *kwargs, struct asked *asked)
{
	static const char *const names[] = {"stream", "max_version", "dl_device", "copy", NULL};
	PyObject *stream = NULL, *version = Py_None, *device = NULL, *copy = Py_None;
	int wants;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO", (char **)names, &stream, &version,
					 &device, &copy) ||
	    !no_stream(stream) || !only_host(device))
		return false;
	asked->major = asked->minor = 0;
	if (version != Py_None &&
	    !read_pair(version, &asked->major, &asked->minor, "max_version is (major, minor)"))
		return false;
	if (asked->major > 1)
		asked->minor = 1;
	wants = PyObject_IsTrue(copy);
	asked->copy = wants == 1;
	return wants >= 0;
}

PyObject *native_tensor_dlpack(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct native_tensor *self = (struct native_tensor *)object;
	struct asked asked;
	struct share *share;
	PyObject *capsule;

	if (!read_asked(args, kwargs, &asked))
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
	(void)self, (void)none;
	return Py_BuildValue("(ii)", DL_CPU, 0);
}
