/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models: which tensors there are, and where.
 *
 * A closed model answers CLOSED; its files are let go when the last plan or transfer that reads them
 * has ended.  What is handed out (TensorInfo, Shard) is copied and outlives it.
 */
#include <string.h>

#include "native.h"

/* ---- Life ---- */

static struct native_model *model_new(struct native_state *state, struct native_context *context,
				      struct weir_model *model)
{
	struct native_model *self = PyObject_New(struct native_model, state->model_type);

	if (!self) {
		weir_model_close(model);
		return NULL;
	}
	self->context = (struct native_context *)Py_NewRef((PyObject *)context);
	self->model = model;
	self->users = 0;
	self->closed = false;
	self->names = NULL;
	self->tensors = NULL;
	return self;
}

static void let_go(struct native_model *self)
{
	struct weir_model *model = self->model;

	self->model = NULL;
	native_stay(self->context);
	Py_BEGIN_ALLOW_THREADS
	weir_model_close(model);
	Py_END_ALLOW_THREADS
	native_leave(self->context);
}

static void model_dealloc(PyObject *object)
{
	struct native_model *self = (struct native_model *)object;
	PyTypeObject *type = Py_TYPE(object);

	let_go(self);
	Py_XDECREF(self->names);
	Py_XDECREF(self->tensors);
	Py_DECREF((PyObject *)self->context);
	PyObject_Free(object);
	Py_DECREF(type);
}

struct native_model *native_model_use(struct native_state *state, PyObject *object)
{
	struct native_model *self = (struct native_model *)object;

	if (!Py_IS_TYPE(object, state->model_type)) {
		PyErr_SetString(PyExc_TypeError, "expected a weir.Model");
		return NULL;
	}
	if (self->closed) {
		native_raise_code(state, WEIR_CLOSED, "this model was closed");
		return NULL;
	}
	self->users++;
	return (struct native_model *)Py_NewRef(object);
}

void native_model_release(struct native_model *self)
{
	self->users--;
	if (self->closed && self->users == 0 && self->model)
		let_go(self);
	Py_DECREF((PyObject *)self);
}

static PyObject *model_close(PyObject *object, PyObject *none)
{
	struct native_model *self = (struct native_model *)object;

	(void)none;
	self->closed = true;
	if (self->users == 0 && self->model)
		let_go(self);
	Py_RETURN_NONE;
}

/* ---- Opening ---- */

/*
 * Opens in pieces of waiting, so that an interrupt ends it: the request is finished without waiting
 * and what it still brings is closed again.
 */
static int open_request(const struct native_context *context, const char *uri,
			const struct weir_model_opts *opts, struct weir_model **out,
			struct weir_error *err)
{
	struct weir_request *request = NULL;
	struct weir_queue *queue = NULL;
	struct weir_done done;
	int ret = weir_queue_create(context->ctx, 1, &queue, err);

	if (ret == 0)
		ret = weir_model_open_start(context->ctx, uri, opts, queue, 0, &request, err);
	if (ret == 0) {
		do {
			Py_BEGIN_ALLOW_THREADS
			ret = weir_queue_wait(queue, &done, 1, NATIVE_SLICE_NS, err);
			Py_END_ALLOW_THREADS
		} while (ret == WEIR_TIMEOUT && !context->ending && PyErr_CheckSignals() == 0);
		ret = weir_model_open_finish(request, out, err);
	}
	weir_queue_destroy(queue);
	return ret;
}

static int open_list(struct weir_ctx *ctx, PyObject *list, const struct weir_model_opts *opts,
		     struct weir_model **out, struct weir_error *err)
{
	Py_ssize_t count = PyList_Size(list);
	const char **uris = PyMem_Malloc(((size_t)count + 1) * sizeof(uris[0]));
	int ret;

