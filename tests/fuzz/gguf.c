/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the GGUF parser.
 *
 * The first byte of the input says how large the file is that the rest begins: just that, or so large
 * that no data are missing.  Beyond memory errors, these must hold:
 *
 *	what is taken lies in the file, in order, and is found by name
 *	fed in two pieces, the walk comes to the same verdict at the same place
 */
#include "format/gguf.h"

#include "base/error.h"
#include "fuzz.h"

enum mode {
	WHOLE_FILE = 1,
};

static void check_index(const struct format_index *index)
{
	uint64_t end = index->data_start;

	require(index->data_start <= index->file_bytes);
	for (size_t i = 0; i < index->tensor_count; i++) {
		const struct format_tensor *tensor = &index->tensors[i];

		require(format_index_find(index, format_name(index, tensor)) == tensor);
		require(tensor->offset_bytes >= end);
		require(tensor->offset_bytes <= index->file_bytes);
		require(tensor->size_bytes <= index->file_bytes - tensor->offset_bytes);
		require(index->text[tensor->name.at + tensor->name.len] == 0);
		require(tensor->rank <= GGUF_RANK_MAX && tensor->dtype < DTYPE_COUNT);
		end = tensor->offset_bytes + tensor->size_bytes;
	}
	for (size_t i = 0; i < index->meta_count; i++) {
		const struct format_meta *meta = &index->metas[i];

		require(meta->value_len < index->text_bytes - meta->value_at);
		require(index->text[meta->value_at + meta->value_len] == 0);
		require(format_index_meta(index, format_key(index, meta)) == meta);
	}
}

static int walk_to(struct gguf_walk *walk, const uint8_t *data, size_t have)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char *copy = fuzz_copy(data, have);
	int ret = gguf_walk(walk, copy, have, &err);

	require(walk->at <= have);
	if (ret == GGUF_MORE)
		require(walk->need_bytes > have && walk->need_bytes <= walk->file_bytes);
	free(copy);
	return ret;
}

static void check_pieces(const uint8_t *data, size_t size, uint64_t file_bytes)
{
	struct gguf_walk once, twice;
	int ret, first;

	gguf_walk_init(&once, "fuzz", file_bytes);
	ret = walk_to(&once, data, size);
	gguf_walk_init(&twice, "fuzz", file_bytes);
	first = walk_to(&twice, data, size / 2);
	if (first == GGUF_MORE)
		first = walk_to(&twice, data, size);
	require(first == ret && once.at == twice.at && once.text_bytes == twice.text_bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct format_index *index = NULL;
	struct format_input in = {.label = "fuzz", .seed = 5};
	uint64_t need = 0;
	int code;

	if (size == 0)
		return 0;
	in.file_bytes = data[0] & WHOLE_FILE ? size - 1 : INT64_MAX;
	in.text = fuzz_copy(data + 1, size - 1);
	in.text_bytes = size - 1;
	check_pieces(data + 1, size - 1, in.file_bytes);
	code = gguf_parse(&in, &index, &need, &err);
	if (code) {
		require(!index && (code == GGUF_MORE ? need > in.text_bytes : err.code == code));
		free(in.text);
		return 0;
	}
	check_index(index);
	format_index_destroy(index);
	return 0;
}
