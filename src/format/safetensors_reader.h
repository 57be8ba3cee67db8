/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the safetensors parser share while they read one header.
 *
 * Nearly every header is written by one of two writers, without blanks and in one order of members.
 * reader_plain() reads such entries by comparing eight bytes at a time, and gives up, having changed
 * nothing, at the first byte it did not expect; then the grammar reads that one member and has the
 * last word.  So there are two readers of an entry but one judge.
 *
 *	scan_text()         UTF-8; how large can the table become?
 *	reader_plain()      entries as writers write them     --.
 *	reader_member()     one member, by the grammar          |-- until the closing brace
 *	reader_account()    does it begin where the last ended? -'
 *	safetensors.c       repeated names; coverage; where reader_account() saw anything odd,
 *	                    safetensors_check()
 *
 * While entries are read, a tensor's offset_bytes and size_bytes hold the begin and the end of its
 * data_offsets.  They become a place in the file at the very end.
 */
#ifndef FORMAT_SAFETENSORS_READER_H
#define FORMAT_SAFETENSORS_READER_H

#include "format/json.h"
#include "format/safetensors.h"
#include "format/safetensors_check.h"
#include "format/table.h"

#define DTYPE_CACHE_BITS 4

struct reader {
	struct json json;
	struct table table;
	const struct format_input *in;
	bool lenient;
	size_t name_max, rank_max;
	uint64_t data_start;
	uint64_t cursor; /* where the next tensor should begin */
	bool odd;        /* one did not, or its size is not what shape and type say */
	bool metadata_seen, metadata_there;
	struct {
		uint64_t key; /* up to seven characters of a dtype and the quote; 0: nothing here */
		uint32_t dtype;
	} dtypes[1 << DTYPE_CACHE_BITS]; /* those met last */
	uint64_t dtype_key, dtype_mask;  /* the very last, with the quote behind it */
	uint32_t dtype, dtype_len;
};

/*
 * Counts in the tensor that was filled in behind the last one of the table; its dimensions are the last
 * `rank` words.  Keeps account of what is covered.
 */
static inline void reader_account(struct reader *p, struct format_tensor *tensor)
{
	uint64_t begin = tensor->offset_bytes, end = tensor->size_bytes, bytes;
	const uint64_t *dims = p->table.words + tensor->dims_at;

	if (unlikely(begin != p->cursor || end < begin ||
		     safetensors_bytes(dtype_info(tensor->dtype)->bits, dims, tensor->rank,
				       p->lenient, &bytes) < 0 ||
		     bytes != end - begin))
		p->odd = true;
	p->cursor = end;
	p->table.tensor_count++;
}

static inline struct format_text reader_text(const struct reader *p, struct bytes name)
{
	return (struct format_text){
		.at = (uint32_t)(name.at - p->in->text),
		.len = (uint32_t)name.len,
		.hash = format_hash(name, p->in->seed),
	};
}

/* As many members as are plain.  Stands behind `{` or behind a member, before and after. */
void reader_plain(struct reader *p, bool *first);

/* One member of the header: a tensor or the metadata. */
must_use int reader_member(struct reader *p);

/* What stands here is JSON, or that is the fault; in any case it is not what belongs here. */
must_use int reader_wrong_type(struct reader *p, int code, const char *what);

#endif