	if (!uris) {
		PyErr_NoMemory();
		return WEIR_NOMEM;
	}
	for (Py_ssize_t i = 0; i < count; i++)
		uris[i] = PyBytes_AsString(PyList_GetItem(list, i));
	Py_BEGIN_ALLOW_THREADS
	ret = weir_model_open_list(ctx, uris, (uint64_t)count, opts, out, err);
	Py_END_ALLOW_THREADS
	PyMem_Free(uris);
	return ret;
}

/* One URI as bytes, or a list of such; NULL with an exception set. */
static PyObject *uris_of(PyObject *uri)
{
	PyObject *list;

	if (!PyList_Check(uri) && !PyTuple_Check(uri))
		return native_uri(uri);
	list = PySequence_List(uri);
	for (Py_ssize_t i = 0; list && i < PyList_Size(list); i++) {
		PyObject *bytes = native_uri(PyList_GetItem(list, i));

		if (!bytes)
			Py_CLEAR(list);
		else
			PyList_SetItem(list, i, bytes);
	}
	return list;
}

static PyObject *open_with(struct native_state *state, struct native_context *context,
			   PyObject *uris, const struct weir_model_opts *opts)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_model *model = NULL;
	int ret;

	if (!native_enter(context))
		return NULL;
	ret = PyList_Check(uris)
		      ? open_list(context->ctx, uris, opts, &model, &err)
		      : open_request(context, PyBytes_AsString(uris), opts, &model, &err);
	native_leave(context);
	if (PyErr_Occurred()) {
		weir_model_close(model);
		return NULL;
	}
	if (ret < 0)
		return native_raise(state, &err);
	return (PyObject *)model_new(state, context, model);
}

PyObject *native_open(PyObject *module, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"uri",    "context", "lenient", "beneath", "verify",
					    "direct", "cache",   "timeout", NULL};
	struct native_state *state = PyModule_GetState(module);
	struct weir_model_opts opts = {.size = sizeof(opts)};
	int lenient = 0, beneath = 0, verify = 0;
	const char *direct = "auto", *cache = "leave";
	PyObject *uri, *asked = NULL, *timeout = NULL, *uris, *model = NULL;
	struct native_context *context;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$OpppssO", (char **)names, &uri, &asked,
					 &lenient, &beneath, &verify, &direct, &cache, &timeout) ||
	    !native_direct(state, direct, &opts.direct) ||
	    !native_cache(state, cache, &opts.cache) ||
	    !native_seconds(timeout, 0, &opts.timeout_ns))
		return NULL;
	opts.flags = (lenient ? WEIR_MODEL_LENIENT : 0u) | (beneath ? WEIR_MODEL_BENEATH : 0u) |
		     (verify ? WEIR_MODEL_VERIFY : 0u);
	uris = uris_of(uri);
	if (!uris)
		return NULL;
	context = native_context_of(state, asked);
	if (context) {
		model = open_with(state, context, uris, &opts);
		Py_DECREF((PyObject *)context);
	}
	Py_DECREF(uris);
	return model;
}

/* ---- Tensors ---- */

static PyStructSequence_Field tensor_info_fields[] = {
	{"name", NULL},
	{"dtype", "as the file spells it: \"BF16\", \"F32\", ..."},
	{"shape", NULL},
	{"shard", "index in Model.shards"},
	{"offset", "of its first byte in that file"},
	{"nbytes", NULL},
	{NULL},
};

PyStructSequence_Desc native_tensor_info_desc = {
	"weir._native.TensorInfo", "What a file says of a tensor.", tensor_info_fields, 6};

static PyObject *name_of(const struct weir_tensor *tensor)
{
	return PyUnicode_DecodeUTF8(tensor->name, (Py_ssize_t)tensor->name_len, "surrogateescape");
}

static PyObject *shape_of(const struct weir_tensor *tensor)
{
	PyObject *shape = PyTuple_New((Py_ssize_t)tensor->rank);

	for (unsigned i = 0; shape && i < tensor->rank; i++) {
		PyObject *extent = PyLong_FromUnsignedLongLong(tensor->shape[i]);

		if (!extent || PyTuple_SetItem(shape, (Py_ssize_t)i, extent) < 0)
			Py_CLEAR(shape);
	}
	return shape;
}

