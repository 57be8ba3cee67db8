/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans: which bytes go where.
 *
 * Destinations are writable buffers, or (address, length, owner[, device, stream]) for memory that another
 * library allocated.  Either is kept alive from here until nothing can write to it any more.
 */
#include "flight.h"

/* ---- Life ---- */

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"context", NULL};
	struct native_state *state = PyType_GetModuleState(type);
	struct weir_error err = WEIR_ERROR_INIT;
	struct native_plan *self;
	PyObject *context = NULL;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", (char **)names, &context))
		return NULL;
	self = PyObject_New(struct native_plan, type);
	if (!self)
		return NULL;
	self->plan = NULL;
	self->batch = NULL;
	self->filling = false;
	self->models = PyList_New(0);
	self->context = native_context_of(state, context);
	if (self->models && self->context && (self->batch = batch_create(state)) &&
	    weir_plan_create(self->context->ctx, &self->plan, &err) < 0)
		native_raise(state, &err);
	if (!self->plan) {
		Py_DECREF((PyObject *)self);
		return NULL;
	}
	return (PyObject *)self;
}

void native_models_release(PyObject *models)
{
	for (Py_ssize_t i = 0; models && i < PyList_Size(models); i++)
		native_model_release((struct native_model *)Py_NewRef(PyList_GetItem(models, i)));
	Py_XDECREF(models);
}

static void plan_dealloc(PyObject *object)
{
	struct native_plan *self = (struct native_plan *)object;
	PyTypeObject *type = Py_TYPE(object);

	weir_plan_destroy(self->plan);
	batch_destroy(self->batch);
	native_models_release(self->models);
	Py_XDECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

struct native_plan *native_plan_of(struct native_state *state, PyObject *object)
{
	struct native_plan *self = (struct native_plan *)object;

	if (!Py_IS_TYPE(object, state->plan_type)) {
		PyErr_SetString(PyExc_TypeError, "expected a native Plan");
		return NULL;
	}
	if (self->plan && !self->filling)
		return self;
	if (self->filling)
		native_raise_code(state, WEIR_ARG, "something is being added to this plan");
	else
		native_raise_code(state, WEIR_CLOSED, "this plan was started");
	return NULL;
}

/* Remembers that the plan reads a model; true also where it is known already. */
static bool reads(struct native_plan *self, PyObject *object)
{
	struct native_model *model;

	for (Py_ssize_t i = 0; i < PyList_Size(self->models); i++)
		if (PyList_GetItem(self->models, i) == object)
			return true;
	model = native_model_use(native_state_of((PyObject *)self), object);
	if (!model)
		return false;
	if (PyList_Append(self->models, object) == 0) {
		Py_DECREF(object); /* the list has one of its own */
		return true;
	}
	native_model_release(model);
	return false;
}

/* What all additions end with. */
static PyObject *added(struct native_plan *self, int ret, const struct weir_error *err)
{
	if (ret == 0)
		Py_RETURN_NONE;
	batch_drop_last(self->batch);
	return native_raise(native_state_of((PyObject *)self), err);
}

/* ---- Tensors ---- */

/* One (dim, start, stop). */
static bool read_slice(PyObject *item, struct weir_slice *out)
{
	if (!PyTuple_Check(item)) {
		PyErr_SetString(PyExc_TypeError, "a slice is (dim, start, stop)");
		return false;
	}
	return PyArg_ParseTuple(item, "O&O&O&;a slice is (dim, start, stop)", native_take_u32,
				&out->dim, native_take_u64, &out->start, native_take_u64,
				&out->stop);
}

/* Slices of an argument, in memory of PyMem's; false with an exception set. */
static bool read_slices(PyObject *slices, struct weir_slice **out, unsigned *count)
{
	PyObject *list;
	bool fine = true;
	Py_ssize_t n;

	*out = NULL;
	*count = 0;
	if (!slices || slices == Py_None)
		return true;
	list = PySequence_List(slices);
	if (!list)
		return false;
	n = PyList_Size(list);
	*out = n < 65536 ? PyMem_Calloc((size_t)n + 1, sizeof(**out)) : NULL;
	if (!*out) {
		PyErr_NoMemory();
		fine = false;
	}
	for (Py_ssize_t i = 0; fine && i < n; i++)
		fine = read_slice(PyList_GetItem(list, i), &(*out)[i]);
	*count = (unsigned)n;
	Py_DECREF(list);
	return fine;
}

static PyObject *add_tensor(struct native_plan *self, struct native_model *model, uint64_t tensor,
			    PyObject *into, PyObject *tag, uint32_t align,
			    const struct weir_slice *slices, unsigned count)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_dest dest;
	uint64_t number;
	int ret;

	if (!batch_add(self->batch, tag, into, false, &dest, &number))
		return NULL;
	if (dest.kind == WEIR_DEST_ALLOC || dest.kind == WEIR_DEST_CUDA_ALLOC)
		dest.align = align;
	if (slices)
		ret = weir_plan_slice(self->plan, model->model, tensor, slices, count, dest, number,
				      &err);
	else
		ret = weir_plan_tensor(self->plan, model->model, tensor, dest, number, &err);
	return added(self, ret, &err);
}

