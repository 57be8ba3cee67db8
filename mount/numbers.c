/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/numbers.h"

#include <errno.h>
#include <stdlib.h>

#include "base/compiler.h"

#define PLACES_FIRST     ((size_t)1 << 10)
#define USED_MAX_DEFAULT ((size_t)4 << 20)

static size_t place_of(const struct numbers *numbers, const struct identity *identity)
{
	uint64_t hash = (identity->ino ^ identity->dev << 17 ^ identity->generation) *
			UINT64_C(0x9e3779b97f4a7c15);

	return (size_t)(hash >> 20) & (numbers->place_count - 1);
}

/* Where it stands, or the free place where it would. */
static struct number *find(const struct numbers *numbers, const struct identity *identity)
{
	size_t at = place_of(numbers, identity);

	while (numbers->places[at].number &&
	       !identity_same(&numbers->places[at].identity, identity))
		at = (at + 1) & (numbers->place_count - 1);
	return &numbers->places[at];
}

int numbers_init(struct numbers *numbers, size_t used_max,
		 bool (*in_use)(void *arg, uint64_t number), void *arg)
{
	*numbers = (struct numbers){
		.place_count = PLACES_FIRST,
		.used_max = used_max ? used_max : USED_MAX_DEFAULT,
		.next = NUMBERS_ROOT,
		.in_use = in_use,
		.arg = arg,
	};
	numbers->places = calloc(numbers->place_count, sizeof(*numbers->places));
	return numbers->places ? 0 : ENOMEM;
}

void numbers_fini(struct numbers *numbers)
{
	free(numbers->places);
	numbers->places = NULL;
}

/* Into a table of another size; with `sift`, only what is in use. */
static bool rebuild(struct numbers *numbers, size_t place_count, bool sift)
{
	struct numbers from = *numbers;
	struct number *places = calloc(place_count, sizeof(*places));

	if (!places)
		return false;
	numbers->places = places;
	numbers->place_count = place_count;
	numbers->used = 0;
	for (size_t n = 0; n < from.place_count; n++) {
		const struct number *old = &from.places[n];

		if (!old->number || (sift && !numbers->in_use(numbers->arg, old->number)))
			continue;
		*find(numbers, &old->identity) = *old;
		numbers->used++;
	}
	free(from.places);
	return true;
}

static bool make_room(struct numbers *numbers)
{
	if (numbers->used >= numbers->used_max) {
		if (!rebuild(numbers, numbers->place_count, true))
			return false;
		/* All in use: the kernel holds so many, and the table follows it. */
		if (numbers->used >= numbers->used_max / 2)
			numbers->used_max *= 2;
	}
	if (numbers->used * 4 < numbers->place_count * 3)
		return true;
	return rebuild(numbers, numbers->place_count * 2, false);
}

uint64_t numbers_of(struct numbers *numbers, const struct identity *identity)
{
	struct number *at = find(numbers, identity);

	if (at->number)
		return at->number;
	if (numbers->next > NUMBERS_LAST || !make_room(numbers))
		return 0;
	at = find(numbers, identity);
	*at = (struct number){.identity = *identity, .number = numbers->next++};
	numbers->used++;
	return at->number;
}

void numbers_retire(struct numbers *numbers, const struct identity *identity)
{
	struct number *at = find(numbers, identity);
	size_t mask = numbers->place_count - 1, hole, next;

	if (!at->number)
		return;
	numbers->used--;
	/* Close the gap: whoever would be found at it or before it moves up. */
	hole = (size_t)(at - numbers->places);
	for (next = (hole + 1) & mask; numbers->places[next].number; next = (next + 1) & mask) {
		size_t home = place_of(numbers, &numbers->places[next].identity);

		if (((next - home) & mask) < ((next - hole) & mask))
			continue;
		numbers->places[hole] = numbers->places[next];
		hole = next;
	}
	numbers->places[hole].number = 0;
}
