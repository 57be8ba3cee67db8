/* SPDX-License-Identifier: Apache-2.0 */
/*
 * copy - copies an object: the other direction
 *
 *	copy FROM TO
 *
 * Extents go both ways.  What is written has a temporary name until the commit, so TO appears whole or
 * not at all.  Where the file system can share blocks, no byte moves.
 */
#include <stdio.h>
#include <stdlib.h>

#include <weir/weir.h>

#define PIECE (4 * WEIR_MIB)

/* One plan of one extent, from start to end. */
static int move_piece(struct weir_ctx *ctx, struct weir_object *from, struct weir_object *to,
		      uint64_t offset, uint64_t length, void *memory, struct weir_error *err)
{
	struct weir_plan *plan = NULL;
	struct weir_transfer *transfer = NULL;
	struct weir_done done;
	int ret = weir_object_read(from, offset, length, memory, WEIR_FOREVER, err);

	if (ret || (ret = weir_plan_create(ctx, &plan, err)))
		return ret;
	if ((ret = weir_plan_write(plan, to, offset, memory, length, 0, err)) ||
	    (ret = weir_transfer_start(plan, NULL, NULL, &transfer, err))) {
		weir_plan_destroy(plan);
		return ret;
	}
	while (weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, err) > 0)
		continue;
	return weir_transfer_finish(transfer, WEIR_FOREVER, err);
}

static int move_all(struct weir_ctx *ctx, struct weir_object *from, struct weir_object *to,
		    uint64_t size_bytes, struct weir_error *err)
{
	void *memory = aligned_alloc(4096, PIECE);
	int ret = memory ? 0 : WEIR_NOMEM;

	for (uint64_t at = 0; at < size_bytes && ret == 0; at += PIECE) {
		uint64_t left = size_bytes - at;

		ret = move_piece(ctx, from, to, at, left < PIECE ? left : PIECE, memory, err);
	}
	free(memory);
	return ret;
}

static int copy(struct weir_ctx *ctx, const char *from_uri, const char *to_uri,
		struct weir_error *err)
{
	struct weir_object *from = NULL, *to = NULL;
	struct weir_stat stat;
	int ret;

	if ((ret = weir_object_open(ctx, from_uri, NULL, &from, err)) ||
	    (ret = weir_object_stat(from, &stat, err)) ||
	    (ret = weir_object_create(ctx, to_uri, stat.size_bytes, NULL, &to, err)))
		goto out;
	ret = weir_object_clone(to, from, NULL, err);
	if (ret == WEIR_UNSUPPORTED)
		ret = move_all(ctx, from, to, stat.size_bytes, err);
	if (ret == 0)
		ret = weir_object_commit(to, WEIR_DURABLE_DATA, err);
out:
	weir_object_unref(to); /* removes what was not committed */
	weir_object_unref(from);
	return ret;
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_ctx *ctx = NULL;
	int ret;

	if (argc != 3) {
		fprintf(stderr, "usage: copy FROM TO\n");
		return 2;
	}
	ret = weir_ctx_create(NULL, &ctx, &err);
	if (ret == 0)
		ret = copy(ctx, argv[1], argv[2], &err);
	if (ret)
		fprintf(stderr, "copy: %s\n", err.message[0] ? err.message : weir_code_text(ret));
	weir_ctx_destroy(ctx);
	return ret ? 1 : 0;
}
