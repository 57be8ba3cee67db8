/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a synthetic model is made of: names, types, shapes, and every byte of every file.
 *
 * All of it follows from the options and the seed, by integer arithmetic only, so that the same command
 * gives the same bytes on every machine.  A tensor's bytes depend on the seed and its name alone, not
 * on how the model is cut into shards.  Numbers are finite: no NaN, no infinity.
 */
#ifndef CLI_RECIPE_H
#define CLI_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/weir.h"

#define RECIPE_RANK_MAX 64

struct recipe_tensor {
	char *name; /* owned */
	int dtype;
	unsigned rank;
	uint64_t *shape; /* owned */
	uint64_t size_bytes;
	uint32_t shard;
	uint64_t offset_bytes; /* in its shard's data */
	uint64_t key;          /* what its bytes are made from */
};

struct recipe_shard {
	char *name;   /* owned: "model-00001-of-00004.safetensors" */
	char *header; /* owned: with the size prefix */
	uint64_t header_bytes, data_bytes;
	uint64_t first, count; /* of the tensors, which are sorted by shard and offset */
};

struct recipe {
	uint64_t seed;
	struct recipe_tensor *tensors; /* owned */
	uint64_t tensor_count;
	struct recipe_shard *shards; /* owned */
	uint32_t shard_count;
	uint64_t bytes; /* of all tensors */
	char *index;    /* owned: the shard index; NULL where there is one shard */
	uint64_t index_bytes;
};

struct recipe_options {
	uint64_t size_bytes, tensor_count, seed;
	uint32_t shard_count;
	const int *dtypes;
	size_t dtype_count;
	bool odd;
	const struct weir_model *like; /* names, types, shapes and shards of this one; or NULL */
};

int recipe_make(const struct recipe_options *options, struct recipe *out, struct weir_error *err);
void recipe_fini(struct recipe *recipe);

/* Bytes [offset, offset + len) of a shard's file. */
void recipe_fill(const struct recipe *recipe, uint32_t shard, uint64_t offset, void *to,
		 size_t len);

#endif
