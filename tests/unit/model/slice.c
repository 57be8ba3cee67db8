/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices against a model that is too simple to be wrong: the list of all elements that a cut wants, in
 * C order, each by its first bit in the tensor.  The layout, spelled out, must give the same bits in
 * the same order; where it refuses, some piece really is no whole byte or block.
 */
#include "model/slice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "format/dtype.h"
#include "lib/check.h"

#define ROUNDS   20000
#define RANK_MAX 7
#define DIM_MAX  6

static struct weir_error err;

static uint64_t state;

static uint64_t chance(uint64_t below)
{
	state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (state >> 33) % below;
}

struct list {
	uint64_t *at; /* first bits */
	size_t count, room;
};

static void add(struct list *list, uint64_t bit)
{
	if (list->count == list->room) {
		list->room = list->room ? list->room * 2 : 64;
		list->at = realloc(list->at, list->room * sizeof(*list->at));
		check(list->at);
	}
	list->at[list->count++] = bit;
}

/* The part of each dimension. */
struct box {
	uint64_t start[RANK_MAX], stop[RANK_MAX];
};

/* Every element number of the tensor, asked whether it is wanted. */
static void want_elements(const struct weir_tensor *tensor, const struct box *box, unsigned bits,
			  struct list *out)
{
	uint64_t total = 1;

	for (unsigned i = 0; i < tensor->rank; i++)
		total *= tensor->shape[i];
	for (uint64_t n = 0; n < total; n++) {
		uint64_t rest = n;
		bool wanted = true;

		for (unsigned i = tensor->rank; i-- > 0;) {
			uint64_t at = rest % tensor->shape[i];

			rest /= tensor->shape[i];
			wanted = wanted && at >= box->start[i] && at < box->stop[i];
		}
		if (wanted)
			add(out, n * bits);
	}
}

/* Is every piece of neighbours made of whole bytes? */
static bool whole_bytes(const struct list *list, unsigned bits)
{
	for (size_t i = 0, first = 0; i < list->count; i++) {
		bool last = i + 1 == list->count || list->at[i + 1] != list->at[i] + bits;

		if (last && (list->at[first] % 8 || (list->at[i] + bits) % 8))
			return false;
		if (last)
			first = i + 1;
	}
	return true;
}

/* What the engine will read, element by element. */
static void spell_out(const struct slice_layout *layout, unsigned bits, struct list *out)
{
	uint64_t runs = layout->run_bytes ? layout->length_bytes / layout->run_bytes : 0;

	for (uint64_t n = 0; n < runs; n++) {
		uint64_t rest = n, at = layout->offset_bytes;

		for (unsigned i = layout->stride_count; i-- > 0;) {
			at += rest % layout->strides[i].count * layout->strides[i].stride_bytes;
			rest /= layout->strides[i].count;
		}
		check_int(rest, 0);
		for (uint64_t bit = 0; bit < layout->run_bytes * 8; bit += bits)
			add(out, at * 8 + bit);
	}
}

static void compare(const struct weir_tensor *tensor, const struct box *box,
		    const struct weir_slice *slices, unsigned count, unsigned bits)
{
	struct list wanted = {0}, got = {0};
	struct slice_layout layout;
	uint64_t bytes = 12345;
	int ret;

	want_elements(tensor, box, bits, &wanted);
	ret = slice_lay_out(tensor, slices, count, &layout, &err);
	if (!whole_bytes(&wanted, bits)) {
		check_int(ret, WEIR_UNSUPPORTED);
	} else {
		check_int(ret, 0);
		spell_out(&layout, bits, &got);
		check_int(got.count, wanted.count);
		check(got.count == 0 ||
		      memcmp(got.at, wanted.at, got.count * sizeof(*got.at)) == 0);
		check_int(layout.length_bytes, wanted.count * bits / 8);
		check_int(weir_slice_bytes(tensor, slices, count, &bytes, &err), 0);
		check_int(bytes, layout.length_bytes);
	}
	free(wanted.at);
	free(got.at);
}

