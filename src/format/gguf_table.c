/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a GGUF header that was walked to the end to the table of its tensors.
 *
 * The walk has counted everything, so the table is one block of the right size and its text another.
 * What is judged here takes more than one item: repeated names, and that every tensor begins exactly
 * where the one before it ends, padding included, inside the file.
 */
#include "format/gguf.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"

struct build {
	struct gguf_walk walk; /* goes over the header a second time */
	struct format_index *index;
	struct format_tensor *tensors;
	uint64_t *dims;
	struct format_meta *metas;
	uint32_t *slots;
	char *text;
	uint64_t text_at, text_max, dims_at;
};

/* What the parts of the block take; counts are at most some millions, so nothing wraps. */
static int allocate(struct build *build, const struct gguf_walk *walk,
		    const struct format_input *input)
{
	size_t tensors = (size_t)walk->tensor_count * sizeof(*build->tensors);
	size_t metas = (size_t)walk->pair_count * sizeof(*build->metas);
	size_t dims = (size_t)walk->dims_total * sizeof(*build->dims);
	uint64_t most = max_of(walk->tensor_count, walk->pair_count);
	size_t slots = sizeof(*build->slots) << format_slot_bits((size_t)most);
	char *block;

	if (walk->text_bytes > UINT32_MAX)
		return gguf_fail(walk, WEIR_LIMIT, 0,
				 "its metadata would be %" PRIu64 " bytes of text",
				 walk->text_bytes);
	block = calloc(1, sizeof(*build->index) + tensors + metas + dims + slots);
	build->text = malloc(walk->text_bytes + 1);
	build->index = (void *)block;
	if (!block || !build->text)
		return error_nomem(walk->err, input->label, "the table of its tensors");
	block += sizeof(*build->index);
	build->dims = (void *)block;
	build->tensors = (void *)(block + dims);
	build->metas = (void *)(block + dims + tensors);
	build->slots = (void *)(block + dims + tensors + metas);
	build->text_max = walk->text_bytes;
	return 0;
}

/* The walk has measured all that is written here. */
static struct format_text keep(struct build *build, struct bytes text, uint64_t seed)
{
	struct format_text kept = {(uint32_t)build->text_at, (uint32_t)text.len,
				   format_hash(text, seed)};

	assert(text.len < build->text_max - build->text_at);
	memcpy(build->text + build->text_at, text.at, text.len);
	build->text[build->text_at + text.len] = 0;
	build->text_at += text.len + 1;
	return kept;
}

static int add_meta(struct build *build, struct format_meta *meta, uint64_t seed)
{
	struct gguf_sink sink = {0};
	struct gguf_value value;
	struct bytes key;
	int ret = gguf_walk_pair(&build->walk, &key, &value);

	if (ret)
		return ret;
	meta->key = keep(build, key, seed);
	meta->type = value.type + 1;
	meta->value_at = (uint32_t)build->text_at;
	sink.at = build->text + build->text_at;
	gguf_value_text(&sink, &value);
	assert(sink.len < build->text_max - build->text_at);
	meta->value_len = (uint32_t)sink.len;
	sink.at[sink.len] = 0;
	build->text_at += sink.len + 1;
	return 0;
}

static int add_tensor(struct build *build, struct format_tensor *tensor, uint64_t seed)
{
	struct gguf_info info;
	int ret = gguf_walk_info(&build->walk, &info);

	if (ret)
		return ret;
	*tensor = (struct format_tensor){
		.offset_bytes = info.offset_bytes,
		.size_bytes = info.size_bytes,
		.name = keep(build, info.name, seed),
		.dims_at = (uint32_t)build->dims_at,
		.rank = info.rank,
		.dtype = info.dtype,
	};
	for (uint32_t i = 0; i < info.rank; i++)
		build->dims[build->dims_at++] = info.dims[info.rank - 1 - i];
	return 0;
}

/* All items once more, into the table this time; nothing but memory could fail, and that is there. */
static int fill(struct build *build, uint64_t seed)
{
	struct gguf_walk *walk = &build->walk;
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < walk->pair_count; i++)
		ret = add_meta(build, &build->metas[i], seed);
	for (uint64_t i = 0; ret == 0 && i < walk->tensor_count; i++)
		ret = add_tensor(build, &build->tensors[i], seed);
	return ret;
}

