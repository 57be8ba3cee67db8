/* SPDX-License-Identifier: Apache-2.0 */
#include "format/safetensors_check.h"

#include <inttypes.h>

#include "base/size.h"

/* begin is not where the tensor before ended, or end is before begin. */
static int wrong_offsets(struct json *json, const char *at, uint64_t begin, uint64_t end,
			 uint64_t cursor)
{
	if (end < begin)
		return json_fail(json, WEIR_H_OFFSET, at,
				 "data_offsets [%" PRIu64 ", %" PRIu64 "] end before they begin",
				 begin, end);
	if (begin > cursor)
		return json_fail(json, WEIR_H_OFFSET, at,
				 "data_offsets [%" PRIu64 ", %" PRIu64 "] leave a hole of %" PRIu64
				 " bytes behind byte %" PRIu64,
				 begin, end, begin - cursor, cursor);
	return json_fail(json, WEIR_H_OFFSET, at,
			 "data_offsets [%" PRIu64 ", %" PRIu64
			 "] overlap the tensor before, which ends at %" PRIu64,
			 begin, end, cursor);
}

static int check_one(struct json *json, const struct table *table,
		     const struct format_tensor *tensor, bool lenient, uint64_t cursor)
{
	const char *at = json->text + tensor->name.at;
	uint64_t begin = tensor->offset_bytes, end = tensor->size_bytes, bytes;
	const char *dtype = dtype_info(tensor->dtype)->name;
	int ret;

	json->subject = (struct bytes){at, tensor->name.len};
	if (begin != cursor || end < begin)
		return wrong_offsets(json, at, begin, end, cursor);
	ret = safetensors_bytes(dtype_info(tensor->dtype)->bits, table->words + tensor->dims_at,
				tensor->rank, lenient, &bytes);
	if (ret == WEIR_H_OVERFLOW)
		return json_fail(json, ret, at, "the size of its shape in %s overflows 64 bits",
				 dtype);
	if (ret == WEIR_H_SUBBYTE)
		return json_fail(json, ret, at, "its elements of type %s do not fill whole bytes",
				 dtype);
	if (bytes != end - begin)
		return json_fail(json, WEIR_H_SIZE, at,
				 "data_offsets [%" PRIu64 ", %" PRIu64 "] span %" PRIu64
				 " bytes, but its shape in %s needs %" PRIu64,
				 begin, end, end - begin, dtype, bytes);
	return 0;
}

int safetensors_check(struct json *json, struct table *table, bool lenient, uint64_t *end)
{
	const uint32_t *order = table_order(table);

	*end = 0;
	for (size_t i = 0; i < table->tensor_count; i++) {
		const struct format_tensor *tensor = &table->tensors[order ? order[i] : i];
		int ret = check_one(json, table, tensor, lenient, *end);

		if (ret < 0)
			return ret;
		*end = tensor->size_bytes;
	}
	json->subject = (struct bytes){0};
	return 0;
}

int safetensors_cover(struct json *json, uint64_t end, uint64_t data_bytes, bool trailing)
{
	if (end > data_bytes)
		return json_fail(json, WEIR_H_COVER, json->end,
				 "the tensors end at byte %" PRIu64
				 " of the data, but the file holds only %" PRIu64,
				 end, data_bytes);
	if (end < data_bytes && !trailing)
		return json_fail(json, WEIR_H_COVER, json->end,
				 "%" PRIu64 " bytes of the data belong to no tensor",
				 data_bytes - end);
	return 0;
}
