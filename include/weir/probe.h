/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/probe.h - what this machine, or this URI, allows
 */
#ifndef WEIR_PROBE_H
#define WEIR_PROBE_H

#include "weir/context.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_probe_status {
	WEIR_PROBE_OK = 0,
	WEIR_PROBE_WARN = 1,  /* works, slower than it could */
	WEIR_PROBE_FAIL = 2,  /* does not work */
	WEIR_PROBE_ABSENT = 3 /* is not there, and need not be */
};

struct weir_probe {
	const char *name;   /* "io_uring", "huge_pages", "direct_io" ... */
	int status;         /* enum weir_probe_status */
	const char *value;  /* what was seen */
	const char *advice; /* what to do about it; "" where there is nothing to do */
};

/* Borrowed during the call. */
typedef void weir_probe_fn(void *arg, const struct weir_probe *probe);

/* The machine: kernel, io_uring, memory, limits. */
WEIR_API int weir_probe_machine(struct weir_ctx *ctx, weir_probe_fn *fn, void *arg,
				struct weir_error *err);

/* What reading this URI will be like: direct I/O, alignment, cached share, file system. */
WEIR_API int weir_probe_uri(struct weir_ctx *ctx, const char *uri, weir_probe_fn *fn, void *arg,
			    struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
