/* SPDX-License-Identifier: Apache-2.0 */
#include "format/shard_index.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "format/scan.h"

/* Shortest entry: `"":"x",` */
#define ENTRY_MIN_BYTES 7

struct reader {
	struct json json;
	const struct format_input *in;
	struct shard_index *index; /* the block; owned until the end */
	struct shard_entry *entries;
	struct format_text *shards;
	uint32_t *slots, *shard_slots; /* of names and of shards, both 2^slot_bits */
	size_t entry_max;
	bool map_seen, metadata_seen;

	/* Of the last entry, where it was plain; the next one mostly looks the same. */
	struct bytes
		gap; /* what stood before its name, with both quotes; empty: nothing to go by */
	struct bytes tail;    /* what stood behind its name: quote, colon, shard */
	const char *last_end; /* of the entry before, where that was plain, too */
};

bool shard_name_allowed(struct bytes name)
{
	const char *at = name.at, *end = name.at + name.len;

	if (name.len == 0 || name.len > SHARD_NAME_MAX_BYTES || memchr(name.at, 0, name.len))
		return false;
	for (;;) {
		const char *slash = memchr(at, '/', (size_t)(end - at));
		size_t len = (size_t)((slash ? slash : end) - at);

		if (len == 0 || (len == 1 && at[0] == '.') ||
		    (len == 2 && at[0] == '.' && at[1] == '.'))
			return false;
		if (!slash)
			return true;
		at = slash + 1;
	}
}

/* One zeroed block: what is never written of it is never touched. */
static int make_block(struct reader *r, const struct scan_counts *counts)
{
	uint64_t len = (uint64_t)(r->json.end - r->json.at);
	uint64_t pairs = min_of(counts->commas, counts->quotes / 4);
	uint64_t max = min_of(pairs, len / ENTRY_MIN_BYTES) + 1;
	unsigned bits = format_slot_bits((size_t)max);
	uint64_t slots = UINT64_C(1) << bits;
	char *block = calloc(1, sizeof(struct shard_index) +
					(size_t)max * (sizeof(*r->entries) + sizeof(*r->shards)) +
					(size_t)slots * 2 * sizeof(uint32_t));

	if (!block)
		return error_nomem(r->json.err, r->json.label, "the shard index");
	r->index = (void *)block;
	r->entries = (void *)(r->index + 1);
	r->shards = (void *)(r->entries + max);
	r->slots = (void *)(r->shards + max);
	r->shard_slots = r->slots + slots;
	r->entry_max = (size_t)max;
	r->index->slot_bits = bits;
	return 0;
}

/* The text of a name, whose hash is for whoever links it. */
static struct format_text name_of(const struct reader *r, struct bytes name)
{
	return (struct format_text){
		.at = (uint32_t)(name.at - r->in->text),
		.len = (uint32_t)name.len,
	};
}

static struct format_text text_of(const struct reader *r, struct bytes bytes)
{
	return (struct format_text){
		.at = (uint32_t)(bytes.at - r->in->text),
		.len = (uint32_t)bytes.len,
		.hash = format_hash(bytes, r->in->seed),
	};
}

static int wrong_type(struct reader *r, const char *what)
{
	const char *at = (json_peek(&r->json), r->json.at);
	int ret = json_skip(&r->json);

	return ret < 0 ? ret : json_fail(&r->json, WEIR_H_SCHEMA, at, "%s", what);
}

/* Not inlined: its text would be zeroed for every entry. */
__attribute__((cold, noinline)) static int refuse_shard(struct reader *r, struct bytes name)
{
	struct quoted quoted;

	return json_fail(&r->json, WEIR_H_NAME, name.at,
			 "shard '%s' is not the name of a file inside the directory",
			 quote(&quoted, (struct bytes){name.at, min_of(name.len, (size_t)60)}));
}

/* The number of that shard; a new one where it has none yet. */
static int intern_shard(struct reader *r, struct bytes name, uint32_t *out)
{
	struct shard_index *index = r->index;

	/* Entries of one shard mostly stand together. */
	if (index->entry_count) {
		uint32_t last = r->entries[index->entry_count - 1].shard;

		if (bytes_equal(name, (struct bytes){r->in->text + r->shards[last].at,
						     r->shards[last].len})) {
			*out = last;
			return 0;
		}
	}
	if (!shard_name_allowed(name))
		return refuse_shard(r, name);
	r->shards[index->shard_count] = text_of(r, name);
	*out = format_place(r->in->text, r->shards, sizeof(*r->shards), index->shard_count,
			    r->shard_slots, index->slot_bits);
	index->shard_count += *out == index->shard_count;
	return 0;
}

/* What the plain entry that was just taken looks like. */
static void note_plain(struct reader *r, struct bytes name)
{
	const char *behind = name.at + name.len, *before = r->last_end;

	r->tail = (struct bytes){behind, (size_t)(r->json.at - behind)};
	r->gap = (struct bytes){before, before ? (size_t)(name.at - before) : 0};
	r->last_end = r->json.at;
}

