/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draws a synthetic model: layers as language models have them, sizes in their usual proportions with
 * some chance in them, cut into shards of about the same size.
 */
#include "recipe.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "recipe_bytes.h"
#include "report.h"

#define HEADER_MAX UINT64_C(100000000) /* what readers accept */

/* A tensor's share of the model; 0 is a vector, which is small beside all matrices. */
struct kind {
	const char *name;
	unsigned weight;
};

static const struct kind layer_kinds[] = {
	{"input_layernorm.weight", 0},  {"self_attn.q_proj.weight", 4},
	{"self_attn.k_proj.weight", 1}, {"self_attn.v_proj.weight", 1},
	{"self_attn.o_proj.weight", 4}, {"post_attention_layernorm.weight", 0},
	{"mlp.gate_proj.weight", 11},   {"mlp.up_proj.weight", 11},
	{"mlp.down_proj.weight", 11},
};
#define LAYER_KINDS (sizeof(layer_kinds) / sizeof(layer_kinds[0]))

static const struct kind embed_kind = {"model.embed_tokens.weight", 16};
static const struct kind norm_kind = {"model.norm.weight", 0};
static const struct kind head_kind = {"lm_head.weight", 16};

static const struct kind *pick_kind(uint64_t n, uint64_t count, uint64_t *layer)
{
	*layer = UINT64_MAX;
	if (n == 0)
		return &embed_kind;
	if (n == count - 1)
		return &head_kind;
	if (n == count - 2)
		return &norm_kind;
	*layer = (n - 1) / LAYER_KINDS;
	return &layer_kinds[(n - 1) % LAYER_KINDS];
}

/* A kind's weight with a quarter of chance either way, in 1/1024. */
static uint64_t weigh(const struct recipe_options *options, uint64_t n)
{
	uint64_t layer, chance = recipe_mix(options->seed, 2 * n) % 512;

	return pick_kind(n, options->tensor_count, &layer)->weight * (768 + chance);
}

/* Elements come in groups that fill whole bytes. */
static uint64_t group_of(unsigned bits)
{
	return bits == 4 ? 2 : bits == 6 ? 4 : 1;
}

static uint64_t root_of(uint64_t square)
{
	uint64_t root = 1;

	while (root < 8192 && root * root * 4 <= square)
		root *= 2;
	return root;
}

/* A shape of about that many elements. */
static void draw_shape(struct recipe_tensor *tensor, uint64_t elements, bool vector, bool odd,
		       uint64_t group)
{
	uint64_t columns = root_of(elements);

	if (vector) {
		tensor->rank = 1;
		tensor->shape[0] = elements > group ? elements / group * group : group;
		if (odd && group == 1)
			tensor->shape[0] |= 1;
		return;
	}
	if (columns < group)
		columns = group;
	if (odd && group == 1 && columns > 2)
		columns--;
	tensor->rank = 2;
	tensor->shape[1] = columns;
	tensor->shape[0] = elements > columns ? elements / columns : 1;
}

static int set_size(struct recipe_tensor *tensor, struct weir_error *err)
{
	uint64_t bits = weir_dtype_bits(tensor->dtype);

	for (unsigned n = 0; n < tensor->rank; n++) {
		if (__builtin_mul_overflow(bits, tensor->shape[n], &bits))
			return report_set(err, WEIR_ARG, NULL, "tensor '%.100s' is too large",
					  tensor->name);
	}
	if (bits % 8)
		return report_set(err, WEIR_ARG, NULL, "tensor '%.100s' does not fill whole bytes",
				  tensor->name);
	tensor->size_bytes = bits / 8;
	return 0;
}

/* A new tensor with room for its shape; NULL where memory ends.  Takes the name. */
static struct recipe_tensor *add_tensor(struct recipe *recipe, char *name, unsigned rank)
{
	struct recipe_tensor *tensor = &recipe->tensors[recipe->tensor_count];

