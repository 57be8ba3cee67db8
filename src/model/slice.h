/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts through a tensor, as runs of bytes and strides.
 *
 *	shape [4, 6], dim 1 from 2 to 5         . . x x x .     run: 3 elements
 *	                                        . . x x x .     stride: 6 elements, 4 times
 *	                                        . . x x x .
 *	                                        . . x x x .
 *
 * Dimensions that are whole are one with what is outside them, so that a cut through the first
 * dimension is one run, and a cut through one other dimension has one stride, whatever the rank.
 *
 * Elements below eight bits and blocks of quantised types can be cut where the pieces are whole bytes
 * and whole blocks; elsewhere there is an error that says where.
 */
#ifndef MODEL_SLICE_H
#define MODEL_SLICE_H

#include "base/compiler.h"
#include "weir/model.h"

/* Most dimensions that one call cuts. */
#define SLICES_MAX 64

struct slice_layout {
	uint64_t offset_bytes; /* of the first run, from the start of the tensor */
	uint64_t run_bytes;
	struct weir_stride strides[WEIR_STRIDES_MAX]; /* outermost first */
	unsigned stride_count;
	uint64_t length_bytes; /* of all runs */
};

must_use int slice_lay_out(const struct weir_tensor *tensor, const struct weir_slice *slices,
			   unsigned slice_count, struct slice_layout *out, struct weir_error *err);

/* What an address of this type's elements is a multiple of. */
uint32_t slice_align(const struct weir_tensor *tensor);

#endif