/* The plan, for an addition during which Python code may run; filled() ends it. */
static struct native_plan *fill(PyObject *object)
{
	struct native_plan *self = native_plan_of(native_state_of(object), object);

	if (self)
		self->filling = true;
	return self;
}

static PyObject *filled(struct native_plan *self, PyObject *result)
{
	self->filling = false;
	return result;
}

static PyObject *tensor(struct native_plan *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"model",  "tensor", "into", "tag",
					    "slices", "align",  NULL};
	PyObject *model, *which, *into = NULL, *tag = NULL, *cuts = NULL, *result = NULL;
	struct weir_slice *slices = NULL;
	unsigned count;
	uint32_t align = 0;
	uint64_t index;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO|$OOOO&", (char **)names, &model, &which,
					 &into, &tag, &cuts, native_take_u32, &align) ||
	    !reads(self, model) || !native_model_index((struct native_model *)model, which, &index))
		return NULL;
	if (read_slices(cuts, &slices, &count))
		result = add_tensor(self, (struct native_model *)model, index, into,
				    tag ? tag : which, align, slices, count);
	PyMem_Free(slices);
	return result;
}

static PyObject *plan_tensor(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct native_plan *self = fill(object);

	return self ? filled(self, tensor(self, args, kwargs)) : NULL;
}

/* ---- Ranges ---- */

static bool is_object(struct native_state *state, PyObject *object)
{
	if (Py_IS_TYPE(object, state->object_type))
		return true;
	PyErr_SetString(PyExc_TypeError, "expected a weir Object");
	return false;
}

static PyObject *range(struct native_plan *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"object", "offset", "length", "into", "tag", NULL};
	struct native_state *state = native_state_of((PyObject *)self);
	struct weir_error err = WEIR_ERROR_INIT;
	PyObject *from, *into = NULL, *tag = Py_None;
	uint64_t offset, length, number;
	struct weir_dest dest;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&O&|$OO", (char **)names, &from,
					 native_take_u64, &offset, native_take_u64, &length, &into,
					 &tag) ||
	    !is_object(state, from) || !batch_add(self->batch, tag, into, false, &dest, &number))
		return NULL;
	return added(self,
		     weir_plan_range(self->plan, ((struct native_object *)from)->object, offset,
				     length, dest, number, &err),
		     &err);
}

static PyObject *plan_range(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct native_plan *self = fill(object);

	return self ? filled(self, range(self, args, kwargs)) : NULL;
}

/* ---- Writing ---- */

