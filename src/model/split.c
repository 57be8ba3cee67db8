/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF in several parts: `NAME-00002-of-00005.gguf`.
 *
 * Each part is a whole GGUF file with three keys: split.count, split.no (from 0), and in some
 * split.tensors.count, over all parts.  Who names one part means the model; who names a directory or a
 * list has to have them all.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "format/gguf.h"
#include "model/opening.h"

#define SPLIT_MAX UINT64_C(65535)

/* "-00001-of-00002.gguf" */
#define SUFFIX_LEN 20

struct part {
	const struct shard *shard;
	uint64_t number, count, tensors; /* tensors: UINT64_MAX where it does not say */
	size_t stem_len;                 /* of its name, before the suffix */
};

static int wrong(const struct opening *opening, const struct shard *shard, const char *what)
{
	return error_set(opening->err, WEIR_H_SCHEMA, shard->view.uri, "%s: %s", shard->view.uri,
			 what);
}

static bool is_integer(uint32_t meta_type)
{
	switch (meta_type - 1) {
	case GGUF_U8:
	case GGUF_I8:
	case GGUF_U16:
	case GGUF_I16:
	case GGUF_U32:
	case GGUF_I32:
	case GGUF_U64:
	case GGUF_I64:
		return true;
	default:
		return false;
	}
}

/* 0 and the number; 1 where the key is not there; WEIR_H_SCHEMA where it is no number. */
static int split_key(const struct opening *opening, const struct shard *shard, const char *key,
		     uint64_t *out)
{
	const struct format_meta *meta = format_index_meta(shard->index,
							   (struct bytes){key, strlen(key)});
	const char *text;

	if (!meta)
		return 1;
	text = format_value(shard->index, meta).at;
	if (!is_integer(meta->type) || text[0] == '-')
		return error_set(opening->err, WEIR_H_SCHEMA, shard->view.uri,
				 "%s: %s is no number of parts", shard->view.uri, key);
	*out = strtoull(text, NULL, 10);
	return 0;
}

/* Reads five digits; false where they are none. */
static bool five_digits(const char *at, uint64_t *out)
{
	*out = 0;
	for (int i = 0; i < 5; i++) {
		if (at[i] < '0' || at[i] > '9')
			return false;
		*out = *out * 10 + (uint64_t)(at[i] - '0');
	}
	return true;
}

/* What the name says: the length of its stem, and which part of how many; all of it where it says
 * nothing. */
static size_t stem_of(struct bytes name, uint64_t *number, uint64_t *count)
{
	const char *suffix = name.at + name.len - SUFFIX_LEN;

	if (name.len < SUFFIX_LEN || suffix[0] != '-' || !five_digits(suffix + 1, number) ||
	    memcmp(suffix + 6, "-of-", 4) != 0 || !five_digits(suffix + 10, count) ||
	    memcmp(suffix + 15, ".gguf", 5) != 0)
		return name.len;
	return name.len - SUFFIX_LEN;
}

static int judge_name(const struct opening *opening, struct part *part)
{
	const struct shard *shard = part->shard;
	uint64_t number, count;

	part->stem_len = stem_of(shard->name, &number, &count);
	if (part->stem_len == shard->name.len ||
	    (number == part->number + 1 && count == part->count))
		return 0;
	return error_set(opening->err, WEIR_H_SCHEMA, shard->view.uri,
			 "%s: says within that it is part %" PRIu64 " of %" PRIu64, shard->view.uri,
			 part->number + 1, part->count);
}

/* 0: a part; 1: a file by itself; or an error. */
static int read_part(const struct opening *opening, const struct shard *shard, struct part *part)
{
	int ret;

	*part = (struct part){.shard = shard, .tensors = UINT64_MAX};
	if (shard->index->kind != FORMAT_GGUF)
		return 1;
	ret = split_key(opening, shard, "split.count", &part->count);
	if (ret)
		return ret;
	ret = split_key(opening, shard, "split.no", &part->number);
	if (ret == 1)
		return wrong(opening, shard, "has split.count, but no split.no");
	if (ret == 0)
		ret = split_key(opening, shard, "split.tensors.count", &part->tensors);
	if (ret < 0)
		return ret;
	if (part->count == 0 || part->count > SPLIT_MAX)
		return wrong(opening, shard, "split.count is not from 1 to 65535");
	if (part->number >= part->count)
		return wrong(opening, shard, "split.no is not below split.count");
	return judge_name(opening, part);
}

/* ---- The others of one ---- */

