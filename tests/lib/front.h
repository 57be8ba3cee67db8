/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What tests put in front of a source, where it holds nothing back and owns nothing: the hooks that are the
 * same for all of them, and putting it there.
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

/* One in front of what *source is, which it becomes; its table may be changed further. */
static inline struct front *front_put(struct source **source, const char *scheme,
				      const struct front_hooks *hooks)
{
	struct front *made = calloc(1, sizeof(*made));

	front_init(made, &(struct source_ops){.scheme = scheme, .destroy = front_free}, hooks,
		   *source);
	*source = &made->source;
	return made;
}

#endif
