/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slice - what one rank of a tensor-parallel group does: only its rows, into its own memory
 *
 *	slice URI TENSOR RANK RANKS
 *
 * The event loop sleeps on a descriptor; here the loop is one poll().  Prints the checksum of the rows.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <weir/weir.h>

/* The rows of a rank: as even as they can be. */
static struct weir_slice rows_of(const struct weir_tensor *tensor, uint64_t rank, uint64_t ranks)
{
	uint64_t rows = tensor->shape[0];

	return (struct weir_slice){
		.dim = 0, .start = rows * rank / ranks, .stop = rows * (rank + 1) / ranks};
}

/* Sleeps until the one completion is there, and takes it. */
static int wait_for_it(struct weir_queue *queue, struct weir_done *done, struct weir_error *err)
{
	struct pollfd fd = {.fd = weir_queue_fd(queue), .events = POLLIN};

	while (poll(&fd, 1, -1) < 0)
		continue;
	return weir_queue_wait(queue, done, 1, WEIR_FOREVER, err) < 0 ? err->code : 0;
}

static int read_slice(struct weir_ctx *ctx, struct weir_model *model, uint64_t tensor,
		      const struct weir_slice *slice, void *memory, uint64_t bytes,
		      struct weir_error *err)
{
	struct weir_queue *queue = NULL;
	struct weir_plan *plan = NULL;
	struct weir_transfer *transfer = NULL;
	struct weir_done done;
	int ret, ended;

	if ((ret = weir_queue_create(ctx, 0, &queue, err)) ||
	    (ret = weir_plan_create(ctx, &plan, err)) ||
	    (ret = weir_plan_slice(plan, model, tensor, slice, 1, weir_dest_host(memory, bytes),
				   tensor, err)) ||
	    (ret = weir_transfer_start(plan, queue, NULL, &transfer, err))) {
		weir_plan_destroy(plan); /* start takes the plan only when it succeeds */
		weir_queue_destroy(queue);
		return ret;
	}
	ret = wait_for_it(queue, &done, err);
	ended = weir_transfer_finish(transfer, WEIR_FOREVER, err);
	weir_queue_destroy(queue);
	return ret ? ret : ended;
}

static int run(struct weir_ctx *ctx, char **argv, struct weir_model **model, struct weir_error *err)
{
	const struct weir_tensor *tensor;
	struct weir_slice slice;
	uint64_t number, bytes;
	void *memory;
	int ret = weir_model_open(ctx, argv[1], NULL, model, err);

	if (ret)
		return ret;
	number = weir_model_find(*model, argv[2], strlen(argv[2]));
	tensor = number == UINT64_MAX ? NULL : weir_model_tensor(*model, number);
	if (!tensor || tensor->rank == 0) {
		fprintf(stderr, "slice: no tensor '%s' with rows\n", argv[2]);
		return WEIR_NOTFOUND;
	}
	slice = rows_of(tensor, strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	ret = weir_slice_bytes(tensor, &slice, 1, &bytes, err);
	if (ret)
		return ret;
	memory = malloc((size_t)bytes + 1);
	if (!memory)
		return WEIR_NOMEM;
	ret = read_slice(ctx, *model, number, &slice, memory, bytes, err);
	if (ret == 0)
		printf("%016" PRIx64 "  %s[%" PRIu64 ":%" PRIu64 "]\n",
		       weir_xxh3_64(memory, (size_t)bytes), tensor->name, slice.start, slice.stop);
	free(memory);
	return ret;
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx = NULL;
	struct weir_model *model = NULL;
	int ret;

	if (argc != 5 || strtoull(argv[4], NULL, 10) == 0) {
		fprintf(stderr, "usage: slice URI TENSOR RANK RANKS\n");
		return 2;
	}
	ret = weir_ctx_create(NULL, &ctx, &err);
	if (ret == 0)
		ret = run(ctx, argv, &model, &err);
	if (ret)
		fprintf(stderr, "slice: %s\n", err.message[0] ? err.message : weir_code_text(ret));
	weir_model_close(model);
	weir_ctx_destroy(ctx);
	return ret ? 1 : 0;
}
