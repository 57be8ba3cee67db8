/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failures become exceptions: weir.errors knows which class of Python each class of ours is.
 */
#include <stdio.h>
#include <string.h>

#include "native.h"

/* Names of files may hold anything; Python keeps what is not UTF-8 as surrogates. */
static PyObject *text(const char *bytes)
{
	return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "surrogateescape");
}

static PyObject *offset_of(const struct weir_error *err)
{
	if (err->offset_bytes == WEIR_NO_OFFSET)
		Py_RETURN_NONE;
	return PyLong_FromUnsignedLongLong(err->offset_bytes);
}

PyObject *native_exception(struct native_state *state, const struct weir_error *err)
{
	const char *message = err->message[0] ? err->message : weir_code_text(err->code);

	return PyObject_CallFunction(state->make_error, "sNNNKis", weir_code_name(err->code),
				     text(message), text(err->object), offset_of(err),
				     (unsigned long long)err->length_bytes, err->os_errno,
				     err->request_id);
}

PyObject *native_raise(struct native_state *state, const struct weir_error *err)
{
	PyObject *exception = native_exception(state, err);

	if (exception)
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	Py_XDECREF(exception);
	return NULL;
}

PyObject *native_raise_code(struct native_state *state, int code, const char *message)
{
	struct weir_error err = WEIR_ERROR_INIT;

	err.code = code;
	snprintf(err.message, sizeof(err.message), "%s", message);
	return native_raise(state, &err);
}
