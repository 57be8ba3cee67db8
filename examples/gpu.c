/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gpu - loads every tensor of a model into the memory of a GPU, and uses each as it arrives
 *
 *	gpu URI DEVICE
 *
 * Nothing of CUDA is needed to build this.  A program that has memory of its own there names it with
 * weir_dest_cuda(), and with the stream on which it used that memory last.  Prints a checksum of each
 * tensor, for which its bytes come back.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <weir/weir.h>

static int print(const struct weir_tensor *tensor, const struct weir_done *done,
		 struct weir_error *err)
{
	unsigned char *bytes = malloc((size_t)done->bytes + 1);
	int ret = bytes ? 0 : WEIR_NOMEM;

	if (ret == 0 && done->bytes)
		ret = weir_buffer_read(done->buffer, 0, bytes, done->bytes, err);
	if (ret == 0)
		printf("%016" PRIx64 "  %s\n", weir_xxh3_64(bytes, (size_t)done->bytes),
		       tensor->name);
	free(bytes);
	return ret;
}

static int load(struct weir_model *model, const struct weir_dest *dests, struct weir_error *err)
{
	struct weir_transfer *transfer;
	struct weir_done done;
	int first = 0, ret = weir_load_start(model, WEIR_LOAD_OPTS(.dests = dests), &transfer, err);

	if (ret)
		return ret;
	while (weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, err) > 0) {
		if (done.status == 0 && first == 0)
			first = print(weir_model_tensor(model, done.tag), &done, err);
		weir_buffer_unref(done.buffer); /* gives the GPU's memory back */
	}
	ret = weir_transfer_finish(transfer, WEIR_FOREVER, err);
	return ret ? ret : first;
}

static int run(struct weir_ctx *ctx, char **argv, struct weir_model **model, struct weir_error *err)
{
	struct weir_dest *dests;
	uint64_t count;
	int ret = weir_model_open(ctx, argv[1], NULL, model, err);

	if (ret)
		return ret;
	count = weir_model_tensor_count(*model);
	dests = calloc((size_t)count + 1, sizeof(dests[0]));
	if (!dests)
		return WEIR_NOMEM;
	for (uint64_t i = 0; i < count; i++)
		dests[i] = weir_dest_cuda_alloc((int)strtol(argv[2], NULL, 10));
	ret = load(*model, dests, err);
	free(dests);
	return ret;
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx = NULL;
	struct weir_model *model = NULL;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: gpu URI DEVICE\n");
		return 2;
	}
	ret = weir_ctx_create(NULL, &ctx, &err);
	if (ret == 0)
		ret = run(ctx, argv, &model, &err);
	if (ret)
		fprintf(stderr, "gpu: %s\n", err.message[0] ? err.message : weir_code_text(ret));
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	return ret ? 1 : 0;
}
