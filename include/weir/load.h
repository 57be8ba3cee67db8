/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/load.h - whole models, or parts of them, in one call
 *
 * Starts a transfer (weir/transfer.h) of the tensors that are named, in the order that suits the
 * storage.  Completions carry the tensor's index as tag.
 */
#ifndef WEIR_LOAD_H
#define WEIR_LOAD_H

#include <stdint.h>

#include "weir/model.h"
#include "weir/transfer.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_load_flags {
	WEIR_LOAD_MAP =
		1u << 0, /* what is in the page cache is mapped instead of copied: unprotected
				  * views, which change, and kill their reader, with the file */
};

/* A cut through one tensor, for weir_load_opts. */
struct weir_load_slice {
	uint64_t tensor;
	const struct weir_slice *slices;
	unsigned slice_count;
};

struct weir_load_opts {
	size_t size;
	uint32_t flags;          /* enum weir_load_flags */
	const uint64_t *tensors; /* which, by index; NULL: all.  Borrowed during the call, as the
				      * rest is */
	uint64_t tensor_count;
	const struct weir_dest *dests;        /* one for each of them; NULL: weir allocates */
	const struct weir_load_slice *slices; /* cuts through some of them */
	uint64_t slice_count;
	uint32_t align;           /* of what weir allocates; 0: as each type needs */
	uint64_t budget_bytes;    /* with buffers that come back: streams through that much */
	int64_t timeout_ns;       /* 0 or WEIR_FOREVER: none */
	int64_t stall_ns;         /* 0: 60 s */
	uint32_t transfer_flags;  /* enum weir_transfer_flags */
	struct weir_queue *queue; /* NULL: a private one */
};
#define WEIR_LOAD_OPTS(...)                                                                        \
	(&(struct weir_load_opts){.size = sizeof(struct weir_load_opts), __VA_ARGS__})

WEIR_API int weir_load_start(struct weir_model *model, const struct weir_load_opts *opts,
			     struct weir_transfer **out, struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