	tensor->name = name;
	tensor->shape = calloc(rank + 1, sizeof(*tensor->shape));
	if (!name || !tensor->shape) {
		free(name);
		free(tensor->shape);
		*tensor = (struct recipe_tensor){0};
		return NULL;
	}
	tensor->rank = rank;
	recipe->tensor_count++;
	return tensor;
}

static int nomem(struct weir_error *err)
{
	return report_set(err, WEIR_NOMEM, NULL, "drawing the model: out of memory");
}

static int draw_tensor(const struct recipe_options *options, uint64_t n, uint64_t size_bytes,
		       struct recipe *out, struct weir_error *err)
{
	int dtype = options->dtypes[recipe_mix(options->seed, 2 * n + 1) % options->dtype_count];
	unsigned bits = weir_dtype_bits(dtype);
	struct recipe_tensor *tensor;
	const struct kind *kind;
	uint64_t layer;
	char *name = NULL;
	int len;

	kind = pick_kind(n, options->tensor_count, &layer);
	len = layer == UINT64_MAX
		      ? asprintf(&name, "%s", kind->name)
		      : asprintf(&name, "model.layers.%" PRIu64 ".%s", layer, kind->name);
	tensor = add_tensor(out, len < 0 ? NULL : name, 2);
	if (!tensor)
		return nomem(err);
	tensor->dtype = dtype;
	draw_shape(tensor, size_bytes * 8 / bits, !kind->weight, options->odd, group_of(bits));
	return set_size(tensor, err);
}

static int draw_all(const struct recipe_options *options, struct recipe *out,
		    struct weir_error *err)
{
	uint64_t count = options->tensor_count, vector = options->size_bytes / count / 64;
	uint64_t weights = 0, left = options->size_bytes;
	int ret = 0;

	for (uint64_t n = 0; n < count; n++) {
		uint64_t weight = weigh(options, n);

		weights += weight;
		left -= weight ? 0 : vector;
	}
	assert(weights > 0); /* the first tensor is a matrix */
	for (uint64_t n = 0; n < count && !ret; n++) {
		uint64_t weight = weigh(options, n);
		unsigned __int128 share = (unsigned __int128)left * weight;

		ret = draw_tensor(options, n, weight ? (uint64_t)(share / weights) : vector, out,
				  err);
	}
	return ret;
}

/* What loaders stumble over: nothing at all, scalars, single bytes.  In the last shard a byte moves all
 * that follows it to odd offsets. */
static int draw_odd(uint32_t shards, struct recipe *out, struct weir_error *err)
{
	static const struct {
		const char *name;
		int dtype;
		unsigned rank;
		uint64_t shape[3];
	} odd[] = {
		{"awkward.empty", WEIR_DTYPE_F32, 1, {0}},
		{"awkward.empty_matrix", WEIR_DTYPE_BF16, 2, {0, 7}},
		{"awkward.scalar", WEIR_DTYPE_F64, 0, {0}},
		{"awkward.three", WEIR_DTYPE_U8, 1, {3}},
		{"awkward.page_and_one", WEIR_DTYPE_I8, 1, {4097}},
		{"awkward.deep", WEIR_DTYPE_U16, 3, {1, 3, 5}},
	};

	for (size_t n = 0; n < sizeof(odd) / sizeof(odd[0]); n++) {
		struct recipe_tensor *tensor = add_tensor(out, strdup(odd[n].name), odd[n].rank);

		if (!tensor)
			return nomem(err);
		tensor->dtype = odd[n].dtype;
		memcpy(tensor->shape, odd[n].shape, odd[n].rank * sizeof(uint64_t));
		if (set_size(tensor, err))
			return err->code;
	}
	for (uint32_t shard = 0; shard < shards; shard++) {
		char *name = NULL;
		struct recipe_tensor *tensor;

		if (asprintf(&name, "awkward.byte.%05u", shard) < 0)
			name = NULL;
		tensor = add_tensor(out, name, 1);
		if (!tensor)
			return nomem(err);
		tensor->dtype = WEIR_DTYPE_U8;
		tensor->shape[0] = 1;
		tensor->size_bytes = 1;
		tensor->shard = shard;
	}
	return 0;
}

