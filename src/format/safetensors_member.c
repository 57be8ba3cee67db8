/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One member of the header by the grammar: any order of members, any white space, every fault named.
 *
 * A value of the wrong type is skipped before it is refused: where it is no JSON at all, that is the
 * fault to report.
 */
#include "base/text.h"
#include "format/safetensors_reader.h"

int reader_wrong_type(struct reader *p, int code, const char *what)
{
	const char *at = (json_peek(&p->json), p->json.at);
	int ret = json_skip(&p->json);

	return ret < 0 ? ret : json_fail(&p->json, code, at, "%s", what);
}

static bool starts_number(char c)
{
	return c == '-' || (c >= '0' && c <= '9');
}

/* A number of an array, as it is written, for a message. */
static int wrong_number(struct reader *p, int code, const char *at, const char *what)
{
	struct bytes text = {at, (size_t)(p->json.at - at)};
	struct quoted number;

	text.len = min_of(text.len, (size_t)40);
	return json_fail(&p->json, code, at, "%s holds %s%s", what, quote(&number, text),
			 text.len == 40 ? "..." : "");
}

static int take_dtype_name(struct reader *p, uint32_t *out)
{
	const char *at = p->json.at;
	struct quoted quoted;
	struct bytes name;
	int ret = json_string(&p->json, &name), dtype;

	if (ret < 0)
		return ret;
	dtype = dtype_find(name);
	if (dtype < 0)
		return json_fail(
			&p->json, WEIR_H_DTYPE, at, "unknown dtype '%s'",
			quote(&quoted, (struct bytes){name.at, min_of(name.len, (size_t)40)}));
	*out = (uint32_t)dtype;
	return 0;
}

/* {"F32":null}, which the reference's library for enumerations takes for "F32". */
static int take_dtype_object(struct reader *p, uint32_t *out)
{
	static const char what[] = "dtype is an object, and not of one name and null";
	struct json *json = &p->json;
	const char *start = json->at;
	bool first = true;
	int ret = json_open(json), more = 0;

	if (ret == 0)
		more = json_more(json, '}', &first);
	if (ret == 0 && more == 0)
		return json_fail(json, WEIR_H_DTYPE, start, what);
	ret = ret < 0 ? ret : more < 0 ? more : take_dtype_name(p, out);
	if (ret == 0 && json_peek(json) != ':')
		return json_fail(json, WEIR_H_JSON, json->at, "':' is missing");
	json->at += ret == 0;
	if (ret == 0 && json_peek(json) != 'n')
		return reader_wrong_type(p, WEIR_H_DTYPE, what);
	ret = ret < 0 ? ret : json_skip(json);
	more = ret < 0 ? ret : json_more(json, '}', &first);
	return more > 0 ? json_fail(json, WEIR_H_DTYPE, start, what) : more;
}

static int take_dtype(struct reader *p, struct format_tensor *tensor)
{
	char c = json_peek(&p->json);

	if (c == '"')
		return take_dtype_name(p, &tensor->dtype);
	if (c == '{' && p->lenient)
		return take_dtype_object(p, &tensor->dtype);
	return reader_wrong_type(p, WEIR_H_DTYPE, "dtype is not a string");
}

static int take_dim(struct reader *p, struct format_tensor *tensor)
{
	struct json_number number;
	const char *at;
	int ret;

	if (!starts_number(json_peek(&p->json)))
		return reader_wrong_type(p, WEIR_H_SHAPE,
					 "shape holds something that is not a number");
	at = p->json.at;
	ret = json_number(&p->json, &number);
	if (ret < 0)
		return ret;
	if (number.kind != JSON_UNSIGNED)
		return wrong_number(p, WEIR_H_SHAPE, at, "shape");
	if (tensor->rank == p->rank_max)
		return json_fail(&p->json, WEIR_LIMIT, at, "more than %zu dimensions", p->rank_max);
	table_push(&p->table, number.value);
	tensor->rank++;
	return 0;
}

