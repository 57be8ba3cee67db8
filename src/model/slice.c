/* SPDX-License-Identifier: Apache-2.0 */
#include "model/slice.h"

#include <inttypes.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "format/dtype.h"

/*
 * The work: from the innermost dimension outwards, in bits.  The levels grow at the inner end, so they
 * are turned around when all are there.
 */
struct cut {
	const struct weir_tensor *tensor;
	uint64_t offset_bits, run_bits;
	struct weir_stride levels[WEIR_STRIDES_MAX]; /* innermost first; strides in bits */
	unsigned level_count;
	uint64_t step_bits; /* from one element of this dimension to the next */
	uint64_t pieces;    /* runs in all */
	bool empty;
	struct quoted quoted; /* room for name_of() */
	struct weir_error *err;
};

/* For messages alone: most cuts need none. */
static const char *name_of(struct cut *cut)
{
	const struct weir_tensor *tensor = cut->tensor;

	return quote(&cut->quoted, (struct bytes){tensor->name, (size_t)tensor->name_len});
}

static const struct dtype_info *type_of(const struct weir_tensor *tensor)
{
	if (tensor->dtype != WEIR_DTYPE_OTHER)
		return dtype_info((unsigned)tensor->dtype - 1);
	return dtype_named(tensor->dtype_name);
}

static int overflow(struct cut *cut)
{
	return error_set(cut->err, WEIR_ARG, NULL, "tensor '%s': the cut overflows", name_of(cut));
}

static int check_slice(struct cut *cut, const struct weir_slice *slice)
{
	const struct weir_tensor *tensor = cut->tensor;

	if (slice->dim >= tensor->rank)
		return error_set(cut->err, WEIR_ARG, NULL,
				 "tensor '%s' has %u dimensions: there is no dimension %u to cut",
				 name_of(cut), tensor->rank, slice->dim);
	if (slice->start > slice->stop || slice->stop > tensor->shape[slice->dim])
		return error_set(cut->err, WEIR_ARG, NULL,
				 "tensor '%s': [%" PRIu64 ", %" PRIu64
				 ") does not lie in [0, %" PRIu64 ") of dimension %u",
				 name_of(cut), slice->start, slice->stop, tensor->shape[slice->dim],
				 slice->dim);
	return 0;
}

static int check_slices(struct cut *cut, const struct weir_slice *slices, unsigned count)
{
	int ret = 0;

	if (count > SLICES_MAX)
		return error_set(cut->err, WEIR_ARG, NULL, "tensor '%s': %u slices, of at most %d",
				 name_of(cut), count, SLICES_MAX);
	for (unsigned i = 0; ret == 0 && i < count; i++) {
		ret = check_slice(cut, &slices[i]);
		for (unsigned j = 0; ret == 0 && j < i; j++)
			if (slices[j].dim == slices[i].dim)
				return error_set(cut->err, WEIR_ARG, NULL,
						 "tensor '%s': dimension %u is cut twice",
						 name_of(cut), slices[i].dim);
	}
	return ret;
}

/* The part of a dimension that is wanted. */
static struct weir_slice part_of(const struct weir_tensor *tensor, unsigned dim,
				 const struct weir_slice *slices, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (slices[i].dim == dim)
			return slices[i];
	return (struct weir_slice){dim, 0, tensor->shape[dim]};
}

/* Quantised types: the last dimension counts blocks from here on. */
static int count_blocks(struct cut *cut, const struct dtype_info *type, struct weir_slice *part,
			uint64_t *whole)
{
	uint64_t block = type->block_elements;

	if (part->start % block || (part->stop % block && part->stop != *whole))
		return error_set(cut->err, WEIR_UNSUPPORTED, NULL,
				 "tensor '%s': [%" PRIu64 ", %" PRIu64
				 ") of dimension %u cuts through blocks of %u elements (%s)",
				 name_of(cut), part->start, part->stop, part->dim,
				 type->block_elements, type->name);
	part->start /= block;
	part->stop /= block;
	*whole /= block;
	return 0;
}

/* One more level around what is there: count times, step_bits apart. */
static int add_level(struct cut *cut, uint64_t count)
{
	struct weir_stride *inner = cut->level_count ? &cut->levels[cut->level_count - 1] : NULL;
	uint64_t span;

	if (!inner && cut->run_bits == cut->step_bits)
		return size_mul(cut->run_bits, count, &cut->run_bits) ? 0 : overflow(cut);
	if (count == 1)
		return 0;
	if (!size_mul(cut->pieces, count, &cut->pieces))
		return overflow(cut);
	if (inner && size_mul(inner->stride_bytes, inner->count, &span) && span == cut->step_bits)
		return size_mul(inner->count, count, &inner->count) ? 0 : overflow(cut);
	if (cut->level_count == WEIR_STRIDES_MAX)
		return error_set(cut->err, WEIR_UNSUPPORTED, NULL,
				 "tensor '%s': the cut needs more than %d levels of strides",
				 name_of(cut), WEIR_STRIDES_MAX);
	cut->levels[cut->level_count++] = (struct weir_stride){cut->step_bits, count};
	return 0;
}