static int copy_like(const struct weir_model *like, struct recipe *out, struct weir_error *err)
{
	for (uint64_t n = 0; n < weir_model_tensor_count(like); n++) {
		const struct weir_tensor *from = weir_model_tensor(like, n);
		struct recipe_tensor *tensor;

		if (from->dtype == WEIR_DTYPE_OTHER)
			return report_set(err, WEIR_UNSUPPORTED, NULL,
					  "tensor '%.100s' is of type %s, which safetensors files "
					  "do not have",
					  from->name, from->dtype_name);
		tensor = add_tensor(out, strdup(from->name), from->rank);
		if (!tensor)
			return nomem(err);
		tensor->dtype = from->dtype;
		tensor->shard = from->shard;
		memcpy(tensor->shape, from->shape, from->rank * sizeof(uint64_t));
		if (set_size(tensor, err))
			return err->code;
	}
	return 0;
}

/* Cuts the first `count` tensors into runs of about the same size, none of them empty. */
static void cut_shards(struct recipe *recipe, uint64_t count, uint32_t shards)
{
	uint64_t left = 0, held = 0, first = 0;
	uint32_t shard = 0;

	for (uint64_t n = 0; n < count; n++)
		left += recipe->tensors[n].size_bytes;
	for (uint64_t n = 0; n < count; n++) {
		uint32_t later = shards - shard - 1; /* shards that are still empty */
		bool full = held >= left / (later + 1);

		if (later && n > first && (full || count - n <= later)) {
			shard++;
			first = n;
			left -= held;
			held = 0;
		}
		recipe->tensors[n].shard = shard;
		held += recipe->tensors[n].size_bytes;
	}
}

static int compare_reference(const void *a_, const void *b_)
{
	const struct recipe_tensor *a = a_, *b = b_;

	if (a->shard != b->shard)
		return a->shard < b->shard ? -1 : 1;
	if (a->dtype != b->dtype)
		return a->dtype > b->dtype ? -1 : 1;
	return strcmp(a->name, b->name);
}

/* In the last shard by name, so that a single byte stands first and moves all behind it to odd offsets. */
static int compare_odd(const void *a_, const void *b_, void *last_)
{
	const struct recipe_tensor *a = a_, *b = b_;
	const uint32_t *last = last_;

	if (a->shard != b->shard || a->shard != *last)
		return compare_reference(a, b);
	return strcmp(a->name, b->name);
}

/* Within a shard the reference writer puts wide types first, so that all are aligned. */
static int lay_out(struct recipe *recipe, bool odd, struct weir_error *err)
{
	uint32_t last = recipe->shard_count - 1;
	uint64_t at = 0;

	if (odd)
		qsort_r(recipe->tensors, recipe->tensor_count, sizeof(*recipe->tensors),
			compare_odd, &last);
	else
		qsort(recipe->tensors, recipe->tensor_count, sizeof(*recipe->tensors),
		      compare_reference);
	for (uint64_t n = 0; n < recipe->tensor_count; n++) {
		struct recipe_tensor *tensor = &recipe->tensors[n];
		struct recipe_shard *shard = &recipe->shards[tensor->shard];

		if (!shard->count++) {
			shard->first = n;
			at = 0;
		}
		tensor->key = recipe_key(recipe->seed, tensor->name);
		tensor->offset_bytes = at;
		if (__builtin_add_overflow(at, tensor->size_bytes, &at) || at > INT64_MAX)
			return report_set(err, WEIR_ARG, NULL, "the model is too large");
		shard->data_bytes = at;
		recipe->bytes += tensor->size_bytes;
	}
	return 0;
}

