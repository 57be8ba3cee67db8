/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/plan.h - which bytes go where
 *
 * A plan is a list of extents.  An extent says: these bytes of that object go to (or come from) this
 * memory, and carries a tag that its completion gives back.  It is filled by one thread, then started
 * (weir/transfer.h), which takes it over.  Extents of nothing (length 0) are legal and settle at once.
 */
#ifndef WEIR_PLAN_H
#define WEIR_PLAN_H

#include <stdint.h>

#include "weir/dest.h"
#include "weir/object.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_plan;

WEIR_API int weir_plan_create(struct weir_ctx *ctx, struct weir_plan **out, struct weir_error *err);

/* A plan that was not started, or whose start failed.  NULL is fine. */
WEIR_API void weir_plan_destroy(struct weir_plan *plan);

enum weir_class {
	WEIR_CLASS_NORMAL = 0,
	WEIR_CLASS_URGENT = 1,     /* before all others: somebody waits */
	WEIR_CLASS_BACKGROUND = 2, /* a bounded share of depth and budget; yields to the others */
};

/* The class of what is added from here on. */
WEIR_API int weir_plan_class(struct weir_plan *plan, int class_, struct weir_error *err);

/* length bytes from offset.  Past the end of the object: WEIR_TRUNCATED, when it is read. */
WEIR_API int weir_plan_range(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			     uint64_t length, struct weir_dest dest, uint64_t tag,
			     struct weir_error *err);

/* All of it, as large as it was when it was opened. */
WEIR_API int weir_plan_object(struct weir_plan *plan, struct weir_object *object,
			      struct weir_dest dest, uint64_t tag, struct weir_error *err);

#define WEIR_STRIDES_MAX 8

/* One level of a strided range: `count` times, each `stride_bytes` after the last. */
struct weir_stride {
	uint64_t stride_bytes;
	uint64_t count;
};

/*
 * Runs of run_bytes, laid out by up to WEIR_STRIDES_MAX levels, outermost first, packed in that order
 * at the destination.  Exactly those bytes arrive; what is read beyond them is counted.  Each stride
 * must be at least what the levels inside it span.
 */
WEIR_API int weir_plan_strided(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			       uint64_t run_bytes, const struct weir_stride *strides,
			       unsigned stride_count, struct weir_dest dest, uint64_t tag,
			       struct weir_error *err);

/* The other way: length bytes of the caller's memory to an object that is being written. */
WEIR_API int weir_plan_write(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			     const void *memory, uint64_t length, uint64_t tag,
			     struct weir_error *err);

/* The same from memory of any kind: weir_dest_host(), or weir_dest_cuda(), of that length. */
WEIR_API int weir_plan_write_from(struct weir_plan *plan, struct weir_object *object,
				  uint64_t offset, struct weir_dest from, uint64_t tag,
				  struct weir_error *err);

WEIR_API uint64_t weir_plan_count(const struct weir_plan *plan);
WEIR_API uint64_t weir_plan_bytes(const struct weir_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
