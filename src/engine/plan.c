/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/berth.h"
#include "engine/buffer.h"
#include "engine/context.h"
#include "engine/group.h"
#include "engine/run.h"

#define EXTENTS_MAX (UINT32_MAX - 1)
#define ROOM_MIN    16
#define ALIGN_MAX   POOL_UNIT
#define OFFSET_MAX  ((uint64_t)INT64_MAX)

int weir_plan_create(struct weir_ctx *ctx, struct weir_plan **out, struct weir_error *err)
{
	int ret = ctx_alive(ctx, err);

	if (ret < 0)
		return ret;
	*out = calloc(1, sizeof(**out));
	if (!*out)
		return error_nomem(err, NULL, "a plan");
	(*out)->ctx = ctx;
	(*out)->class_ = SWEEP_NORMAL;
	return 0;
}

/* One reference for extents of one object that follow each other: counting costs more than adding. */
static bool counts_object(const struct weir_plan *plan, uint64_t at)
{
	return at == 0 || plan->extents[at].object != plan->extents[at - 1].object;
}

void weir_plan_destroy(struct weir_plan *plan)
{
	if (!plan)
		return;
	for (uint64_t i = 0; i < plan->count; i++) {
		weir_buffer_unref(plan->extents[i].mapped);
		if (counts_object(plan, i))
			weir_object_unref(plan->extents[i].object);
	}
	if (plan->charged_bytes && ctx_alive(plan->ctx, NULL) == 0)
		budget_give_fixed(plan->ctx->budget, plan->charged_bytes);
	berths_destroy(plan);
	free(plan->order);
	free(plan->strides);
	free(plan->extents);
	free(plan);
}

int weir_plan_class(struct weir_plan *plan, int class_, struct weir_error *err)
{
	switch (class_) {
	case WEIR_CLASS_URGENT:
		plan->class_ = SWEEP_URGENT;
		return 0;
	case WEIR_CLASS_NORMAL:
		plan->class_ = SWEEP_NORMAL;
		return 0;
	case WEIR_CLASS_BACKGROUND:
		plan->class_ = SWEEP_BACKGROUND;
		return 0;
	default:
		return error_set(err, WEIR_ARG, NULL, "%d is not a class of extents", class_);
	}
}

uint64_t weir_plan_count(const struct weir_plan *plan)
{
	return plan->count;
}

uint64_t weir_plan_bytes(const struct weir_plan *plan)
{
	return plan->bytes;
}

/* Room for `more` behind `count` elements; the budget is told. */
static int grow(struct weir_plan *plan, void **array, uint64_t count, uint64_t *room, uint64_t more,
		size_t size, struct weir_error *err)
{
	uint64_t want = *room ? *room : ROOM_MIN;
	void *grown;

	if (count + more <= *room)
		return 0;
	while (want < count + more)
		want *= 2;
	if (!budget_take_fixed(plan->ctx->budget, (want - *room) * size))
		return error_set(err, WEIR_LIMIT, NULL,
				 "a plan of %llu extents does not fit in the budget of %llu bytes",
				 (unsigned long long)(count + more),
				 (unsigned long long)budget_limit(plan->ctx->budget));
	grown = realloc(*array, want * size);
	if (!grown) {
		budget_give_fixed(plan->ctx->budget, (want - *room) * size);
		return error_nomem(err, NULL, "the extents of a plan");
	}
	plan->charged_bytes += (want - *room) * size;
	*array = grown;
	*room = want;
	return 0;
}

static bool allocates(const struct weir_dest *dest)
{
	return dest->kind == WEIR_DEST_ALLOC || dest->kind == WEIR_DEST_CUDA_ALLOC ||
	       dest->kind == WEIR_DEST_NONE;
}

/* Tells of a destination that does not fit what is wrong with it. */
__attribute__((cold, noinline)) static int
refuse_dest(const struct extent *extent, const struct weir_dest *dest, struct weir_error *err)
{
	const char *uri = extent->object->core->uri;

	if (dest->kind < WEIR_DEST_ALLOC || dest->kind > WEIR_DEST_NONE)
		return error_set(err, WEIR_ARG, uri, "%s: %d is not a kind of destination", uri,
				 dest->kind);
	if (!allocates(dest) && dest->size_bytes != extent->length)
		return error_set(err, WEIR_ARG, uri,
				 "%s: an extent of %llu bytes, a destination of %llu", uri,
				 (unsigned long long)extent->length,
				 (unsigned long long)dest->size_bytes);
	if (!allocates(dest) && !dest->memory && extent->length)
		return error_set(err, WEIR_ARG, uri, "%s: the destination is NULL", uri);
	return error_set(err, WEIR_ARG, uri, "%s: alignment %u: a power of two, at most 2 MiB", uri,
			 dest->align);
}

