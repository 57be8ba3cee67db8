/* SPDX-License-Identifier: Apache-2.0 */
#include "allowance.h"

#include <stdlib.h>

#include "report.h"
#include "values.h"

/* As fast as without a bound, on the machines it was tried on. */
#define STREAM_BYTES  (64 * WEIR_MIB)
#define STREAM_BESIDE (8 * WEIR_MIB)

/* What weir takes beside tensors that stay: staging, which the first lane has more of. */
#define BESIDE_BYTES (16 * WEIR_MIB)
#define BESIDE_LANES 5u
#define BESIDE_LANE  (2 * WEIR_MIB)

/* Of each tensor: the pages that it shares with its neighbours; and of the last one, a huge page. */
#define EACH_BYTES UINT64_C(8192)
#define LAST_BYTES (2 * WEIR_MIB)

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t allowance_stream(const struct selection *selection)
{
	uint64_t least = add(selection->largest_bytes, STREAM_BESIDE);

	return least > STREAM_BYTES ? least : STREAM_BYTES;
}

uint64_t allowance_beside(uint64_t budget, const struct selection *selection)
{
	return add(budget, add(selection->bytes, selection->count * EACH_BYTES + LAST_BYTES));
}

/* Staging is less than half of a small budget, tensors included: they never want their like beside them. */
static uint64_t least_beside(const struct allowance *allowance, const struct selection *selection)
{
	uint64_t least = BESIDE_BYTES, like = selection->bytes - selection->bytes / 8;

	if (allowance->lanes > BESIDE_LANES)
		least += (allowance->lanes - BESIDE_LANES) * BESIDE_LANE;
	return like < least ? like : least;
}

/* WEIR_BUDGET, which the context has read and found to be right; 0: not there. */
static uint64_t environment(void)
{
	const char *text = getenv("WEIR_BUDGET");
	uint64_t bytes = 0;

	return text && value_size(text, &bytes) ? bytes : 0;
}

static int check_discarded(const struct allowance *allowance, const struct weir_model *model,
			   const struct selection *selection, struct weir_error *err)
{
	uint64_t budget = allowance->budget ? allowance->budget : environment();
	const struct weir_tensor *tensor;
	char least[VALUE_MAX];

	if (!budget || selection->largest_bytes < budget)
		return 0;
	tensor = weir_model_tensor(model, selection->largest);
	value_print_exact(least, allowance_stream(selection) / WEIR_MIB * WEIR_MIB + WEIR_MIB);
	return report_set(
		err, WEIR_LIMIT, NULL,
		"tensor '%.*s' has %llu bytes, and %s allows %llu for all: --budget %s is "
		"enough, or leave the tensor out (--names GLOB)",
		(int)(tensor->name_len < 200 ? tensor->name_len : 200), tensor->name,
		(unsigned long long)selection->largest_bytes,
		allowance->budget ? "--budget" : "WEIR_BUDGET", (unsigned long long)budget, least);
}

static int check_beside(const struct allowance *allowance, const struct selection *selection,
			struct weir_error *err)
{
	uint64_t least = least_beside(allowance, selection);
	char text[VALUE_MAX];

	if (allowance->budget >= least)
		return 0;
	return report_set(err, WEIR_LIMIT, NULL,
			  "%llu bytes of tensors need up to %llu beside them, and --budget allows "
			  "%llu: --budget %s is enough, or drop them as they arrive (--discard)",
			  (unsigned long long)selection->bytes, (unsigned long long)least,
			  (unsigned long long)allowance->budget,
			  value_print_exact(text, (least + WEIR_KIB - 1) / WEIR_KIB * WEIR_KIB));
}

static int check_environment(const struct allowance *allowance, const struct selection *selection,
			     struct weir_error *err)
{
	uint64_t budget = environment();
	uint64_t least = allowance_beside(least_beside(allowance, selection), selection);

	if (!budget || budget >= least)
		return 0;
	return report_set(
		err, WEIR_LIMIT, NULL,
		"%llu bytes of tensors that stay need %llu with what is beside them, and "
		"WEIR_BUDGET allows %llu for all: allow more, load fewer (--names GLOB), or "
		"drop them as they arrive (--discard)",
		(unsigned long long)selection->bytes, (unsigned long long)least,
		(unsigned long long)budget);
}

int allowance_check(const struct allowance *allowance, const struct weir_model *model,
		    const struct selection *selection, struct weir_error *err)
{
	if (allowance
		    ->map) /* what is mapped needs no memory, and nobody knows before how much that is */
		return 0;
	if (allowance->discard)
		return check_discarded(allowance, model, selection, err);
	if (allowance->budget)
		return check_beside(allowance, selection, err);
	return check_environment(allowance, selection, err);
}
