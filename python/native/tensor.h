/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NATIVE_TENSOR_H
#define NATIVE_TENSOR_H

#include "dlpack.h"
#include "native.h"

/* What the protocols call a type; for those a protocol lacks, integers of its size. */
struct tensor_kind {
	const char *format;     /* of the buffer protocol */
	uint8_t item_bytes;     /* 1 where elements are packed into bytes */
	struct dl_dtype dl;     /* every consumer knows it */
	struct dl_dtype dl_1_1; /* what 1.1 adds; bits 0: nothing */
};

struct native_tensor {
	PyObject_HEAD struct native_buffer *buffer;
	PyObject *dtype, *shape;
	struct tensor_kind kind;
	int rank;
	/* As the protocols see it: packed elements count as bytes, in the last dimension. */
	Py_ssize_t *extents, *strides; /* strides in bytes */
};

/* ---- dlpack.c ---- */

PyObject *native_tensor_dlpack(PyObject *self, PyObject *args, PyObject *kwargs);
PyObject *native_tensor_dlpack_device(PyObject *self, PyObject *none);

#endif
