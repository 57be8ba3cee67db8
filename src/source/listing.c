/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a directory holds, in the order of the names: for whoever shows it, or tells of the first.
 */
#include <stdlib.h>
#include <string.h>

#include "source/source.h"

static int by_name(const void *a, const void *b)
{
	const struct source_entry *left = a, *right = b;

	return strcmp(left->name, right->name);
}

void source_sort(struct source_entry *entries, size_t count)
{
	if (count > 1)
		qsort(entries, count, sizeof(*entries), by_name);
}