/* An entry as writers write it: `"name": "shard"`, without an escape.  False: nothing was taken. */
static bool take_plain(struct reader *r, struct bytes *name, struct bytes *shard)
{
	const char *end = r->json.end, *at, *close;
	bool quoted = json_peek(&r->json) == '"';

	name->at = r->json.at + quoted;
	at = scan_string(name->at, end);
	name->len = (size_t)(at - name->at);
	if (!quoted || end - at < 4 || at[0] != '"' || at[1] != ':')
		return false;
	at += at[2] == ' ' ? 3 : 2;
	close = scan_string(at + 1, end);
	if (*at != '"' || close == end || *close != '"')
		return false;
	*shard = (struct bytes){at + 1, (size_t)(close - at - 1)};
	r->json.at += close + 1 - r->json.at;
	note_plain(r, *name);
	return true;
}

/* Any entry, by the grammar. */
static int take_spelled(struct reader *r, struct bytes *name, struct bytes *shard)
{
	int ret = json_key(&r->json, name);

	if (ret < 0)
		return ret;
	r->json.subject = *name;
	if (name->len && memchr(name->at, 0, name->len))
		return json_fail(&r->json, WEIR_H_NAME, name->at, "a NUL character in the name");
	if (json_peek(&r->json) != '"')
		return wrong_type(r, "its shard is not a string");
	return json_string(&r->json, shard);
}

static int take_entry(struct reader *r)
{
	struct shard_entry entry;
	struct bytes name, shard;
	int ret = 0;

	if (!take_plain(r, &name, &shard)) {
		r->gap.len = 0;
		r->last_end = NULL;
		ret = take_spelled(r, &name, &shard);
	}
	if (ret < 0)
		return ret;
	r->json.subject = name;
	if (name.len > SAFETENSORS_NAME_MAX_BYTES)
		return json_fail(&r->json, WEIR_LIMIT, name.at, "a name of %zu bytes", name.len);
	ret = intern_shard(r, shard, &entry.shard);
	if (ret < 0)
		return ret;
	entry.name = name_of(r, name);
	assert(r->index->entry_count < r->entry_max);
	r->entries[r->index->entry_count++] = entry;
	r->json.subject = (struct bytes){0};
	return 0;
}

/*
 * Entries that differ from the last one in their name alone: the same shard, and the same blanks.  What
 * is compared was read by the grammar's rules once, and only names may hold what it does not.
 */
static void take_alike(struct reader *r)
{
	const char *at = r->json.at, *end = r->json.end;
	struct shard_index *index = r->index;
	uint64_t gap, mask;
	uint32_t shard;

	if (r->gap.len == 0 || r->gap.len > sizeof(gap) || r->last_end != at ||
	    (size_t)(end - at) <= sizeof(gap) + r->tail.len)
		return;
	shard = r->entries[index->entry_count - 1].shard;
	mask = UINT64_MAX >> (64 - 8 * r->gap.len);
	gap = load_le64(r->gap.at) & mask;
	while ((size_t)(end - at) > sizeof(gap) + r->tail.len && (load_le64(at) & mask) == gap &&
	       index->entry_count < r->entry_max) {
		struct bytes name = {.at = at + r->gap.len};
		const char *close = scan_string(name.at, end - r->tail.len);

		name.len = (size_t)(close - name.at);
		if (close == end - r->tail.len || name.len > SAFETENSORS_NAME_MAX_BYTES ||
		    memcmp(close, r->tail.at, r->tail.len) != 0)
			break;
		r->entries[index->entry_count++] = (struct shard_entry){.name = name_of(r, name),
									.shard = shard};
		at = close + r->tail.len;
	}
	r->json.at += at - r->json.at;
	r->last_end = at;
}

static int take_map(struct reader *r)
{
	bool first = true;
	int ret;

	if (json_peek(&r->json) != '{')
		return wrong_type(r, "weight_map is not an object");
	ret = json_open(&r->json);
	while (ret == 0) {
		take_alike(r);
		ret = json_more(&r->json, '}', &first);
		if (ret <= 0)
			return ret;
		ret = take_entry(r);
	}
	return ret;
}

static int take_total(struct reader *r)
{
	struct json_number number;
	char c = json_peek(&r->json);
	int ret;

	if (r->index->total != SHARD_TOTAL_NONE)
		return json_fail(&r->json, WEIR_H_DUP, r->json.at, "total_size stands twice");
	r->index->total = SHARD_TOTAL_ODD;
	if (c != '-' && (c < '0' || c > '9'))
		return json_skip(&r->json);
	ret = json_number(&r->json, &number);
	if (ret == 0 && number.kind == JSON_UNSIGNED) {
		r->index->total = SHARD_TOTAL_GIVEN;
		r->index->total_bytes = number.value;
	}
	return ret;
}

