/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A tensor is a row of 64-bit words, little-endian, each made from its key and its number alone: any
 * range can be made on its own, by any number of threads.
 */
#include "recipe_bytes.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

/* The finaliser of SplitMix64 over a counter. */
uint64_t recipe_mix(uint64_t key, uint64_t n)
{
	uint64_t x = key + (n + 1) * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

uint64_t recipe_key(uint64_t seed, const char *name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (; *name; name++)
		hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return recipe_mix(seed, hash);
}

/*
 * Which bits of a word may be set.  With its highest exponent bit off no float is NaN or infinite, and all
 * are below 2; of the types without a sign, or with one NaN where the sign alone would be, the top bit.
 */
static uint64_t mask_of(int dtype)
{
	switch (dtype) {
	case WEIR_DTYPE_BOOL:
		return UINT64_C(0x0101010101010101);
	case WEIR_DTYPE_F8_E5M2:
	case WEIR_DTYPE_F8_E4M3:
		return UINT64_C(0xbfbfbfbfbfbfbfbf);
	case WEIR_DTYPE_F8_E8M0:
	case WEIR_DTYPE_F8_E4M3FNUZ:
	case WEIR_DTYPE_F8_E5M2FNUZ:
		return UINT64_C(0x7f7f7f7f7f7f7f7f);
	case WEIR_DTYPE_F16:
	case WEIR_DTYPE_BF16:
		return UINT64_C(0xbfffbfffbfffbfff);
	case WEIR_DTYPE_F32:
	case WEIR_DTYPE_C64:
		return UINT64_C(0xbfffffffbfffffff);
	case WEIR_DTYPE_F64:
		return UINT64_C(0xbfffffffffffffff);
	default:
		return UINT64_MAX;
	}
}

static void fill_tensor(const struct recipe_tensor *tensor, uint64_t offset, char *to, size_t len)
{
	uint64_t mask = mask_of(tensor->dtype), key = tensor->key, word;
	size_t skip = offset % 8, part = len < 8 - skip ? len : 8 - skip;

	offset -= skip;
	if (skip) {
		word = htole64(recipe_mix(key, offset / 8) & mask);
		memcpy(to, (const char *)&word + skip, part);
		to += part;
		len -= part;
		offset += 8;
	}
	for (; len >= 8; len -= 8, to += 8, offset += 8) {
		word = htole64(recipe_mix(key, offset / 8) & mask);
		memcpy(to, &word, 8);
	}
	word = htole64(recipe_mix(key, offset / 8) & mask);
	memcpy(to, &word, len);
}

/* The tensor of the shard that holds this byte of its data; offset < data_bytes. */
static uint64_t find_tensor(const struct recipe *recipe, const struct recipe_shard *shard,
			    uint64_t offset)
{
	uint64_t low = shard->first, high = shard->first + shard->count;

	/* The first that ends behind it: empty ones before it are stepped over. */
	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		const struct recipe_tensor *tensor = &recipe->tensors[middle];

		if (tensor->offset_bytes + tensor->size_bytes <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

void recipe_fill(const struct recipe *recipe, uint32_t number, uint64_t offset, void *to_,
		 size_t len)
{
	const struct recipe_shard *shard = &recipe->shards[number];
	char *to = to_;
	size_t part;

	if (offset < shard->header_bytes) {
		part = shard->header_bytes - offset < len ? (size_t)(shard->header_bytes - offset)
							  : len;
		memcpy(to, shard->header + offset, part);
		to += part;
		len -= part;
		offset += part;
	}
	offset -= shard->header_bytes;
	for (uint64_t n = len ? find_tensor(recipe, shard, offset) : 0; len; n++) {
		const struct recipe_tensor *tensor = &recipe->tensors[n];
		uint64_t within = offset - tensor->offset_bytes;

		part = tensor->size_bytes - within < len ? (size_t)(tensor->size_bytes - within)
							 : len;
		fill_tensor(tensor, within, to, part);
		to += part;
		len -= part;
		offset += part;
	}
}

static void write_entry(struct json *json, const struct recipe_tensor *tensor)
{
	json_object(json, tensor->name);
	json_text(json, "dtype", weir_dtype_name(tensor->dtype));
	json_array(json, "shape");
	for (unsigned d = 0; d < tensor->rank; d++)
		json_uint(json, NULL, tensor->shape[d]);
	json_end(json);
	json_array(json, "data_offsets");
	json_uint(json, NULL, tensor->offset_bytes);
	json_uint(json, NULL, tensor->offset_bytes + tensor->size_bytes);
	json_end(json);
	json_end(json);
}

int recipe_header(struct recipe *recipe, uint32_t number, bool padded)
{
	struct recipe_shard *shard = &recipe->shards[number];
	size_t size = 0;
	uint64_t prefix = 0;
	FILE *file = open_memstream(&shard->header, &size);
	struct json json;
	bool failed;

	if (!file)
		return -1;
	fwrite(&prefix, sizeof(prefix), 1, file);
	json_open(&json, file);
	json_object(&json, NULL);
	json_object(&json, "__metadata__");
	json_text(&json, "format", "pt");
	json_end(&json);
	for (uint64_t n = 0; n < shard->count; n++)
		write_entry(&json, &recipe->tensors[shard->first + n]);
	json_end(&json);
	fflush(file);
	for (; padded && size % 8; size++)
		putc(' ', file);
	failed = ferror(file);
	if (fclose(file) != 0 || failed)
		return -1;
	shard->header_bytes = size;
	prefix = htole64(size - 8);
	memcpy(shard->header, &prefix, sizeof(prefix));
	return 0;
}

/* The index is sorted by name; the tensors are not. */
struct entry {
	const char *tensor, *shard;
};

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct entry *)a)->tensor, ((const struct entry *)b)->tensor);
}

int recipe_index(struct recipe *recipe)
{
	struct entry *order = calloc(recipe->tensor_count + 1, sizeof(*order));
	size_t size = 0;
	FILE *file = open_memstream(&recipe->index, &size);
	struct json json;
	bool failed = !file || !order;

	for (uint64_t n = 0; order && n < recipe->tensor_count; n++)
		order[n] = (struct entry){recipe->tensors[n].name,
					  recipe->shards[recipe->tensors[n].shard].name};
	if (!failed) {
		qsort(order, recipe->tensor_count, sizeof(*order), compare_names);
		json_open(&json, file);
		json_object(&json, NULL);
		json_object(&json, "metadata");
		json_uint(&json, "total_size", recipe->bytes);
		json_end(&json);
		json_object(&json, "weight_map");
		for (uint64_t n = 0; n < recipe->tensor_count; n++)
			json_text(&json, order[n].tensor, order[n].shard);
		json_end(&json);
		json_end(&json);
		json_close(&json);
		failed = ferror(file);
	}
	if (file && fclose(file) != 0)
		failed = true;
	free(order);
	recipe->index_bytes = size;
	return failed ? -1 : 0;
}
