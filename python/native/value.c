/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values that come in from Python, checked.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "native.h"

#define NS_PER_SEC 1000000000

bool native_seconds(PyObject *seconds, int64_t absent, int64_t *out)
{
	double value;

	*out = absent;
	if (!seconds || seconds == Py_None)
		return true;
	value = PyFloat_AsDouble(seconds);
	if (PyErr_Occurred())
		return false;
	if (isnan(value) || value < 0) {
		PyErr_SetString(PyExc_ValueError, "a time-out is a number of seconds, or None");
		return false;
	}
	*out = value < 9e9 ? (int64_t)(value * NS_PER_SEC) : WEIR_FOREVER;
	return true;
}

PyObject *native_uri(PyObject *uri)
{
	PyObject *bytes = NULL;

	return PyUnicode_FSConverter(uri, &bytes) ? bytes : NULL;
}

bool native_u64(PyObject *number, uint64_t *out)
{
	PyObject *index = PyNumber_Index(number);

	if (!index)
		return false;
	*out = PyLong_AsUnsignedLongLong(index);
	Py_DECREF(index);
	return !PyErr_Occurred();
}

int native_take_u64(PyObject *number, void *out)
{
	return native_u64(number, out);
}

int native_take_u32(PyObject *number, void *out)
{
	uint64_t value;

	if (!native_u64(number, &value))
		return 0;
	if (value > UINT32_MAX) {
		PyErr_SetString(PyExc_OverflowError, "a number of more than 32 bits");
		return 0;
	}
	*(uint32_t *)out = (uint32_t)value;
	return 1;
}

/* The place of a word in a list that ends with NULL. */
static bool choose(struct native_state *state, const char *const *words, const char *word,
		   const char *told, int *out)
{
	for (int i = 0; words[i]; i++)
		if (strcmp(words[i], word) == 0) {
			*out = i;
			return true;
		}
	native_raise_code(state, WEIR_ARG, told);
	return false;
}

bool native_direct(struct native_state *state, const char *word, int *out)
{
	static const char *const words[] = {"auto", "on", "off", NULL};

	return choose(state, words, word, "direct is \"auto\", \"on\" or \"off\"", out);
}

bool native_cache(struct native_state *state, const char *word, int *out)
{
	static const char *const words[] = {"leave", "fill", NULL};

	return choose(state, words, word, "cache is \"leave\" or \"fill\"", out);
}

/* ---- Waiting ---- */

int64_t native_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

bool native_slices_begin(struct native_slices *slices, PyObject *timeout)
{
	if (!native_seconds(timeout, WEIR_FOREVER, &slices->deadline_ns))
		return false;
	if (slices->deadline_ns != WEIR_FOREVER)
		slices->deadline_ns += native_now_ns();
	return true;
}

int64_t native_slice(const struct native_slices *slices)
{
	int64_t left = NATIVE_SLICE_NS;

	if (slices->deadline_ns != WEIR_FOREVER)
		left = slices->deadline_ns - native_now_ns();
	if (left < 0)
		return 0;
	return left < NATIVE_SLICE_NS ? left : NATIVE_SLICE_NS;
}

bool native_slices_next(struct native_slices *slices)
{
	if (PyErr_CheckSignals() < 0)
		return false;
	return slices->deadline_ns == WEIR_FOREVER || native_now_ns() < slices->deadline_ns;
}

/* ---- What goes out ---- */

PyObject *native_struct(PyTypeObject *type, PyObject *const *values, Py_ssize_t count)
{
	PyObject *sequence = PyStructSequence_New(type);
	bool whole = sequence != NULL;

	for (Py_ssize_t i = 0; i < count; i++) {
		whole = whole && values[i];
		if (sequence)
			PyStructSequence_SetItem(sequence, i, values[i]);
		else
			Py_XDECREF(values[i]);
	}
	if (!whole)
		Py_CLEAR(sequence);
	/* Python leaves them untracked; an exception among the values may lead back here. */
	if (sequence && (PyType_GetFlags(type) & Py_TPFLAGS_HAVE_GC) &&
	    !PyObject_GC_IsTracked(sequence))
		PyObject_GC_Track(sequence);
	return sequence;
}
