/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GGUF models in parts.
 */
#include "open_rig.h"

static void part(const char *name, uint16_t number, uint32_t count, const char *tensor)
{
	gguf_begin();
	gguf_u16("split.no", number);
	gguf_u32("split.count", count);
	gguf_vector(tensor, 4);
	gguf_save(name);
}

#define PART_1 "m-00001-of-00002.gguf"
#define PART_2 "m-00002-of-00002.gguf"

static void a_split_model_by_any_of_its_parts(void)
{
	part(PART_1, 0, 2, "one");
	part(PART_2, 1, 2, "two");
	must(open_path(in_folder(PART_1)));
	check_int(weir_model_shard_count(model), 2);
	check_str(weir_model_format(model), "model");
	check_data("two", PART_2);
	must(open_path(in_folder(PART_2)));
	check_int(find("one"), 0);
	check_int(find("two"), 1);
	check_data("one", PART_1);
	must(open_folder());
	check_int(weir_model_tensor_count(model), 2);
	leave();
}

static void GG_39_part_numbers_that_cannot_be(void)
{
	part(PART_1, 0, 0, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_1, 2, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_1, 0, 65536, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_text("split.count", "2");
	gguf_save(PART_1);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_u16("split.count", 2);
	gguf_save(PART_1);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part("other.gguf", 0, 2, "one");
	check_int(open_path(in_folder("other.gguf")), WEIR_H_SCHEMA);
	leave();
}

static void GG_39_parts_that_disagree(void)
{
	part(PART_1, 0, 2, "one");
	part(PART_2, 0, 2, "two");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	part(PART_2, 1, 3, "two");
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_vector("two", 4);
	gguf_save(PART_2);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	gguf_begin();
	gguf_u16("split.no", 1);
	gguf_u16("split.count", 2);
	gguf_u32("split.tensors.count", 3);
	gguf_vector("two", 4);
	gguf_save(PART_2);
	check_int(open_path(in_folder(PART_1)), WEIR_H_SCHEMA);
	check_has(err.message, "split.tensors.count");
	part(PART_2, 1, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_G_DUP);
	leave();
}

static void a_missing_part_is_named(void)
{
	part(PART_1, 0, 2, "one");
	check_int(open_path(in_folder(PART_1)), WEIR_NOTFOUND);
	check_has(err.message, PART_2);
	check_int(open_folder(), WEIR_NOTFOUND);
	check_has(err.message, "number 2 of them");
	leave();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_split_model_by_any_of_its_parts),
		TEST(GG_39_part_numbers_that_cannot_be),
		TEST(GG_39_parts_that_disagree),
		TEST(a_missing_part_is_named),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
