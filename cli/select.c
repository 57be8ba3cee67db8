/* SPDX-License-Identifier: Apache-2.0 */
#include "select.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "values.h"

const struct option select_options[] = {
	{.name = "names",
	 .kind = OPTION_LIST,
	 .value = "GLOB",
	 .initial = "all tensors",
	 .help = "only tensors whose names match; may be given many times",
	 .at = offsetof(struct select_options, names)},
	{.name = "names-exact",
	 .kind = OPTION_LIST,
	 .value = "NAME",
	 .help = "only the tensor of this name; may be given many times",
	 .at = offsetof(struct select_options, exact)},
	{.name = "slice",
	 .kind = OPTION_LIST,
	 .value = "NAME:DIM:START:STOP",
	 .help = "cut tensors along a dimension; NAME is a glob unless --names-exact stands beside; "
		 "may be given many times",
	 .at = offsetof(struct select_options, slices)},
	{0},
};

bool select_matches(const struct texts *globs, const char *name)
{
	if (!globs->count)
		return true;
	for (size_t n = 0; n < globs->count; n++) {
		if (fnmatch(globs->items[n], name, 0) == 0)
			return true;
	}
	return false;
}

static int missing(const char *what, const char *name, struct weir_error *err)
{
	return report_set(err, WEIR_NOTFOUND, NULL, "%s '%.200s': the model has no such tensor",
			  what, name);
}

/* One flag a tensor: is it selected? */
static int mark_names(const struct weir_model *model, const struct select_options *options,
		      uint8_t *marks, struct weir_error *err)
{
	uint64_t count = weir_model_tensor_count(model);

	for (size_t n = 0; n < options->names.count; n++) {
		bool any = false;

		for (uint64_t i = 0; i < count; i++) {
			if (fnmatch(options->names.items[n], weir_model_tensor(model, i)->name,
				    0) == 0)
				marks[i] = any = true;
		}
		if (!any)
			return missing("--names", options->names.items[n], err);
	}
	for (size_t n = 0; n < options->exact.count; n++) {
		const char *name = options->exact.items[n];
		uint64_t i = weir_model_find(model, name, strlen(name));

		if (i == UINT64_MAX)
			return missing("--names-exact", name, err);
		marks[i] = 1;
	}
	if (!options->names.count && !options->exact.count)
		memset(marks, 1, count);
	return 0;
}

/* "NAME:DIM:START:STOP" */
struct cut {
	const char *text;
	char *name; /* owned */
	struct weir_slice slice;
};

static bool last_number(const char *text, size_t *len, uint64_t *out)
{
	char digits[24];
	size_t end = *len, at = end;

	while (at > 0 && text[at - 1] != ':')
		at--;
	if (at == 0 || end - at >= sizeof(digits))
		return false;
	memcpy(digits, text + at, end - at);
	digits[end - at] = '\0';
	*len = at - 1;
	return value_count(digits, out);
}

static int parse_cut(const char *text, struct cut *out, struct weir_error *err)
{
	size_t len = strlen(text);
	uint64_t dim = 0;

	out->text = text;
	if (!last_number(text, &len, &out->slice.stop) ||
	    !last_number(text, &len, &out->slice.start) || !last_number(text, &len, &dim) ||
	    dim > UINT32_MAX)
		return report_set(err, WEIR_ARG, NULL, "--slice '%.200s': not NAME:DIM:START:STOP",
				  text);
	out->slice.dim = (unsigned)dim;
	out->name = strndup(text, len);
	if (!out->name)
		return report_set(err, WEIR_NOMEM, NULL, "slices: out of memory");
	return 0;
}

int select_check(const struct select_options *options, struct weir_error *err)
{
	int ret = 0;

	for (size_t c = 0; c < options->slices.count && !ret; c++) {
		struct cut cut = {0};

		ret = parse_cut(options->slices.items[c], &cut, err);
		free(cut.name);
	}
	return ret;
}

static bool cut_matches(const struct cut *cut, bool exact, const struct weir_tensor *tensor)
{
	return exact ? strcmp(cut->name, tensor->name) == 0
		     : fnmatch(cut->name, tensor->name, 0) == 0;
}