static inline int check_dest(const struct extent *extent, const struct weir_dest *dest,
			     struct weir_error *err)
{
	bool fits = allocates(dest) ||
		    (dest->kind > WEIR_DEST_ALLOC && dest->kind < WEIR_DEST_CUDA_ALLOC &&
		     dest->size_bytes == extent->length && (dest->memory || !extent->length));

	if (likely(fits && (dest->align & (dest->align - 1)) == 0 && dest->align <= ALIGN_MAX))
		return 0;
	return refuse_dest(extent, dest, err);
}

/* Room for one more extent, where more may come. */
__attribute__((cold, noinline)) static int make_room(struct weir_plan *plan, const char *uri,
						     struct weir_error *err)
{
	if (plan->order)
		return error_set(err, WEIR_ARG, uri, "%s: the plan was started already", uri);
	if (plan->count >= EXTENTS_MAX)
		return error_set(err, WEIR_LIMIT, uri, "a plan of more than %u extents",
				 EXTENTS_MAX);
	return grow(plan, (void **)&plan->extents, plan->count, &plan->room, 1,
		    sizeof(plan->extents[0]), err);
}

/* Some at a time: zeroing is a call. */
#define BLANK_AHEAD UINT64_C(16)

__attribute__((noinline)) static void make_blank(struct weir_plan *plan)
{
	uint64_t some = min_of(plan->room - plan->count, BLANK_AHEAD);

	memset(&plan->extents[plan->count], 0, some * sizeof(plan->extents[0]));
	plan->blank = plan->count + some;
}

/* An extent behind the others, to be filled in; the plan has it when add() succeeds. */
static inline int begin(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			uint64_t length, uint64_t tag, struct extent **out, struct weir_error *err)
{
	struct extent *extent;
	int ret;

	if (unlikely(plan->order || plan->count >= min_of(plan->room, (uint64_t)EXTENTS_MAX)) &&
	    (ret = make_room(plan, object->core->uri, err)) < 0)
		return ret;
	if (unlikely(plan->begun || plan->count >= plan->blank))
		make_blank(plan);
	plan->begun = true;
	extent = &plan->extents[plan->count];
	extent->object = object;
	extent->offset = offset;
	extent->length = length;
	extent->run_bytes = length;
	extent->tag = tag;
	extent->class_ = plan->class_;
	extent->run = RUN_NONE;
	*out = extent;
	return 0;
}

__attribute__((cold, noinline)) static int
refuse_extent(const struct weir_plan *plan, const struct extent *extent, struct weir_error *err)
{
	const char *uri = extent->object->core->uri;

	if (extent->object->ctx != plan->ctx)
		return error_set(err, WEIR_ARG, uri, "%s: opened in another context", uri);
	return error_at(err, WEIR_ARG, uri, extent->offset, extent->length,
			"%s: %llu bytes at offset %llu reach past what an offset can say", uri,
			(unsigned long long)extent->length, (unsigned long long)extent->offset);
}

/* Adds the extent that was begun and has been checked but for its place in the object. */
static inline int add(struct weir_plan *plan, struct extent *extent, struct weir_error *err)
{
	if (unlikely(extent->object->ctx != plan->ctx || extent->offset > OFFSET_MAX ||
		     extent_end(plan, extent) > OFFSET_MAX))
		return refuse_extent(plan, extent, err);
	extent->left = extent->length;
	if (counts_object(plan, plan->count))
		weir_object_ref(extent->object);
	plan->begun = false;
	plan->count++;
	plan->bytes += extent->length;
	return 0;
}

static inline int add_read(struct weir_plan *plan, struct extent *extent,
			   const struct weir_dest *dest, struct weir_error *err)
{
	int ret = check_dest(extent, dest, err);

	if (ret < 0)
		return ret;
	if (extent->object->core->writing)
		return error_set(err, WEIR_ARG, extent->object->core->uri,
				 "%s: is being written, and cannot be read before its commit",
				 extent->object->core->uri);
	extent->allocate = allocates(dest);
	extent->nobody = dest->kind == WEIR_DEST_NONE;
	extent->memory = extent->allocate ? NULL : dest->memory;
	extent->align = dest->align;
	if (dest->kind >= WEIR_DEST_CUDA && (ret = berth_find(plan, dest, &extent->berth, err)) < 0)
		return ret;
	return add(plan, extent, err);
}

