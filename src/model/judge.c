/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does an index say what its files say?
 *
 * A tensor that it names must be in the shard that it names.  What the shards hold beyond that is left
 * out of the model, and said once for each kind: copies of tensors that are named elsewhere, tensors
 * and files that are not named at all.  A wrong total size is only ever worth a warning.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"
#include "model/opening.h"

/* Tensors of one kind that are left out: how many, and the first. */
struct strays {
	uint64_t count;
	const struct shard *shard;
	struct bytes name;
};

static void note(struct strays *strays, const struct shard *shard, struct bytes name)
{
	if (strays->count++ == 0) {
		strays->shard = shard;
		strays->name = name;
	}
}

/* Not inlined: its text would be zeroed for every tensor. */
__attribute__((cold, noinline)) static int
not_there(struct opening *opening, const struct shard *shard, const struct shard_entry *entry)
{
	struct quoted quoted;

	return error_set(opening->err, WEIR_H_SCHEMA, shard->view.uri,
			 "%s: holds no tensor '%s', which the index says it does", shard->view.uri,
			 quote(&quoted, shard_entry_name(opening->map, entry)));
}

/* From here on names are found in the index, and none stands twice. */
static int link_index(struct opening *opening)
{
	return shard_index_link(opening->map, opening->map_uri, opening->err);
}

/* The next tensor of the shard, where the entry is of that: mostly both are in the same order. */
static const struct format_tensor *next_tensor(const struct opening *opening,
					       const struct shard *shard,
					       const struct shard_entry *entry)
{
	const struct format_tensor *next = &shard->index->tensors[shard->kept_count];

	if (shard->kept_count >= shard->index->tensor_count || shard->kept[shard->kept_count] ||
	    next->name.len != entry->name.len ||
	    memcmp(shard->index->text + next->name.at, opening->map->text + entry->name.at,
		   entry->name.len) != 0)
		return NULL;
	return next;
}

static int keep_entry(struct opening *opening, const struct shard_entry *entry, uint64_t *total)
{
	struct shard *shard = &opening->model->shards[opening->map_shards[entry->shard]];
	const struct format_tensor *tensor = next_tensor(opening, shard, entry);
	int ret;

	if (unlikely(!tensor)) {
		ret = link_index(opening);
		if (ret)
			return ret;
		tensor = format_index_find_text(shard->index, opening->map->text, &entry->name,
						shard->kept_count);
		if (!tensor)
			return not_there(opening, shard, entry);
	}
	shard->kept[tensor - shard->index->tensors] = 1;
	shard->kept_count++;
	*total += tensor->size_bytes; /* a hint's twin: it may wrap, and nothing depends on it */
	return 0;
}

static int find_strays(struct opening *opening, const struct shard *shard, struct strays *copies,
		       struct strays *unnamed)
{
	int ret;

	if (shard->kept_count == shard->index->tensor_count)
		return 0;
	ret = link_index(opening);
	if (ret)
		return ret;
	for (size_t i = 0; i < shard->index->tensor_count; i++) {
		struct bytes name = format_name(shard->index, &shard->index->tensors[i]);

		if (!shard->kept[i])
			note(shard_index_find(opening->map, name) ? copies : unnamed, shard, name);
	}
	return 0;
}

static int tell_strays(struct opening *opening, const struct strays *strays, int code,
		       const char *what)
{
	struct quoted quoted;

	if (strays->count == 0)
		return 0;
	quote(&quoted, strays->name);
	if (strays->count == 1)
		return opening_warn(opening, code, strays->shard->view.uri,
				    "%s: tensor '%s', which the index %s; ignored",
				    strays->shard->view.uri, quoted.text, what);
	return opening_warn(opening, code, strays->shard->view.uri,
			    "%s: %" PRIu64 " tensors that the index %s, '%s' first; ignored",
			    strays->shard->view.uri, strays->count, what, quoted.text);
}