static int name_shards(struct recipe *recipe, bool odd, struct weir_error *err)
{
	for (uint32_t n = 0; n < recipe->shard_count; n++) {
		struct recipe_shard *shard = &recipe->shards[n];
		int len = recipe->shard_count == 1
				  ? asprintf(&shard->name, "model.safetensors")
				  : asprintf(&shard->name, "model-%05u-of-%05u.safetensors", n + 1,
					     recipe->shard_count);

		if (len < 0) {
			shard->name = NULL;
			return nomem(err);
		}
		if (recipe_header(recipe, n, !odd || n + 1 < recipe->shard_count))
			return nomem(err);
		if (shard->header_bytes > HEADER_MAX)
			return report_set(err, WEIR_ARG, NULL,
					  "%s: its header would have %" PRIu64
					  " bytes, readers accept %" PRIu64 ": use more shards",
					  shard->name, shard->header_bytes, HEADER_MAX);
	}
	return recipe->shard_count > 1 && recipe_index(recipe) ? nomem(err) : 0;
}

static int compare_name(const void *a, const void *b)
{
	return strcmp((*(const struct recipe_tensor *const *)a)->name,
		      (*(const struct recipe_tensor *const *)b)->name);
}

/* A model that is copied may have the awkward ones itself. */
static int check_names(const struct recipe *recipe, struct weir_error *err)
{
	const struct recipe_tensor **sorted = calloc(recipe->tensor_count + 1,
						     sizeof(const struct recipe_tensor *));
	int ret = 0;

	if (!sorted)
		return nomem(err);
	for (uint64_t n = 0; n < recipe->tensor_count; n++)
		sorted[n] = &recipe->tensors[n];
	qsort(sorted, recipe->tensor_count, sizeof(const struct recipe_tensor *), compare_name);
	for (uint64_t n = 1; n < recipe->tensor_count && !ret; n++) {
		if (compare_name(&sorted[n - 1], &sorted[n]) == 0)
			ret = report_set(err, WEIR_ARG, NULL,
					 "tensor '%.100s' would stand there twice",
					 sorted[n]->name);
	}
	free(sorted);
	return ret;
}

static int draw(const struct recipe_options *options, struct recipe *out, struct weir_error *err)
{
	uint64_t count;
	int ret = options->like ? copy_like(options->like, out, err) : draw_all(options, out, err);

	if (ret)
		return ret;
	count = out->tensor_count;
	if (!options->like)
		cut_shards(out, count, out->shard_count);
	if (options->odd)
		ret = draw_odd(out->shard_count, out, err);
	if (!ret)
		ret = check_names(out, err);
	if (!ret)
		ret = lay_out(out, options->odd, err);
	return ret ? ret : name_shards(out, options->odd, err);
}

int recipe_make(const struct recipe_options *options, struct recipe *out, struct weir_error *err)
{
	uint64_t count = options->like ? weir_model_tensor_count(options->like)
				       : options->tensor_count;
	int ret;

	*out = (struct recipe){.seed = options->seed};
	out->shard_count = options->like ? (uint32_t)weir_model_shard_count(options->like)
					 : options->shard_count;
	out->tensors = calloc(count + out->shard_count + 16, sizeof(*out->tensors));
	out->shards = calloc(out->shard_count + 1u, sizeof(*out->shards));
	ret = out->tensors && out->shards ? draw(options, out, err) : nomem(err);
	if (ret)
		recipe_fini(out);
	return ret;
}

void recipe_fini(struct recipe *recipe)
{
	for (uint64_t n = 0; recipe->tensors && n < recipe->tensor_count; n++) {
		free(recipe->tensors[n].name);
		free(recipe->tensors[n].shape);
	}
	for (uint32_t n = 0; recipe->shards && n < recipe->shard_count; n++) {
		free(recipe->shards[n].name);
		free(recipe->shards[n].header);
	}
	free(recipe->tensors);
	free(recipe->shards);
	free(recipe->index);
	*recipe = (struct recipe){0};
}
