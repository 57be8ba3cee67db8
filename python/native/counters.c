/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters as a dict.
 */
#include <stddef.h>

#include "native.h"

#define COUNTER(name)                                                                              \
	{                                                                                          \
#name, offsetof(struct weir_counters, name)                                        \
	}

PyObject *native_counters(const struct weir_counters *counters)
{
	static const struct {
		const char *name;
		size_t place;
	} fields[] = {
		COUNTER(requests),        COUNTER(bytes_requested),   COUNTER(bytes_delivered),
		COUNTER(bytes_copied),    COUNTER(bytes_direct),      COUNTER(bytes_cached),
		COUNTER(bytes_over),      COUNTER(retries),           COUNTER(short_reads),
		COUNTER(extents),         COUNTER(extents_failed),    COUNTER(system_calls),
		COUNTER(stall_ns_source), COUNTER(stall_ns_memory),   COUNTER(stall_ns_budget),
		COUNTER(memory_bytes),    COUNTER(memory_peak_bytes), COUNTER(stuck),
	};
	PyObject *dict = PyDict_New();

	for (size_t i = 0; dict && i < sizeof(fields) / sizeof(fields[0]); i++) {
		const uint64_t *field = (const void *)((const char *)counters + fields[i].place);
		PyObject *value = PyLong_FromUnsignedLongLong(*field);

		if (!value || PyDict_SetItemString(dict, fields[i].name, value) < 0)
			Py_CLEAR(dict);
		Py_XDECREF(value);
	}
	return dict;
}