static int take_shape(struct reader *p, struct format_tensor *tensor)
{
	bool first = true;
	int ret;

	tensor->dims_at = (uint32_t)p->table.word_count;
	if (json_peek(&p->json) != '[')
		return reader_wrong_type(p, WEIR_H_SHAPE, "shape is not an array");
	ret = json_open(&p->json);
	while (ret == 0) {
		ret = json_more(&p->json, ']', &first);
		if (ret <= 0)
			return ret;
		ret = take_dim(p, tensor);
	}
	return ret;
}

static int take_offset(struct reader *p, uint64_t *out)
{
	struct json_number number;
	const char *at;
	int ret;

	if (!starts_number(json_peek(&p->json)))
		return reader_wrong_type(p, WEIR_H_SCHEMA,
					 "data_offsets holds something that is not a number");
	at = p->json.at;
	ret = json_number(&p->json, &number);
	if (ret < 0)
		return ret;
	if (number.kind != JSON_UNSIGNED)
		return wrong_number(p, number.kind == JSON_INTEGER ? WEIR_H_OFFSET : WEIR_H_SCHEMA,
				    at, "data_offsets");
	*out = number.value;
	return 0;
}

static int take_offsets(struct reader *p, struct format_tensor *tensor)
{
	static const char what[] = "data_offsets does not hold two numbers";
	uint64_t *const to[] = {&tensor->offset_bytes, &tensor->size_bytes};
	const char *start = (json_peek(&p->json), p->json.at);
	bool first = true;
	int ret;

	if (json_peek(&p->json) != '[')
		return reader_wrong_type(p, WEIR_H_SCHEMA, "data_offsets is not an array");
	ret = json_open(&p->json);
	for (size_t n = 0; ret == 0; n++) {
		ret = json_more(&p->json, ']', &first);
		if (ret == 0)
			return n == 2 ? 0 : json_fail(&p->json, WEIR_H_SCHEMA, start, what);
		if (ret > 0)
			ret = n == 2 ? reader_wrong_type(p, WEIR_H_SCHEMA, what)
				     : take_offset(p, to[n]);
	}
	return ret;
}

/* The members of an entry, in the order of its array form. */
typedef int take_fn(struct reader *p, struct format_tensor *tensor);
static const struct {
	struct bytes name;
	take_fn *take;
} fields[] = {
	{{"dtype", 5}, take_dtype},
	{{"shape", 5}, take_shape},
	{{"data_offsets", 12}, take_offsets},
};
#define FIELDS_ALL ((1u << array_size(fields)) - 1)

static int unknown_member(struct reader *p, struct bytes key, const char *at)
{
	int ret = json_skip(&p->json);
	struct quoted quoted;

	if (ret < 0 || p->lenient)
		return ret;
	key.len = min_of(key.len, (size_t)40);
	return json_fail(&p->json, WEIR_H_SCHEMA, at, "unknown member '%s'", quote(&quoted, key));
}

static int take_field(struct reader *p, struct format_tensor *tensor, unsigned *seen)
{
	const char *at = (json_peek(&p->json), p->json.at);
	struct bytes key;
	int ret = json_key(&p->json, &key);

	if (ret < 0)
		return ret;
	for (unsigned i = 0; i < array_size(fields); i++) {
		if (!bytes_equal(key, fields[i].name))
			continue;
		if (*seen & 1u << i)
			return json_fail(&p->json, WEIR_H_DUP, at, "%s stands twice",
					 fields[i].name.at);
		*seen |= 1u << i;
		return fields[i].take(p, tensor);
	}
	return unknown_member(p, key, at);
}

static int take_entry_object(struct reader *p, struct format_tensor *tensor)
{
	const char *start = p->json.at;
	bool first = true;
	unsigned seen = 0;
	int ret = json_open(&p->json);

	while (ret == 0) {
		ret = json_more(&p->json, '}', &first);
		if (ret == 0)
			break;
		if (ret > 0)
			ret = take_field(p, tensor, &seen);
	}
	for (unsigned i = 0; ret == 0 && i < array_size(fields); i++)
		if (!(seen & 1u << i))
			return json_fail(&p->json, WEIR_H_SCHEMA, start, "%s is missing",
					 fields[i].name.at);
	return ret;
}