static int judge_names(struct build *build)
{
	struct format_index *index = build->index;
	struct quoted quoted;
	ptrdiff_t again;

	again = format_link(build->text, &build->metas[0].key, sizeof(*build->metas),
			    index->meta_count, build->slots, format_slot_bits(index->meta_count));
	if (again >= 0)
		return gguf_fail(&build->walk, WEIR_G_DUP, 0, "key '%s' stands twice",
				 quote(&quoted, format_key(index, &build->metas[again])));
	again = format_link(build->text, &build->tensors[0].name, sizeof(*build->tensors),
			    index->tensor_count, build->slots, index->slot_bits);
	if (again >= 0)
		return gguf_fail(&build->walk, WEIR_G_DUP, 0, "tensor '%s' stands twice",
				 quote(&quoted, format_name(index, &build->tensors[again])));
	return 0;
}

/* Offsets count from the data section in the file, and from the start of the file in the table. */
static int judge_offset(struct build *build, struct format_tensor *tensor, uint64_t *expected)
{
	const struct gguf_walk *walk = &build->walk;
	const struct format_index *index = build->index;
	struct quoted quoted;
	const char *name = quote(&quoted, format_name(index, tensor));
	uint64_t end;

	if (tensor->offset_bytes != *expected)
		return gguf_fail(walk, WEIR_G_OFFSET, tensor->offset_bytes,
				 "tensor '%s': offset %" PRIu64
				 "%s, but the one before it ends at %" PRIu64
				 " (aligned to %" PRIu64 ")",
				 name, tensor->offset_bytes,
				 tensor->offset_bytes % walk->align ? ", which is not aligned" : "",
				 *expected, walk->align);
	if (!size_add(*expected, round_up(tensor->size_bytes, walk->align), expected) ||
	    !size_add(*expected, index->data_start, &end) || end > INT64_MAX)
		return gguf_fail(walk, WEIR_G_OVERFLOW, tensor->offset_bytes,
				 "tensor '%s': the sum of all sizes overflows", name);
	tensor->offset_bytes += index->data_start;
	if (!size_inside(tensor->offset_bytes, tensor->size_bytes, walk->file_bytes))
		return gguf_fail(walk, WEIR_G_SHORT, tensor->offset_bytes,
				 "tensor '%s': %" PRIu64 " bytes at %" PRIu64
				 " in a file of %" PRIu64,
				 name, tensor->size_bytes, tensor->offset_bytes, walk->file_bytes);
	return 0;
}

static int judge_offsets(struct build *build)
{
	const struct gguf_walk *walk = &build->walk;
	uint64_t expected = 0;
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < build->index->tensor_count; i++)
		ret = judge_offset(build, &build->tensors[i], &expected);
	if (ret == 0 && build->index->tensor_count > 0 &&
	    build->index->data_start > walk->file_bytes)
		return gguf_fail(walk, WEIR_G_SHORT, walk->p,
				 "the data begins at %" PRIu64 " in a file of %" PRIu64,
				 build->index->data_start, walk->file_bytes);
	return ret;
}

/* The table is in the order of the file already, since offsets may only grow. */
static int finish(struct build *build, uint64_t seed)
{
	struct format_index *index = build->index;
	int ret;

	*index = (struct format_index){
		.kind = FORMAT_GGUF,
		.data_start = round_up(build->walk.p, build->walk.align),
		.file_bytes = build->walk.file_bytes,
		.tensors = build->tensors,
		.tensor_count = (size_t)build->walk.tensor_count,
		.dims = build->dims,
		.metas = build->metas,
		.meta_count = (size_t)build->walk.pair_count,
		.has_metadata = build->walk.pair_count > 0,
		.slots = build->slots,
		.slot_bits = format_slot_bits((size_t)build->walk.tensor_count),
		.seed = seed,
		.text = build->text,
		.text_bytes = (size_t)build->text_at,
	};
	if (index->tensor_count == 0)
		index->data_start = min_of(index->data_start, index->file_bytes);
	ret = judge_names(build);
	return ret ? ret : judge_offsets(build);
}

static int build_table(struct build *build, const struct gguf_walk *walk,
		       const struct format_input *input)
{
	int ret = allocate(build, walk, input);

	if (ret)
		return ret;
	build->walk = *walk;
	build->walk.p = GGUF_PREFIX;
	ret = fill(build, input->seed);
	return ret ? ret : finish(build, input->seed);
}

int gguf_parse(const struct format_input *input, struct format_index **out, uint64_t *need_bytes,
	       struct weir_error *err)
{
	struct build build = {0};
	struct gguf_walk walk;
	int ret;

	gguf_walk_init(&walk, input->label, input->file_bytes);
	ret = gguf_walk(&walk, input->text, input->text_bytes, err);
	if (ret == GGUF_MORE && need_bytes)
		*need_bytes = walk.need_bytes;
	if (ret == 0)
		ret = build_table(&build, &walk, input);
	if (ret) {
		free(build.text);
		free(build.index);
		return ret;
	}
	free(input->text);
	*out = build.index;
	return 0;
}
