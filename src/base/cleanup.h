/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Things that end with their block.
 *
 *	scoped(freep) char *name = strdup(...);     freed on every way out
 *	*out = steal(&name);                        handed out instead
 */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>

#define scoped(function) __attribute__((cleanup(function)))

static inline void *steal_(void *where)
{
	void **pointer = where;
	void *value = *pointer;

	*pointer = NULL;
	return value;
}
#define steal(where) ((__typeof__(*(where)))steal_(where))

static inline void freep(void *where)
{
	free(*(void **)where);
}

#endif
