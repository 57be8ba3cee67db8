/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/request.h - opening, describing and listing without waiting
 *
 * The calls of weir/object.h and weir/model.h that ask a file server something block their caller.  Their
 * `_start` forms do not: they post a completion to a queue, as reads do, with the caller's tag, a status,
 * and `transfer` NULL.  Each request is ended once by the `_finish` form of its kind, which hands the
 * result over, or the failure in words.  A request has a deadline (its options' timeout_ns) and a cancel
 * flag.
 *
 * Finishing a request that has not completed cancels it, without waiting: WEIR_CANCELLED, and whatever
 * it still brings is closed again.  Requests are finished before their queue and context go.
 */
#ifndef WEIR_REQUEST_H
#define WEIR_REQUEST_H

#include <stdint.h>

#include "weir/object.h"
#include "weir/queue.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_request;

WEIR_API int weir_object_open_start(struct weir_ctx *ctx, const char *uri,
				    const struct weir_object_opts *opts, struct weir_queue *queue,
				    uint64_t tag, struct weir_request **out,
				    struct weir_error *err);
WEIR_API int weir_object_open_finish(struct weir_request *request, struct weir_object **out,
				     struct weir_error *err);

WEIR_API int weir_stat_start(struct weir_ctx *ctx, const char *uri,
			     const struct weir_object_opts *opts, struct weir_queue *queue,
			     uint64_t tag, struct weir_request **out, struct weir_error *err);
WEIR_API int weir_stat_finish(struct weir_request *request, struct weir_stat *out,
			      struct weir_error *err);

WEIR_API int weir_list_start(struct weir_ctx *ctx, const char *uri,
			     const struct weir_object_opts *opts, struct weir_queue *queue,
			     uint64_t tag, struct weir_request **out, struct weir_error *err);
WEIR_API int weir_list_finish(struct weir_request *request, struct weir_listing **out,
			      struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
