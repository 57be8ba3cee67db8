/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests that open models share: one model at a time, written by hand into the case's folder.
 * Each case is a process of its own, so the state here is one case's.
 */
#ifndef TESTS_UNIT_MODEL_OPEN_RIG_H
#define TESTS_UNIT_MODEL_OPEN_RIG_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/models.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define INDEX "model.safetensors.index.json"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LIMIT_S 20 /* a sanitizer costs that much */
#else
#define LIMIT_S 2
#endif

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_model *model;

static inline int open_flags(const char *path, uint32_t flags)
{
	if (!ctx)
		check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	weir_model_close(model);
	model = NULL;
	err = (struct weir_error)WEIR_ERROR_INIT;
	return weir_model_open(ctx, path, WEIR_MODEL_OPTS(.flags = flags), &model, &err);
}

static inline int open_path(const char *path)
{
	int ret = open_flags(path, 0);

	check((ret == 0) == (model != NULL));
	check_int(err.code, ret);
	return ret;
}

static inline int open_folder(void)
{
	return open_path(folder());
}

static inline void must(int ret)
{
	if (ret)
		check_failed(__FILE__, __LINE__, "%s", err.message);
}

static inline void leave(void)
{
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	model = NULL;
	ctx = NULL;
}

static inline uint64_t find(const char *name)
{
	return weir_model_find(model, name, strlen(name));
}

/* The tensor's bytes, read and compared with the pattern of its file. */
static inline void check_data(const char *name, const char *file)
{
	const struct weir_tensor *tensor = weir_model_tensor(model, find(name));
	char *bytes;

	check(tensor);
	bytes = malloc(tensor->size_bytes + 1);
	must(weir_object_read(weir_model_object(model, tensor->shard), tensor->offset_bytes,
			      tensor->size_bytes, bytes, WEIR_FOREVER, &err));
	check_int(pattern_check(bytes, name_seed(file), tensor->offset_bytes, tensor->size_bytes),
		  tensor->size_bytes);
	free(bytes);
}

#endif
