/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors: a Buffer with a type and a shape, for other libraries to look at.
 *
 * Two protocols say what it is: the buffer protocol (here) and DLPack (dlpack.c).  Neither copies unless
 * asked to.
 */
#include <string.h>

#include "tensor.h"

/* ---- Types ---- */

static struct tensor_kind kind_of(int dtype)
{
	unsigned bits = weir_dtype_bits(dtype);
	struct tensor_kind bytes = {"B", 1, {DL_UINT, 8, 1}, {0, 0, 1}};

#define KIND(format, code)                                                                         \
	(struct tensor_kind)                                                                       \
	{                                                                                          \
		format, (uint8_t)(bits / 8), {code, (uint8_t)bits, 1},                             \
		{                                                                                  \
			0, 0, 1                                                                    \
		}                                                                                  \
	}
#define KIND_1_1(code)                                                                             \
	(struct tensor_kind)                                                                       \
	{                                                                                          \
		"B", 1, {DL_UINT, 8, 1},                                                           \
		{                                                                                  \
			code, 8, 1                                                                 \
		}                                                                                  \
	}
	switch (dtype) {
	case WEIR_DTYPE_BOOL:
		return KIND("?", DL_BOOL);
	case WEIR_DTYPE_I8:
		return KIND("b", DL_INT);
	case WEIR_DTYPE_I16:
		return KIND("h", DL_INT);
	case WEIR_DTYPE_U16:
		return KIND("H", DL_UINT);
	case WEIR_DTYPE_F16:
		return KIND("e", DL_FLOAT);
	case WEIR_DTYPE_BF16:
		return KIND("H", DL_BFLOAT);
	case WEIR_DTYPE_I32:
		return KIND("i", DL_INT);
	case WEIR_DTYPE_U32:
		return KIND("I", DL_UINT);
	case WEIR_DTYPE_F32:
		return KIND("f", DL_FLOAT);
	case WEIR_DTYPE_C64:
		return KIND("Zf", DL_COMPLEX);
	case WEIR_DTYPE_F64:
		return KIND("d", DL_FLOAT);
	case WEIR_DTYPE_I64:
		return KIND("q", DL_INT);
	case WEIR_DTYPE_U64:
		return KIND("Q", DL_UINT);
	case WEIR_DTYPE_F8_E4M3:
		return KIND_1_1(DL_F8_E4M3FN);
	case WEIR_DTYPE_F8_E5M2:
		return KIND_1_1(DL_F8_E5M2);
	case WEIR_DTYPE_F8_E8M0:
		return KIND_1_1(DL_F8_E8M0FNU);
	case WEIR_DTYPE_F8_E4M3FNUZ:
		return KIND_1_1(DL_F8_E4M3FNUZ);
	case WEIR_DTYPE_F8_E5M2FNUZ:
		return KIND_1_1(DL_F8_E5M2FNUZ);
	default: /* U8, and elements smaller than a byte */
		return bytes;
	}
#undef KIND
#undef KIND_1_1
}

/* ---- Life ---- */

static void tensor_dealloc(PyObject *object)
{
	struct native_tensor *self = (struct native_tensor *)object;
	PyTypeObject *type = Py_TYPE(object);

	PyMem_Free(self->extents);
	Py_XDECREF(self->dtype);
	Py_XDECREF(self->shape);
	Py_XDECREF((PyObject *)self->buffer);
	PyObject_Free(object);
	Py_DECREF(type);
}

static bool refuse(struct native_state *state, const char *why)
{
	native_raise_code(state, WEIR_ARG, why);
	return false;
}

/* The last dimension of packed elements, in bytes. */
static bool pack_last(struct native_tensor *self, unsigned bits, struct native_state *state)
{
	Py_ssize_t *last = &self->extents[self->rank - 1];

	if (bits % 8 == 0)
		return true;
	if (self->rank == 0 || *last > PY_SSIZE_T_MAX / 8 || *last * (Py_ssize_t)bits % 8)
		return refuse(state, "rows of packed elements do not fill whole bytes");
	*last = *last * (Py_ssize_t)bits / 8;
	return true;
}

/* Strides of C order; false where the shape is not that of the buffer. */
static bool lay_out(struct native_tensor *self, struct native_state *state)
{
	Py_ssize_t span = self->kind.item_bytes;
	bool empty = false;

	for (int i = self->rank - 1; i >= 0; i--) {
		self->strides[i] = span;
		empty = empty || self->extents[i] == 0;
		if (!empty && __builtin_mul_overflow(span, self->extents[i], &span))
			return refuse(state, "the shape overflows");
	}
	if ((empty ? 0 : (uint64_t)span) != self->buffer->size)
		return refuse(state, "type and shape ask for another number of bytes");
	return true;
}