int plan_read(struct weir_plan *plan, struct weir_object *object, uint64_t offset, uint64_t length,
	      const struct weir_dest *dest, uint64_t tag, struct weir_error *err)
{
	struct extent *extent;
	int ret = begin(plan, object, offset, length, tag, &extent, err);

	return ret < 0 ? ret : add_read(plan, extent, dest, err);
}

int weir_plan_range(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
		    uint64_t length, struct weir_dest dest, uint64_t tag, struct weir_error *err)
{
	return plan_read(plan, object, offset, length, &dest, tag, err);
}

int weir_plan_object(struct weir_plan *plan, struct weir_object *object, struct weir_dest dest,
		     uint64_t tag, struct weir_error *err)
{
	return weir_plan_range(plan, object, 0, object->core->size_bytes, dest, tag, err);
}

int plan_mapped(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
		uint64_t length, uint32_t align, uint64_t tag, struct weir_error *err)
{
	const struct source_ops *ops = object->core->source->ops;
	const struct sys *sys = plan->ctx->sys;
	struct source_view view;
	struct extent *extent;
	int ret;

	if (!ops->map || offset % max_of(align, 1u) ||
	    ops->map(object->core, offset, length, &view))
		return 1;
	ret = begin(plan, object, offset, length, tag, &extent, err);
	if (ret == 0)
		ret = buffer_map(sys, view.mapping, view.mapping_bytes, view.at, length,
				 &extent->mapped, err);
	if (ret < 0) {
		sys->munmap(view.mapping, (size_t)view.mapping_bytes);
		return ret;
	}
	extent->memory = view.at;
	ret = add(plan, extent, err);
	if (ret)
		weir_buffer_unref(extent->mapped);
	return ret;
}

/* Bytes delivered; each level must clear what the levels inside it span. */
static int check_strides(const char *uri, uint64_t offset, uint64_t run_bytes,
			 const struct weir_stride *strides, unsigned count, uint64_t *length,
			 struct weir_error *err)
{
	uint64_t inside = run_bytes;

	*length = run_bytes;
	for (unsigned i = count; i-- > 0;) {
		uint64_t steps = strides[i].count ? strides[i].count - 1 : 0;
		uint64_t span;

		if (!size_mul(*length, strides[i].count, length) ||
		    !size_mul(steps, strides[i].stride_bytes, &span) ||
		    !size_add(span, inside, &span))
			return error_set(err, WEIR_ARG, uri, "%s: the strided range overflows",
					 uri);
		if (strides[i].count > 1 && strides[i].stride_bytes < inside)
			return error_set(err, WEIR_ARG, uri,
					 "%s: stride %llu is less than the %llu bytes inside it",
					 uri, (unsigned long long)strides[i].stride_bytes,
					 (unsigned long long)inside);
		inside = span;
	}
	/* Only now: what wraps around would look like a small number. */
	if (!size_add(offset, inside, &inside))
		return error_set(err, WEIR_ARG, uri, "%s: the strided range overflows", uri);
	return 0;
}

int weir_plan_strided(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
		      uint64_t run_bytes, const struct weir_stride *strides, unsigned stride_count,
		      struct weir_dest dest, uint64_t tag, struct weir_error *err)
{
	struct extent *extent;
	uint64_t length;
	int ret;

	if (stride_count > WEIR_STRIDES_MAX)
		return error_set(err, WEIR_ARG, object->core->uri,
				 "%s: %u levels of strides: at most %d", object->core->uri,
				 stride_count, WEIR_STRIDES_MAX);
	ret = check_strides(object->core->uri, offset, run_bytes, strides, stride_count, &length,
			    err);
	if (ret < 0)
		return ret;
	if (plan->stride_count > UINT32_MAX - WEIR_STRIDES_MAX)
		return error_set(err, WEIR_LIMIT, NULL, "too many strided extents in one plan");
	ret = grow(plan, (void **)&plan->strides, plan->stride_count, &plan->stride_room,
		   stride_count, sizeof(plan->strides[0]), err);
	if (ret < 0)
		return ret;
	if (stride_count)
		memcpy(plan->strides + plan->stride_count, strides,
		       stride_count * sizeof(strides[0]));
	ret = begin(plan, object, offset, length, tag, &extent, err);
	if (ret < 0)
		return ret;
	extent->run_bytes = run_bytes;
	extent->stride_first = (uint32_t)plan->stride_count;
	extent->stride_count = (uint8_t)stride_count;
	plan->stride_count += stride_count;
	return add_read(plan, extent, &dest, err);
}

