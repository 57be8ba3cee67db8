/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a synthetic model: chance that is the same everywhere, headers, the index.
 */
#ifndef CLI_RECIPE_BYTES_H
#define CLI_RECIPE_BYTES_H

#include "recipe.h"

/* The n-th number of the stream that starts with this key. */
uint64_t recipe_mix(uint64_t key, uint64_t n);

/* What the bytes of a tensor are made from. */
uint64_t recipe_key(uint64_t seed, const char *name);

/* The header of a shard, padded with spaces to a multiple of 8 as the reference writer does, or not;
 * and the index.  Not 0: out of memory. */
int recipe_header(struct recipe *recipe, uint32_t shard, bool padded);
int recipe_index(struct recipe *recipe);

#endif