static bool read_shape(struct native_tensor *self)
{
	Py_ssize_t rank = PyTuple_Size(self->shape);

	if (rank > 64) {
		PyErr_SetString(PyExc_ValueError, "no more than 64 dimensions");
		return false;
	}
	self->rank = (int)rank;
	self->extents = PyMem_Calloc(2 * (size_t)rank + 1, sizeof(self->extents[0]));
	if (!self->extents) {
		PyErr_NoMemory();
		return false;
	}
	self->strides = self->extents + rank;
	for (Py_ssize_t i = 0; i < rank; i++) {
		self->extents[i] = PyNumber_AsSsize_t(PyTuple_GetItem(self->shape, i),
						      PyExc_OverflowError);
		if (PyErr_Occurred())
			return false;
		if (self->extents[i] < 0) {
			PyErr_SetString(PyExc_ValueError, "negative dimensions");
			return false;
		}
	}
	return true;
}

static PyObject *tensor_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"buffer", "dtype", "shape", NULL};
	struct native_state *state = PyType_GetModuleState(type);
	PyObject *buffer, *shape;
	struct native_tensor *self;
	const char *name;
	int dtype;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!sO", (char **)names, state->buffer_type,
					 &buffer, &name, &shape))
		return NULL;
	dtype = weir_dtype_find(name);
	if (dtype == WEIR_DTYPE_OTHER)
		return native_raise_code(state, WEIR_ARG, "no such type");
	self = PyObject_New(struct native_tensor, type);
	if (!self)
		return NULL;
	self->buffer = (struct native_buffer *)Py_NewRef(buffer);
	self->kind = kind_of(dtype);
	self->extents = NULL;
	self->dtype = PyUnicode_InternFromString(weir_dtype_name(dtype));
	self->shape = PySequence_Tuple(shape);
	if (self->dtype && self->shape && read_shape(self) &&
	    pack_last(self, weir_dtype_bits(dtype), state) && lay_out(self, state))
		return (PyObject *)self;
	Py_DECREF((PyObject *)self);
	return NULL;
}

/* ---- The buffer protocol ---- */

static int tensor_get(PyObject *object, Py_buffer *view, int flags)
{
	struct native_tensor *self = (struct native_tensor *)object;

	if (!native_buffer_on_host(self->buffer, view))
		return -1;
	/* Checks what is asked, and fills in what a run of bytes has. */
	if (PyBuffer_FillInfo(view, object, self->buffer->data, (Py_ssize_t)self->buffer->size,
			      self->buffer->read_only, flags & ~(PyBUF_ND | PyBUF_FORMAT)) < 0)
		return -1;
	view->itemsize = self->kind.item_bytes;
	if (flags & PyBUF_FORMAT)
		view->format = (char *)(uintptr_t)self->kind.format;
	if ((flags & PyBUF_ND) == PyBUF_ND) {
		view->ndim = self->rank;
		view->shape = self->extents;
	}
	if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES)
		view->strides = self->strides;
	return 0;
}

/* ---- The type ---- */

static PyObject *tensor_dtype(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef(((struct native_tensor *)self)->dtype);
}

static PyObject *tensor_shape(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef(((struct native_tensor *)self)->shape);
}

static PyObject *tensor_buffer(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef((PyObject *)((struct native_tensor *)self)->buffer);
}

static PyObject *tensor_nbytes(PyObject *self, void *none)
{
	(void)none;
	return PyLong_FromUnsignedLongLong(((struct native_tensor *)self)->buffer->size);
}

static PyMethodDef methods[] = {
	{"__dlpack__", WITH_KEYWORDS(native_tensor_dlpack), METH_VARARGS | METH_KEYWORDS,
	 "__dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None) -> capsule\n\n"
	 "Types that the consumer's version lacks travel as integers of their size."},
	{"__dlpack_device__", native_tensor_dlpack_device, METH_NOARGS,
	 "__dlpack_device__() -> (kind, number)"},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"dtype", tensor_dtype, NULL, "As files spell it.", NULL},
	{"shape", tensor_shape, NULL, "In elements.", NULL},
	{"buffer", tensor_buffer, NULL, "Its memory.", NULL},
	{"nbytes", tensor_nbytes, NULL, NULL, NULL},
	{NULL},
};

static char doc[] =
	"Tensor(buffer, dtype, shape)\n\n"
	"weir's memory as an array, by DLPack and the buffer protocol.  Elements smaller\n"
	"than a byte stay packed: for the protocols they are bytes.";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_new, tensor_new},
	{Py_tp_dealloc, tensor_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{Py_bf_getbuffer, tensor_get},
	{0, NULL},
};

PyType_Spec native_tensor_spec = {
	.name = "weir._native.Tensor",
	.basicsize = sizeof(struct native_tensor),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
