/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The module weir._native: its types, its functions, its state.
 *
 * Importing it makes types and nothing else: no context, no thread, no descriptor.
 */
#include "native.h"

struct native_state *native_state_of(PyObject *self)
{
	return PyType_GetModuleState(Py_TYPE(self));
}

static PyObject *version(PyObject *module, PyObject *none)
{
	(void)module, (void)none;
	return PyUnicode_FromString(weir_version());
}

static PyObject *features(PyObject *module, PyObject *none)
{
	(void)module, (void)none;
	return PyUnicode_FromString(weir_features());
}

/* dtype_bits(name): 0 where there is no such type. */
static PyObject *dtype_bits(PyObject *module, PyObject *name)
{
	PyObject *bytes = PyUnicode_AsUTF8String(name);
	unsigned bits;

	(void)module;
	if (!bytes)
		return NULL;
	bits = weir_dtype_bits(weir_dtype_find(PyBytes_AsString(bytes)));
	Py_DECREF(bytes);
	return PyLong_FromUnsignedLong(bits);
}

/* The names of all types, in the library's order. */
static PyObject *dtypes(PyObject *module, PyObject *none)
{
	PyObject *names = PyTuple_New(WEIR_DTYPE_COUNT - 1);

	(void)module, (void)none;
	for (int i = 1; names && i < WEIR_DTYPE_COUNT; i++) {
		PyObject *name = PyUnicode_FromString(weir_dtype_name(i));

		if (!name || PyTuple_SetItem(names, i - 1, name) < 0)
			Py_CLEAR(names);
	}
	return names;
}

static PyMethodDef functions[] = {
	{"version", version, METH_NOARGS, "version() -> str\n\nOf the library inside."},
	{"features", features, METH_NOARGS, "features() -> str\n\nWhat it was built with."},
	{"dtypes", dtypes, METH_NOARGS, "dtypes() -> tuple[str, ...]\n\nAll element types."},
	{"dtype_bits", dtype_bits, METH_O,
	 "dtype_bits(name) -> int\n\nBits of one element; 0 for an unknown type."},
	{"default_context", native_default_context, METH_NOARGS,
	 "default_context() -> Context\n\nThis process' own, made at the first call."},
	{"end", native_end, METH_NOARGS,
	 "end()\n\nCloses this process' contexts, within seconds: for when its interpreter ends."},
	{"open", WITH_KEYWORDS(native_open), METH_VARARGS | METH_KEYWORDS,
	 "open(uri, *, context=None, lenient=False, beneath=False, verify=False, direct='auto',\n"
	 "     cache='leave', timeout=None) -> Model"},
	{"open_object", WITH_KEYWORDS(native_open_object), METH_VARARGS | METH_KEYWORDS,
	 "open_object(uri, *, context=None, direct='auto', cache='leave', live=False, timeout=None)\n"
	 "-> Object"},
	{"create_object", WITH_KEYWORDS(native_create_object), METH_VARARGS | METH_KEYWORDS,
	 "create_object(uri, nbytes, *, context=None, timeout=None) -> Object\n\n"
	 "To be filled by Plan.write(); it appears under its name at its commit()."},
	{NULL},
};

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out)
{
	*out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
	return *out ? PyModule_AddType(module, *out) : -1;
}

static int add_struct(PyObject *module, PyStructSequence_Desc *desc, PyTypeObject **out)
{
	*out = PyStructSequence_NewType(desc);
	return *out ? PyModule_AddType(module, *out) : -1;
}

static int add_types(PyObject *module, struct native_state *state)
{
	struct {
		PyType_Spec *spec;
		PyTypeObject **out;
	} types[] = {
		{&native_context_spec, &state->context_type},
		{&native_model_spec, &state->model_type},
		{&native_object_spec, &state->object_type},
		{&native_plan_spec, &state->plan_type},
		{&native_transfer_spec, &state->transfer_type},
		{&native_queue_spec, &state->queue_type},
		{&native_buffer_spec, &state->buffer_type},
		{&native_reader_spec, &state->reader_type},
		{&native_tensor_spec, &state->tensor_type},
	};
	struct {
		PyStructSequence_Desc *desc;
		PyTypeObject **out;
	} structs[] = {
		{&native_tensor_info_desc, &state->tensor_info_type},
		{&native_shard_desc, &state->shard_type},
		{&native_done_desc, &state->done_type},
		{&native_stat_desc, &state->stat_type},
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (add_type(module, types[i].spec, types[i].out) < 0)
			return -1;
	for (size_t i = 0; i < sizeof(structs) / sizeof(structs[0]); i++)
		if (add_struct(module, structs[i].desc, structs[i].out) < 0)
			return -1;
	return 0;
}

static int exec(PyObject *module)
{
	struct native_state *state = PyModule_GetState(module);
	PyObject *errors = PyImport_ImportModule("weir.errors");

	if (!errors)
		return -1;
	state->make_error = PyObject_GetAttrString(errors, "from_native");
	Py_DECREF(errors);
	return state->make_error ? add_types(module, state) : -1;
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
	struct native_state *state = PyModule_GetState(module);

	Py_VISIT(state->make_error);
	Py_VISIT(state->default_context);
	return 0;
}

static void drop(PyTypeObject **place)
{
	PyObject *type = (PyObject *)*place;

	*place = NULL;
	Py_XDECREF(type);
}

static int clear(PyObject *module)
{
	struct native_state *state = PyModule_GetState(module);
	PyTypeObject **types[] = {
		&state->context_type,     &state->model_type,    &state->object_type,
		&state->plan_type,        &state->transfer_type, &state->queue_type,
		&state->buffer_type,      &state->reader_type,   &state->tensor_type,
		&state->tensor_info_type, &state->shard_type,    &state->done_type,
		&state->stat_type,
	};

	Py_CLEAR(state->default_context);
	Py_CLEAR(state->make_error);
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		drop(types[i]);
	return 0;
}

static void forget(void *module)
{
	clear(module);
}

static PyModuleDef_Slot slots[] = {
	{Py_mod_exec, exec},
	{0, NULL},
};

struct PyModuleDef native_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "weir._native",
	.m_doc = "The library, as it is.  Use the package weir.",
	.m_size = sizeof(struct native_state),
	.m_methods = functions,
	.m_slots = slots,
	.m_traverse = traverse,
	.m_clear = clear,
	.m_free = forget,
};

PyMODINIT_FUNC PyInit__native(void);

PyMODINIT_FUNC PyInit__native(void)
{
	return PyModuleDef_Init(&native_module);
}