static int take_metadata(struct reader *r)
{
	struct bytes key;
	bool first = true;
	int ret;

	if (json_peek(&r->json) != '{')
		return json_skip(&r->json); /* nothing of it is needed */
	ret = json_open(&r->json);
	while (ret == 0) {
		ret = json_more(&r->json, '}', &first);
		if (ret <= 0)
			return ret;
		ret = json_key(&r->json, &key);
		if (ret == 0)
			ret = bytes_equal(key, BYTES("total_size")) ? take_total(r)
								    : json_skip(&r->json);
	}
	return ret;
}

static int take_member(struct reader *r)
{
	const char *at = (json_peek(&r->json), r->json.at);
	struct bytes key;
	int ret = json_key(&r->json, &key);
	bool *seen;

	if (ret < 0)
		return ret;
	if (bytes_equal(key, BYTES("weight_map")))
		seen = &r->map_seen;
	else if (bytes_equal(key, BYTES("metadata")))
		seen = &r->metadata_seen;
	else
		return json_skip(&r->json);
	if (*seen)
		return json_fail(&r->json, WEIR_H_DUP, at, "%s stands twice",
				 seen == &r->map_seen ? "weight_map" : "metadata");
	*seen = true;
	return seen == &r->map_seen ? take_map(r) : take_metadata(r);
}

static int take_all(struct reader *r)
{
	bool first = true;
	int ret;

	if (json_peek(&r->json) != '{')
		return wrong_type(r, "the index is not a JSON object");
	ret = json_open(&r->json);
	while (ret == 0) {
		ret = json_more(&r->json, '}', &first);
		if (ret == 0)
			break;
		if (ret > 0)
			ret = take_member(r);
	}
	if (ret == 0)
		ret = json_end(&r->json);
	if (ret == 0 && !r->map_seen)
		return json_fail(&r->json, WEIR_H_SCHEMA, r->json.end, "weight_map is missing");
	return ret;
}

static int parse(struct reader *r)
{
	struct json *json = &r->json;
	struct scan_counts counts;
	size_t valid = scan_text(json->text, r->in->text_bytes, &counts);
	int ret;

	if (valid < r->in->text_bytes)
		return json_fail(json, WEIR_H_UTF8, json->text + valid, "the index is not UTF-8");
	ret = make_block(r, &counts);
	return ret < 0 ? ret : take_all(r);
}

int shard_index_link(struct shard_index *index, const char *label, struct weir_error *err)
{
	struct json json = {.label = label, .text = index->text, .err = err};
	struct shard_entry *entries = index->entries;
	ptrdiff_t again;

	if (index->linked)
		return 0;
	for (size_t i = 0; i < index->entry_count; i++)
		entries[i].name.hash = format_hash(shard_entry_name(index, &entries[i]),
						   index->seed);
	again = format_link(index->text, &entries->name, sizeof(*entries), index->entry_count,
			    index->slots, index->slot_bits);
	if (again < 0) {
		index->linked = true;
		return 0;
	}
	json.subject = shard_entry_name(index, &entries[again]);
	return json_fail(&json, WEIR_H_DUP, json.subject.at, "stands twice");
}

int shard_index_parse(const struct format_input *in, struct shard_index **out,
		      struct weir_error *err)
{
	struct reader r = {
		.in = in,
		.json = {.label = in->label,
			 .text = in->text,
			 .at = in->text,
			 .end = in->text + in->text_bytes,
			 .depth_max = JSON_DEPTH_STRICT,
			 .err = err},
	};
	int ret;

	if (in->file_bytes > SHARD_INDEX_MAX_BYTES || in->text_bytes > SHARD_INDEX_MAX_BYTES)
		return error_set(err, WEIR_LIMIT, in->label,
				 "%s: an index of %" PRIu64 " bytes, more than the %" PRIu64
				 " allowed",
				 in->label, max_of(in->file_bytes, (uint64_t)in->text_bytes),
				 SHARD_INDEX_MAX_BYTES);
	ret = parse(&r);
	if (ret == 0) {
		r.index->entries = r.entries;
		r.index->shards = r.shards;
		r.index->slots = r.slots;
		r.index->shard_slots = r.shard_slots;
		r.index->seed = in->seed;
		r.index->text = in->text;
	}
	if (ret == 0 && !(in->flags & SHARD_INDEX_UNLINKED))
		ret = shard_index_link(r.index, in->label, err);
	if (ret < 0) {
		free(r.index);
		return ret;
	}
	*out = r.index;
	return 0;
}

void shard_index_destroy(struct shard_index *index)
{
	if (!index)
		return;
	free(index->text);
	free(index);
}

const struct shard_entry *shard_index_find(const struct shard_index *index, struct bytes name)
{
	ptrdiff_t found = format_look_up(index->text, &index->entries->name,
					 sizeof(*index->entries), name, index->seed, index->slots,
					 index->slot_bits);

	return found < 0 ? NULL : &index->entries[found];
}

bool shard_index_names(const struct shard_index *index, struct bytes shard)
{
	return format_look_up(index->text, index->shards, sizeof(*index->shards), shard,
			      index->seed, index->shard_slots, index->slot_bits) >= 0;
}
