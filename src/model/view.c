/* SPDX-License-Identifier: Apache-2.0 */
/* What an open model shows. */
#include "base/error.h"
#include "format/gguf.h"
#include "model/model.h"

const char *weir_model_format(const struct weir_model *model)
{
	return model->format;
}

uint64_t weir_model_tensor_count(const struct weir_model *model)
{
	return model->tensor_count;
}

const struct weir_tensor *weir_model_tensor(const struct weir_model *model, uint64_t index)
{
	return index < model->tensor_count ? &model->tensors[index] : NULL;
}

uint64_t weir_model_by_offset(const struct weir_model *model, uint64_t index)
{
	if (index >= model->tensor_count)
		return UINT64_MAX;
	return model->by_offset ? model->by_offset[index] : index;
}

uint64_t weir_model_shard_count(const struct weir_model *model)
{
	return model->shard_count;
}

const struct weir_shard *weir_model_shard(const struct weir_model *model, uint64_t index)
{
	return index < model->shard_count ? &model->shards[index].view : NULL;
}

struct weir_object *weir_model_object(const struct weir_model *model, uint64_t shard)
{
	return shard < model->shard_count ? model->shards[shard].object : NULL;
}

uint64_t weir_model_metadata_count(const struct weir_model *model, uint64_t shard)
{
	return shard < model->shard_count ? model->shards[shard].index->meta_count : 0;
}

int weir_model_metadata(const struct weir_model *model, uint64_t shard, uint64_t index,
			struct weir_metadata *out)
{
	const struct format_index *table;
	const struct format_meta *meta;

	if (index >= weir_model_metadata_count(model, shard))
		return WEIR_ARG;
	table = model->shards[shard].index;
	meta = &table->metas[index];
	*out = (struct weir_metadata){
		.key = format_key(table, meta).at,
		.value = format_value(table, meta).at,
		.key_len = meta->key.len,
		.value_len = meta->value_len,
		.type = meta->type == META_TEXT ? "string" : gguf_meta_type_name(meta->type),
	};
	return 0;
}

int weir_model_has_metadata(const struct weir_model *model, uint64_t shard)
{
	return shard < model->shard_count && model->shards[shard].index->has_metadata;
}

const char *weir_model_warning(const struct weir_model *model, uint64_t index)
{
	return index < model->warning_count ? model->warnings[index] : NULL;
}
