/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which tensors of a model a verb is about, and which cuts go through them.
 *
 * Names are globs, or exact; without any, all tensors.  A slice, "NAME:DIM:START:STOP", is split from the
 * right, since names may hold colons; it cuts tensors that are selected and selects none itself.
 * Several slices with one name cut along several dimensions.
 */
#ifndef CLI_SELECT_H
#define CLI_SELECT_H

#include <stdbool.h>

#include "option.h"
#include "weir/weir.h"

struct select_options {
	struct texts names, exact, slices;
};
extern const struct option select_options[]; /* --names, --names-exact, --slice */

struct selection {
	uint64_t *tensors; /* owned: indexes, in the order of the model */
	uint64_t count;
	uint64_t bytes;               /* of all of them, cut */
	uint64_t largest_bytes;       /* of one of them, cut */
	uint64_t largest;             /* which that is, by index */
	struct weir_load_slice *cuts; /* owned, as are their slices */
	uint64_t cut_count;
	struct weir_slice *slices;
};

/* Are the slices slices at all? */
int select_check(const struct select_options *options, struct weir_error *err);

/* 0, or an error that names what matched nothing or does not fit. */
int select_tensors(const struct weir_model *model, const struct select_options *options,
		   struct selection *out, struct weir_error *err);

void select_fini(struct selection *selection);

/* The cut through a tensor, or NULL. */
const struct weir_load_slice *select_cut(const struct selection *selection, uint64_t tensor);

/* Does the name match one of the globs, or are there none? */
bool select_matches(const struct texts *globs, const char *name);

#endif