static PyObject *info_of(struct native_state *state, PyObject *name,
			 const struct weir_tensor *tensor)
{
	PyObject *values[] = {
		Py_NewRef(name),
		PyUnicode_InternFromString(tensor->dtype_name),
		shape_of(tensor),
		PyLong_FromUnsignedLong(tensor->shard),
		PyLong_FromUnsignedLongLong(tensor->offset_bytes),
		PyLong_FromUnsignedLongLong(tensor->size_bytes),
	};

	return native_struct(state->tensor_info_type, values, 6);
}

static bool is_open(struct native_model *self)
{
	if (!self->closed)
		return true;
	native_raise_code(native_state_of((PyObject *)self), WEIR_CLOSED, "this model was closed");
	return false;
}

/* Around what makes many objects: the collector may run Python code that closes the model. */
static bool begin(struct native_model *self)
{
	return is_open(self) &&
	       native_model_use(native_state_of((PyObject *)self), (PyObject *)self);
}

static PyObject *end(struct native_model *self, PyObject *result)
{
	native_model_release(self);
	return result;
}

static PyObject *make_tensors(struct native_model *self)
{
	struct native_state *state = native_state_of((PyObject *)self);
	uint64_t count = weir_model_tensor_count(self->model);
	PyObject *dict = PyDict_New();

	for (uint64_t i = 0; dict && i < count; i++) {
		const struct weir_tensor *tensor = weir_model_tensor(self->model, i);
		PyObject *name = name_of(tensor);
		PyObject *info = name ? info_of(state, name, tensor) : NULL;

		if (!info || PyDict_SetItem(dict, name, info) < 0)
			Py_CLEAR(dict);
		Py_XDECREF(info);
		Py_XDECREF(name);
	}
	return dict;
}

/* The dict of all tensors; borrowed. */
static PyObject *tensors_of(struct native_model *self)
{
	PyObject *dict = self->tensors ? self->tensors
			 : begin(self) ? end(self, make_tensors(self))
				       : NULL;

	if (!self->tensors)
		self->tensors = dict;
	else if (self->tensors != dict)
		Py_XDECREF(dict); /* another thread was faster */
	return self->tensors;
}

static PyObject *model_tensors(PyObject *self, void *none)
{
	PyObject *dict = tensors_of((struct native_model *)self);

	(void)none;
	return dict ? PyDictProxy_New(dict) : NULL;
}

static PyObject *model_names(PyObject *object, void *none)
{
	struct native_model *self = (struct native_model *)object;
	PyObject *dict = tensors_of(self);

	(void)none;
	if (!self->names && dict)
		self->names = PySequence_Tuple(dict);
	return Py_XNewRef(self->names);
}

static PyObject *model_iter(PyObject *self)
{
	PyObject *dict = tensors_of((struct native_model *)self);

	return dict ? PyObject_GetIter(dict) : NULL;
}

static Py_ssize_t model_length(PyObject *object)
{
	struct native_model *self = (struct native_model *)object;

	return is_open(self) ? (Py_ssize_t)weir_model_tensor_count(self->model) : -1;
}

static int model_contains(PyObject *self, PyObject *name)
{
	PyObject *dict = tensors_of((struct native_model *)self);

	return dict ? PyDict_Contains(dict, name) : -1;
}

static PyObject *model_item(PyObject *self, PyObject *name)
{
	PyObject *dict = tensors_of((struct native_model *)self);
	PyObject *info = dict ? PyDict_GetItemWithError(dict, name) : NULL;

	if (dict && !info && !PyErr_Occurred())
		PyErr_SetObject(PyExc_KeyError, name);
	return Py_XNewRef(info);
}

