/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file's header: as few reads as it takes, and no memory that the file does not justify.
 *
 * The first read is a guess that nearly always brings all of it.  The parsers say how many bytes they
 * want; the rest is read behind what is there.  A safetensors header says its length at once; a GGUF
 * header does not, so what is read doubles.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/huge.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/object.h"
#include "format/gguf.h"
#include "format/safetensors.h"
#include "model/opening.h"

/* Of the first file; the step of the others; and where guessing ends. */
#define GUESS_FIRST ((uint64_t)32 << 10)
#define GUESS_STEP  ((uint64_t)512)
#define GUESS_MAX   ((uint64_t)4 << 20)

/* Bytes behind a header that are not kept with it. */
#define WORTH_GIVING_BACK ((uint64_t)1 << 10)

/* Bytes of a file's start, in memory of their own, and spare ones behind them. */
struct start {
	struct weir_model *model;
	struct weir_object *object;
	char *text; /* owned */
	uint64_t have;
	uint64_t uncharged; /* of them; few, and charged together with the table */
	struct weir_error *err;
};

static const char *label_of(const struct start *start)
{
	return weir_object_uri(start->object);
}

/* Makes room for want bytes, and reads what is not there of them. */
static int extend(struct start *start, uint64_t want)
{
	char *grown;
	int ret = model_charge(start->model, want - start->have, label_of(start), start->err);

	if (ret)
		return ret;
	grown = realloc(start->text, (size_t)want + FORMAT_SPARE_BYTES);
	if (!grown)
		return error_nomem(start->err, label_of(start), "its header");
	huge_advise(grown, (size_t)want + FORMAT_SPARE_BYTES);
	memset(grown + want, 0, FORMAT_SPARE_BYTES);
	start->text = grown;
	ret = object_read_here(start->object, grown + start->have, start->have, want - start->have,
			       start->err);
	if (ret == 0)
		start->have = want;
	return ret;
}

/* The first read: as much as is guessed. */
static int begin(struct start *start, uint64_t guessed)
{
	start->text = malloc((size_t)guessed + FORMAT_SPARE_BYTES);
	if (!start->text)
		return error_nomem(start->err, label_of(start), "its header");
	start->have = guessed;
	return object_read_here(start->object, start->text, 0, guessed, start->err);
}

/* Of what was guessed no more is kept than is wanted, nor much room behind it; the rest is read. */
static int keep(struct start *start, uint64_t want)
{
	uint64_t first = min_of(start->have, want);
	bool worth = start->have - first > WORTH_GIVING_BACK;
	char *smaller;

	start->uncharged = first;
	memset(start->text + first, 0, FORMAT_SPARE_BYTES);
	start->have = first;
	smaller = worth ? realloc(start->text, (size_t)first + FORMAT_SPARE_BYTES) : NULL;
	if (smaller)
		start->text = smaller;
	return want > first ? extend(start, want) : 0;
}

static struct format_input input_of(const struct start *start, unsigned flags)
{
	return (struct format_input){
		.label = label_of(start),
		.text = start->text,
		.text_bytes = (size_t)start->have,
		.spare_bytes = FORMAT_SPARE_BYTES,
		.file_bytes = start->object->core->size_bytes,
		.seed = start->model->seed,
		.flags = flags,
	};
}

static int read_safetensors(struct start *start, unsigned flags, struct format_index **out)
{
	uint64_t file_bytes = start->object->core->size_bytes, need;
	struct format_input input;
	int ret = safetensors_need(label_of(start), start->text, (size_t)start->have, file_bytes,
				   &need, start->err);

	if (ret == 0)
		ret = keep(start, need);
	if (ret)
		return ret;
	input = input_of(start, flags);
	ret = safetensors_parse(&input, out, start->err);
	if (ret == 0)
		start->text = NULL; /* the index's */
	return ret;
}

static int read_gguf(struct start *start, struct format_index **out)
{
	uint64_t file_bytes = start->object->core->size_bytes, need;
	struct format_input input;
	int ret = keep(start, start->have);

	while (ret == 0) {
		input = input_of(start, 0);
		ret = gguf_parse(&input, out, &need, start->err);
		if (ret == 0)
			start->text = NULL; /* freed */
		if (ret != GGUF_MORE)
			return ret;
		/* Twice as much each time: all walks together cost two. */
		ret = extend(start, min_of(max_of(need, 2 * start->have), file_bytes));
	}
	return ret;
}

/* By name where it has one that says so, else by its first bytes. */
static bool is_gguf(const char *label, const char *first, uint64_t have)
{
	size_t len = strlen(label);

	if (len >= 5 && memcmp(label + len - 5, ".gguf", 5) == 0)
		return true;
	if (len >= 12 && memcmp(label + len - 12, ".safetensors", 12) == 0)
		return false;
	return have >= 4 && memcmp(first, "GGUF", 4) == 0;
}

/* Of a table, as far as it is not text. */
static uint64_t table_bytes(const struct format_index *index)
{
	return index->tensor_count * (sizeof(index->tensors[0]) + sizeof(index->dims[0])) +
	       index->meta_count * sizeof(index->metas[0]) +
	       (sizeof(index->slots[0]) << index->slot_bits);
}

/* Relaxed, here and below: a hint, nothing is published with it. */
static uint64_t guess_for(const struct header_guess *guess, const struct weir_object *object)
{
	uint64_t longest = atomic_load_explicit(&guess->longest, memory_order_relaxed);

	/* A little more than the longest: a second read costs more than it. */
	longest = longest ? longest + longest / 16 : GUESS_FIRST;
	return min_of(min_of(round_up(longest, GUESS_STEP), GUESS_MAX), object->core->size_bytes);
}

static void learn(struct header_guess *guess, const struct format_index *index)
{
	uint64_t longest = atomic_load_explicit(&guess->longest, memory_order_relaxed);

	if (index->data_start > longest)
		atomic_store_explicit(&guess->longest, index->data_start, memory_order_relaxed);
}

int header_read(struct weir_model *model, struct weir_object *object, unsigned flags,
		struct header_guess *guess, struct format_index **out, struct weir_error *err)
{
	struct start start = {.model = model, .object = object, .err = err};
	int ret = begin(&start, guess_for(guess, object));

	if (ret == 0 && is_gguf(label_of(&start), start.text, start.have))
		ret = read_gguf(&start, out);
	else if (ret == 0)
		ret = read_safetensors(&start, flags, out);
	free(start.text);
	if (ret)
		return ret;
	learn(guess, *out);
	return model_charge(model, start.uncharged + table_bytes(*out), label_of(&start), err);
}

int file_read_whole(struct weir_model *model, struct weir_object *object, uint64_t max, char **text,
		    struct weir_error *err)
{
	struct start start = {.model = model, .object = object, .err = err};
	uint64_t bytes = object->core->size_bytes;
	int ret;

	if (bytes > max)
		return error_set(err, WEIR_LIMIT, label_of(&start),
				 "%s: %" PRIu64 " bytes, of at most %" PRIu64, label_of(&start),
				 bytes, max);
	ret = extend(&start, bytes);
	if (ret)
		free(start.text);
	else
		*text = start.text;
	return ret;
}
