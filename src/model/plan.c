/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tensors, and parts of them, as extents.
 *
 * Where weir allocates and the caller asks for no alignment, the type's own is asked for: files
 * promise less.
 */
#include <inttypes.h>

#include "base/error.h"
#include "engine/plan.h"
#include "model/model.h"
#include "model/slice.h"

static int find_tensor(const struct weir_model *model, uint64_t tensor,
		       const struct weir_tensor **out, struct weir_error *err)
{
	*out = weir_model_tensor(model, tensor);
	if (*out)
		return 0;
	return error_set(err, WEIR_ARG, NULL, "tensor %" PRIu64 " of a model that has %" PRIu64,
			 tensor, model->tensor_count);
}

/* What the caller left open. */
static void complete(struct weir_dest *dest, const struct weir_tensor *tensor)
{
	if (dest->kind == WEIR_DEST_ALLOC && dest->align == 0)
		dest->align = slice_align(tensor);
}

int weir_plan_tensor(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
		     struct weir_dest dest, uint64_t tag, struct weir_error *err)
{
	const struct weir_tensor *view;
	int ret = find_tensor(model, tensor, &view, err);

	if (ret)
		return ret;
	complete(&dest, view);
	return plan_read(plan, model->shards[view->shard].object, view->offset_bytes,
			 view->size_bytes, &dest, tag, err);
}

int weir_plan_slice(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
		    const struct weir_slice *slices, unsigned slice_count, struct weir_dest dest,
		    uint64_t tag, struct weir_error *err)
{
	const struct weir_tensor *view;
	struct slice_layout layout;
	struct weir_object *object;
	uint64_t offset;
	int ret = find_tensor(model, tensor, &view, err);

	if (ret == 0)
		ret = slice_lay_out(view, slices, slice_count, &layout, err);
	if (ret)
		return ret;
	object = model->shards[view->shard].object;
	offset = view->offset_bytes + layout.offset_bytes;
	complete(&dest, view);
	if (layout.stride_count == 0)
		return plan_read(plan, object, offset, layout.length_bytes, &dest, tag, err);
	return weir_plan_strided(plan, object, offset, layout.run_bytes, layout.strides,
				 layout.stride_count, dest, tag, err);
}

int model_plan_mapped(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
		      const struct weir_slice *slices, unsigned slice_count, struct weir_dest dest,
		      struct weir_error *err)
{
	const struct weir_tensor *view;
	struct slice_layout layout;
	int ret = find_tensor(model, tensor, &view, err);

	if (ret == 0)
		ret = slice_lay_out(view, slices, slice_count, &layout, err);
	if (ret)
		return ret;
	if (dest.kind != WEIR_DEST_ALLOC || layout.stride_count > 0 || layout.length_bytes == 0)
		return 1;
	complete(&dest, view);
	return plan_mapped(plan, model->shards[view->shard].object,
			   view->offset_bytes + layout.offset_bytes, layout.length_bytes,
			   dest.align, tensor, err);
}
