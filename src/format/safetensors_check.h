/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do sizes, shapes and offsets of a safetensors header agree?
 *
 * The rules of the reference library, in its order, so that lenient verdicts are the same: tensors
 * sorted by (begin, end); each begins where the one before ended; its shape and type give a whole
 * number of bytes without overflow; that is the length of its range; the last ends where the file
 * does.  Expects (begin, end) in (offset_bytes, size_bytes).
 */
#ifndef FORMAT_SAFETENSORS_CHECK_H
#define FORMAT_SAFETENSORS_CHECK_H

#include "format/json.h"
#include "format/table.h"

/*
 * Bytes of a tensor: 0, WEIR_H_OVERFLOW or WEIR_H_SUBBYTE.  The reference multiplies from left to
 * right, so a zero hides only the overflow behind it; strict refuses that one as well.
 */
int safetensors_bytes(unsigned dtype, const uint64_t *dims, size_t rank, bool lenient,
		      uint64_t *out);

/* All tensors of the linked table; *end is where the last one ends. */
must_use int safetensors_check(struct json *json, struct table *table, bool lenient, uint64_t *end);

/* Does the end of the last tensor fit the size of the data section? */
must_use int safetensors_cover(struct json *json, uint64_t end, uint64_t data_bytes, bool trailing);

#endif
