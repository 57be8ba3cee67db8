/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One table over all shards: the tensors as the API shows them, the order of the files, the names.
 *
 * One shard that is taken whole has all of that in its own index; only the tensors are spelled out.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "engine/budget.h"
#include "engine/context.h"
#include "model/model.h"

#define TENSORS_MAX (UINT64_C(1) << 31)

static bool is_kept(const struct shard *shard, size_t local)
{
	return !shard->kept || shard->kept[local];
}

static uint64_t count_kept(const struct shard *shard)
{
	return shard->kept ? shard->kept_count : shard->index->tensor_count;
}

static bool needs_names(const struct weir_model *model)
{
	return model->shard_count != 1 || model->shards[0].kept;
}

static bool needs_order(const struct weir_model *model)
{
	for (uint32_t i = 0; i < model->shard_count; i++)
		if (model->shards[i].index->by_offset)
			return true;
	return false;
}

/* tensors, then slots, then by_offset. */
static int allocate(struct weir_model *model, struct weir_error *err)
{
	uint64_t count = model->tensor_count;
	uint64_t order = needs_order(model) ? count : 0, slots = 0, bytes;
	const char *label = model->shard_count ? model->shards[0].view.uri : "an empty model";
	char *block;
	int ret;

	if (count >= TENSORS_MAX)
		return error_set(err, WEIR_LIMIT, label, "%s: a model of %llu tensors", label,
				 (unsigned long long)count);
	if (needs_names(model)) {
		model->slot_bits = format_slot_bits((size_t)count);
		slots = UINT64_C(1) << model->slot_bits;
	}
	bytes = count * sizeof(*model->tensors) + slots * sizeof(*model->slots) +
		order * sizeof(*model->by_offset);
	ret = model_charge(model, bytes, label, err);
	if (ret)
		return ret;
	block = malloc(bytes + 1);
	if (!block)
		return error_nomem(err, label, "the table of tensors");
	model->tensors = (void *)block; /* filled in whole, as by_offset is */
	block += count * sizeof(*model->tensors);
	model->slots = slots ? memset(block, 0, slots * sizeof(*model->slots)) : NULL;
	model->by_offset = order ? (void *)(block + slots * sizeof(*model->slots)) : NULL;
	return 0;
}

/*
 * In the text the byte behind a name is its closing quote, or one of what an escape was longer than
 * what it means: nobody's, so it can end the name for C.
 */
static const char *end_name(struct format_index *index, const struct format_tensor *tensor)
{
	index->text[tensor->name.at + tensor->name.len] = '\0';
	return index->text + tensor->name.at;
}

static void add_tensor(struct weir_model *model, uint32_t number, size_t local, uint64_t at)
{
	struct format_index *index = model->shards[number].index;
	const struct format_tensor *tensor = &index->tensors[local];

	model->tensors[at] = (struct weir_tensor){
		.name = end_name(index, tensor),
		.name_len = tensor->name.len,
		.dtype = dtype_public(tensor->dtype),
		.dtype_name = dtype_info(tensor->dtype)->name,
		.rank = tensor->rank,
		.shape = format_shape(index, tensor),
		.shard = number,
		.offset_bytes = tensor->offset_bytes,
		.size_bytes = tensor->size_bytes,
	};
}

static void add_shard(struct weir_model *model, uint32_t number)
{
	struct shard *shard = &model->shards[number];
	uint64_t at = shard->first;

	for (size_t i = 0; i < shard->index->tensor_count; i++)
		if (is_kept(shard, i))
			add_tensor(model, number, i, at++);
}

/* ---- Order ---- */

/* What a number in the shard becomes in the model, where some are left out; NULL: all stay. */
static int renumber(const struct shard *shard, uint32_t **out, struct weir_error *err)
{
	uint32_t at = 0;

	*out = NULL;
	if (!shard->kept)
		return 0;
	*out = malloc((shard->index->tensor_count + 1) * sizeof(**out));
	if (!*out)
		return error_nomem(err, shard->view.uri, "the order of its tensors");
	for (size_t i = 0; i < shard->index->tensor_count; i++)
		(*out)[i] = shard->kept[i] ? at++ : UINT32_MAX;
	return 0;
}

