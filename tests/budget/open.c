/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a model of a hundred shards with sixteen tensors each, planning all of it and closing it again,
 * in one thread: for callgrind (tests/budget/run), which counts what is ours of it and not the kernel's.
 *
 *	budget-open
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "engine/context.h"
#include "weir/weir.h"

/* Found by its name among what callgrind counted, so gcc may not make a copy of it under another. */
#ifdef __clang__
#define COUNTED __attribute__((noinline))
#else
#define COUNTED __attribute__((noinline, noclone))
#endif

#define SHARDS     100u
#define TENSORS    16u
#define EACH_BYTES 4096u
#define TEXT       (1u << 20)

static char folder[] = "/tmp/weir-budget-XXXXXX";

static int fail(const char *what)
{
	fprintf(stderr, "budget-open: %s\n", what);
	return 1;
}

static int save(const char *name, const char *text, size_t len, off_t file_bytes)
{
	char path[128];
	FILE *file;
	int ret;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	if (!file)
		return fail(path);
	ret = fwrite(text, 1, len, file) != len || fflush(file) ||
	      ftruncate(fileno(file), file_bytes);
	return fclose(file) || ret ? fail(path) : 0;
}

static int save_shard(unsigned shard, char *text, const char *name)
{
	size_t len = 8;

	for (unsigned i = 0; i < TENSORS; i++)
		len += (size_t)snprintf(text + len, TEXT - len,
					"%c\"layer.%u.part.%u.weight\":{\"dtype\":\"BF16\","
					"\"shape\":[%u],\"data_offsets\":[%u,%u]}",
					i ? ',' : '{', shard, i, EACH_BYTES / 2, i * EACH_BYTES,
					(i + 1) * EACH_BYTES);
	text[len++] = '}';
	store_le64(text, len - 8);
	return save(name, text, len, (off_t)(len + (size_t)TENSORS * EACH_BYTES));
}

/* Shards, and the index that names them; text and index have room for TEXT bytes each. */
static int save_model(char *text, char *index)
{
	size_t len = (size_t)snprintf(index, TEXT, "{\"metadata\": {\"total_size\": %u}, ",
				      SHARDS * TENSORS * EACH_BYTES);
	char name[64];

	for (unsigned shard = 0; shard < SHARDS; shard++) {
		snprintf(name, sizeof(name), "model-%05u-of-%05u.safetensors", shard + 1, SHARDS);
		if (save_shard(shard, text, name))
			return 1;
		for (unsigned i = 0; i < TENSORS; i++)
			len += (size_t)snprintf(
				index + len, TEXT - len, "%s\"layer.%u.part.%u.weight\": \"%s\"",
				shard || i ? ", " : "\"weight_map\": {", shard, i, name);
	}
	len += (size_t)snprintf(index + len, TEXT - len, "}}");
	return save("model.safetensors.index.json", index, len, (off_t)len);
}

COUNTED static int open_and_plan(struct weir_ctx *ctx)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_model *model = NULL;
	struct weir_plan *plan = NULL;
	int ret = weir_model_open(ctx, folder, NULL, &model, &err);

	if (ret == 0)
		ret = weir_plan_create(ctx, &plan, &err);
	for (uint64_t i = 0; ret == 0 && i < weir_model_tensor_count(model); i++)
		ret = weir_plan_tensor(plan, model, i, weir_dest_alloc(), i, &err);
	if (ret == 0 && weir_plan_count(plan) != SHARDS * TENSORS)
		ret = WEIR_ARG;
	weir_plan_destroy(plan);
	weir_model_close(model);
	return ret ? fail(err.message) : 0;
}

/* Of how fast the machine is, and of chance, nothing depends here. */
static int64_t no_time(void)
{
	return 0;
}

static int no_chance(void *to, size_t len)
{
	memset(to, 7, len);
	return 0;
}

static int run(void)
{
	struct sys sys = *sys_real();
	struct ctx_seams seams = {.sys = &sys, .simulated = true};
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx;
	int ret;

	sys.now_ns = no_time;
	sys.random = no_chance;
	if (ctx_create_with(NULL, &seams, &ctx, &err) < 0)
		return fail(err.message);
	ret = open_and_plan(ctx);
	weir_ctx_destroy(ctx);
	return ret;
}

int main(void)
{
	char *text = malloc(TEXT), *index = malloc(TEXT), command[64];
	int ret = !text || !index || !mkdtemp(folder) ? fail("nowhere to write") : 0;

	if (ret == 0)
		ret = save_model(text, index);
	if (ret == 0)
		ret = run();
	snprintf(command, sizeof(command), "rm -r %s", folder);
	if (system(command)) /* NOLINT(cert-env33-c,concurrency-mt-unsafe): a folder of ours */
		ret = fail("something is left in its folder");
	free(text);
	free(index);
	return ret;
}
