/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/buffer.h - memory that weir allocated and handed out
 *
 * A buffer is counted.  The last unref, from any thread and even after the context is gone, gives its
 * bytes back to the pool and to the budget, so that the next reads may have them.  A reference to one
 * tensor never keeps another's memory beyond the huge page that the two share.
 */
#ifndef WEIR_BUFFER_H
#define WEIR_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"
#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_buffer;

WEIR_API struct weir_buffer *weir_buffer_ref(struct weir_buffer *buffer);
WEIR_API void weir_buffer_unref(struct weir_buffer *buffer); /* NULL is fine */

WEIR_API void *weir_buffer_data(const struct weir_buffer *buffer);
WEIR_API uint64_t weir_buffer_size(const struct weir_buffer *buffer);

/* The CUDA device whose memory it is; -1: the host's. */
WEIR_API int weir_buffer_device(const struct weir_buffer *buffer);

/* Copies bytes of it to host memory, from a device too; waits for them. */
WEIR_API int weir_buffer_read(const struct weir_buffer *buffer, uint64_t offset, void *to,
			      uint64_t length, struct weir_error *err);

/* 1 where the bytes are a mapping of the file: they change and vanish with it (weir/load.h). */
WEIR_API int weir_buffer_is_mapped(const struct weir_buffer *buffer);

#ifdef __cplusplus
}
#endif
#endif
