/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading models: every tensor whole and in its place, cuts through them against their elements one by
 * one, and what is refused before anything is read.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/models.h"
#include "lib/pattern.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_model *model;

static void must(int ret)
{
	if (ret)
		check_failed(__FILE__, __LINE__, "%s", err.message);
}

/* Three shards of tensors of odd sizes. */
#define SHARDS  3
#define TENSORS 40

static const char *shard_file(unsigned shard)
{
	static char name[SHARDS][32];

	snprintf(name[shard], sizeof(name[0]), "m-%u.safetensors", shard);
	return name[shard];
}

static void write_model(void)
{
	char name[64], shape[64];

	for (unsigned shard = 0; shard < SHARDS; shard++) {
		st_begin();
		for (unsigned i = 0; i < TENSORS; i++) {
			uint64_t count = i % 7 == 0 ? 0 : UINT64_C(1) + i * i * i * 13;

			snprintf(name, sizeof(name), "h.%u.%u", shard, i);
			snprintf(shape, sizeof(shape), "[%" PRIu64 "]", count);
			st_tensor(name, "BF16", shape, count * 2);
		}
		st_save(shard_file(shard));
	}
}

static void open_model(const struct weir_ctx_opts *opts)
{
	write_model();
	must(weir_ctx_create(opts, &ctx, &err));
	must(weir_model_open(ctx, folder(), NULL, &model, &err));
	check_int(weir_model_tensor_count(model), SHARDS * TENSORS);
}

static void leave(void)
{
	weir_model_close(model);
	weir_ctx_destroy(ctx);
}

static void check_bytes(const struct weir_tensor *tensor, const void *data, uint64_t from,
			uint64_t bytes)
{
	uint64_t seed = name_seed(shard_file(tensor->shard));

	check_int(pattern_check(data, seed, tensor->offset_bytes + from, bytes), bytes);
}

/* Takes everything; each completion is whole, and seen once. */
static void drain(struct weir_transfer *load, uint64_t expected, uint32_t align)
{
	uint8_t *seen = calloc(weir_model_tensor_count(model), 1);
	struct weir_done done[16];
	uint64_t count = 0;
	int n;

	check(seen);
	while ((n = weir_transfer_wait(load, done, 16, WEIR_FOREVER, &err)) > 0)
		for (int i = 0; i < n; i++, count++) {
			const struct weir_tensor *tensor = weir_model_tensor(model, done[i].tag);

			if (done[i].status)
				weir_transfer_error(load, &done[i], &err);
			must(done[i].status);
			check(tensor && !seen[done[i].tag]++);
			check_int(done[i].bytes, tensor->size_bytes);
			check_bytes(tensor, done[i].data, 0, done[i].bytes);
			check_int((uintptr_t)done[i].data % align, 0);
			weir_buffer_unref(done[i].buffer);
		}
	must(n);
	check_int(count, expected);
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
	free(seen);
}

static void everything_into_memory_of_weir(void)
{
	struct weir_transfer *load;

	open_model(NULL);
	must(weir_load_start(model, NULL, &load, &err));
	drain(load, SHARDS * TENSORS, 2);
	must(weir_load_start(model, WEIR_LOAD_OPTS(.align = 256), &load, &err));
	drain(load, SHARDS * TENSORS, 256);
	leave();
}

static void everything_through_a_small_budget(void)
{
	struct weir_transfer *load;

	open_model(NULL);
	must(weir_load_start(model, WEIR_LOAD_OPTS(.budget_bytes = 3 * MIB), &load, &err));
	drain(load, SHARDS * TENSORS, 2);
	leave();
}

static void some_into_memory_of_the_caller(void)
{
	uint64_t tensors[] = {119, 3, 44, 0, 80};
	struct weir_dest dests[array_size(tensors)];
	struct weir_transfer *load;
	char *memory[array_size(tensors)];

	open_model(NULL);
	for (size_t i = 0; i < array_size(tensors); i++) {
		uint64_t bytes = weir_model_tensor(model, tensors[i])->size_bytes;

		memory[i] = malloc(bytes + 16);
		check(memory[i]);
		memset(memory[i], 0x5A, bytes + 16);
		dests[i] = weir_dest_host(memory[i] + 8, bytes);
	}
	must(weir_load_start(model,
			     WEIR_LOAD_OPTS(.tensors = tensors, .tensor_count = array_size(tensors),
					    .dests = dests),
			     &load, &err));
	drain(load, array_size(tensors), 1);
	for (size_t i = 0; i < array_size(tensors); i++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, tensors[i]);

		check_bytes(tensor, memory[i] + 8, 0, tensor->size_bytes);
		for (uint64_t k = 0; k < 8; k++)
			check(memory[i][k] == 0x5A &&
			      memory[i][8 + tensor->size_bytes + k] == 0x5A);
		free(memory[i]);
	}
	leave();
}

