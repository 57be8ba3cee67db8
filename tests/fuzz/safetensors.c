/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the safetensors parser.
 *
 * The first byte of the input says how the rest is read: as a whole file, or as a header whose prefix
 * and data section are made to fit, so that the fuzzer need not guess sizes to get past coverage.
 * Beyond memory errors, these must hold:
 *
 *	what is taken covers the file, is sorted, and is found by name
 *	what strict takes, lenient takes, with the same result
 *	blanks and spare bytes behind the header change no verdict (they open the way for the reader of
 *	plain entries)
 */
#include "format/safetensors.h"

#include "base/error.h"
#include "fuzz.h"

enum mode {
	WHOLE_FILE = 1,
};

struct parsed {
	int code;
	struct format_index *index;
};

static struct parsed parse_spare(const char *text, size_t len, size_t spare, uint64_t file_bytes,
				 unsigned flags)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct format_input in = {.label = "fuzz",
				  .text = fuzz_copy((const uint8_t *)text, len + spare),
				  .text_bytes = len,
				  .spare_bytes = spare,
				  .file_bytes = file_bytes,
				  .seed = 5,
				  .flags = flags};
	struct parsed parsed = {0};

	parsed.code = safetensors_parse(&in, &parsed.index, &err);
	if (parsed.code < 0) {
		require(!parsed.index && err.code == parsed.code);
		require(strncmp(err.message, "fuzz: ", 6) == 0);
		free(in.text);
	}
	return parsed;
}

static struct parsed parse(const char *text, size_t len, uint64_t file_bytes, unsigned flags)
{
	return parse_spare(text, len, 0, file_bytes, flags);
}

/* Returns where the last tensor ends. */
static uint64_t check_index(const struct format_index *index)
{
	uint64_t cursor = index->data_start;

	for (size_t i = 0; i < index->tensor_count; i++) {
		const struct format_tensor *tensor = &index->tensors[i];
		const struct format_tensor *next = format_by_offset(index, i);

		require(format_index_find(index, format_name(index, tensor)) == tensor);
		require(next->offset_bytes == cursor);
		require(next->size_bytes <= index->file_bytes - cursor);
		cursor += next->size_bytes;
		for (uint32_t d = 0; d < tensor->rank; d++)
			require(format_shape(index, tensor)[d] == 0 || tensor->size_bytes == 0 ||
				format_shape(index, tensor)[d] <= tensor->size_bytes * 8);
	}
	for (size_t i = 0; i < index->meta_count; i++)
		require(format_index_meta(index, format_key(index, &index->metas[i])) ==
			&index->metas[i]);
	return cursor;
}

static void same(const struct format_index *a, const struct format_index *b)
{
	require(a->tensor_count == b->tensor_count && a->meta_count == b->meta_count);
	for (size_t i = 0; i < a->tensor_count; i++) {
		const struct format_tensor *s = &a->tensors[i], *t = &b->tensors[i];

		require(bytes_equal(format_name(a, s), format_name(b, t)));
		require(s->offset_bytes - a->data_start == t->offset_bytes - b->data_start);
		require(s->size_bytes == t->size_bytes && s->dtype == t->dtype);
		require(s->rank == t->rank);
		require(s->rank == 0 || memcmp(format_shape(a, s), format_shape(b, t),
					       s->rank * sizeof(uint64_t)) == 0);
	}
}

static void judge(const char *text, size_t len, uint64_t file_bytes)
{
	struct parsed strict = parse(text, len, file_bytes, 0);
	struct parsed lenient = parse(text, len, file_bytes, FORMAT_LENIENT);

	if (strict.index) {
		require(check_index(strict.index) == file_bytes);
		require(lenient.index);
		same(strict.index, lenient.index);
	}
	if (lenient.index)
		require(check_index(lenient.index) == file_bytes);
	format_index_destroy(strict.index);
	format_index_destroy(lenient.index);
}

/* A header: as it is, and with blanks; and with a data section that is as long as it wants. */
static void judge_header(const uint8_t *header, size_t len)
{
	enum {
		BLANKS = 80
	};
	const uint64_t huge = UINT64_C(1) << 62;
	char *text = calloc(1, 8 + len + BLANKS + FORMAT_SPARE_BYTES);
	struct parsed tight, wide, spare;
	uint64_t data = 0;

	require(text);
	if (len)
		memcpy(text + 8, header, len);
	store_le64(text, len);
	tight = parse(text, 8 + len, huge, FORMAT_LENIENT | FORMAT_TRAILING);
	spare = parse_spare(text, 8 + len, FORMAT_SPARE_BYTES, huge,
			    FORMAT_LENIENT | FORMAT_TRAILING);
	memset(text + 8 + len, ' ', BLANKS);
	store_le64(text, len + BLANKS);
	wide = parse(text, 8 + len + BLANKS, huge, FORMAT_LENIENT | FORMAT_TRAILING);
	require(tight.code == wide.code && tight.code == spare.code);
	if (tight.index) {
		same(tight.index, wide.index);
		same(tight.index, spare.index);
		data = check_index(tight.index) - tight.index->data_start;
	}
	judge(text, 8 + len + BLANKS, 8 + len + BLANKS + data);
	format_index_destroy(tight.index);
	format_index_destroy(wide.index);
	format_index_destroy(spare.index);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t need = 0;

	if (size == 0)
		return 0;
	if (!(data[0] & WHOLE_FILE)) {
		judge_header(data + 1, size - 1);
		return 0;
	}
	if (safetensors_need("fuzz", data + 1, size - 1, size - 1, &need, NULL) == 0 &&
	    need <= size - 1)
		judge((const char *)data + 1, (size_t)need, size - 1);
	return 0;
}
