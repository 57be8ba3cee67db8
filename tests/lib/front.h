/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests put in front of a source, where it holds nothing back and owns nothing: the hooks that are the
 * same for all of them.
 */
#ifndef TESTS_LIB_FRONT_H
#define TESTS_LIB_FRONT_H

#include <stdlib.h>

#include "source/front.h"

static inline bool front_holds_nothing(struct front *front, struct front_slot *slot)
{
	(void)front;
	(void)slot;
	return true;
}

/* One that was allocated by itself. */
static inline void front_free(struct source *source)
{
	front_fini(front(source));
	free(source);
}

#endif