static void completions_come_to_a_queue_with_a_descriptor(void)
{
	struct weir_transfer *load;
	struct weir_queue *queue;
	struct weir_done done[8];
	uint64_t count = 0;

	open_model(NULL);
	must(weir_queue_create(ctx, 0, &queue, &err));
	check(weir_queue_fd(queue) >= 0);
	must(weir_load_start(model, WEIR_LOAD_OPTS(.queue = queue), &load, &err));
	while (count < SHARDS * TENSORS) {
		int n = weir_queue_wait(queue, done, 8, WEIR_FOREVER, &err);

		check(n > 0);
		for (int i = 0; i < n; i++, count++) {
			must(done[i].status);
			check(done[i].transfer == load);
			weir_buffer_unref(done[i].buffer);
		}
	}
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
	weir_queue_destroy(queue);
	leave();
}

static void nothing_is_a_load_too(void)
{
	struct weir_transfer *load;
	struct weir_done done;
	uint64_t none = 0;

	open_model(NULL);
	must(weir_load_start(model, WEIR_LOAD_OPTS(.tensors = &none, .tensor_count = 0), &load,
			     &err));
	check_int(weir_transfer_wait(load, &done, 1, WEIR_FOREVER, &err), 0);
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
	leave();
}

/* ---- Cuts ---- */

static const uint64_t dims[3] = {12, 10, 30};

/* The bytes of a cut, element by element. */
static uint64_t expect(const struct weir_tensor *tensor, const struct weir_slice *slices,
		       unsigned count, char *out)
{
	uint64_t start[3] = {0}, stop[3], bytes = 0;
	char *whole = malloc(tensor->size_bytes);

	check(whole);
	pattern_fill(whole, name_seed("c.safetensors"), tensor->offset_bytes, tensor->size_bytes);
	memcpy(stop, dims, sizeof(stop));
	for (unsigned i = 0; i < count; i++) {
		start[slices[i].dim] = slices[i].start;
		stop[slices[i].dim] = slices[i].stop;
	}
	for (uint64_t a = start[0]; a < stop[0]; a++)
		for (uint64_t b = start[1]; b < stop[1]; b++)
			for (uint64_t c = start[2]; c < stop[2]; c++, bytes += 4)
				memcpy(out + bytes, whole + ((a * dims[1] + b) * dims[2] + c) * 4,
				       4);
	free(whole);
	return bytes;
}

static void open_cuttable(void)
{
	st_begin();
	st_tensor("odd", "U8", "[3]", 3);
	st_tensor("t", "F32", "[12, 10, 30]", 14400);
	st_save("c.safetensors");
	must(weir_ctx_create(NULL, &ctx, &err));
	must(weir_model_open(ctx, in_folder("c.safetensors"), NULL, &model, &err));
}

static void load_cut(const struct weir_slice *slices, unsigned count)
{
	struct weir_load_slice cut = {.tensor = 1, .slices = slices, .slice_count = count};
	uint64_t tensor = 1, bytes, counted;
	static char wanted[14400];
	struct weir_transfer *load;
	struct weir_done done;

	bytes = expect(weir_model_tensor(model, 1), slices, count, wanted);
	must(weir_slice_bytes(weir_model_tensor(model, 1), slices, count, &counted, &err));
	check_int(counted, bytes);
	must(weir_load_start(model,
			     WEIR_LOAD_OPTS(.tensors = &tensor, .tensor_count = 1, .slices = &cut,
					    .slice_count = 1),
			     &load, &err));
	check_int(weir_transfer_wait(load, &done, 1, WEIR_FOREVER, &err), 1);
	must(done.status);
	check_int(done.bytes, bytes);
	check(bytes == 0 || memcmp(done.data, wanted, bytes) == 0);
	weir_buffer_unref(done.buffer);
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
}

static void cuts_bring_exactly_their_elements(void)
{
	uint64_t state = 1;

	open_cuttable();
	load_cut((struct weir_slice[]){{0, 3, 7}}, 1);
	load_cut((struct weir_slice[]){{2, 29, 30}}, 1);
	load_cut((struct weir_slice[]){{1, 4, 4}}, 1);
	for (int round = 0; round < 200; round++) {
		struct weir_slice slices[3];

		for (unsigned i = 0; i < 3; i++) {
			uint64_t a = chance_below(&state, dims[i] + 1);

			slices[i] = (struct weir_slice){i, a,
							a + chance_below(&state, dims[i] - a + 1)};
		}
		load_cut(slices, (unsigned)chance_below(&state, 4));
	}
	leave();
}

