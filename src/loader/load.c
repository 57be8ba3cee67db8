/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole models, or parts of them: a plan of their tensors, started.
 *
 * Tensors go into the plan in the order of the files, whatever the caller's order, since that is how a
 * disk would like to be asked; completions say which is which.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "engine/context.h"
#include "model/model.h"
#include "weir/load.h"

struct load {
	struct weir_model *model;
	struct weir_load_opts opts;
	struct weir_plan *plan; /* owned until the transfer has it */
	/* By tensor, where there are cuts: which, or NULL.  Owned. */
	const struct weir_load_slice **cuts;
	struct weir_error *err;
};

/* ---- Cuts ---- */

static int note_cut(struct load *load, const struct weir_load_slice *cut)
{
	if (cut->tensor >= load->model->tensor_count)
		return error_set(load->err, WEIR_ARG, NULL,
				 "a cut through tensor %" PRIu64 " of a model that has %" PRIu64,
				 cut->tensor, load->model->tensor_count);
	if (load->cuts[cut->tensor])
		return error_set(load->err, WEIR_ARG, NULL, "tensor %" PRIu64 " is cut twice",
				 cut->tensor);
	load->cuts[cut->tensor] = cut;
	return 0;
}

static int note_cuts(struct load *load)
{
	int ret = 0;

	if (load->opts.slice_count == 0)
		return 0;
	load->cuts = calloc((size_t)load->model->tensor_count + 1, sizeof(load->cuts[0]));
	if (!load->cuts)
		return error_nomem(load->err, NULL, "the cuts of a load");
	for (uint64_t i = 0; ret == 0 && i < load->opts.slice_count; i++)
		ret = note_cut(load, &load->opts.slices[i]);
	return ret;
}

/* A cut through what is not loaded at all is a mistake, and better said. */
static int check_cuts_used(const struct load *load)
{
	uint64_t used = 0;

	if (!load->cuts || !load->opts.tensors)
		return 0;
	for (uint64_t i = 0; i < load->opts.tensor_count; i++) {
		const struct weir_load_slice **cut = &load->cuts[load->opts.tensors[i]];

		used += *cut != NULL;
		*cut = NULL;
	}
	if (used == load->opts.slice_count)
		return 0;
	return error_set(load->err, WEIR_ARG, NULL,
			 "%" PRIu64 " of %" PRIu64 " cuts go through tensors that are not loaded",
			 load->opts.slice_count - used, load->opts.slice_count);
}

/* ---- Tensors ---- */

static struct weir_dest dest_of(const struct load *load, uint64_t place)
{
	struct weir_dest dest = load->opts.dests ? load->opts.dests[place] : weir_dest_alloc();

	if (dest.kind == WEIR_DEST_ALLOC && dest.align == 0)
		dest.align = load->opts.align;
	return dest;
}

/* place: in the caller's arrays. */
static int add_tensor(struct load *load, uint64_t tensor, uint64_t place)
{
	const struct weir_load_slice *cut = load->cuts && tensor < load->model->tensor_count
						    ? load->cuts[tensor]
						    : NULL;
	struct weir_dest dest = dest_of(load, place);
	int ret = 1;

	if (load->opts.flags & WEIR_LOAD_MAP)
		ret = model_plan_mapped(load->plan, load->model, tensor, cut ? cut->slices : NULL,
					cut ? cut->slice_count : 0, dest, load->err);
	if (ret <= 0)
		return ret;
	if (cut)
		return weir_plan_slice(load->plan, load->model, tensor, cut->slices,
				       cut->slice_count, dest, tensor, load->err);
	return weir_plan_tensor(load->plan, load->model, tensor, dest, tensor, load->err);
}

static int add_all(struct load *load)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < load->model->tensor_count; i++) {
		uint64_t tensor = weir_model_by_offset(load->model, i);

		ret = add_tensor(load, tensor, tensor);
	}
	return ret;
}

/* The plan is put in the order of the files when it starts. */
static int add_named(struct load *load)
{
	int ret = 0;

	for (uint64_t i = 0; ret == 0 && i < load->opts.tensor_count; i++)
		ret = add_tensor(load, load->opts.tensors[i], i);
	return ret ? ret : check_cuts_used(load);
}

/* ---- All of it ---- */

static int check_opts(const struct load *load)
{
	const struct weir_load_opts *opts = &load->opts;

	if (opts->flags & ~(uint32_t)WEIR_LOAD_MAP)
		return error_set(load->err, WEIR_ARG, NULL, "unknown flags 0x%x", opts->flags);
	if (opts->tensor_count && !opts->tensors)
		return error_set(load->err, WEIR_ARG, NULL, "%" PRIu64 " tensors, at NULL",
				 opts->tensor_count);
	if (opts->slice_count && !opts->slices)
		return error_set(load->err, WEIR_ARG, NULL, "%" PRIu64 " cuts, at NULL",
				 opts->slice_count);
	return 0;
}

static int start(struct load *load, struct weir_transfer **out)
{
	struct weir_transfer_opts opts = {
		.size = sizeof(opts),
		.flags = load->opts.transfer_flags,
		.budget_bytes = load->opts.budget_bytes,
		.timeout_ns = load->opts.timeout_ns,
		.stall_ns = load->opts.stall_ns,
	};
	int ret = weir_transfer_start(load->plan, load->opts.queue, &opts, out, load->err);

	if (ret == 0)
		load->plan = NULL;
	return ret;
}

int weir_load_start(struct weir_model *model, const struct weir_load_opts *opts,
		    struct weir_transfer **out, struct weir_error *err)
{
	struct load load = {.model = model, .err = err};
	int ret;

	opts_copy(&load.opts, sizeof(load.opts), opts);
	ret = check_opts(&load);
	if (ret == 0)
		ret = weir_plan_create(model->ctx, &load.plan, err);
	if (ret == 0)
		ret = note_cuts(&load);
	if (ret == 0)
		ret = load.opts.tensors ? add_named(&load) : add_all(&load);
	if (ret == 0)
		ret = start(&load, out);
	free(load.cuts);
	weir_plan_destroy(load.plan);
	return ret;
}