static PyObject *writing(struct native_plan *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"object", "offset", "data", "tag", NULL};
	struct native_state *state = native_state_of((PyObject *)self);
	struct weir_error err = WEIR_ERROR_INIT;
	PyObject *to, *data, *tag = Py_None;
	struct weir_dest from;
	uint64_t offset, number;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO&O|$O", (char **)names, &to,
					 native_take_u64, &offset, &data, &tag) ||
	    !is_object(state, to))
		return NULL;
	if (data == Py_None || PyLong_Check(data)) {
		PyErr_SetString(PyExc_TypeError, "data is a buffer, or an address");
		return NULL;
	}
	if (!batch_add(self->batch, tag, data, true, &from, &number))
		return NULL;
	return added(self,
		     weir_plan_write_from(self->plan, ((struct native_object *)to)->object, offset,
					  from, number, &err),
		     &err);
}

static PyObject *plan_write(PyObject *object, PyObject *args, PyObject *kwargs)
{
	struct native_plan *self = fill(object);

	return self ? filled(self, writing(self, args, kwargs)) : NULL;
}

/* ---- All of it ---- */

static PyObject *plan_class(PyObject *object, PyObject *number)
{
	struct native_state *state = native_state_of(object);
	struct native_plan *self = native_plan_of(state, object);
	struct weir_error err = WEIR_ERROR_INIT;
	int class_ = (int)PyLong_AsLong(number);

	if (!self || PyErr_Occurred())
		return NULL;
	if (weir_plan_class(self->plan, class_, &err) < 0)
		return native_raise(state, &err);
	Py_RETURN_NONE;
}

static PyObject *plan_nbytes(PyObject *object, void *none)
{
	struct native_plan *self = native_plan_of(native_state_of(object), object);

	(void)none;
	return self ? PyLong_FromUnsignedLongLong(weir_plan_bytes(self->plan)) : NULL;
}

static Py_ssize_t plan_length(PyObject *object)
{
	struct native_plan *self = native_plan_of(native_state_of(object), object);

	return self ? (Py_ssize_t)weir_plan_count(self->plan) : -1;
}

static PyMethodDef methods[] = {
	{"tensor", WITH_KEYWORDS(plan_tensor), METH_VARARGS | METH_KEYWORDS,
	 "tensor(model, tensor, *, into=None, tag=tensor, slices=None, align=0)\n\n"
	 "A tensor by name or number, or the part of it that slices of (dim, start, stop) leave."},
	{"range", WITH_KEYWORDS(plan_range), METH_VARARGS | METH_KEYWORDS,
	 "range(object, offset, length, *, into=None, tag=None)"},
	{"write", WITH_KEYWORDS(plan_write), METH_VARARGS | METH_KEYWORDS,
	 "write(object, offset, data, *, tag=None)\n\n"
	 "To an object of create_object(); data is a buffer, or memory as for `into`."},
	{"class_", plan_class, METH_O,
	 "class_(number)\n\nOf what is added from here on: 0 normal, 1 urgent, 2 background."},
	{"start", WITH_KEYWORDS(native_start), METH_VARARGS | METH_KEYWORDS,
	 "start(*, queue=None, budget=0, timeout=None, stall=None, guarded=False, at_end=False,\n"
	 "      live=False, on_release=False, open=False) -> Transfer"},
	{NULL},
};

static PyObject *plan_context(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef((PyObject *)((struct native_plan *)self)->context);
}

static PyGetSetDef attributes[] = {
	{"nbytes", plan_nbytes, NULL, "Of all its extents.", NULL},
	{"context", plan_context, NULL, NULL, NULL},
	{NULL},
};

static char doc[] = "Plan(context=None)\n\nWhich bytes go where; filled, then started.";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_new, plan_new},
	{Py_tp_dealloc, plan_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{Py_sq_length, plan_length},
	{0, NULL},
};

PyType_Spec native_plan_spec = {
	.name = "weir._native.Plan",
	.basicsize = sizeof(struct native_plan),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