/* ["F32",[1],[0,4]] */
static int take_entry_array(struct reader *p, struct format_tensor *tensor)
{
	static const char what[] = "an entry as an array does not have three members";
	const char *start = p->json.at;
	bool first = true;
	int ret = json_open(&p->json);

	for (unsigned i = 0; ret == 0; i++) {
		ret = json_more(&p->json, ']', &first);
		if (ret == 0)
			return i == array_size(fields)
				       ? 0
				       : json_fail(&p->json, WEIR_H_SCHEMA, start, what);
		if (ret > 0)
			ret = i == array_size(fields) ? reader_wrong_type(p, WEIR_H_SCHEMA, what)
						      : fields[i].take(p, tensor);
	}
	return ret;
}

static int take_entry(struct reader *p, struct bytes name)
{
	struct format_tensor *tensor = &p->table.tensors[p->table.tensor_count];
	char c = json_peek(&p->json);
	int ret;

	p->json.subject = name;
	if (p->table.tensor_count == p->table.tensor_max)
		return json_fail(&p->json, WEIR_LIMIT, p->json.at, "more than %d tensors",
				 SAFETENSORS_TENSORS_MAX);
	if (name.len > p->name_max)
		return json_fail(&p->json, WEIR_LIMIT, name.at,
				 "a name of %zu bytes, more than the %zu allowed", name.len,
				 p->name_max);
	if (!p->lenient && name.len && memchr(name.at, 0, name.len))
		return json_fail(&p->json, WEIR_H_NAME, name.at, "a NUL character in the name");
	*tensor = (struct format_tensor){.name = reader_text(p, name)};
	if (c == '{')
		ret = take_entry_object(p, tensor);
	else if (c == '[' && p->lenient)
		ret = take_entry_array(p, tensor);
	else
		return reader_wrong_type(p, WEIR_H_SCHEMA, "its entry is not an object");
	if (ret == 0)
		reader_account(p, tensor);
	p->json.subject = (struct bytes){0};
	return ret;
}

/* ---- metadata ---- */

static int take_pair(struct reader *p)
{
	struct format_meta meta = {.type = META_TEXT};
	struct bytes key, value;
	int ret = json_key(&p->json, &key);

	if (ret < 0)
		return ret;
	if (json_peek(&p->json) != '"')
		return reader_wrong_type(p, WEIR_H_SCHEMA,
					 "a value in __metadata__ is not a string");
	ret = json_string(&p->json, &value);
	if (ret < 0)
		return ret;
	meta.key = reader_text(p, key);
	meta.value_at = (uint32_t)(value.at - p->in->text);
	meta.value_len = (uint32_t)value.len;
	table_push_meta(&p->table, &meta);
	return 0;
}

static int take_metadata(struct reader *p, const char *at)
{
	bool first = true;
	char c = json_peek(&p->json);
	int ret;

	if (p->metadata_seen)
		return json_fail(&p->json, WEIR_H_DUP, at, "__metadata__ stands twice");
	p->metadata_seen = true;
	if (c == 'n' && p->lenient)
		return json_skip(&p->json);
	if (c != '{')
		return reader_wrong_type(p, WEIR_H_SCHEMA, "__metadata__ is not an object");
	p->metadata_there = true;
	ret = json_open(&p->json);
	while (ret == 0) {
		ret = json_more(&p->json, '}', &first);
		if (ret <= 0)
			return ret;
		ret = take_pair(p);
	}
	return ret;
}

int reader_member(struct reader *p)
{
	const char *at = (json_peek(&p->json), p->json.at);
	struct bytes name;
	int ret = json_key(&p->json, &name);

	if (ret < 0)
		return ret;
	return bytes_equal(name, BYTES("__metadata__")) ? take_metadata(p, at)
							: take_entry(p, name);
}
