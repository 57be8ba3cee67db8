/* SPDX-License-Identifier: Apache-2.0 */
#include "base/state.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/compiler.h"

void state_move(uint8_t *state, uint8_t to, const struct state_rule *rules, const char *what)
{
	if (unlikely(!(rules[*state].next & (UINT32_C(1) << to)))) {
		fprintf(stderr, "weir: bug: %s: %s may not become %s\n", what, rules[*state].name,
			rules[to].name);
		abort();
	}
	*state = to;
}