static void refused(const struct weir_load_opts *opts, int code, const char *part)
{
	struct weir_transfer *load = NULL;

	err = (struct weir_error)WEIR_ERROR_INIT;
	check_int(weir_load_start(model, opts, &load, &err), code);
	check(!load);
	check_has(err.message, part);
}

/* ---- Views of the page cache ---- */

/* Loads all with WEIR_LOAD_MAP and returns how many of those with bytes came as views. */
static unsigned count_mapped(struct weir_buffer **keep)
{
	struct weir_transfer *load;
	struct weir_done done[16];
	unsigned mapped = 0;
	int n;

	must(weir_load_start(model, WEIR_LOAD_OPTS(.flags = WEIR_LOAD_MAP), &load, &err));
	while ((n = weir_transfer_wait(load, done, 16, WEIR_FOREVER, &err)) > 0)
		for (int i = 0; i < n; i++) {
			must(done[i].status);
			check_bytes(weir_model_tensor(model, done[i].tag), done[i].data, 0,
				    done[i].bytes);
			check(done[i].buffer || done[i].bytes == 0);
			if (done[i].buffer && weir_buffer_is_mapped(done[i].buffer))
				mapped++;
			if (keep)
				keep[done[i].tag] = done[i].buffer;
			else
				weir_buffer_unref(done[i].buffer);
		}
	must(n);
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
	return mapped;
}

static unsigned count_full(void)
{
	unsigned full = 0;

	for (uint64_t i = 0; i < weir_model_tensor_count(model); i++)
		full += weir_model_tensor(model, i)->size_bytes > 0;
	return full;
}

