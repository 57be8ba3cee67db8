/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the text of a header to its index; safetensors_reader.h tells how.
 */
#include "format/safetensors.h"

#include <inttypes.h>

#include "base/size.h"
#include "base/text.h"
#include "format/safetensors_reader.h"
#include "format/scan.h"

/* Shortest members: `"":{"dtype":"U8","shape":[],"data_offsets":[0,0]},` and `"":["U8",[],[0,0]],` */
#define MEMBER_MIN_BYTES         50
#define MEMBER_MIN_BYTES_LENIENT 19

int safetensors_need(const char *label, const void *first, size_t have_bytes, uint64_t file_bytes,
		     uint64_t *need_bytes, struct weir_error *err)
{
	uint64_t len;

	if (file_bytes < SAFETENSORS_PREFIX_BYTES)
		return error_at(err, WEIR_H_SHORT, label, 0, SAFETENSORS_PREFIX_BYTES,
				"%s: %" PRIu64 " bytes are too few for the size prefix of a header",
				label, file_bytes);
	*need_bytes = SAFETENSORS_PREFIX_BYTES;
	if (have_bytes < SAFETENSORS_PREFIX_BYTES)
		return 0;
	len = load_le64(first);
	if (len > SAFETENSORS_HEADER_MAX_BYTES)
		return error_at(err, WEIR_H_LIMIT, label, 0, SAFETENSORS_PREFIX_BYTES,
				"%s: header of %" PRIu64
				" bytes, more than the %d allowed; is this a "
				"safetensors file?",
				label, len, SAFETENSORS_HEADER_MAX_BYTES);
	if (len > file_bytes - SAFETENSORS_PREFIX_BYTES)
		return error_at(err, WEIR_H_LEN, label, SAFETENSORS_PREFIX_BYTES, len,
				"%s: header of %" PRIu64 " bytes in a file of %" PRIu64, label, len,
				file_bytes);
	*need_bytes = SAFETENSORS_PREFIX_BYTES + len;
	return 0;
}

static int take_header(struct reader *p)
{
	bool first = true;
	int ret;

	if (json_peek(&p->json) != '{')
		return reader_wrong_type(p, WEIR_H_SCHEMA, "the header is not a JSON object");
	ret = json_open(&p->json);
	while (ret == 0) {
		reader_plain(p, &first);
		ret = json_more(&p->json, '}', &first);
		if (ret == 0)
			return json_end(&p->json);
		if (ret > 0)
			ret = reader_member(p);
	}
	return ret;
}

static int repeated(struct reader *p, const struct format_text *text, const char *what)
{
	struct quoted name;
	struct bytes bytes = {p->in->text + text->at, min_of(text->len, 100u)};

	return json_fail(&p->json, WEIR_H_DUP, bytes.at, "%s '%s' stands twice", what,
			 quote(&name, bytes));
}

/* Names and keys: a table of each; of those that stand twice, what the mode says. */
static int link_names(struct reader *p)
{
	const char *text = p->in->text;
	ptrdiff_t again;

	table_close(&p->table);
	again = table_link_metas(&p->table, text);
	if (again >= 0 && !p->lenient)
		return repeated(p, &table_metas(&p->table)[again].key, "metadata key");
	if (again >= 0)
		table_keep_last_metas(&p->table, text);
	again = table_link(&p->table, text);
	if (again >= 0 && !p->lenient)
		return repeated(p, &p->table.tensors[again].name, "tensor");
	if (again >= 0) {
		table_keep_last(&p->table, text);
		p->odd = true; /* what is left was not accounted for in this order */
		(void)table_link(&p->table, text);
	}
	return 0;
}

static int finish(struct reader *p, struct format_index **out)
{
	struct format_index *index;
	int ret = link_names(p);

	if (ret == 0 && p->odd)
		ret = safetensors_check(&p->json, &p->table, p->lenient, &p->cursor);
	if (ret == 0)
		ret = safetensors_cover(&p->json, p->cursor, p->in->file_bytes - p->data_start,
					p->in->flags & FORMAT_TRAILING);
	if (ret < 0)
		return ret;
	for (size_t i = 0; i < p->table.tensor_count; i++) {
		p->table.tensors[i].size_bytes -= p->table.tensors[i].offset_bytes;
		p->table.tensors[i].offset_bytes += p->data_start;
	}
	index = table_finish(&p->table);
	index->kind = FORMAT_SAFETENSORS;
	index->data_start = p->data_start;
	index->file_bytes = p->in->file_bytes;
	index->has_metadata = p->metadata_there;
	index->seed = p->in->seed;
	index->text = p->in->text;
	index->text_bytes = p->in->text_bytes;
	*out = index;
	return 0;
}

/* More tensors, pairs and dimensions than these cannot stand in a text with so many commas. */
static struct table_bounds bounds_of(const struct reader *p, const struct scan_counts *counts)
{
	uint64_t len = (uint64_t)(p->json.end - p->json.at);
	uint64_t members = p->lenient ? counts->commas + 1 : counts->braces;
	struct table_bounds bounds;

	bounds.tensors = min_of(
		members, len / (p->lenient ? MEMBER_MIN_BYTES_LENIENT : MEMBER_MIN_BYTES) + 1);
	bounds.tensors = min_of(bounds.tensors, (uint64_t)SAFETENSORS_TENSORS_MAX);
	bounds.metas = counts->quotes / 4;
	bounds.dims = counts->commas + bounds.tensors;
	return bounds;
}

static int parse(struct reader *p, struct format_index **out)
{
	struct json *json = &p->json;
	struct table_bounds bounds;
	struct scan_counts counts;
	size_t len = (size_t)(json->end - json->at);
	size_t valid = scan_text(json->at, len, &counts);
	int ret;

	if (valid < len)
		return json_fail(json, WEIR_H_UTF8, json->at + valid, "the header is not UTF-8");
	bounds = bounds_of(p, &counts);
	if (table_init(&p->table, &bounds) < 0)
		return error_nomem(json->err, json->label, "the tensor table");
	ret = take_header(p);
	if (ret == 0)
		ret = finish(p, out);
	table_fini(&p->table);
	return ret;
}

int safetensors_parse(const struct format_input *in, struct format_index **out,
		      struct weir_error *err)
{
	bool lenient = in->flags & FORMAT_LENIENT;
	struct reader p = {
		.in = in,
		.lenient = lenient,
		.name_max = lenient ? SAFETENSORS_HEADER_MAX_BYTES : SAFETENSORS_NAME_MAX_BYTES,
		.dtype_key = 1, /* with a mask of 0: matches nothing */
		.rank_max = lenient ? SAFETENSORS_RANK_MAX_LENIENT : SAFETENSORS_RANK_MAX,
	};
	uint64_t need;
	int ret = safetensors_need(in->label, in->text, in->text_bytes, in->file_bytes, &need, err);

	if (ret < 0)
		return ret;
	if (need > in->text_bytes)
		return error_set(err, WEIR_ARG, in->label,
				 "%s: parsing needs %" PRIu64 " bytes, and has %zu", in->label,
				 need, in->text_bytes);
	p.data_start = need;
	p.json = (struct json){
		.label = in->label,
		.text = in->text,
		.at = in->text + SAFETENSORS_PREFIX_BYTES,
		.end = in->text + need,
		.depth_max = lenient ? JSON_DEPTH_LENIENT : JSON_DEPTH_STRICT,
		.err = err,
	};
	return parse(&p, out);
}
