/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a header says: the table of tensors that every parser of this room fills.
 *
 * The index and its arrays are one block.  Names, metadata keys and values are views into `text`, which the
 * index owns: for safetensors it is the very buffer that was parsed (escapes are decoded in place),
 * for GGUF whatever its parser made.  So positions in it are 32 bits, and the costs of a header are
 * its bytes plus about 60 bytes a tensor.
 *
 *	tensors[]    in the order of the header
 *	dims[]       the dimensions of all tensors, one run each
 *	by_offset[]  numbers of tensors in the order of the file, or NULL where tensors[] is in it
 *	slots[]      numbers + 1 by hash of the name: seeded, open addressing, at most 3/4 full
 *
 * Everything was checked when the parser returned it: ranges lie in the file, sizes match shape and
 * type, names are unique.  An index never changes after that and may be read from any thread.
 */
#ifndef FORMAT_INDEX_H
#define FORMAT_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "format/dtype.h"

struct weir_error;

enum format_kind {
	FORMAT_SAFETENSORS,
	FORMAT_GGUF,
};

/* How strictly a header is read; 0 is strict. */
enum format_flags {
	FORMAT_LENIENT = 1 << 0, /* take what the reference library takes */
	FORMAT_TRAILING =
		1 << 1, /* take bytes behind the last tensor: for fastsafetensors' callers */
};

/*
 * What a parser is given: the first bytes of a file, and what is known about it.  A parser that
 * succeeds owns `text` from then on, and may change it even where it fails; a caller whose parse
 * failed still has to free it.
 */
struct format_input {
	const char *label; /* path or URI, for messages; borrowed for the call */
	char *text;        /* from the first byte of the file; malloc()ed */
	size_t text_bytes;
	size_t spare_bytes;  /* zeroes behind them, that may be read */
	uint64_t file_bytes; /* size of the whole file */
	uint64_t seed;       /* for the name table: a random number, unknown to who made the file */
	unsigned flags;      /* enum format_flags */
};

/* With so many the last entries are read as fast as the others. */
#define FORMAT_SPARE_BYTES 128

/* A run of index->text, and the hash that the tables go by. */
struct format_text {
	uint32_t at, len, hash;
};

struct format_tensor {
	uint64_t offset_bytes; /* of its first byte, from the start of the file */
	uint64_t size_bytes;
	struct format_text name;
	uint32_t dims_at, rank; /* in dims */
	uint32_t dtype;         /* enum format_dtype */
};

/* Types of metadata values; those of GGUF with its own numbers + 1. */
enum format_meta_type {
	META_TEXT = 0, /* safetensors: all values are strings */
};

struct format_meta {
	struct format_text key;
	uint32_t value_at, value_len; /* in text: printable, UTF-8, no quotes around it */
	uint32_t type;                /* enum format_meta_type */
};

struct format_index {
	enum format_kind kind;
	uint64_t data_start; /* where the data section begins in the file */
	uint64_t file_bytes;

	const struct format_tensor *tensors;
	size_t tensor_count;
	const uint64_t *dims;
	const uint32_t *by_offset;

	const struct format_meta *metas;
	size_t meta_count;
	bool has_metadata; /* false: none there, or null; true with meta_count 0: an empty one */

	const uint32_t *slots;
	unsigned slot_bits;
	uint64_t seed;

	char *text; /* owned, free() */
	size_t text_bytes;
};

/* The tensor of that name, or NULL.  Its number is the difference to index->tensors. */
const struct format_tensor *format_index_find(const struct format_index *index, struct bytes name);

/*
 * The same for a name in another text that was hashed with the index's seed.  `guess` is the number to
 * look at first; any will do.
 */
const struct format_tensor *format_index_find_text(const struct format_index *index,
						   const char *text, const struct format_text *name,
						   size_t guess);

/* The value of a metadata key, or NULL; looks at one after another. */
const struct format_meta *format_index_meta(const struct format_index *index, struct bytes key);

/* Frees the index and its text; NULL is fine. */
void format_index_destroy(struct format_index *index);

static inline struct bytes format_name(const struct format_index *index,
				       const struct format_tensor *tensor)
{
	return (struct bytes){index->text + tensor->name.at, tensor->name.len};
}

static inline const uint64_t *format_shape(const struct format_index *index,
					   const struct format_tensor *tensor)
{
	return index->dims + tensor->dims_at;
}

/* The nth tensor in the order of the file; n < tensor_count. */
static inline const struct format_tensor *format_by_offset(const struct format_index *index,
							   size_t n)
{
	return &index->tensors[index->by_offset ? index->by_offset[n] : n];
}

static inline struct bytes format_key(const struct format_index *index,
				      const struct format_meta *meta)
{
	return (struct bytes){index->text + meta->key.at, meta->key.len};
}

static inline struct bytes format_value(const struct format_index *index,
					const struct format_meta *meta)
{
	return (struct bytes){index->text + meta->value_at, meta->value_len};
}

/*
 * For parsers.
 *
 * They fill in the hash of every name and key with format_hash(), then link them: struct format_text
 * that stand `stride` bytes apart go into a table of 2^slot_bits slots.  Returns the number of the
 * first one that stands earlier already, or -1.
 */
uint32_t format_hash(struct bytes name, uint64_t seed);
unsigned format_slot_bits(size_t count);
ptrdiff_t format_link(const char *text, const struct format_text *first, size_t stride,
		      size_t count, uint32_t *slots, unsigned slot_bits);

/* The number of the one that reads like the nth: n itself where it is new, and placed now. */
uint32_t format_place(const char *text, const struct format_text *first, size_t stride, size_t n,
		      uint32_t *slots, unsigned slot_bits);

/* The number of the linked text that reads so, or -1. */
ptrdiff_t format_look_up(const char *text, const struct format_text *first, size_t stride,
			 struct bytes name, uint64_t seed, const uint32_t *slots,
			 unsigned slot_bits);

/* Sets the length of every text that stands again later; nothing that is parsed is so long. */
#define FORMAT_REPEATED UINT32_MAX
void format_mark_repeats(const char *text, struct format_text *first, size_t stride, size_t count,
			 uint32_t *slots, unsigned slot_bits);

/* Are the tensors in the order (offset, size)?  Where not, sort them: `order` and `spare` have room
 * for count numbers each, the result is in `order`. */
bool format_in_order(const struct format_tensor *tensors, size_t count);
void format_order(const struct format_tensor *tensors, size_t count, uint32_t *order,
		  uint32_t *spare);

#endif