int weir_plan_write(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
		    const void *memory, uint64_t length, uint64_t tag, struct weir_error *err)
{
	struct weir_dest from = {.kind = WEIR_DEST_HOST, .size_bytes = length};

	/* Written from, never to: the cast takes no promise back. */
	memcpy(&from.memory, &memory, sizeof(from.memory));
	return weir_plan_write_from(plan, object, offset, from, tag, err);
}

int weir_plan_write_from(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
			 struct weir_dest from, uint64_t tag, struct weir_error *err)
{
	const char *uri = object->core->uri;
	uint64_t length = from.size_bytes;
	struct extent *extent;
	int ret;

	if (!object->core->writing)
		return error_set(err, WEIR_ARG, uri, "%s: was opened for reading", uri);
	if (!size_inside(offset, length, object->core->size_bytes))
		return error_at(err, WEIR_ARG, uri, offset, length,
				"%s: %llu bytes at offset %llu of an object of %llu", uri,
				(unsigned long long)length, (unsigned long long)offset,
				(unsigned long long)object->core->size_bytes);
	if (allocates(&from) || (!from.memory && length))
		return error_set(err, WEIR_ARG, uri, "%s: written from %s", uri,
				 from.memory ? "nothing that is there" : "NULL");
	ret = begin(plan, object, offset, length, tag, &extent, err);
	if (ret < 0)
		return ret;
	if ((ret = check_dest(extent, &from, err)) < 0 ||
	    (ret = berth_find(plan, &from, &extent->berth, err)) < 0)
		return ret;
	extent->write = true;
	extent->memory = from.memory;
	return add(plan, extent, err);
}

/* ---- Where an extent's bytes are ---- */

struct span extent_span(const struct weir_plan *plan, const struct extent *extent, uint64_t done)
{
	const struct weir_stride *strides;
	struct span span;
	uint64_t index, inside;

	if (extent->stride_count == 0)
		return (struct span){extent->offset + done, extent->length - done};
	strides = plan->strides + extent->stride_first;
	index = done / extent->run_bytes;
	inside = done % extent->run_bytes;
	span.offset = extent->offset + inside;
	span.length = extent->run_bytes - inside;
	for (unsigned i = extent->stride_count; i-- > 0;) {
		span.offset += index % strides[i].count * strides[i].stride_bytes;
		index /= strides[i].count;
	}
	return span;
}

uint64_t extent_end(const struct weir_plan *plan, const struct extent *extent)
{
	struct span last;

	if (extent->length == 0)
		return extent->offset;
	if (extent->stride_count == 0)
		return extent->length > UINT64_MAX - extent->offset
			       ? UINT64_MAX
			       : extent->offset + extent->length;
	last = extent_span(plan, extent, extent->length - 1);
	return last.length > UINT64_MAX - last.offset ? UINT64_MAX : last.offset + last.length;
}

/* ---- Sealing ---- */

static int compare(const struct extent *a, const struct extent *b)
{
	if (a->class_ != b->class_)
		return a->class_ < b->class_ ? -1 : 1;
	if (a->object->group != b->object->group)
		return a->object->group->index < b->object->group->index ? -1 : 1;
	if (a->object != b->object)
		return a->object->serial < b->object->serial ? -1 : 1;
	if (a->offset != b->offset)
		return a->offset < b->offset ? -1 : 1;
	return 0;
}

static int compare_order(const void *a, const void *b, void *arg)
{
	const struct extent *extents = arg;
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	int by_place = compare(&extents[x], &extents[y]);

	return by_place ? by_place : x < y ? -1 : 1;
}

int plan_seal(struct weir_plan *plan, struct weir_error *err)
{
	bool sorted = true;

	plan->order = calloc(plan->count ? plan->count : 1, sizeof(plan->order[0]));
	if (!plan->order)
		return error_nomem(err, NULL, "the order of a plan");
	for (uint32_t i = 0; i < plan->count; i++) {
		plan->order[i] = i;
		sorted = sorted &&
			 (i == 0 || compare(&plan->extents[i - 1], &plan->extents[i]) <= 0);
	}
	if (!sorted)
		qsort_r(plan->order, plan->count, sizeof(plan->order[0]), compare_order,
			plan->extents);
	return 0;
}