/* A tensor and a cut; slices in any order, some dimensions not mentioned. */
static void one_round(unsigned dtype)
{
	const struct dtype_info *type = dtype_info(dtype);
	uint64_t shape[RANK_MAX];
	struct weir_slice slices[RANK_MAX];
	struct weir_tensor tensor = {.name = "t", .name_len = 1, .shape = shape};
	unsigned count = 0, rotate;
	struct box box;

	tensor.dtype = dtype_public(dtype);
	tensor.dtype_name = type->name;
	tensor.rank = (unsigned)chance(RANK_MAX + 1);
	for (unsigned i = 0; i < tensor.rank; i++) {
		shape[i] = chance(30) ? 1 + chance(DIM_MAX) : 0;
		box.start[i] = 0;
		box.stop[i] = shape[i];
		if (chance(2)) {
			box.start[i] = chance(shape[i] + 1);
			box.stop[i] = box.start[i] + chance(shape[i] - box.start[i] + 1);
		}
		if (box.start[i] != 0 || box.stop[i] != shape[i] || chance(4) == 0)
			slices[count++] = (struct weir_slice){i, box.start[i], box.stop[i]};
	}
	rotate = count ? (unsigned)chance(count) : 0;
	for (unsigned i = 0; i < rotate; i++) {
		struct weir_slice first = slices[0];

		memmove(slices, slices + 1, (count - 1) * sizeof(*slices));
		slices[count - 1] = first;
	}
	compare(&tensor, &box, slices, count, type->bits);
}

static void random_cuts_are_the_wanted_elements(void)
{
	static const unsigned dtypes[] = {DTYPE_U8, DTYPE_BF16, DTYPE_F32, DTYPE_F64, DTYPE_C64};

	for (unsigned round = 0; round < ROUNDS; round++) {
		state = round;
		one_round(dtypes[round % array_size(dtypes)]);
	}
}

static void random_cuts_of_elements_below_a_byte(void)
{
	static const unsigned dtypes[] = {DTYPE_F4, DTYPE_F6_E2M3, DTYPE_F6_E3M2};

	for (unsigned round = 0; round < ROUNDS; round++) {
		state = round;
		one_round(dtypes[round % array_size(dtypes)]);
	}
}

static const uint64_t shape_[] = {8, 6, 4};

static struct weir_tensor tensor_of(const char *dtype, unsigned rank, const uint64_t *shape)
{
	return (struct weir_tensor){
		.name = "h.0.w", .name_len = 5, .dtype_name = dtype, .rank = rank, .shape = shape};
}

static struct slice_layout layout_of(struct weir_tensor tensor, struct weir_slice slice)
{
	struct slice_layout layout;

	check_int(slice_lay_out(&tensor, &slice, 1, &layout, &err), 0);
	return layout;
}

static void rows_are_one_run(void)
{
	struct slice_layout layout = layout_of(tensor_of("F32", 3, shape_),
					       (struct weir_slice){0, 2, 5});

	check_int(layout.stride_count, 0);
	check_int(layout.offset_bytes, 2 * 24 * 4);
	check_int(layout.run_bytes, 3 * 24 * 4);
	check_int(layout.length_bytes, layout.run_bytes);
}

static void columns_have_one_stride(void)
{
	struct slice_layout layout = layout_of(tensor_of("F32", 3, shape_),
					       (struct weir_slice){2, 1, 3});

	check_int(layout.stride_count, 1);
	check_int(layout.offset_bytes, 4);
	check_int(layout.run_bytes, 8);
	check_int(layout.strides[0].count, 48);
	check_int(layout.strides[0].stride_bytes, 16);
	layout = layout_of(tensor_of("F32", 3, shape_), (struct weir_slice){1, 1, 3});
	check_int(layout.stride_count, 1);
	check_int(layout.run_bytes, 2 * 16);
	check_int(layout.strides[0].count, 8);
}