static int tell_tensors(struct opening *opening)
{
	struct strays copies = {0}, unnamed = {0};
	int ret = 0;

	for (uint32_t i = 0; ret == 0 && i < opening->model->shard_count; i++)
		ret = find_strays(opening, &opening->model->shards[i], &copies, &unnamed);
	if (ret == 0)
		ret = tell_strays(opening, &copies, WEIR_H_DUP, "takes from another shard");
	return ret ? ret : tell_strays(opening, &unnamed, WEIR_H_SCHEMA, "does not name");
}

/* Files beside the index that look like shards and are none of its. */
static int tell_files(struct opening *opening)
{
	const char *first = NULL;
	uint64_t count = 0;

	for (size_t i = 0; opening->listed && i < opening->listing.count; i++) {
		const char *name = opening->listing.entries[i].name;
		size_t len = strlen(name);

		if (name[0] == '.' || len < 12 ||
		    memcmp(name + len - 12, ".safetensors", 12) != 0 ||
		    shard_index_names(opening->map, (struct bytes){name, len}))
			continue;
		first = first && strcmp(first, name) < 0 ? first : name;
		count++;
	}
	if (count == 0)
		return 0;
	if (count == 1)
		return opening_warn(opening, WEIR_H_SCHEMA, opening->dir,
				    "%s%s%s: a file that the index does not name; ignored",
				    opening->dir, opening->dir[0] ? "/" : "", first);
	return opening_warn(opening, WEIR_H_SCHEMA, opening->dir,
			    "%s%s%s: %" PRIu64 " files that the index does not name, this one "
			    "first; ignored",
			    opening->dir, opening->dir[0] ? "/" : "", first, count);
}

static int tell_total(struct opening *opening, uint64_t total)
{
	const struct shard_index *map = opening->map;
	const uint32_t strict = opening->opts.flags & WEIR_MODEL_VERIFY;
	int ret = 0;

	opening->opts.flags &= ~(uint32_t)WEIR_MODEL_VERIFY;
	if (map->total == SHARD_TOTAL_ODD)
		ret = opening_warn(opening, WEIR_H_SCHEMA, opening->uris[0],
				   "%s: its total_size is no number of bytes; ignored",
				   opening->uris[0]);
	else if (map->total == SHARD_TOTAL_GIVEN && map->total_bytes != total)
		ret = opening_warn(opening, WEIR_H_SCHEMA, opening->uris[0],
				   "%s: its total_size is %" PRIu64 ", the tensors have %" PRIu64
				   " bytes; ignored",
				   opening->uris[0], map->total_bytes, total);
	opening->opts.flags |= strict;
	return ret;
}

/* A byte for each tensor of all shards. */
static int make_kept(struct opening *opening)
{
	struct weir_model *model = opening->model;
	size_t count = 0;

	for (uint32_t i = 0; i < model->shard_count; i++)
		count += model->shards[i].index->tensor_count;
	opening->kept = calloc(count + 1, 1);
	if (!opening->kept)
		return opening_nomem(opening);
	count = 0;
	for (uint32_t i = 0; i < model->shard_count; i++) {
		model->shards[i].kept = opening->kept + count;
		count += model->shards[i].index->tensor_count;
	}
	return 0;
}

/* A repeated name is the index's fault, if it stands twice in that. */
int judge_repeat(struct opening *opening, int code)
{
	int ret = opening->map ? link_index(opening) : 0;

	return ret ? ret : code;
}

int judge_index(struct opening *opening)
{
	const struct shard_index *map = opening->map;
	uint64_t total = 0;
	int ret = make_kept(opening);

	for (size_t i = 0; ret == 0 && i < map->entry_count; i++)
		ret = keep_entry(opening, &map->entries[i], &total);
	if (ret == 0)
		ret = tell_tensors(opening);
	if (ret == 0)
		ret = tell_files(opening);
	return ret ? ret : tell_total(opening, total);
}
