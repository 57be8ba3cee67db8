/* SPDX-License-Identifier: Apache-2.0 */
/* The module weir._ring, and how it reports errors. */
#include <errno.h>
#include <stdarg.h>

#include "python/ring/ring.h"

PyObject *raise_errno(int number, PyObject *about)
{
	errno = number;
	return about ? PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, about)
		     : PyErr_SetFromErrno(PyExc_OSError);
}

bool parse(PyObject *args, PyObject *kwds, const char *format, const char *const *names, ...)
{
	va_list out;
	int ret;

	va_start(out, names);
	ret = PyArg_VaParseTupleAndKeywords(args, kwds, format, (char **)names, out);
	va_end(out);
	return ret != 0;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **out)
{
	*out = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, NULL);
	return *out ? PyModule_AddType(module, *out) : -1;
}

static int fill(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	if (add_type(module, &iovec_spec, &state->iovec) < 0)
		return -1;
	return add_type(module, &ioring_spec, &state->ioring);
}

static int traverse(PyObject *module, visitproc visit, void *arg)
{
	struct state *state = PyModule_GetState(module);

	Py_VISIT(state->iovec);
	Py_VISIT(state->ioring);
	return 0;
}

static int clear(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	Py_CLEAR(state->iovec);
	Py_CLEAR(state->ioring);
	return 0;
}

static void end(void *module)
{
	clear(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};

static struct PyModuleDef definition = {
	PyModuleDef_HEAD_INIT,
	.m_name = "weir._ring",
	.m_doc = "Ring I/O on 3FS (USRBIO): what the package hf3fs_py_usrbio is made of.",
	.m_size = sizeof(struct state),
	.m_methods = file_functions,
	.m_slots = slots,
	.m_traverse = traverse,
	.m_clear = clear,
	.m_free = end,
};

PyMODINIT_FUNC PyInit__ring(void);
PyMODINIT_FUNC PyInit__ring(void)
{
	return PyModuleDef_Init(&definition);
}
