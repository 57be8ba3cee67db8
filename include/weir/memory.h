/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/memory.h - objects in RAM, for tests and simulations
 *
 * `memory://name` names an object that lives in a context.  It can be given latency, bandwidth and
 * faults, and is what the word "mock" means in weir.
 */
#ifndef WEIR_MEMORY_H
#define WEIR_MEMORY_H

#include "weir/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Copies the bytes; replaces an object of that name, with a new version. */
WEIR_API int weir_memory_put(struct weir_ctx *ctx, const char *name, const void *data,
			     uint64_t size_bytes, struct weir_error *err);

WEIR_API int weir_memory_remove(struct weir_ctx *ctx, const char *name, struct weir_error *err);

/* How the store behaves.  Zero: at once, without limit. */
struct weir_memory_opts {
	size_t size;
	int64_t latency_ns;        /* of each request */
	int64_t jitter_ns;         /* up to that much more, at random */
	uint64_t bytes_per_second; /* of all requests together; 0: no limit */
};

WEIR_API int weir_memory_behave(struct weir_ctx *ctx, const struct weir_memory_opts *opts,
				struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
