/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load - loads every tensor of a model and uses each as it arrives
 *
 *	load URI
 *
 * Here "to use" is to print a checksum.  No more than 256 MiB of tensors are in memory at any time: the
 * next reads may have the memory of what was given back.
 */
#include <inttypes.h>
#include <stdio.h>

#include <weir/weir.h>

static void use(const struct weir_tensor *tensor, const void *data, uint64_t size_bytes)
{
	printf("%016" PRIx64 "  %s\n", weir_xxh3_64(data, (size_t)size_bytes), tensor->name);
}

static int load(const char *uri, struct weir_error *err)
{
	struct weir_ctx *ctx = NULL;
	struct weir_model *model = NULL;
	struct weir_transfer *transfer = NULL;
	struct weir_done done[64];
	int n, ret;

	if ((ret = weir_ctx_create(NULL, &ctx, err)) ||
	    (ret = weir_model_open(ctx, uri, NULL, &model, err)) ||
	    (ret = weir_load_start(model, WEIR_LOAD_OPTS(.budget_bytes = 256 * WEIR_MIB), &transfer,
				   err)))
		goto out; /* err->message names the object, the offset, the cause */

	while ((n = weir_transfer_wait(transfer, done, 64, WEIR_FOREVER, err)) > 0)
		for (int i = 0; i < n; i++) {
			if (done[i].status == 0)
				use(weir_model_tensor(model, done[i].tag), done[i].data,
				    done[i].bytes);
			weir_buffer_unref(done[i].buffer); /* NULL is fine */
		}
	/* Also after a failed wait: cancels, waits, frees, and tells the first failure in words. */
	ret = weir_transfer_finish(transfer, WEIR_FOREVER, err);
out:
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	return ret;
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;

	if (argc != 2) {
		fprintf(stderr, "usage: load URI\n");
		return 2;
	}
	if (load(argv[1], &err) != 0) {
		fprintf(stderr, "load: %s\n", err.message);
		return 1;
	}
	return 0;
}
