/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Models of one file: what it may be, and what is refused.
 */
#include "open_rig.h"

static void one_file(void)
{
	const struct weir_tensor *tensor;
	const struct weir_shard *shard;

	st_begin();
	st_tensor("b", "BF16", "[2, 3]", 12);
	st_tensor("a", "F4", "[4]", 2);
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_str(weir_model_format(model), "safetensors");
	check_int(weir_model_tensor_count(model), 2);
	tensor = weir_model_tensor(model, 0);
	check_str(tensor->name, "b");
	check_int(tensor->name_len, 1);
	check_int(tensor->dtype, WEIR_DTYPE_BF16);
	check_str(tensor->dtype_name, "BF16");
	check_int(tensor->rank, 2);
	check_int(tensor->shape[1], 3);
	check_int(tensor->size_bytes, 12);
	check_int(find("a"), 1);
	check_int(find("b"), 0);
	check(find("c") == UINT64_MAX);
	check(find("") == UINT64_MAX);
	check(!weir_model_tensor(model, 2));
	check_int(weir_model_shard_count(model), 1);
	shard = weir_model_shard(model, 0);
	check_str(shard->format, "safetensors");
	check_str(shard->uri, in_folder("x.safetensors"));
	check_int(shard->tensor_count, 2);
	check_int(shard->size_bytes, shard->header_bytes + 14);
	check_int(tensor->offset_bytes, shard->header_bytes);
	check(!weir_model_shard(model, 1));
	check(!weir_model_object(model, 1));
	check(!weir_model_warning(model, 0));
	check_data("a", "x.safetensors");
	check_data("b", "x.safetensors");
	leave();
}

static void names_with_escapes_end_for_C(void)
{
	st_begin();
	st_tensor("\\u0061b\\n", "U8", "[1]", 1);
	st_tensor("", "U8", "[1]", 1);
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_str(weir_model_tensor(model, 0)->name, "ab\n");
	check_str(weir_model_tensor(model, 1)->name, "");
	check_int(find("ab\n"), 0);
	check_int(find(""), 1);
	leave();
}

static void a_gguf_file_with_its_pairs(void)
{
	struct weir_metadata pair;

	gguf_begin();
	gguf_text("general.architecture", "llama");
	gguf_u32("n", 7);
	gguf_vector("t", 10);
	gguf_vector("u", 3);
	gguf_save("x.gguf");
	must(open_path(in_folder("x.gguf")));
	check_str(weir_model_format(model), "gguf");
	check_int(weir_model_tensor(model, 0)->dtype, WEIR_DTYPE_F32);
	check_int(weir_model_metadata_count(model, 0), 2);
	check_int(weir_model_has_metadata(model, 0), 1);
	check_int(weir_model_has_metadata(model, 1), 0);
	check_int(weir_model_metadata(model, 0, 0, &pair), 0);
	check_int(pair.key_len, 20);
	check(memcmp(pair.value, "llama", 5) == 0 && pair.value_len == 5);
	check_str(pair.type, "string");
	check_int(weir_model_metadata(model, 0, 1, &pair), 0);
	check_str(pair.type, "uint32");
	check_int(weir_model_metadata(model, 0, 2, &pair), WEIR_ARG);
	check_int(weir_model_metadata(model, 1, 0, &pair), WEIR_ARG);
	check_data("t", "x.gguf");
	check_data("u", "x.gguf");
	leave();
}

static void what_it_is_shows_in_the_first_bytes(void)
{
	gguf_begin();
	gguf_vector("t", 1);
	gguf_save("blob");
	must(open_path(in_folder("blob")));
	check_str(weir_model_format(model), "gguf");
	st_one("blob2", "t");
	must(open_path(in_folder("blob2")));
	check_str(weir_model_format(model), "safetensors");
	write_text("bad.gguf", "FUGG");
	check_int(open_path(in_folder("bad.gguf")), WEIR_G_MAGIC);
	leave();
}

/* Longer than the first read: the rest is fetched, for both formats. */
static void long_headers(void)
{
	char name[64];

	st_begin();
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "model.layers.%d.weight", i);
		st_tensor(name, "U8", "[1]", 1);
	}
	st_save("x.safetensors");
	must(open_path(in_folder("x.safetensors")));
	check_int(weir_model_tensor_count(model), 3000);
	check_data("model.layers.2999.weight", "x.safetensors");

	gguf_begin();
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "general.key.number.%d", i);
		gguf_text(name, "a value, and not the shortest");
	}
	gguf_vector("t", 1);
	gguf_save("x.gguf");
	must(open_path(in_folder("x.gguf")));
	check_int(weir_model_metadata_count(model, 0), 5000);
	check_data("t", "x.gguf");
	leave();
}

static void lenient_is_said_by_name(void)
{
	static const char text[] = "\x10\0\0\0\0\0\0\0{\"__metadata__\":null}";
	char bytes[64];
	size_t len = sizeof(text) - 1;

	memcpy(bytes, text, len);
	bytes[0] = (char)(len - 8);
	write_file("x.safetensors", bytes, len);
	check_int(open_path(in_folder("x.safetensors")), WEIR_H_SCHEMA);
	check_int(open_flags(in_folder("x.safetensors"), WEIR_MODEL_LENIENT), 0);
	check_int(weir_model_has_metadata(model, 0), 0);
	leave();
}

static void what_is_not_there(void)
{
	check_int(open_path(in_folder("x.safetensors")), WEIR_NOTFOUND);
	check_int(open_path(in_folder(INDEX)), WEIR_NOTFOUND);
	check_int(open_folder(), WEIR_NOTFOUND);
	check_has(err.message, "no *.safetensors");
	check_int(open_path(""), WEIR_ARG);
	check_int(weir_model_open_list(ctx, NULL, 0, NULL, &model, &err), WEIR_ARG);
	check_int(open_flags(folder(), 1u << 31), WEIR_ARG);
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(one_file),
		TEST(names_with_escapes_end_for_C),
		TEST(a_gguf_file_with_its_pairs),
		TEST(what_it_is_shows_in_the_first_bytes),
		TEST(long_headers),
		TEST(lenient_is_said_by_name),
		TEST(what_is_not_there),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