static int add_others(struct opening *opening, const struct part *part)
{
	struct weir_model *model = opening->model;
	struct shard known = *part->shard, *shards;
	struct bytes stem = {known.view.uri, strlen(known.view.uri) - SUFFIX_LEN};
	size_t room = stem.len + SUFFIX_LEN + 1;

	shards = arena_alloc(&model->arena, (size_t)part->count, sizeof(*shards));
	if (!shards)
		return opening_nomem(opening);
	for (uint64_t i = 0; i < part->count; i++) {
		char *uri = arena_alloc(&model->arena, room, 1);

		if (!uri)
			return opening_nomem(opening);
		snprintf(uri, room, "%.*s-%05" PRIu64 "-of-%05" PRIu64 ".gguf", (int)stem.len,
			 stem.at, i + 1, part->count);
		shards[i].view.uri = uri;
		shards[i].name = (struct bytes){uri, room - 1};
	}
	shards[part->number] = known;
	model->shards = shards;
	model->shard_count = (uint32_t)part->count;
	return 0;
}

int split_complete(struct opening *opening)
{
	struct weir_model *model = opening->model;
	struct part part;
	int ret;

	if (opening->list || opening->dir || model->shard_count != 1)
		return 0;
	ret = read_part(opening, &model->shards[0], &part);
	if (ret)
		return ret < 0 ? ret : 0;
	if (part.count == 1)
		return 0;
	if (part.stem_len == part.shard->name.len)
		return wrong(opening, part.shard,
			     "is a part of a model, but its name does not end as that of one "
			     "(-00001-of-00002.gguf)");
	ret = add_others(opening, &part);
	if (ret == 0)
		ret = read_shards(opening);
	for (uint32_t i = 0; ret == 0 && i < model->shard_count; i++)
		if (read_part(opening, &model->shards[i], &part) == 1)
			return wrong(opening, &model->shards[i],
				     "has the name of a part, but no split.count");
	return ret;
}

/* ---- All of them ---- */

static int compare_stems(const struct part *a, const struct part *b)
{
	size_t len = min_of(a->stem_len, b->stem_len);
	int order = memcmp(a->shard->name.at, b->shard->name.at, len);

	return order ? order : a->stem_len < b->stem_len ? -1 : a->stem_len > b->stem_len;
}

static int compare_parts(const void *a, const void *b)
{
	const struct part *x = a, *y = b;
	int order = compare_stems(x, y);

	return order ? order : x->number < y->number ? -1 : x->number > y->number;
}

static int missing(const struct opening *opening, const struct part *part, uint64_t number)
{
	return error_set(opening->err, WEIR_NOTFOUND, part->shard->view.uri,
			 "%s: is one of %" PRIu64 " parts; number %" PRIu64 " of them is missing",
			 part->shard->view.uri, part->count, number + 1);
}

/* Parts with one stem, by number. */
static int judge_group(const struct opening *opening, const struct part *parts, size_t count)
{
	uint64_t tensors = 0, said = parts[0].tensors;

	for (size_t i = 0; i < count; i++) {
		if (parts[i].count != parts[0].count)
			return wrong(opening, parts[i].shard,
				     "its split.count is not that of the other parts");
		if (i > 0 && parts[i].number == parts[i - 1].number)
			return wrong(opening, parts[i].shard,
				     "its split.no is that of another part");
		if (parts[i].number != i)
			return missing(opening, &parts[i], i);
		if (parts[i].tensors != UINT64_MAX && said != UINT64_MAX &&
		    parts[i].tensors != said)
			return wrong(opening, parts[i].shard,
				     "its split.tensors.count is not that of the other parts");
		said = said == UINT64_MAX ? parts[i].tensors : said;
		tensors += parts[i].shard->index->tensor_count;
	}
	if (count < parts[0].count)
		return missing(opening, &parts[0], count);
	if (said != UINT64_MAX && said != tensors)
		return error_set(opening->err, WEIR_H_SCHEMA, parts[0].shard->view.uri,
				 "%s: split.tensors.count is %" PRIu64 ", its parts hold %" PRIu64,
				 parts[0].shard->view.uri, said, tensors);
	return 0;
}

static int judge_groups(struct opening *opening, struct part *parts, size_t count)
{
	int ret = 0;

	qsort(parts, count, sizeof(*parts), compare_parts);
	for (size_t first = 0, next; ret == 0 && first < count; first = next) {
		for (next = first + 1; next < count; next++)
			if (compare_stems(&parts[first], &parts[next]) != 0)
				break;
		ret = judge_group(opening, parts + first, next - first);
	}
	return ret;
}

int split_judge(struct opening *opening)
{
	const struct weir_model *model = opening->model;
	struct part *parts = NULL;
	size_t count = 0;
	int ret = 0;

	for (uint32_t i = 0; ret >= 0 && i < model->shard_count; i++) {
		if (model->shards[i].index->kind != FORMAT_GGUF)
			continue;
		if (!parts)
			parts = calloc(model->shard_count, sizeof(*parts));
		if (!parts)
			return opening_nomem(opening);
		ret = read_part(opening, &model->shards[i], &parts[count]);
		count += ret == 0;
	}
	if (ret >= 0 && parts)
		ret = judge_groups(opening, parts, count);
	free(parts);
	return ret < 0 ? ret : 0;
}
