/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries as writers write them: `"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`.
 *
 * Every step reads ahead without looking for the end of the text, which is at least PLAIN_MARGIN
 * bytes behind `last`; what could go on for ever (a name, the dimensions) looks at `last`.
 */
#include "format/safetensors_reader.h"
#include "format/scan.h"

/* More than the longest way from one look at `last` to the next. */
#define PLAIN_MARGIN 64

#define PLAIN(at, literal) (memcmp((at), (literal), sizeof(literal) - 1) == 0)

/* Up to fifteen digits without a leading zero; NULL for anything else. */
static inline const char *plain_number(const char *at, uint64_t *out)
{
	static const uint32_t powers[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000};
	uint64_t chunk = load_le64(at), value;
	unsigned run = digit_run(chunk), more;

	if (unlikely(run == 0 || (*at == '0' && run > 1)))
		return NULL;
	value = digit_value(chunk, run);
	if (run == 8) {
		chunk = load_le64(at + 8);
		more = digit_run(chunk);
		if (unlikely(more == 8))
			return NULL;
		if (more)
			value = value * powers[more] + digit_value(chunk, more);
		run += more;
	}
	*out = value;
	return at + run;
}

/* At the first character behind the quote: the type, for names of at most seven characters. */
static inline const char *plain_dtype(struct reader *p, const char *at, uint32_t *out)
{
	uint64_t chunk = load_le64(at), quote = zero_bytes(chunk ^ EACH_BYTE('"')), key;
	unsigned len = quote ? (unsigned)__builtin_ctzll(quote) / 8 : 0;
	size_t slot;

	if (unlikely(len == 0))
		return NULL;
	key = chunk & ((UINT64_C(1) << 8 * len) - 1);
	slot = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - DTYPE_CACHE_BITS));
	if (unlikely(p->dtypes[slot].key != key)) {
		int dtype = dtype_find((struct bytes){at, len});

		if (dtype < 0)
			return NULL;
		p->dtypes[slot].key = key;
		p->dtypes[slot].dtype = (uint32_t)dtype;
	}
	*out = p->dtypes[slot].dtype;
	return at + len + 1;
}

/* Behind `"shape":[`, to behind the closing bracket. */
static inline const char *plain_shape(struct reader *p, const char *at, const char *last,
				      uint32_t *rank)
{
	uint64_t *dims = p->table.words + p->table.word_count;
	uint32_t n = 0;

	if (*at == ']') {
		*rank = 0;
		return at + 1;
	}
	for (;;) {
		at = plain_number(at, &dims[n]);
		if (unlikely(!at || at > last))
			return NULL;
		n++;
		if (*at++ != ',')
			break;
		if (unlikely(n == SAFETENSORS_RANK_MAX))
			return NULL;
	}
	*rank = n;
	return at[-1] == ']' ? at : NULL;
}

/* `{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`: what follows it, or NULL. */
static inline const char *plain_entry(struct reader *p, const char *at, const char *last,
				      struct format_tensor *tensor)
{
	if (unlikely(!PLAIN(at, "{\"dtype\":\"")))
		return NULL;
	at = plain_dtype(p, at + 10, &tensor->dtype);
	if (unlikely(!at || !PLAIN(at, ",\"shape\":[")))
		return NULL;
	at = plain_shape(p, at + 10, last, &tensor->rank);
	if (unlikely(!at || at > last || !PLAIN(at, ",\"data_offsets\":[")))
		return NULL;
	at = plain_number(at + 17, &tensor->offset_bytes);
	if (unlikely(!at || *at != ','))
		return NULL;
	at = plain_number(at + 1, &tensor->size_bytes);
	return likely(at && PLAIN(at, "]}")) ? at + 2 : NULL;
}

/* One member from its quote on; what follows it, or NULL with nothing changed. */
static inline const char *plain_member(struct reader *p, const char *at, const char *last)
{
	struct format_tensor tensor;
	struct bytes name;
	const char *end;

	if (unlikely(at >= last || *at != '"' || p->table.tensor_count == p->table.tensor_max))
		return NULL;
	end = scan_string(at + 1, last);
	name = (struct bytes){at + 1, (size_t)(end - at - 1)};
	if (unlikely(end == last || !PLAIN(end, "\":") || name.len > SAFETENSORS_NAME_MAX_BYTES ||
		     bytes_equal(name, BYTES("__metadata__"))))
		return NULL;
	at = plain_entry(p, end + 2, last, &tensor);
	if (unlikely(!at))
		return NULL;
	tensor.name = reader_text(p, name);
	tensor.dims_at = (uint32_t)p->table.word_count;
	p->table.word_count += tensor.rank;
	reader_account(p, &tensor);
	return at;
}

void reader_plain(struct reader *p, bool *first)
{
	const char *at = p->json.at;
	const char *last = p->json.end - PLAIN_MARGIN;
	bool comma = !*first;

	if (p->json.end - at <= PLAIN_MARGIN)
		return;
	while (at < last && (!comma || *at == ',')) {
		const char *next = plain_member(p, at + comma, last);

		if (!next)
			break;
		at = next;
		comma = true;
	}
	*first = !comma;
	p->json.at += at - p->json.at;
}