/* The index of a name; UINT64_MAX with KeyError set. */
static uint64_t find(struct native_model *self, PyObject *name)
{
	PyObject *bytes = PyUnicode_AsEncodedString(name, "utf-8", "surrogateescape");
	uint64_t index = UINT64_MAX;

	if (!bytes)
		return index;
	index = weir_model_find(self->model, PyBytes_AsString(bytes),
				(uint64_t)PyBytes_Size(bytes));
	Py_DECREF(bytes);
	if (index == UINT64_MAX)
		PyErr_SetObject(PyExc_KeyError, name);
	return index;
}

bool native_model_index(struct native_model *self, PyObject *tensor, uint64_t *out)
{
	if (PyUnicode_Check(tensor)) {
		*out = find(self, tensor);
		return *out != UINT64_MAX;
	}
	if (!native_u64(tensor, out))
		return false;
	if (*out < weir_model_tensor_count(self->model))
		return true;
	PyErr_SetString(PyExc_IndexError, "no tensor of that number");
	return false;
}

static PyObject *model_index(PyObject *object, PyObject *name)
{
	struct native_model *self = (struct native_model *)object;
	uint64_t index;

	if (!is_open(self) || !native_model_index(self, name, &index))
		return NULL;
	return PyLong_FromUnsignedLongLong(index);
}

/* ---- Files ---- */

static PyStructSequence_Field shard_fields[] = {
	{"uri", NULL},
	{"format", NULL},
	{"nbytes", "of the file"},
	{"header", "bytes before the data"},
	{"tensors", "how many"},
	{"metadata", NULL},
	{"has_metadata", "does the file say something of itself, be it nothing?"},
	{NULL},
};

PyStructSequence_Desc native_shard_desc = {"weir._native.Shard", "One file of a model.",
					   shard_fields, 7};

static int add_pair(PyObject *dict, const struct weir_metadata *pair)
{
	PyObject *key = PyUnicode_DecodeUTF8(pair->key, (Py_ssize_t)pair->key_len,
					     "surrogateescape");
	PyObject *value = PyUnicode_DecodeUTF8(pair->value, (Py_ssize_t)pair->value_len,
					       "surrogateescape");
	int ret = key && value ? PyDict_SetItem(dict, key, value) : -1;

	Py_XDECREF(key);
	Py_XDECREF(value);
	return ret;
}

static PyObject *metadata_of(struct native_model *self, uint64_t shard)
{
	uint64_t count = weir_model_metadata_count(self->model, shard);
	PyObject *dict = PyDict_New();
	struct weir_metadata pair;

	for (uint64_t i = 0; dict && i < count; i++)
		if (weir_model_metadata(self->model, shard, i, &pair) == 0 &&
		    add_pair(dict, &pair) < 0)
			Py_CLEAR(dict);
	return dict;
}

static PyObject *shard_of(struct native_model *self, uint64_t index)
{
	const struct weir_shard *shard = weir_model_shard(self->model, index);
	PyObject *values[] = {
		PyUnicode_DecodeFSDefault(shard->uri),
		PyUnicode_FromString(shard->format),
		PyLong_FromUnsignedLongLong(shard->size_bytes),
		PyLong_FromUnsignedLongLong(shard->header_bytes),
		PyLong_FromUnsignedLongLong(shard->tensor_count),
		metadata_of(self, index),
		PyBool_FromLong(weir_model_has_metadata(self->model, index)),
	};

	return native_struct(native_state_of((PyObject *)self)->shard_type, values, 7);
}

static PyObject *model_shards(PyObject *object, void *none)
{
	struct native_model *self = (struct native_model *)object;
	uint64_t count;
	PyObject *shards;

	(void)none;
	if (!begin(self))
		return NULL;
	count = weir_model_shard_count(self->model);
	shards = PyTuple_New((Py_ssize_t)count);
	for (uint64_t i = 0; shards && i < count; i++) {
		PyObject *shard = shard_of(self, i);

		if (!shard || PyTuple_SetItem(shards, (Py_ssize_t)i, shard) < 0)
			Py_CLEAR(shards);
	}
	return end(self, shards);
}

