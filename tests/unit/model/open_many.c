/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of many files, and what may go wrong on the way to them.
 */
#include "open_rig.h"

static void many_shards(int count)
{
	char file[64], tensor[64];

	for (int i = 0; i < count; i++) {
		snprintf(file, sizeof(file), "m-%05d.safetensors", i);
		snprintf(tensor, sizeof(tensor), "t.%d", i);
		st_one(file, tensor);
	}
}

static void a_hundred_shards(void)
{
	char tensor[64];

	many_shards(100);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 100);
	for (int i = 0; i < 100; i++) {
		snprintf(tensor, sizeof(tensor), "t.%d", i);
		check_int(find(tensor), i);
		check_int(weir_model_tensor(model, (uint64_t)i)->shard, i);
	}
	check_data("t.77", "m-00077.safetensors");
	leave();
}

static unsigned open_descriptors(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 4096; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void ST_21_more_shards_than_descriptors(void)
{
	struct rlimit limit = {64, 64};
	unsigned before;

	many_shards(200);
	must(open_path(in_folder("m-00000.safetensors")));
	weir_model_close(model);
	model = NULL;
	before = open_descriptors();
	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 200);
	weir_model_close(model);
	model = NULL;
	check_int(open_descriptors(), before);

	while (dup(STDERR_FILENO) >= 0)
		;
	before = open_descriptors();
	check_int(open_folder(), WEIR_IO);
	check_int(err.os_errno, EMFILE);
	check_int(open_descriptors(), before);
	close((int)limit.rlim_cur - 1);
	must(open_path(in_folder("m-00000.safetensors")));
	leave();
}

static void tables_are_charged_to_the_budget(void)
{
	char name[64];

	st_begin();
	for (int i = 0; i < 8000; i++) {
		snprintf(name, sizeof(name), "a.tensor.with.a.name.of.some.length.%d", i);
		st_tensor(name, "U8", "[1]", 1);
	}
	st_save("x.safetensors");
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "%d.safetensors", i);
		check_int(link(in_folder("x.safetensors"), in_folder(name)), 0);
	}
	check_int(weir_ctx_create(WEIR_CTX_OPTS(.budget_bytes = 4 * MIB), &ctx, &err), 0);
	must(open_path(in_folder("x.safetensors")));
	weir_model_close(model);
	model = NULL;
	check_int(open_folder(), WEIR_LIMIT);
	check_has(err.message, "budget");
	must(open_path(in_folder("x.safetensors")));
	leave();
}

static void a_fired_cancel_ends_an_open(void)
{
	struct weir_cancel *cancel;

	many_shards(3);
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_cancel_create(ctx, &cancel, &err), 0);
	weir_cancel_fire(cancel);
	check_int(weir_model_open(ctx, folder(), WEIR_MODEL_OPTS(.cancel = cancel), &model, &err),
		  WEIR_CANCELLED);
	check(!model);
	weir_cancel_destroy(cancel);
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_hundred_shards),
		TEST(ST_21_more_shards_than_descriptors),
		TEST(tables_are_charged_to_the_budget),
		TEST(a_fired_cancel_ends_an_open),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
