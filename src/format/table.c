/* SPDX-License-Identifier: Apache-2.0 */
#include "format/table.h"

#include <assert.h>
#include <stdlib.h>

#include "base/huge.h"
#include "base/size.h"
#include "weir/error.h"

/* Less than this is not worth a system call: nobody touched it. */
#define WORTH_GIVING_BACK ((size_t)1 << 20)

#define META_WORDS (sizeof(struct format_meta) / sizeof(uint64_t))
_Static_assert(sizeof(struct format_meta) % sizeof(uint64_t) == 0, "metadata is whole words");
_Static_assert(sizeof(struct format_index) % sizeof(uint64_t) == 0, "tensors follow the index");

/* All of it; false where it is no size. */
static bool block_size(const struct table_bounds *bounds, uint64_t *out)
{
	uint64_t names = max_of(bounds->tensors, bounds->metas);
	uint64_t tensors, words, numbers, slots;

	return names <= UINT32_MAX / 2 &&
	       size_mul(bounds->tensors, sizeof(struct format_tensor), &tensors) &&
	       size_mul(bounds->metas, META_WORDS, &words) &&
	       size_add(words, bounds->dims, &words) && size_mul(words, sizeof(uint64_t), &words) &&
	       size_mul(bounds->tensors, 2 * sizeof(uint32_t), &numbers) &&
	       size_mul(UINT64_C(1) << format_slot_bits(names), sizeof(uint32_t), &slots) &&
	       size_add(sizeof(struct format_index), tensors, out) && size_add(*out, words, out) &&
	       size_add(*out, numbers, out) && size_add(*out, slots, out) && *out <= SIZE_MAX / 2;
}

int table_init(struct table *table, const struct table_bounds *bounds)
{
	uint64_t bytes;

	*table = (struct table){0};
	if (!block_size(bounds, &bytes))
		return WEIR_NOMEM;
	table->block = malloc((size_t)bytes);
	if (!table->block)
		return WEIR_NOMEM;
	huge_advise(table->block, (size_t)bytes);
	table->block_bytes = (size_t)bytes;
	*table->block = (struct format_index){0};
	table->tensors = (struct format_tensor *)(table->block + 1);
	table->tensor_max = (size_t)bounds->tensors;
	table->words = (uint64_t *)(table->tensors + table->tensor_max);
	table->word_max = (size_t)(bounds->dims + bounds->metas * META_WORDS);
	return 0;
}

void table_fini(struct table *table)
{
	free(table->block);
	*table = (struct table){0};
}

void table_push_meta(struct table *table, const struct format_meta *meta)
{
	if (table->meta_count == 0)
		table->metas_at = table->word_count;
	assert(table->metas_at + table->meta_count * META_WORDS == table->word_count);
	memcpy(table->words + table->word_count, meta, sizeof(*meta));
	table->word_count += META_WORDS;
	table->meta_count++;
}

void table_close(struct table *table)
{
	uint64_t *packed = (uint64_t *)(table->tensors + table->tensor_count);

	assert(table->tensor_count <= table->tensor_max && table->word_count <= table->word_max);
	/* A few unused records may stay; room for many is closed, so that it can be given back. */
	if (table->tensor_max - table->tensor_count <= 8 + table->tensor_count / 16)
		return;
	memmove(packed, table->words, table->word_count * sizeof(*packed));
	table->words = packed;
}

static uint32_t *behind_words(struct table *table)
{
	return (uint32_t *)(table->words + table->word_count);
}

ptrdiff_t table_link_metas(struct table *table, const char *text)
{
	return format_link(text, &table_metas(table)->key, sizeof(struct format_meta),
			   table->meta_count, behind_words(table),
			   format_slot_bits(table->meta_count));
}

ptrdiff_t table_link(struct table *table, const char *text)
{
	table->slots = behind_words(table);
	table->slot_bits = format_slot_bits(table->tensor_count);
	return format_link(text, &table->tensors->name, sizeof(struct format_tensor),
			   table->tensor_count, behind_words(table), table->slot_bits);
}

void table_keep_last_metas(struct table *table, const char *text)
{
	struct format_meta *metas = table_metas(table);
	size_t kept = 0;

	format_mark_repeats(text, &metas->key, sizeof(*metas), table->meta_count,
			    behind_words(table), format_slot_bits(table->meta_count));
	for (size_t i = 0; i < table->meta_count; i++)
		if (metas[i].key.len != FORMAT_REPEATED)
			metas[kept++] = metas[i];
	table->meta_count = kept;
}

void table_keep_last(struct table *table, const char *text)
{
	struct format_tensor *tensors = table->tensors;
	size_t kept = 0;

	format_mark_repeats(text, &tensors->name, sizeof(*tensors), table->tensor_count,
			    behind_words(table), format_slot_bits(table->tensor_count));
	for (size_t i = 0; i < table->tensor_count; i++)
		if (tensors[i].name.len != FORMAT_REPEATED)
			tensors[kept++] = tensors[i];
	table->tensor_count = kept;
}

const uint32_t *table_order(struct table *table)
{
	uint32_t *order = behind_words(table) + ((size_t)1 << table->slot_bits);

	assert(table->slots);
	if (format_in_order(table->tensors, table->tensor_count))
		return NULL;
	format_order(table->tensors, table->tensor_count, order, order + table->tensor_count);
	table->by_offset = order;
	return order;
}

static size_t place_in(const struct format_index *block, const void *at)
{
	return (size_t)((const char *)at - (const char *)block);
}

struct format_index *table_finish(struct table *table)
{
	const char *end = (const char *)(behind_words(table) + ((size_t)1 << table->slot_bits) +
					 (table->by_offset ? table->tensor_count : 0));
	size_t used = place_in(table->block, end);
	size_t tensors = place_in(table->block, table->tensors);
	size_t words = place_in(table->block, table->words);
	size_t slots = place_in(table->block, table->slots);
	size_t order = table->by_offset ? place_in(table->block, table->by_offset) : 0;
	struct format_index *index = table->block, *smaller = NULL;
	const char *base;

	if (table->block_bytes - used >= WORTH_GIVING_BACK)
		smaller = realloc(index, used);
	if (smaller)
		index = smaller;
	base = (const char *)index;
	index->tensors = (const void *)(base + tensors);
	index->tensor_count = table->tensor_count;
	index->dims = (const void *)(base + words);
	index->metas = (const void *)(base + words + table->metas_at * sizeof(uint64_t));
	index->meta_count = table->meta_count;
	index->slots = (const void *)(base + slots);
	index->slot_bits = table->slot_bits;
	index->by_offset = order ? (const void *)(base + order) : NULL;
	*table = (struct table){0};
	return index;
}
