/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of a folder or a list: which files belong to them.
 */
#include "open_rig.h"

static void a_folder_is_all_its_files_by_name(void)
{
	st_one("b.safetensors", "two");
	st_one("a.safetensors", "one");
	st_one(".hidden.safetensors", "three");
	write_text("config.json", "{}");
	gguf_begin();
	gguf_vector("four", 1);
	gguf_save("x.gguf");
	must(open_folder());
	check_str(weir_model_format(model), "model");
	check_int(weir_model_shard_count(model), 2);
	check_int(weir_model_tensor_count(model), 2);
	check_str(weir_model_tensor(model, 0)->name, "one");
	check_int(weir_model_tensor(model, 1)->shard, 1);
	check_str(weir_model_shard(model, 1)->uri, in_folder("b.safetensors"));
	check_int(find("one"), 0);
	check_int(find("two"), 1);
	check(find("three") == UINT64_MAX);
	check_data("one", "a.safetensors");
	check_data("two", "b.safetensors");
	leave();
}

static void a_folder_by_uri_and_odd_names(void)
{
	char uri[512];

	st_one("100% odd.safetensors", "one");
	snprintf(uri, sizeof(uri), "file://%s", folder());
	must(open_path(uri));
	check_data("one", "100% odd.safetensors");
	check_has(weir_model_shard(model, 0)->uri, "100%25 odd");
	must(open_folder());
	check_data("one", "100% odd.safetensors");
	leave();
}

static void a_list_is_in_its_order(void)
{
	const char *uris[2];

	st_one("a.safetensors", "one");
	st_one("b.safetensors", "two");
	uris[0] = in_folder("b.safetensors");
	uris[1] = in_folder("a.safetensors");
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	must(weir_model_open_list(ctx, uris, 2, NULL, &model, &err));
	check_str(weir_model_tensor(model, 0)->name, "two");
	check_str(weir_model_tensor(model, 1)->name, "one");
	leave();
}

static void a_broken_shard_is_named(void)
{
	st_one("a.safetensors", "one");
	write_text("b.safetensors", "short");
	st_one("c.safetensors", "three");
	check_int(open_folder(), WEIR_H_SHORT);
	check_has(err.message, "b.safetensors");
	leave();
}

static void the_order_of_the_files(void)
{
	static const char text[] = "{\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]},"
				   "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
	char bytes[256] = {(char)(sizeof(text) - 1)};

	memcpy(bytes + 8, text, sizeof(text) - 1);
	write_file("y.safetensors", bytes, 8 + sizeof(text) - 1 + 4);
	st_one("x.safetensors", "first");
	must(open_folder());
	check_str(weir_model_tensor(model, 1)->name, "b");
	check_int(weir_model_by_offset(model, 0), 0);
	check_int(weir_model_by_offset(model, 1), 2);
	check_int(weir_model_by_offset(model, 2), 1);
	check(weir_model_by_offset(model, 3) == UINT64_MAX);
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_folder_is_all_its_files_by_name),
		TEST(a_folder_by_uri_and_odd_names),
		TEST(a_list_is_in_its_order),
		TEST(a_broken_shard_is_named),
		TEST(the_order_of_the_files),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
