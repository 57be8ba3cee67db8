/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Our side of the differential test: paths come in on stdin, a line each; verdicts go out likewise:
 *
 *	STRICT <tab> LENIENT <tab> DIGEST <tab> strict message
 *
 * A verdict is "OK" or the class of the error.  DIGEST sums up what the lenient reader found, in a
 * way that the other side can compute too: the sum of a CRC for each tensor (name, type, shape) and
 * each metadata pair, and the CRC of the names in the order of the file, empty tensors left out.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "format/safetensors.h"

static uint32_t crc32_more(uint32_t crc, const void *data, size_t len)
{
	const unsigned char *at = data;

	crc = ~crc;
	for (size_t i = 0; i < len; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0);
	}
	return ~crc;
}

static uint32_t crc32_view(uint32_t crc, struct bytes view)
{
	return crc32_more(crc32_more(crc, view.at, view.len), "", 1);
}

static uint32_t tensor_crc(const struct format_index *index, const struct format_tensor *tensor)
{
	const char *dtype = dtype_info(tensor->dtype)->name;
	uint32_t crc = crc32_view(0, format_name(index, tensor));
	char number[24];

	crc = crc32_more(crc, dtype, strlen(dtype) + 1);
	for (uint32_t i = 0; i < tensor->rank; i++) {
		int len = snprintf(number, sizeof(number), "%llu,",
				   (unsigned long long)format_shape(index, tensor)[i]);

		crc = crc32_more(crc, number, (size_t)len);
	}
	return crc;
}

static void print_digest(const struct format_index *index)
{
	uint32_t sum = 0, order = 0;

	for (size_t i = 0; i < index->tensor_count; i++) {
		const struct format_tensor *tensor = format_by_offset(index, i);

		sum += tensor_crc(index, &index->tensors[i]);
		if (tensor->size_bytes)
			order = crc32_view(order, format_name(index, tensor));
	}
	for (size_t i = 0; i < index->meta_count; i++)
		sum += crc32_view(crc32_view(1, format_key(index, &index->metas[i])),
				  format_value(index, &index->metas[i]));
	printf("%zu:%zu:%d:%08x:%08x", index->tensor_count, index->meta_count, index->has_metadata,
	       sum, order);
}

/* The header of the file, as a careful caller reads it. */
static int parse(FILE *file, uint64_t file_bytes, unsigned flags, struct format_index **out,
		 struct weir_error *err)
{
	struct format_input in = {
		.label = "file", .file_bytes = file_bytes, .seed = 11, .flags = flags};
	char prefix[SAFETENSORS_PREFIX_BYTES];
	size_t have;
	uint64_t need;
	int ret;

	rewind(file);
	have = fread(prefix, 1, sizeof(prefix), file);
	ret = safetensors_need("file", prefix, have, file_bytes, &need, err);
	if (ret < 0)
		return ret;
	in.text_bytes = (size_t)need;
	in.text = malloc(in.text_bytes);
	rewind(file);
	if (!in.text || fread(in.text, 1, in.text_bytes, file) != in.text_bytes)
		exit(2);
	ret = safetensors_parse(&in, out, err);
	if (ret < 0)
		free(in.text);
	return ret;
}

static void judge(const char *path)
{
	struct weir_error strict = WEIR_ERROR_INIT, lenient = WEIR_ERROR_INIT;
	struct format_index *index = NULL, *again = NULL;
	FILE *file = fopen(path, "rb");
	uint64_t file_bytes;
	int a, b;

	if (!file || fseek(file, 0, SEEK_END) < 0)
		exit(2);
	file_bytes = (uint64_t)ftell(file);
	a = parse(file, file_bytes, 0, &index, &strict);
	b = parse(file, file_bytes, FORMAT_LENIENT, &again, &lenient);
	printf("%s\t%s\t", a ? weir_code_name(a) : "OK", b ? weir_code_name(b) : "OK");
	if (again)
		print_digest(again);
	printf("\t%s\n", a ? strict.message : "");
	format_index_destroy(index);
	format_index_destroy(again);
	fclose(file);
}

int main(void)
{
	char path[4096];

	while (fgets(path, sizeof(path), stdin)) {
		path[strcspn(path, "\n")] = 0;
		judge(path);
	}
	return 0;
}
