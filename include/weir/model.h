/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/model.h - which files, which tensors, which bytes
 *
 * A model is a safetensors or GGUF file, a list of them, a directory, or a shard index
 * (`*.safetensors.index.json`).  Opening reads headers only.  With an index, the shards that it names;
 * for a repeated name the named shard wins, and extra tensors and unnamed files are warnings.  Without
 * one, all `*.safetensors` directly inside (or `*.gguf` where there are none); a repeated name is an
 * error.
 *
 * A model does not change once it is open, so any thread may read it; views are borrowed until
 * weir_model_close().
 */
#ifndef WEIR_MODEL_H
#define WEIR_MODEL_H

#include <stdint.h>

#include "weir/dtype.h"
#include "weir/object.h"
#include "weir/plan.h"
#include "weir/request.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_model;

enum weir_model_flags {
	WEIR_MODEL_LENIENT = 1u << 0, /* accept what the reference library accepts */
	WEIR_MODEL_BENEATH = 1u << 1, /* WEIR_DENIED for a link that leaves the model's directory */
	WEIR_MODEL_VERIFY = 1u << 2,  /* what is a warning otherwise is an error */
};

struct weir_model_opts {
	size_t size;
	uint32_t flags;
	int direct; /* for the shards, as in weir/object.h */
	int cache;
	int64_t timeout_ns;         /* 0: 60 s without progress */
	struct weir_cancel *cancel; /* borrowed; NULL: none */
};
#define WEIR_MODEL_OPTS(...)                                                                       \
	(&(struct weir_model_opts){.size = sizeof(struct weir_model_opts), __VA_ARGS__})

WEIR_API int weir_model_open(struct weir_ctx *ctx, const char *uri,
			     const struct weir_model_opts *opts, struct weir_model **out,
			     struct weir_error *err);

/* Several files as one model. */
WEIR_API int weir_model_open_list(struct weir_ctx *ctx, const char *const *uris, uint64_t count,
				  const struct weir_model_opts *opts, struct weir_model **out,
				  struct weir_error *err);

/* weir_model_open() without waiting: see weir/request.h. */
WEIR_API int weir_model_open_start(struct weir_ctx *ctx, const char *uri,
				   const struct weir_model_opts *opts, struct weir_queue *queue,
				   uint64_t tag, struct weir_request **out, struct weir_error *err);
WEIR_API int weir_model_open_finish(struct weir_request *request, struct weir_model **out,
				    struct weir_error *err);

/* After the transfers that read it have finished; NULL is fine. */
WEIR_API void weir_model_close(struct weir_model *model);

/* "safetensors", "gguf", or "model" where there are several files or an index. */
WEIR_API const char *weir_model_format(const struct weir_model *model);

struct weir_tensor {
	const char *name; /* NUL-terminated, for names that hold no NUL */
	uint64_t name_len;
	int dtype;              /* enum weir_dtype */
	const char *dtype_name; /* as the file spells it */
	unsigned rank;
	const uint64_t *shape;
	uint32_t shard;
	uint64_t offset_bytes; /* from the start of its file */
	uint64_t size_bytes;
};

WEIR_API uint64_t weir_model_tensor_count(const struct weir_model *model);

/* In the order of the files, and in each by name as the header has it; NULL past the end. */
WEIR_API const struct weir_tensor *weir_model_tensor(const struct weir_model *model,
						     uint64_t index);

/* The index-th tensor by shard and offset: the order in which a disk would like to be read. */
WEIR_API uint64_t weir_model_by_offset(const struct weir_model *model, uint64_t index);

/* Its index, or UINT64_MAX.  Constant time. */
WEIR_API uint64_t weir_model_find(const struct weir_model *model, const char *name,
				  uint64_t name_len);

struct weir_shard {
	const char *uri;
	const char *format; /* "safetensors" or "gguf" */
	uint64_t size_bytes;
	uint64_t header_bytes; /* before the data */
	uint64_t tensor_count;
};

WEIR_API uint64_t weir_model_shard_count(const struct weir_model *model);
WEIR_API const struct weir_shard *weir_model_shard(const struct weir_model *model, uint64_t index);

/* The opened file; borrowed, take a reference to keep it. */
WEIR_API struct weir_object *weir_model_object(const struct weir_model *model, uint64_t shard);

/* Strings of `__metadata__`, or GGUF's pairs as text, of one shard.  0, or WEIR_ARG past the end. */
struct weir_metadata {
	const char *key, *value;
	uint64_t key_len, value_len;
	const char *type; /* "string" in safetensors; in GGUF as that format names it */
};
WEIR_API uint64_t weir_model_metadata_count(const struct weir_model *model, uint64_t shard);
WEIR_API int weir_model_metadata(const struct weir_model *model, uint64_t shard, uint64_t index,
				 struct weir_metadata *out);

/* 1: the shard has `__metadata__`, be it empty, or pairs of GGUF; 0: it has none, or null. */
WEIR_API int weir_model_has_metadata(const struct weir_model *model, uint64_t shard);

/* What was ignored, in words; NULL past the end. */
WEIR_API const char *weir_model_warning(const struct weir_model *model, uint64_t index);

/* ---- What is planned by name ---- */

WEIR_API int weir_plan_tensor(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
			      struct weir_dest dest, uint64_t tag, struct weir_error *err);

/* A part of one dimension: [start, stop). */
struct weir_slice {
	unsigned dim;
	uint64_t start, stop;
};

/* Cut along any dimensions, each at most once; the rest whole.  Packed in C order. */
WEIR_API int weir_plan_slice(struct weir_plan *plan, struct weir_model *model, uint64_t tensor,
			     const struct weir_slice *slices, unsigned slice_count,
			     struct weir_dest dest, uint64_t tag, struct weir_error *err);

/* How many bytes that slice has. */
WEIR_API int weir_slice_bytes(const struct weir_tensor *tensor, const struct weir_slice *slices,
			      unsigned slice_count, uint64_t *out, struct weir_error *err);

#ifdef __cplusplus
}
#endif
#endif