/* Adds a slice to the tensor's cut, which has room for one of each --slice. */
static int add_slice(struct selection *out, uint64_t tensor, const struct weir_slice *slice,
		     size_t room, struct weir_error *err)
{
	struct weir_load_slice *cut = NULL;
	struct weir_slice *slices;

	if (out->cut_count && out->cuts[out->cut_count - 1].tensor == tensor)
		cut = &out->cuts[out->cut_count - 1];
	if (!cut) {
		cut = &out->cuts[out->cut_count];
		*cut = (struct weir_load_slice){.tensor = tensor,
						.slices = out->slices + out->cut_count * room};
		out->cut_count++;
	}
	slices = out->slices + (size_t)(cut - out->cuts) * room;
	for (unsigned n = 0; n < cut->slice_count; n++) {
		if (slices[n].dim == slice->dim)
			return report_set(err, WEIR_ARG, NULL,
					  "two slices cut dimension %u of the same tensor",
					  slice->dim);
	}
	slices[cut->slice_count++] = *slice;
	return 0;
}

static int apply_cuts(const struct weir_model *model, const struct cut *cuts, size_t count,
		      bool exact, struct selection *out, struct weir_error *err)
{
	uint8_t *used = calloc(count, 1);
	int ret = 0;

	if (!used)
		return report_set(err, WEIR_NOMEM, NULL, "slices: out of memory");
	for (uint64_t n = 0; n < out->count && !ret; n++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, out->tensors[n]);

		for (size_t c = 0; c < count && !ret; c++) {
			if (!cut_matches(&cuts[c], exact, tensor))
				continue;
			used[c] = 1;
			ret = add_slice(out, out->tensors[n], &cuts[c].slice, count, err);
		}
	}
	for (size_t c = 0; c < count && !ret; c++) {
		if (!used[c])
			ret = missing("--slice", cuts[c].text, err);
	}
	free(used);
	return ret;
}

static int select_cuts(const struct weir_model *model, const struct select_options *options,
		       struct selection *out, struct weir_error *err)
{
	size_t count = options->slices.count;
	struct cut *cuts = calloc(count + 1, sizeof(*cuts));
	int ret = 0;

	out->cuts = calloc(out->count + 1, sizeof(*out->cuts));
	out->slices = reallocarray(NULL, (out->count + 1) * (count + 1), sizeof(*out->slices));
	if (!cuts || !out->cuts || !out->slices)
		ret = report_set(err, WEIR_NOMEM, NULL, "slices: out of memory");
	for (size_t c = 0; c < count && !ret; c++)
		ret = parse_cut(options->slices.items[c], &cuts[c], err);
	if (!ret)
		ret = apply_cuts(model, cuts, count, options->exact.count != 0, out, err);
	for (size_t c = 0; cuts && c < count; c++)
		free(cuts[c].name);
	free(cuts);
	return ret;
}

const struct weir_load_slice *select_cut(const struct selection *selection, uint64_t tensor)
{
	uint64_t low = 0, high = selection->cut_count;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (selection->cuts[middle].tensor < tensor)
			low = middle + 1;
		else
			high = middle;
	}
	if (low < selection->cut_count && selection->cuts[low].tensor == tensor)
		return &selection->cuts[low];
	return NULL;
}

static int count_bytes(const struct weir_model *model, struct selection *out,
		       struct weir_error *err)
{
	for (uint64_t n = 0; n < out->count; n++) {
		const struct weir_tensor *tensor = weir_model_tensor(model, out->tensors[n]);
		const struct weir_load_slice *cut = select_cut(out, out->tensors[n]);
		uint64_t bytes = tensor->size_bytes;

		if (cut) {
			int ret = weir_slice_bytes(tensor, cut->slices, cut->slice_count, &bytes,
						   err);

			if (ret)
				return ret;
		}
		out->bytes += bytes;
		if (bytes > out->largest_bytes) {
			out->largest_bytes = bytes;
			out->largest = out->tensors[n];
		}
	}
	return 0;
}

int select_tensors(const struct weir_model *model, const struct select_options *options,
		   struct selection *out, struct weir_error *err)
{
	uint64_t count = weir_model_tensor_count(model);
	uint8_t *marks = calloc(count + 1, 1);
	int ret;

	*out = (struct selection){0};
	out->tensors = calloc(count + 1, sizeof(*out->tensors));
	ret = marks && out->tensors
		      ? mark_names(model, options, marks, err)
		      : report_set(err, WEIR_NOMEM, NULL, "selecting tensors: out of memory");
	for (uint64_t i = 0; i < count && !ret; i++) {
		if (marks[i])
			out->tensors[out->count++] = i;
	}
	free(marks);
	if (!ret && options->slices.count)
		ret = select_cuts(model, options, out, err);
	if (!ret)
		ret = count_bytes(model, out, err);
	if (ret)
		select_fini(out);
	return ret;
}

void select_fini(struct selection *selection)
{
	free(selection->tensors);
	free(selection->cuts);
	free(selection->slices);
	*selection = (struct selection){0};
}
