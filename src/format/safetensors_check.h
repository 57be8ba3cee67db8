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

#include "base/size.h"
#include "format/json.h"
#include "format/table.h"

/*
 * Bytes of a tensor: 0, WEIR_H_OVERFLOW or WEIR_H_SUBBYTE.  The reference multiplies from left to
 * right, so a zero hides only the overflow behind it; strict refuses that one as well.
 */
static inline int safetensors_bytes(unsigned element_bits, const uint64_t *dims, size_t rank,
				    bool lenient, uint64_t *out)
{
	uint64_t elements = 1, bits;
	bool zero = false;

	for (size_t i = 0; i < rank; i++) {
		if (unlikely(dims[i] == 0)) {
			zero = true;
			if (lenient)
				elements = 0;
		} else if (unlikely(!size_mul(elements, dims[i], &elements))) {
			return WEIR_H_OVERFLOW;
		}
	}
	if (unlikely(zero))
		elements = 0;
	if (unlikely(!size_mul(elements, element_bits, &bits)))
		return WEIR_H_OVERFLOW;
	if (unlikely(bits % 8))
		return WEIR_H_SUBBYTE;
	*out = bits / 8;
	return 0;
}

/* All tensors of the linked table; *end is where the last one ends. */
must_use int safetensors_check(struct json *json, struct table *table, bool lenient, uint64_t *end);

/* Does the end of the last tensor fit the size of the data section? */
must_use int safetensors_cover(struct json *json, uint64_t end, uint64_t data_bytes, bool trailing);

#endif
