/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The public face of objects in RAM.
 */
#include "weir/memory.h"

#include "base/error.h"
#include "engine/context.h"
#include "engine/group.h"
#include "source/memory.h"

/* The source itself, whatever a test has stood in front of it. */
static int find_store(struct weir_ctx *ctx, struct source **out, struct weir_error *err)
{
	struct group *group;
	int ret = ctx_alive(ctx, err);

	if (ret < 0 || (ret = ctx_group(ctx, "memory", NULL, &group, err)) < 0)
		return ret;
	*out = group->core;
	return 0;
}

int weir_memory_put(struct weir_ctx *ctx, const char *name, const void *data, uint64_t size_bytes,
		    struct weir_error *err)
{
	struct source *source;
	int ret = find_store(ctx, &source, err);

	return ret < 0 ? ret : source_memory_put(source, name, data, size_bytes, err);
}

int weir_memory_remove(struct weir_ctx *ctx, const char *name, struct weir_error *err)
{
	struct source *source;
	int ret = find_store(ctx, &source, err);

	return ret < 0 ? ret : source_memory_remove(source, name, err);
}

int weir_memory_behave(struct weir_ctx *ctx, const struct weir_memory_opts *opts,
		       struct weir_error *err)
{
	struct memory_behaviour behaviour = {0};
	struct weir_memory_opts copy;
	struct source *source;
	int ret = find_store(ctx, &source, err);

	if (ret < 0)
		return ret;
	opts_copy(&copy, sizeof(copy), opts);
	behaviour.latency_ns = copy.latency_ns;
	behaviour.jitter_ns = copy.jitter_ns;
	behaviour.bytes_per_second = copy.bytes_per_second;
	source_memory_behave(source, &behaviour);
	return 0;
}