static void quantised_rows_are_cut_at_blocks(void)
{
	static const uint64_t shape[] = {3, 512};
	struct weir_tensor tensor = tensor_of("Q4_K", 2, shape);
	struct slice_layout layout = layout_of(tensor, (struct weir_slice){0, 1, 3});
	struct weir_slice broken = {1, 0, 100};

	check_int(layout.offset_bytes, 288);
	check_int(layout.run_bytes, 576);
	layout = layout_of(tensor, (struct weir_slice){1, 256, 512});
	check_int(layout.offset_bytes, 144);
	check_int(layout.run_bytes, 144);
	check_int(layout.strides[0].stride_bytes, 288);
	check_int(layout.strides[0].count, 3);
	check_int(slice_lay_out(&tensor, &broken, 1, &layout, &err), WEIR_UNSUPPORTED);
	check_has(err.message, "[0, 100)");
	check_has(err.message, "256");
}

static void refused(const struct weir_slice *slices, unsigned count, const char *part)
{
	struct weir_tensor tensor = tensor_of("F32", 3, shape_);
	struct slice_layout layout;

	check_int(slice_lay_out(&tensor, slices, count, &layout, &err), WEIR_ARG);
	check_has(err.message, "h.0.w");
	check_has(err.message, part);
}

static void cuts_outside_say_where(void)
{
	static struct weir_slice many[SLICES_MAX + 1];

	refused(&(struct weir_slice){1, 2, 7}, 1, "[2, 7) does not lie in [0, 6) of dimension 1");
	refused(&(struct weir_slice){1, 3, 2}, 1, "[3, 2)");
	refused(&(struct weir_slice){0, UINT64_MAX, UINT64_MAX}, 1, "18446744073709551615");
	refused(&(struct weir_slice){3, 0, 0}, 1, "no dimension 3");
	refused((struct weir_slice[]){{1, 0, 1}, {0, 0, 1}, {1, 2, 3}}, 3,
		"dimension 1 is cut twice");
	refused(many, SLICES_MAX + 1, "65 slices");
}

static void too_many_levels_are_refused(void)
{
	uint64_t shape[20];
	struct weir_slice slices[20];
	struct weir_tensor tensor = tensor_of("U8", 20, shape);
	struct slice_layout layout;

	for (unsigned i = 0; i < 20; i++) {
		shape[i] = 3;
		slices[i] = (struct weir_slice){i, 0, 2};
	}
	check_int(slice_lay_out(&tensor, slices, 20, &layout, &err), WEIR_UNSUPPORTED);
	check_int(slice_lay_out(&tensor, slices, 9, &layout, &err), 0);
	check_int(layout.stride_count, 8);
}

static void sizes_that_overflow_are_refused(void)
{
	static const uint64_t shape[] = {UINT64_C(1) << 40, UINT64_C(1) << 40};
	struct weir_tensor tensor = tensor_of("F32", 2, shape);
	struct weir_slice slice = {1, 0, 1};
	struct slice_layout layout;

	check_int(slice_lay_out(&tensor, &slice, 1, &layout, &err), WEIR_ARG);
	check_has(err.message, "overflows");
}

static void types_have_alignments(void)
{
	struct weir_tensor tensor = tensor_of("BF16", 3, shape_);

	check_int(slice_align(&tensor), 2);
	tensor.dtype_name = "F4";
	check_int(slice_align(&tensor), 1);
	tensor.dtype_name = "F64";
	check_int(slice_align(&tensor), 8);
	tensor.dtype_name = "Q4_0";
	check_int(slice_align(&tensor), 2);
	tensor.dtype_name = "Q8_K";
	check_int(slice_align(&tensor), 4);
	tensor.dtype_name = "F6_E2M3";
	check_int(slice_align(&tensor), 1);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(random_cuts_are_the_wanted_elements),
		TEST(random_cuts_of_elements_below_a_byte),
		TEST(rows_are_one_run),
		TEST(columns_have_one_stride),
		TEST(quantised_rows_are_cut_at_blocks),
		TEST(cuts_outside_say_where),
		TEST(too_many_levels_are_refused),
		TEST(sizes_that_overflow_are_refused),
		TEST(types_have_alignments),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