static void drop_cache(const char *name)
{
	int fd = open(in_folder(name), O_RDONLY | O_CLOEXEC);

	check(fd >= 0);
	check_int(fsync(fd), 0);
	check_int(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
}

static void what_is_cached_is_mapped_and_outlives_all(void)
{
	struct weir_buffer *kept[SHARDS * TENSORS] = {NULL};
	uint64_t offsets[SHARDS * TENSORS], sizes[SHARDS * TENSORS];
	unsigned mapped;

	open_model(NULL);
	mapped = count_mapped(kept);
	for (uint64_t i = 0; i < SHARDS * TENSORS; i++) {
		offsets[i] = weir_model_tensor(model, i)->offset_bytes;
		sizes[i] = weir_model_tensor(model, i)->size_bytes;
	}
	if (mapped == 0)
		skip("the kernel does not tell what is cached here");
	check_int(mapped, count_full());
	leave();
	for (uint64_t i = 0; i < SHARDS * TENSORS; i++) {
		const char *file = shard_file((unsigned)(i / TENSORS));

		if (kept[i])
			check_int(pattern_check(weir_buffer_data(kept[i]), name_seed(file),
						offsets[i], sizes[i]),
				  sizes[i]);
		weir_buffer_unref(kept[i]);
	}
}

static void what_is_not_cached_is_read(void)
{
	unsigned mapped;

	open_model(NULL);
	drop_cache(shard_file(1));
	mapped = count_mapped(NULL);
	check(mapped < count_full());
	leave();
}

/* A cut in one piece may be a view; one with strides, and one of odd alignment, cannot. */
static void only_whole_and_aligned_pieces_are_mapped(void)
{
	struct weir_slice rows = {0, 1, 5}, columns = {2, 0, 3};
	struct weir_load_slice cuts[] = {
		{.tensor = 0, .slices = &rows, .slice_count = 1},
		{.tensor = 1, .slices = &columns, .slice_count = 1},
	};
	struct weir_transfer *load;
	struct weir_done done;

	st_begin();
	st_tensor("rows", "U8", "[12, 10, 3]", 360);
	st_tensor("columns", "U8", "[12, 10, 30]", 3600);
	st_tensor("byte", "U8", "[1]", 1);
	st_tensor("odd", "F32", "[10]", 40);
	st_save("v.safetensors");
	must(weir_ctx_create(NULL, &ctx, &err));
	must(weir_model_open(ctx, in_folder("v.safetensors"), NULL, &model, &err));
	must(weir_load_start(
		model, WEIR_LOAD_OPTS(.flags = WEIR_LOAD_MAP, .slices = cuts, .slice_count = 2),
		&load, &err));
	for (int i = 0; i < 4; i++) {
		check_int(weir_transfer_wait(load, &done, 1, WEIR_FOREVER, &err), 1);
		must(done.status);
		if (done.tag == 1 || done.tag == 3)
			check_int(weir_buffer_is_mapped(done.buffer), 0);
		if (done.tag == 0) {
			check_int(done.bytes, 4 * 30);
			check_int(pattern_check(done.data, name_seed("v.safetensors"),
						weir_model_tensor(model, 0)->offset_bytes + 30,
						120),
				  120);
		}
		weir_buffer_unref(done.buffer);
	}
	must(weir_transfer_finish(load, WEIR_FOREVER, &err));
	leave();
}

/* Never started, or cancelled: the views go with the plan. */
static void views_that_nobody_takes_are_given_back(void)
{
	struct weir_transfer *load;

	open_model(NULL);
	must(weir_load_start(model, WEIR_LOAD_OPTS(.flags = WEIR_LOAD_MAP), &load, &err));
	weir_transfer_cancel(load);
	weir_transfer_finish(load, WEIR_FOREVER, NULL);
	refused(WEIR_LOAD_OPTS(.flags = WEIR_LOAD_MAP, .transfer_flags = 1u << 30), WEIR_ARG,
		"flags");
	leave();
}

/* ---- What is refused ---- */

static void what_makes_no_sense_is_refused(void)
{
	struct weir_slice outside = {0, 0, 13}, inside = {0, 0, 3};
	struct weir_load_slice cuts[] = {
		{.tensor = 1, .slices = &outside, .slice_count = 1},
		{.tensor = 2, .slices = &inside, .slice_count = 1},
		{.tensor = 1, .slices = &inside, .slice_count = 1},
		{.tensor = 1, .slices = &inside, .slice_count = 1},
	};
	uint64_t far = 2, odd = 0;
	char memory[8];
	struct weir_dest small = weir_dest_host(memory, 4);

	open_cuttable();
	refused(WEIR_LOAD_OPTS(.flags = 1u << 20), WEIR_ARG, "flags");
	refused(WEIR_LOAD_OPTS(.tensors = &far, .tensor_count = 1), WEIR_ARG, "tensor 2");
	refused(WEIR_LOAD_OPTS(.tensor_count = 1), WEIR_ARG, "NULL");
	refused(WEIR_LOAD_OPTS(.slice_count = 1), WEIR_ARG, "NULL");
	refused(WEIR_LOAD_OPTS(.slices = &cuts[0], .slice_count = 1), WEIR_ARG, "[0, 13)");
	refused(WEIR_LOAD_OPTS(.slices = &cuts[1], .slice_count = 1), WEIR_ARG, "tensor 2");
	refused(WEIR_LOAD_OPTS(.slices = &cuts[2], .slice_count = 2), WEIR_ARG, "cut twice");
	refused(WEIR_LOAD_OPTS(.tensors = &odd, .tensor_count = 1, .slices = &cuts[2],
			       .slice_count = 1),
		WEIR_ARG, "not loaded");
	refused(WEIR_LOAD_OPTS(.tensors = &odd, .tensor_count = 1, .dests = &small), WEIR_ARG, "4");
	refused(WEIR_LOAD_OPTS(.align = 3), WEIR_ARG, "alignment 3");
	leave();
}

/* Of a file that shrank, what is still there is delivered, and what is not says so. */
static void ST_09_a_file_that_shrank(void)
{
	struct weir_transfer *load;
	struct weir_done done[16];
	unsigned failed = 0;
	int n;

	open_model(NULL);
	check_int(truncate(in_folder(shard_file(1)), 100000), 0);
	must(weir_load_start(model, NULL, &load, &err));
	while ((n = weir_transfer_wait(load, done, 16, WEIR_FOREVER, &err)) > 0)
		for (int i = 0; i < n; i++) {
			const struct weir_tensor *tensor = weir_model_tensor(model, done[i].tag);

			if (done[i].status)
				check_int(tensor->shard, 1);
			else
				check_bytes(tensor, done[i].data, 0, done[i].bytes);
			if (done[i].status && done[i].status != WEIR_CHANGED)
				check_int(done[i].status, WEIR_TRUNCATED);
			failed += done[i].status != 0;
			weir_buffer_unref(done[i].buffer);
		}
	check(failed > 0);
	check(weir_transfer_finish(load, WEIR_FOREVER, &err) < 0);
	check_has(err.message, shard_file(1));
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(everything_into_memory_of_weir),
		TEST(everything_through_a_small_budget),
		TEST(some_into_memory_of_the_caller),
		TEST(completions_come_to_a_queue_with_a_descriptor),
		TEST(nothing_is_a_load_too),
		TEST(cuts_bring_exactly_their_elements),
		TEST(what_is_cached_is_mapped_and_outlives_all),
		TEST(what_is_not_cached_is_read),
		TEST(only_whole_and_aligned_pieces_are_mapped),
		TEST(views_that_nobody_takes_are_given_back),
		TEST(what_makes_no_sense_is_refused),
		TEST(ST_09_a_file_that_shrank),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
