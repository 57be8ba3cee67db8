/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects whose content says where it belongs (lib/pattern.h), open to be read.
 */
#ifndef TESTS_LIB_PATTERN_OBJECT_H
#define TESTS_LIB_PATTERN_OBJECT_H

#include <stdlib.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/pattern.h"
#include "weir/weir.h"

static inline struct weir_object *pattern_opened(struct weir_ctx *ctx, const char *uri)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_object *object;

	if (weir_object_open(ctx, uri, NULL, &object, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return object;
}

/* "memory://pattern". */
static inline struct weir_object *pattern_in_memory(struct weir_ctx *ctx, uint64_t seed,
						    uint64_t size)
{
	char *data = malloc(size ? size : 1);

	pattern_fill(data, seed, 0, size);
	check_int(weir_memory_put(ctx, "pattern", data, size, NULL), 0);
	free(data);
	return pattern_opened(ctx, "memory://pattern");
}

/* A file that has no name any more. */
static inline struct weir_object *pattern_on_disk(struct weir_ctx *ctx, uint64_t seed,
						  uint64_t size)
{
	char *path = pattern_file("object", seed, size);
	struct weir_object *object = pattern_opened(ctx, path);

	unlink(path);
	free(path);
	return object;
}

#endif
