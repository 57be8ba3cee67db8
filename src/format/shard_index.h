/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The index of a model in several files: `model.safetensors.index.json`.
 *
 *	{"metadata": {"total_size": 123}, "weight_map": {"h.0.weight": "model-00001.safetensors", ...}}
 *
 * It is no part of the format, and nobody wrote its grammar down; this takes the two members that
 * loaders use and skips the others.  What it checks is the text: the names of shards stay inside the
 * directory, no tensor stands twice.  Whether the shards exist and hold what is promised is for
 * whoever opens them (model/).
 */
#ifndef FORMAT_SHARD_INDEX_H
#define FORMAT_SHARD_INDEX_H

#include "format/index.h"

#define SHARD_INDEX_MAX_BYTES ((uint64_t)64 << 20)
#define SHARD_NAME_MAX_BYTES  4095

struct shard_entry {
	struct format_text name; /* in text */
	uint32_t shard;          /* number in shards */
};

/* metadata.total_size is a hint, and often wrong: no size may ever be taken from it. */
enum shard_total {
	SHARD_TOTAL_NONE,
	SHARD_TOTAL_GIVEN,
	SHARD_TOTAL_ODD, /* there, but not a 64-bit number of bytes: worth a warning */
};

struct shard_index {
	struct shard_entry *entries; /* in the order of the text */
	size_t entry_count;
	const struct format_text *shards; /* each once, in the order of their first use */
	size_t shard_count;

	enum shard_total total;
	uint64_t total_bytes; /* of SHARD_TOTAL_GIVEN */

	uint32_t *slots;             /* entry numbers + 1 by hash of the name; once it is linked */
	const uint32_t *shard_slots; /* likewise numbers of shards, from the start */
	unsigned slot_bits;
	bool linked; /* no name stands twice, and every name can be found */
	uint64_t seed;
	char *text; /* owned, free() */
};

/* A flag of the input: the index is not linked yet. */
#define SHARD_INDEX_UNLINKED 1u

/*
 * in->text is the whole file, and belongs to the index when this succeeds; no other flags mean anything.
 * Fails with WEIR_LIMIT above 64 MiB, WEIR_NOMEM, or one of WEIR_H_UTF8, _JSON, _SCHEMA, _DUP, _NAME.
 */
must_use int shard_index_parse(const struct format_input *in, struct shard_index **out,
			       struct weir_error *err);

/*
 * Makes what stands in the index findable, once; WEIR_H_DUP where a name stands twice.  Who compares the
 * entries with tables of his own can do without.
 */
must_use int shard_index_link(struct shard_index *index, const char *label, struct weir_error *err);

/* Frees the index and its text; NULL is fine. */
void shard_index_destroy(struct shard_index *index);

/* The entry of that tensor, or NULL; of an index that is linked. */
const struct shard_entry *shard_index_find(const struct shard_index *index, struct bytes name);

/* Is that the name of a shard? */
bool shard_index_names(const struct shard_index *index, struct bytes shard);

static inline struct bytes shard_name(const struct shard_index *index, size_t shard)
{
	return (struct bytes){index->text + index->shards[shard].at, index->shards[shard].len};
}

static inline struct bytes shard_entry_name(const struct shard_index *index,
					    const struct shard_entry *entry)
{
	return (struct bytes){index->text + entry->name.at, entry->name.len};
}

/* May a shard be called so: a relative path without empty, `.` or `..` parts, without NUL? */
bool shard_name_allowed(struct bytes name);

#endif
