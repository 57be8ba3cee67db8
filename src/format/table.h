/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block of an index while its parser fills it.
 *
 *	| struct format_index | tensors ... | words ...           | slots | order | spare |
 *	                        tensor_max    dims and metadata     once the counts are known
 *
 * One allocation, made from upper bounds that the parser counted in the text beforehand.  What is not
 * written is not touched, so a bound that was too high costs addresses and no memory, and
 * table_finish() gives back what is much.
 */
#ifndef FORMAT_TABLE_H
#define FORMAT_TABLE_H

#include "format/index.h"

struct table {
	struct format_index *block; /* owned until table_finish() */
	size_t block_bytes;
	struct format_tensor *tensors;
	size_t tensor_count, tensor_max;
	uint64_t *words; /* dimensions, and metadata as whole records */
	size_t word_count, word_max;
	size_t metas_at, meta_count;       /* in words: one run */
	const uint32_t *slots, *by_offset; /* set by table_link() and table_order() */
	unsigned slot_bits;
};

struct table_bounds {
	uint64_t tensors, metas, dims;
};

/* WEIR_NOMEM or 0. */
must_use int table_init(struct table *table, const struct table_bounds *bounds);
void table_fini(struct table *table);

static inline void table_push(struct table *table, uint64_t word)
{
	table->words[table->word_count++] = word;
}

/* All pairs come one after another, with no table_push() between them. */
void table_push_meta(struct table *table, const struct format_meta *meta);

static inline struct format_meta *table_metas(struct table *table)
{
	return (struct format_meta *)(void *)(table->words + table->metas_at);
}

/* No tensor and no word comes any more; room for slots and orders begins. */
void table_close(struct table *table);

/* After table_close(); numbers of the first repeat, or -1. */
ptrdiff_t table_link_metas(struct table *table, const char *text);
ptrdiff_t table_link(struct table *table, const char *text);

/* For lenient readers: of every repeated name only the last stays, in its place. */
void table_keep_last(struct table *table, const char *text);
void table_keep_last_metas(struct table *table, const char *text);

/* After table_link(): the numbers in the order (offset, size), or NULL where they stand in it. */
const uint32_t *table_order(struct table *table);

/* The index, cut to its size; what the table does not know is the caller's to fill in. */
struct format_index *table_finish(struct table *table);

#endif
