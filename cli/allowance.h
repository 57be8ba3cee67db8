/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory a load is allowed, and whether it can do with that.
 *
 * Where tensors stay, --budget is what weir may take beside them, and WEIR_BUDGET is all that it may take,
 * they included.  Where they are dropped as they arrive, either is all of it, and without either the load
 * streams through a bound of its own.  What could only wait for ever is refused before it begins.
 */
#ifndef CLI_ALLOWANCE_H
#define CLI_ALLOWANCE_H

#include <stdbool.h>

#include "select.h"

struct allowance {
	uint64_t budget; /* --budget; 0: not given */
	uint64_t lanes;  /* 0: chosen */
	bool discard, map;
};

/* Through that much dropped tensors stream where nobody says: 64 MiB, or the largest and 8 MiB. */
uint64_t allowance_stream(const struct selection *selection);

/* The budget of a context for tensors that stay, beside which --budget was given. */
uint64_t allowance_beside(uint64_t budget, const struct selection *selection);

/* Can the tensors go through what is allowed?  Else WEIR_LIMIT, with both numbers. */
int allowance_check(const struct allowance *allowance, const struct weir_model *model,
		    const struct selection *selection, struct weir_error *err);

#endif
