/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries as writers write them: `"name":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`.
 *
 * A member is read ahead of without looking for the end of the text, which is at least PLAIN_MARGIN
 * bytes behind `last`; what could go on for ever, the name, looks at `last`.  Where spare bytes follow
 * the text `last` is its end: they are zeroes, which no part of an entry is.
 */
#include "format/safetensors_reader.h"
#include "format/scan.h"

/* From one look at `last` to the next: 12 + 8 + 10 + 32 + 17 + 32 bytes, and two for the end. */
#define PLAIN_MARGIN 128
_Static_assert(PLAIN_MARGIN <= FORMAT_SPARE_BYTES, "what is read ahead is there");

#define PLAIN(at, literal) (memcmp((at), (literal), sizeof(literal) - 1) == 0)

/* 1 to 16 digits, all of which are there; without a leading zero, as the caller has seen. */
static inline uint64_t number_at(const char *at, unsigned len)
{
	if (len <= 8)
		return digit_value(load_le64(at), len);
	return digit_value(load_le64(at), len - 8) * 100000000 +
	       digit_value(load_le64(at + len - 8), 8);
}

static inline bool plain_digits(const char *at, unsigned len, unsigned len_max)
{
	return len - 1 < len_max && (*at != '0' || len == 1);
}

/*
 * At the first character behind the quote: the type, for names of at most seven characters.  What
 * was there the last time is there again, mostly, and then the processor need not wait for the length.
 */
static inline const char *plain_dtype(struct reader *p, const char *at, uint32_t *out)
{
	uint64_t chunk = load_le64(at), quote, key;
	unsigned len;
	size_t slot;

	if (likely((chunk & p->dtype_mask) == p->dtype_key)) {
		*out = p->dtype;
		return at + p->dtype_len + 1;
	}
	quote = zero_bytes(chunk ^ EACH_BYTE('"'));
	len = quote ? (unsigned)__builtin_ctzll(quote) / 8 : 0;
	if (unlikely(len == 0))
		return NULL;
	p->dtype_mask = UINT64_MAX >> (56 - 8 * len);
	key = chunk & p->dtype_mask;
	slot = (size_t)(key * UINT64_C(0x9E3779B97F4A7C15) >> (64 - DTYPE_CACHE_BITS));
	if (unlikely(p->dtypes[slot].key != key)) {
		int dtype = dtype_find((struct bytes){at, len});

		if (dtype < 0)
			return NULL;
		p->dtypes[slot].key = key;
		p->dtypes[slot].dtype = (uint32_t)dtype;
	}
	p->dtype_key = key;
	p->dtype_len = len;
	*out = p->dtype = p->dtypes[slot].dtype;
	return at + len + 1;
}

/* Behind `"shape":[`, to behind the closing bracket: dimensions that fill less than 32 characters. */
static inline const char *plain_shape(struct reader *p, const char *at, uint32_t *rank)
{
	uint64_t *dims = p->table.words + p->table.word_count;
	uint32_t bits = other_bits(at), n = 0;

	if (*at == ']') {
		*rank = 0;
		return at + 1;
	}
	for (unsigned from = 0; bits; n++) {
		unsigned to = (unsigned)__builtin_ctz(bits);

		if (unlikely(!plain_digits(at + from, to - from, 8)))
			return NULL;
		dims[n] = digit_value(load_le64(at + from), to - from);
		if (at[to] == ']') {
			*rank = n + 1;
			return at + to + 1;
		}
		if (unlikely(at[to] != ','))
			return NULL;
		from = to + 1;
		bits &= bits - 1;
	}
	return NULL;
}

/* Behind `"data_offsets":[`, to behind the entry. */
static inline const char *plain_offsets(const char *at, struct format_tensor *tensor)
{
	uint32_t bits = other_bits(at);
	unsigned comma, close;

	if (unlikely((bits & (bits - 1)) == 0))
		return NULL;
	comma = (unsigned)__builtin_ctz(bits);
	close = (unsigned)__builtin_ctz(bits & (bits - 1));
	if (unlikely(at[comma] != ',' || !PLAIN(at + close, "]}") || !plain_digits(at, comma, 16) ||
		     !plain_digits(at + comma + 1, close - comma - 1, 16)))
		return NULL;
	tensor->offset_bytes = number_at(at, comma);
	tensor->size_bytes = number_at(at + comma + 1, close - comma - 1);
	return at + close + 2;
}

/* `{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}`: what follows it, or NULL. */
static inline const char *plain_entry(struct reader *p, const char *at,
				      struct format_tensor *tensor)
{
	if (unlikely(!PLAIN(at, "{\"dtype\":\"")))
		return NULL;
	at = plain_dtype(p, at + 10, &tensor->dtype);
	if (unlikely(!at || !PLAIN(at, ",\"shape\":[")))
		return NULL;
	at = plain_shape(p, at + 10, &tensor->rank);
	if (unlikely(!at || !PLAIN(at, ",\"data_offsets\":[")))
		return NULL;
	return plain_offsets(at + 17, tensor);
}

/* One member from its quote on; what follows it, or NULL with nothing changed. */
static inline const char *plain_member(struct reader *p, const char *at, const char *last)
{
	struct format_tensor *tensor = &p->table.tensors[p->table.tensor_count];
	struct bytes name;
	const char *end;

	if (unlikely(at >= last || *at != '"' || p->table.tensor_count == p->table.tensor_max))
		return NULL;
	end = scan_string(at + 1, last);
	name = (struct bytes){at + 1, (size_t)(end - at - 1)};
	if (unlikely(end == last || !PLAIN(end, "\":") || name.len > SAFETENSORS_NAME_MAX_BYTES ||
		     bytes_equal(name, BYTES("__metadata__"))))
		return NULL;
	at = plain_entry(p, end + 2, tensor);
	if (unlikely(!at))
		return NULL;
	tensor->name = reader_text(p, name);
	tensor->dims_at = (uint32_t)p->table.word_count;
	p->table.word_count += tensor->rank;
	reader_account(p, tensor);
	return at;
}

/* Bytes of the text at its end that are not read this way. */
static size_t margin_of(const struct reader *p)
{
	bool at_end = p->json.end == p->in->text + p->in->text_bytes;

	return at_end && p->in->spare_bytes >= PLAIN_MARGIN ? 0 : PLAIN_MARGIN;
}

void reader_plain(struct reader *p, bool *first)
{
	const char *at = p->json.at;
	size_t margin = margin_of(p);
	const char *last = p->json.end - margin;
	bool comma = !*first;

	if ((size_t)(p->json.end - at) <= margin)
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