/* Of all files together; where two say different things of a key, the first one's word. */
static PyObject *model_metadata(PyObject *object, void *none)
{
	struct native_model *self = (struct native_model *)object;
	PyObject *merged;

	(void)none;
	if (!begin(self))
		return NULL;
	merged = PyDict_New();
	for (uint64_t i = 0; merged && i < weir_model_shard_count(self->model); i++) {
		PyObject *dict = metadata_of(self, i);

		if (!dict || PyDict_Merge(merged, dict, 0) < 0)
			Py_CLEAR(merged);
		Py_XDECREF(dict);
	}
	return end(self, merged);
}

static PyObject *model_warnings(PyObject *object, void *none)
{
	struct native_model *self = (struct native_model *)object;
	const char *warning;
	PyObject *list;

	(void)none;
	if (!begin(self))
		return NULL;
	list = PyList_New(0);
	for (uint64_t i = 0; list && (warning = weir_model_warning(self->model, i)); i++) {
		PyObject *text = PyUnicode_DecodeUTF8(warning, (Py_ssize_t)strlen(warning),
						      "surrogateescape");

		if (!text || PyList_Append(list, text) < 0)
			Py_CLEAR(list);
		Py_XDECREF(text);
	}
	return end(self, list);
}

static PyObject *model_format(PyObject *object, void *none)
{
	struct native_model *self = (struct native_model *)object;

	(void)none;
	return is_open(self) ? PyUnicode_FromString(weir_model_format(self->model)) : NULL;
}

static PyObject *model_context(PyObject *self, void *none)
{
	(void)none;
	return Py_NewRef((PyObject *)((struct native_model *)self)->context);
}

static PyObject *model_closed(PyObject *self, void *none)
{
	(void)none;
	return PyBool_FromLong(((struct native_model *)self)->closed);
}

/* ---- The type ---- */

static PyObject *model_enter(PyObject *self, PyObject *none)
{
	(void)none;
	return is_open((struct native_model *)self) ? Py_NewRef(self) : NULL;
}

static PyObject *model_exit(PyObject *self, PyObject *args)
{
	(void)args;
	return model_close(self, NULL);
}

static PyMethodDef methods[] = {
	{"index", model_index, METH_O,
	 "index(name) -> int\n\nIts place in the order of the files."},
	{"close", model_close, METH_NOARGS,
	 "close()\n\nLets its files go once no transfer reads them.  Tensors live on."},
	{"__enter__", model_enter, METH_NOARGS, NULL},
	{"__exit__", model_exit, METH_VARARGS, NULL},
	{NULL},
};

static PyGetSetDef attributes[] = {
	{"names", model_names, NULL, "Of all tensors, in the order of the files.", NULL},
	{"tensors", model_tensors, NULL, "Name to TensorInfo.", NULL},
	{"shards", model_shards, NULL, "The files.", NULL},
	{"metadata", model_metadata, NULL, "What the files say of themselves, together.", NULL},
	{"warnings", model_warnings, NULL, "What was ignored, in words.", NULL},
	{"format", model_format, NULL, "\"safetensors\", \"gguf\", or \"model\" for several.",
	 NULL},
	{"context", model_context, NULL, NULL, NULL},
	{"closed", model_closed, NULL, NULL, NULL},
	{NULL},
};

static char doc[] = "An opened model: a mapping of names to TensorInfo.  See weir.open().";

static PyType_Slot slots[] = {
	{Py_tp_doc, doc},
	{Py_tp_dealloc, model_dealloc},
	{Py_tp_methods, methods},
	{Py_tp_getset, attributes},
	{Py_tp_iter, model_iter},
	{Py_mp_length, model_length},
	{Py_mp_subscript, model_item},
	{Py_sq_contains, model_contains},
	{0, NULL},
};

PyType_Spec native_model_spec = {
	.name = "weir._native.Model",
	.basicsize = sizeof(struct native_model),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = slots,
};