static int add_dimension(struct cut *cut, const struct weir_slice *part, uint64_t whole)
{
	uint64_t skipped;
	int ret;

	if (!size_mul(part->start, cut->step_bits, &skipped) ||
	    !size_add(cut->offset_bits, skipped, &cut->offset_bits))
		return overflow(cut);
	ret = add_level(cut, part->stop - part->start);
	if (ret)
		return ret;
	return size_mul(cut->step_bits, whole, &cut->step_bits) ? 0 : overflow(cut);
}

static int cut_all(struct cut *cut, const struct weir_slice *slices, unsigned count)
{
	const struct weir_tensor *tensor = cut->tensor;
	const struct dtype_info *type = type_of(tensor);
	int ret = check_slices(cut, slices, count);

	for (unsigned i = 0; ret == 0 && i < tensor->rank; i++) {
		struct weir_slice part = part_of(tensor, i, slices, count);

		cut->empty |= part.start == part.stop;
	}
	if (ret || cut->empty)
		return ret;
	cut->step_bits = type->bits ? type->bits : type->block_bytes * UINT64_C(8);
	cut->run_bits = cut->step_bits;
	cut->pieces = 1;
	for (unsigned i = tensor->rank; ret == 0 && i-- > 0;) {
		struct weir_slice part = part_of(tensor, i, slices, count);
		uint64_t whole = tensor->shape[i];

		if (type->bits == 0 && i == tensor->rank - 1)
			ret = count_blocks(cut, type, &part, &whole);
		if (ret == 0)
			ret = add_dimension(cut, &part, whole);
	}
	return ret;
}

static int broken_byte(struct cut *cut, const char *what, uint64_t bits)
{
	return error_set(cut->err, WEIR_UNSUPPORTED, NULL,
			 "tensor '%s' (%s): %s %" PRIu64 " bits, which are no whole bytes",
			 name_of(cut), cut->tensor->dtype_name, what, bits);
}

static int to_bytes(struct cut *cut, struct slice_layout *out)
{
	if (cut->offset_bits % 8)
		return broken_byte(cut, "the cut begins after", cut->offset_bits);
	if (cut->run_bits % 8)
		return broken_byte(cut, "the cut has pieces of", cut->run_bits);
	out->offset_bytes = cut->offset_bits / 8;
	out->run_bytes = cut->run_bits / 8;
	out->stride_count = cut->level_count;
	for (unsigned i = 0; i < cut->level_count; i++) {
		const struct weir_stride *level = &cut->levels[cut->level_count - 1 - i];

		if (level->stride_bytes % 8)
			return broken_byte(cut, "the cut has a stride of", level->stride_bytes);
		out->strides[i] = (struct weir_stride){level->stride_bytes / 8, level->count};
	}
	return size_mul(out->run_bytes, cut->pieces, &out->length_bytes) ? 0 : overflow(cut);
}

int slice_lay_out(const struct weir_tensor *tensor, const struct weir_slice *slices,
		  unsigned slice_count, struct slice_layout *out, struct weir_error *err)
{
	struct cut cut = {.tensor = tensor, .err = err};
	int ret;

	*out = (struct slice_layout){0};
	ret = cut_all(&cut, slices, slice_count);
	if (ret || cut.empty)
		return ret;
	return to_bytes(&cut, out);
}

uint32_t slice_align(const struct weir_tensor *tensor)
{
	const struct dtype_info *type = type_of(tensor);
	uint32_t bytes = type->block_bytes;

	/* Blocks begin with a scale: F16 in most, F32 in some. */
	if (type->bits == 0)
		return bytes % 4 == 0 ? 4 : bytes % 2 == 0 ? 2 : 1;
	return type->bits < 8 ? 1 : bytes;
}

int weir_slice_bytes(const struct weir_tensor *tensor, const struct weir_slice *slices,
		     unsigned slice_count, uint64_t *out, struct weir_error *err)
{
	struct slice_layout layout;
	int ret = slice_lay_out(tensor, slices, slice_count, &layout, err);

	if (ret)
		return ret;
	*out = layout.length_bytes;
	return 0;
}
