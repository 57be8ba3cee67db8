/* SPDX-License-Identifier: Apache-2.0 */
/* The table itself, filled by hand: names, order, types. */
#include "format/index.h"

#include <stdio.h>
#include <stdlib.h>

#include "lib/check.h"

#define COUNT 1000

static struct format_tensor tensors[COUNT];
static char text[COUNT * 8];
static uint32_t slots[2048];

static void fill_names(uint64_t seed)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t len = (uint32_t)snprintf(text + at, 8, "t%u", i);

		tensors[i] = (struct format_tensor){.name = {.at = at, .len = len}};
		tensors[i].name.hash = format_hash((struct bytes){text + at, len}, seed);
		at += len;
	}
}

static ptrdiff_t link_all(unsigned bits)
{
	return format_link(text, &tensors[0].name, sizeof(tensors[0]), COUNT, slots, bits);
}

static void names_are_found_and_others_not(void)
{
	unsigned bits = format_slot_bits(COUNT);
	struct format_index index = {
		.tensors = tensors, .slots = slots, .slot_bits = bits, .seed = 7, .text = text};
	char name[8];

	check_int(bits, 11);
	fill_names(7);
	check_int(link_all(bits), -1);
	for (int i = 0; i < COUNT; i++) {
		size_t len = (size_t)snprintf(name, sizeof(name), "t%d", i);

		check(format_index_find(&index, (struct bytes){name, len}) == &tensors[i]);
	}
	check(!format_index_find(&index, BYTES("t1000")));
	check(!format_index_find(&index, BYTES("")));
}

/* Whatever the guess, and the hash decides nothing alone. */
static void names_of_another_text_are_found(void)
{
	unsigned bits = format_slot_bits(COUNT);
	struct format_index index = {.tensors = tensors,
				     .tensor_count = COUNT,
				     .slots = slots,
				     .slot_bits = bits,
				     .seed = 7,
				     .text = text};
	const size_t guesses[] = {0, 999, 1000, SIZE_MAX};

	fill_names(7);
	check_int(link_all(bits), -1);
	for (int i = 0; i <= COUNT; i++) {
		char other[16];
		struct format_text name = {
			.at = 1, .len = (uint32_t)snprintf(other, sizeof(other), "\"t%d", i) - 1};

		name.hash = format_hash((struct bytes){other + 1, name.len}, 7);
		for (size_t g = 0; g < array_size(guesses); g++)
			check(format_index_find_text(&index, other, &name, guesses[g]) ==
			      (i < COUNT ? &tensors[i] : NULL));
		other[1] = 'u';
		check(!format_index_find_text(&index, other, &name, (size_t)i));
	}
}

static void a_second_name_is_noticed(void)
{
	fill_names(1);
	tensors[700].name = tensors[5].name;
	check_int(link_all(11), 700);
}

static void order_is_stable_and_right(void)
{
	static uint32_t order[COUNT], spare[COUNT];

	for (uint32_t n = 0; n <= COUNT; n += n < 20 ? 1 : 77) {
		for (uint32_t i = 0; i < n; i++)
			tensors[i] = (struct format_tensor){.offset_bytes = i * 7919 % 101,
							    .size_bytes = i % 3};
		check_int(format_in_order(tensors, n), n < 4);
		format_order(tensors, n, order, spare);
		for (uint32_t i = 1; i < n; i++) {
			const struct format_tensor *a = &tensors[order[i - 1]];
			const struct format_tensor *b = &tensors[order[i]];

			check(a->offset_bytes <= b->offset_bytes);
			if (a->offset_bytes == b->offset_bytes) {
				check(a->size_bytes <= b->size_bytes);
				check(a->size_bytes < b->size_bytes || order[i - 1] < order[i]);
			}
		}
	}
}

static void types_have_names_and_whole_blocks(void)
{
	for (unsigned i = 0; i < DTYPE_COUNT; i++) {
		const struct dtype_info *info = dtype_info(i);
		struct bytes name = {info->name, strlen(info->name)};

		check_int(dtype_find(name), i < DTYPE_SAFETENSORS_COUNT ? (int)i : -1);
		if (info->bits)
			check_int(info->bits * info->block_elements, info->block_bytes * 8);
	}
	check_int(DTYPE_SAFETENSORS_COUNT, 22);
	check_str(dtype_info(DTYPE_COUNT)->name, "?");
	check_int(dtype_find(BYTES("F3")), -1);
	check_int(dtype_find(BYTES("")), -1);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(names_are_found_and_others_not),    TEST(names_of_another_text_are_found),
		TEST(a_second_name_is_noticed),          TEST(order_is_stable_and_right),
		TEST(types_have_names_and_whole_blocks),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
