/* SPDX-License-Identifier: Apache-2.0 */
#include "format/index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* How far ahead the slots of a table that no near cache holds are fetched: they lie anywhere in it. */
#define LOOK_AHEAD 16
#define LOOK_FAR   50000

uint32_t format_hash(struct bytes name, uint64_t seed)
{
	return (uint32_t)(XXH3_64bits_withSeed(name.at, name.len, seed) >> 32);
}

unsigned format_slot_bits(size_t count)
{
	unsigned bits = 3;

	while (((size_t)3 << bits) / 4 < count)
		bits++;
	return bits;
}

static size_t slot_of(uint32_t hash, unsigned slot_bits)
{
	return hash >> (32 - slot_bits);
}

static const struct format_text *nth(const struct format_text *first, size_t stride, size_t n)
{
	return (const void *)((const char *)first + n * stride);
}

static bool same_text(const char *text_a, const struct format_text *a, const char *text_b,
		      const struct format_text *b)
{
	return a->hash == b->hash && a->len == b->len &&
	       memcmp(text_a + a->at, text_b + b->at, a->len) == 0;
}

/* The number of the one that reads like `name`, the nth: n itself where it is new, and placed now. */
static inline uint32_t place(const char *text, const struct format_text *first, size_t stride,
			     const struct format_text *name, size_t n, uint32_t *slots,
			     unsigned slot_bits)
{
	size_t mask = ((size_t)1 << slot_bits) - 1;
	size_t at = slot_of(name->hash, slot_bits);

	for (; slots[at]; at = (at + 1) & mask)
		if (same_text(text, nth(first, stride, slots[at] - 1), text, name))
			return slots[at] - 1;
	slots[at] = (uint32_t)n + 1;
	return (uint32_t)n;
}

uint32_t format_place(const char *text, const struct format_text *first, size_t stride, size_t n,
		      uint32_t *slots, unsigned slot_bits)
{
	return place(text, first, stride, nth(first, stride, n), n, slots, slot_bits);
}

static void clear_slots(uint32_t *slots, unsigned slot_bits, size_t count)
{
	assert(count < (size_t)1 << slot_bits && slot_bits < 32);
	memset(slots, 0, sizeof(*slots) << slot_bits);
}

ptrdiff_t format_link(const char *text, const struct format_text *first, size_t stride,
		      size_t count, uint32_t *slots, unsigned slot_bits)
{
	const struct format_text *name = first;
	bool far = count > LOOK_FAR;

	clear_slots(slots, slot_bits, count);
	for (size_t i = 0; i < count; i++, name = nth(name, stride, 1)) {
		if (far && count - i > LOOK_AHEAD)
			__builtin_prefetch(
				&slots[slot_of(nth(name, stride, LOOK_AHEAD)->hash, slot_bits)], 1);
		if (place(text, first, stride, name, i, slots, slot_bits) != i)
			return (ptrdiff_t)i;
	}
	return -1;
}

void format_mark_repeats(const char *text, struct format_text *first, size_t stride, size_t count,
			 uint32_t *slots, unsigned slot_bits)
{
	clear_slots(slots, slot_bits, count);
	for (size_t i = count; i-- > 0;)
		if (format_place(text, first, stride, i, slots, slot_bits) != i)
			((struct format_text *)(void *)((char *)first + i * stride))->len =
				FORMAT_REPEATED;
}

ptrdiff_t format_look_up(const char *text, const struct format_text *first, size_t stride,
			 struct bytes name, uint64_t seed, const uint32_t *slots,
			 unsigned slot_bits)
{
	size_t mask = ((size_t)1 << slot_bits) - 1;
	uint32_t hash = format_hash(name, seed);

	for (size_t at = slot_of(hash, slot_bits); slots[at]; at = (at + 1) & mask) {
		const struct format_text *found = nth(first, stride, slots[at] - 1);

		if (found->hash == hash &&
		    bytes_equal((struct bytes){text + found->at, found->len}, name))
			return (ptrdiff_t)slots[at] - 1;
	}
	return -1;
}

const struct format_tensor *format_index_find_text(const struct format_index *index,
						   const char *text, const struct format_text *name,
						   size_t guess)
{
	size_t mask = ((size_t)1 << index->slot_bits) - 1;
	uint32_t slot;

	if (guess < index->tensor_count &&
	    same_text(index->text, &index->tensors[guess].name, text, name))
		return &index->tensors[guess];
	for (size_t at = slot_of(name->hash, index->slot_bits); (slot = index->slots[at]);
	     at = (at + 1) & mask)
		if (same_text(index->text, &index->tensors[slot - 1].name, text, name))
			return &index->tensors[slot - 1];
	return NULL;
}

const struct format_tensor *format_index_find(const struct format_index *index, struct bytes name)
{
	ptrdiff_t found = format_look_up(index->text, &index->tensors->name,
					 sizeof(*index->tensors), name, index->seed, index->slots,
					 index->slot_bits);

	return found < 0 ? NULL : &index->tensors[found];
}

const struct format_meta *format_index_meta(const struct format_index *index, struct bytes key)
{
	for (size_t i = 0; i < index->meta_count; i++)
		if (bytes_equal(format_key(index, &index->metas[i]), key))
			return &index->metas[i];
	return NULL;
}

void format_index_destroy(struct format_index *index)
{
	if (!index)
		return;
	free(index->text);
	free(index);
}

static bool after(const struct format_tensor *a, const struct format_tensor *b)
{
	return a->offset_bytes != b->offset_bytes ? a->offset_bytes > b->offset_bytes
						  : a->size_bytes > b->size_bytes;
}

bool format_in_order(const struct format_tensor *tensors, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (after(&tensors[i - 1], &tensors[i]))
			return false;
	return true;
}

/* Two neighbouring runs of `from` become one of `to`; of equals, the first stays first. */
static void merge(const struct format_tensor *tensors, const uint32_t *from, size_t middle,
		  size_t end, uint32_t *to)
{
	size_t left = 0, right = middle;

	for (size_t i = 0; i < end; i++) {
		bool take_right = left == middle || (right < end && after(&tensors[from[left]],
									  &tensors[from[right]]));

		to[i] = take_right ? from[right++] : from[left++];
	}
}

/* A merge sort from the bottom up: no recursion, and no input makes it slow. */
void format_order(const struct format_tensor *tensors, size_t count, uint32_t *order,
		  uint32_t *spare)
{
	uint32_t *from = order, *to = spare, *other;

	for (size_t i = 0; i < count; i++)
		order[i] = (uint32_t)i;
	for (size_t run = 1; run < count; run *= 2) {
		for (size_t at = 0; at < count; at += 2 * run) {
			size_t end = min_of(2 * run, count - at);

			merge(tensors, from + at, min_of(run, end), end, to + at);
		}
		other = from;
		from = to;
		to = other;
	}
	if (from != order)
		memcpy(order, from, count * sizeof(*order));
}