static int order_shard(struct weir_model *model, const struct shard *shard, struct weir_error *err)
{
	const struct format_index *index = shard->index;
	uint64_t at = shard->first;
	uint32_t *numbers;
	int ret = renumber(shard, &numbers, err);

	for (size_t i = 0; ret == 0 && i < index->tensor_count; i++) {
		size_t local = (size_t)(format_by_offset(index, i) - index->tensors);

		if (is_kept(shard, local))
			model->by_offset[at++] = (uint32_t)shard->first +
						 (numbers ? numbers[local] : (uint32_t)local);
	}
	free(numbers);
	return ret;
}

/* ---- Names ---- */

static int repeated(const struct weir_model *model, uint64_t a, uint64_t b, struct weir_error *err)
{
	const struct weir_tensor *tensor = &model->tensors[b];
	const struct shard *first = &model->shards[model->tensors[a].shard];
	const struct shard *second = &model->shards[tensor->shard];
	int code = second->index->kind == FORMAT_GGUF ? WEIR_G_DUP : WEIR_H_DUP;
	struct quoted quoted;

	return error_set(err, code, second->view.uri, "%s: tensor '%s' stands in %s already",
			 second->view.uri,
			 quote(&quoted, (struct bytes){tensor->name, (size_t)tensor->name_len}),
			 first->view.uri);
}

/* The slot of that name, or the free one where it would be. */
static struct name_slot *slot_of(const struct weir_model *model, struct bytes name, uint32_t hash)
{
	size_t mask = ((size_t)1 << model->slot_bits) - 1;
	size_t at = hash >> (32 - model->slot_bits);

	for (; model->slots[at].number; at = (at + 1) & mask) {
		const struct weir_tensor *tensor = &model->tensors[model->slots[at].number - 1];

		if (model->slots[at].hash == hash &&
		    bytes_equal((struct bytes){tensor->name, (size_t)tensor->name_len}, name))
			break;
	}
	return &model->slots[at];
}

/* The hashes are the parsers', who had the same seed. */
static int link_shard(struct weir_model *model, const struct shard *shard, struct weir_error *err)
{
	const struct format_index *index = shard->index;
	uint64_t at = shard->first;

	for (size_t i = 0; i < index->tensor_count; i++) {
		uint32_t hash = index->tensors[i].name.hash;
		struct name_slot *slot;

		if (!is_kept(shard, i))
			continue;
		slot = slot_of(model, format_name(index, &index->tensors[i]), hash);
		if (slot->number)
			return repeated(model, slot->number - 1, at, err);
		*slot = (struct name_slot){hash, (uint32_t)++at};
	}
	return 0;
}

uint64_t weir_model_find(const struct weir_model *model, const char *name, uint64_t name_len)
{
	struct bytes wanted = {name, (size_t)name_len};
	const struct format_tensor *found;
	uint32_t number;

	if (model->slots) {
		number = slot_of(model, wanted, format_hash(wanted, model->seed))->number;
		return number ? number - 1 : UINT64_MAX;
	}
	found = format_index_find(model->shards[0].index, wanted);
	return found ? (uint64_t)(found - model->shards[0].index->tensors) : UINT64_MAX;
}

/* ---- All of it ---- */

static int fill(struct weir_model *model, struct weir_error *err)
{
	int ret = 0;

	for (uint32_t i = 0; i < model->shard_count; i++)
		add_shard(model, i);
	for (uint32_t i = 0; ret == 0 && model->by_offset && i < model->shard_count; i++)
		ret = order_shard(model, &model->shards[i], err);
	for (uint32_t i = 0; ret == 0 && model->slots && i < model->shard_count; i++)
		ret = link_shard(model, &model->shards[i], err);
	return ret;
}

int table_build(struct weir_model *model, struct weir_error *err)
{
	int ret;

	for (uint32_t i = 0; i < model->shard_count; i++) {
		struct shard *shard = &model->shards[i];

		shard->first = model->tensor_count;
		shard->view.format = shard->index->kind == FORMAT_GGUF ? "gguf" : "safetensors";
		shard->view.size_bytes = shard->index->file_bytes;
		shard->view.header_bytes = shard->index->data_start;
		shard->view.tensor_count = count_kept(shard);
		model->tensor_count += shard->view.tensor_count;
	}
	ret = allocate(model, err);
	return ret ? ret : fill(model, err);
}
