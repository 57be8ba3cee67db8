/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF, versions 2 and 3: bytes in, index out.
 *
 *	"GGUF"  version  tensor count  pair count
 *	pairs:    key, type, value        (an array: element type, count, values)
 *	tensors:  name, rank, dimensions, type, offset
 *	padding to general.alignment (32 unless said), then the data of each tensor, each padded
 *
 * The header does not say how long it is, so the walker is fed: it goes as far as the bytes that are
 * there allow, keeps its place, and says how many it wants to see next.  It checks all that can be
 * judged item by item; gguf_parse() then builds the table and judges what takes all of it: repeated
 * names and the offsets.  Nothing is allocated before the walk has seen every item, so counts are
 * counts of things that are there.
 *
 * Dimensions come out in C order (outermost first); the file has them the other way around.  Values
 * become text; of an array the first GGUF_SHOWN elements and the count.
 */
#ifndef FORMAT_GGUF_H
#define FORMAT_GGUF_H

#include <stdint.h>

#include "base/bytes.h"
#include "base/compiler.h"
#include "base/error.h"
#include "format/index.h"

/* Caps, all named in messages. */
#define GGUF_HEADER_MAX  (UINT64_C(512) << 20)
#define GGUF_TENSORS_MAX UINT64_C(2000000)
#define GGUF_PAIRS_MAX   UINT64_C(2000000)
#define GGUF_KEY_MAX     UINT64_C(65535)
#define GGUF_NAME_MAX    UINT64_C(63)
#define GGUF_TEXT_MAX    (UINT64_C(256) << 20) /* of a string value */
#define GGUF_ALIGN_MAX   UINT64_C(65536)
#define GGUF_RANK_MAX    4

#define GGUF_ALIGN 32
#define GGUF_SHOWN 8

/* How many bytes are worth reading before the first call. */
#define GGUF_PREFIX 24

enum gguf_type {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
	GGUF_TYPES
};

/* "uint32"; "?" for a number that is none.  Takes format_meta.type, which is one more. */
const char *gguf_meta_type_name(uint32_t meta_type);

/* A header on its way in.  Zeroed, then gguf_walk_init(). */
struct gguf_walk {
	const char *label; /* for messages; borrowed */
	uint64_t file_bytes;
	uint64_t need_bytes; /* after GGUF_MORE: from the start of the file, at least */

	/* The walker's own. */
	const char *text;
	uint64_t have; /* bytes of it */
	uint64_t at;   /* all before it has been judged */
	uint64_t p;    /* within the item that begins at `at` */
	uint64_t tensor_count, pair_count;
	uint64_t tensors_seen, pairs_seen;
	uint64_t array_at, array_left; /* place within a long array of strings; 0: in none */
	uint64_t dims_total;
	uint64_t text_bytes; /* names, keys and values, each with a NUL */
	uint64_t align;
	struct weir_error *err;
};

#define GGUF_MORE 1

void gguf_walk_init(struct gguf_walk *walk, const char *label, uint64_t file_bytes);

/*
 * text: the first `have` bytes of the file, more of them at each call (they may have moved).  0: the
 * whole header was seen, and is walk->at bytes long; GGUF_MORE; or an error.
 */
must_use int gguf_walk(struct gguf_walk *walk, const char *text, uint64_t have,
		       struct weir_error *err);

/*
 * The table of a header that is there as a whole; GGUF_MORE, and *need_bytes as above (NULL is fine),
 * where it is not.  When it succeeds input->text is gone: the index has a smaller text of its own.
 */
must_use int gguf_parse(const struct format_input *input, struct format_index **out,
			uint64_t *need_bytes, struct weir_error *err);

/* ---- Between the files of this parser ---- */

struct gguf_value {
	uint32_t type;    /* enum gguf_type */
	uint32_t element; /* of an array */
	uint64_t count;   /* likewise */
	struct bytes raw; /* as the file has it; of a string without its length */
};

/* Text that is written, or only measured where at is NULL. */
struct gguf_sink {
	char *at;
	uint64_t len;
};
void gguf_value_text(struct gguf_sink *sink, const struct gguf_value *value);

/* Bytes of one value; 0 for strings and arrays. */
unsigned gguf_type_bytes(uint32_t type);

struct gguf_info {
	struct bytes name;
	uint64_t dims[GGUF_RANK_MAX]; /* as the file has them */
	uint32_t rank;
	uint32_t dtype; /* enum format_dtype */
	uint64_t size_bytes;
	uint64_t offset_bytes; /* within the data section */
};

/* One pair, one tensor, at walk->p, and past it; 0, GGUF_MORE or an error. */
must_use int gguf_walk_pair(struct gguf_walk *walk, struct bytes *key, struct gguf_value *value);
must_use int gguf_walk_info(struct gguf_walk *walk, struct gguf_info *info);

/* Fails at a place in the file: "label: what is wrong". */
int gguf_fail(const struct gguf_walk *walk, int code, uint64_t at, const char *format, ...)
	__attribute__((format(printf, 4, 5), cold));
#define gguf_fail(...) failure(gguf_fail(__VA_ARGS__))

#endif
