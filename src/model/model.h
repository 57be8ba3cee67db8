/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model in memory: its shards, and one table of their tensors.
 *
 *	shards[]     the files, each with its object and the index that its header became
 *	tensors[]    all tensors, shard by shard, in the order of the headers
 *	by_offset[]  the same in the order of the files, or NULL where they stand in it
 *	slots[]      hash of the name, over all shards, to the number + 1
 *
 * Names and shapes are views into the shards' indexes.  A model is built by one thread
 * (model/opening.h) and does not change afterwards.
 */
#ifndef MODEL_MODEL_H
#define MODEL_MODEL_H

#include <stdatomic.h>

#include "base/arena.h"
#include "base/bytes.h"
#include "format/index.h"
#include "weir/model.h"

/* An index may name so many files, a list or a directory hold them. */
#define MODEL_SHARDS_MAX 65536

struct shard {
	struct weir_shard view;     /* what the API shows; its strings are the arena's */
	struct bytes name;          /* within the model's directory; else its URI */
	struct weir_object *object; /* counted */
	struct format_index *index; /* owned */
	uint64_t first;             /* number of its first tensor */
	uint8_t *kept;              /* while the model is built: 1 where an index names the tensor
				     * here; the opening's; NULL: all are kept */
	uint64_t kept_count;        /* of them */
};

struct name_slot {
	uint32_t hash, number; /* of the tensor, + 1; 0: free */
};

struct weir_model {
	struct weir_ctx *ctx;
	struct arena arena; /* strings, shards, warnings */
	const char *format;

	struct shard *shards; /* the arena's */
	uint32_t shard_count;

	struct weir_tensor *tensors; /* owned, with the two arrays below in the same block */
	uint64_t tensor_count;
	uint32_t *by_offset;
	struct name_slot *slots;
	unsigned slot_bits;
	uint64_t seed; /* of all name tables */

	char **warnings; /* the arena's */
	uint32_t warning_count, warning_room;

	_Atomic uint64_t charged_bytes; /* taken from the context's budget */
};

/* So many bytes are held from now on, until the model is closed; WEIR_LIMIT with both numbers. */
must_use int model_charge(struct weir_model *model, uint64_t bytes, const char *label,
			  struct weir_error *err);

/* ---- plan.c ---- */

/*
 * The tensor, or a cut through it, as a view of the page cache, tagged with its number.  1 where there
 * is none to be had: it is in no one piece, not wholly cached, or meant for other memory.
 */
must_use int model_plan_mapped(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
			       const struct weir_slice *slices, unsigned slice_count,
			       struct weir_dest dest, struct weir_error *err);

/* ---- table.c ---- */

/* Makes tensors[] and what goes with it from the shards' indexes; a repeated name is an error. */
must_use int table_build(struct weir_model *model, struct weir_error *err);

#endif
