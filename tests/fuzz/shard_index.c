/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the parser of shard indexes.  What is taken is found by name, and no shard of it leaves the
 * directory.
 */
#include "format/shard_index.h"

#include "base/error.h"
#include "fuzz.h"

static void check_shards(const struct shard_index *index)
{
	for (size_t i = 0; i < index->shard_count; i++) {
		struct bytes name = shard_name(index, i);

		require(name.len && name.at[0] != '/' && !memchr(name.at, 0, name.len));
		require(shard_name_allowed(name));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct format_input in = {.label = "fuzz",
				  .text = fuzz_copy(data, size),
				  .text_bytes = size,
				  .file_bytes = size,
				  .seed = 5};
	struct weir_error err = WEIR_ERROR_INIT;
	struct shard_index *index = NULL;
	int code = shard_index_parse(&in, &index, &err);

	if (code < 0) {
		require(!index && err.code == code);
		free(in.text);
		return 0;
	}
	check_shards(index);
	for (size_t i = 0; i < index->entry_count; i++) {
		const struct shard_entry *entry = &index->entries[i];

		require(entry->shard < index->shard_count);
		require(shard_index_find(index, shard_entry_name(index, entry)) == entry);
	}
	shard_index_destroy(index);
	return 0;
}
