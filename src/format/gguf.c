/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The walk through a GGUF header: item by item, each judged before the next is looked at.
 *
 * walk->p never passes min(have, file_bytes, GGUF_HEADER_MAX), and want() is the only function that
 * lets it move: it says whether so many bytes may be read there, are still to come, or cannot be.
 *
 * A string that is longer than the whole file has a bad length (G_STRING); one that only does not fit
 * what is left means that the file was cut (G_SHORT).
 */
#include "format/gguf.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/error.h"
#include "base/size.h"
#include "base/text.h"

/* The least that a pair and a tensor take. */
#define PAIR_BYTES_MIN 13
#define INFO_BYTES_MIN 24

/* Types that tensors may have, by the number that files use; what stands nowhere was removed. */
static const uint8_t dtypes[] = {
	[0] = DTYPE_F32 + 1,     [1] = DTYPE_F16 + 1,      [2] = DTYPE_Q4_0 + 1,
	[3] = DTYPE_Q4_1 + 1,    [6] = DTYPE_Q5_0 + 1,     [7] = DTYPE_Q5_1 + 1,
	[8] = DTYPE_Q8_0 + 1,    [9] = DTYPE_Q8_1 + 1,     [10] = DTYPE_Q2_K + 1,
	[11] = DTYPE_Q3_K + 1,   [12] = DTYPE_Q4_K + 1,    [13] = DTYPE_Q5_K + 1,
	[14] = DTYPE_Q6_K + 1,   [15] = DTYPE_Q8_K + 1,    [16] = DTYPE_IQ2_XXS + 1,
	[17] = DTYPE_IQ2_XS + 1, [18] = DTYPE_IQ3_XXS + 1, [19] = DTYPE_IQ1_S + 1,
	[20] = DTYPE_IQ4_NL + 1, [21] = DTYPE_IQ3_S + 1,   [22] = DTYPE_IQ2_S + 1,
	[23] = DTYPE_IQ4_XS + 1, [24] = DTYPE_I8 + 1,      [25] = DTYPE_I16 + 1,
	[26] = DTYPE_I32 + 1,    [27] = DTYPE_I64 + 1,     [28] = DTYPE_F64 + 1,
	[29] = DTYPE_IQ1_M + 1,  [30] = DTYPE_BF16 + 1,    [34] = DTYPE_TQ1_0 + 1,
	[35] = DTYPE_TQ2_0 + 1,  [39] = DTYPE_MXFP4 + 1,   [40] = DTYPE_NVFP4 + 1,
	[41] = DTYPE_Q1_0 + 1,   [42] = DTYPE_Q2_0 + 1,
};

int(gguf_fail)(const struct gguf_walk *walk, int code, uint64_t at, const char *format, ...)
{
	char what[448];
	va_list args;

	va_start(args, format);
	text_vprint(what, sizeof(what), format, args);
	va_end(args);
	return error_at(walk->err, code, walk->label, at, 0, "%s: %s", walk->label, what);
}

/* May `bytes` be read at walk->p?  0, GGUF_MORE, or an error. */
static int want(struct gguf_walk *walk, uint64_t bytes, const char *what)
{
	if (unlikely(bytes > walk->file_bytes - walk->p))
		return gguf_fail(walk, WEIR_G_SHORT, walk->p,
				 "the file ends at %" PRIu64 ", within %s at %" PRIu64 " (%" PRIu64
				 " bytes)",
				 walk->file_bytes, what, walk->p, bytes);
	if (unlikely(walk->p > GGUF_HEADER_MAX || bytes > GGUF_HEADER_MAX - walk->p))
		return gguf_fail(walk, WEIR_LIMIT, walk->p,
				 "the header is longer than %" PRIu64 " bytes", GGUF_HEADER_MAX);
	if (unlikely(bytes > walk->have - walk->p)) {
		walk->need_bytes = walk->p + bytes;
		return GGUF_MORE;
	}
	return 0;
}

static int take_u32(struct gguf_walk *walk, uint32_t *out, const char *what)
{
	int ret = want(walk, sizeof(*out), what);

	if (ret)
		return ret;
	*out = load_le32(walk->text + walk->p);
	walk->p += sizeof(*out);
	return 0;
}

static int take_u64(struct gguf_walk *walk, uint64_t *out, const char *what)
{
	int ret = want(walk, sizeof(*out), what);

	if (ret)
		return ret;
	*out = load_le64(walk->text + walk->p);
	walk->p += sizeof(*out);
	return 0;
}

static int take_bytes(struct gguf_walk *walk, uint64_t len, struct bytes *out, const char *what)
{
	int ret = want(walk, len, what);

	if (ret)
		return ret;
	*out = (struct bytes){walk->text + walk->p, (size_t)len};
	walk->p += len;
	return 0;
}

/* A length and so many bytes; `above` is the class of a length beyond max that the file could hold. */
static int take_string(struct gguf_walk *walk, uint64_t max, int above, struct bytes *out,
		       const char *what)
{
	uint64_t len;
	int ret = take_u64(walk, &len, what);

	if (ret)
		return ret;
	if (len > walk->file_bytes)
		return gguf_fail(walk, WEIR_G_STRING, walk->p - 8,
				 "%s is said to be %" PRIu64 " bytes long, in a file of %" PRIu64,
				 what, len, walk->file_bytes);
	if (len > max)
		return gguf_fail(walk, above, walk->p - 8,
				 "%s is %" PRIu64 " bytes long, of at most %" PRIu64, what, len,
				 max);
	return take_bytes(walk, len, out, what);
}

/* What names and keys have to be; `at` is where their length stands. */
static int judge_name(const struct gguf_walk *walk, struct bytes name, uint64_t at,
		      const char *what)
{
	struct quoted quoted;

	if (memchr(name.at, 0, name.len))
		return gguf_fail(walk, WEIR_G_STRING, at, "%s '%s' holds a NUL", what,
				 quote(&quoted, name));
	if (utf8_valid_prefix(name.at, name.len) != name.len)
		return gguf_fail(walk, WEIR_G_STRING, at, "%s '%s' is not UTF-8", what,
				 quote(&quoted, name));
	return 0;
}

/* ---- Pairs ---- */

static int judge_align(struct gguf_walk *walk, const struct gguf_value *value, uint64_t at)
{
	uint32_t align;

	if (value->type != GGUF_U32)
		return gguf_fail(walk, WEIR_G_ALIGN, at,
				 "general.alignment is of type %s, not uint32",
				 gguf_meta_type_name(value->type + 1));
	align = load_le32(value->raw.at);
	if (align == 0 || (align & (align - 1)) != 0 || align > GGUF_ALIGN_MAX)
		return gguf_fail(walk, WEIR_G_ALIGN, at,
				 "general.alignment is %" PRIu32
				 ", not a power of two up to %" PRIu64,
				 align, GGUF_ALIGN_MAX);
	walk->align = align;
	return 0;
}

static int judge_bools(const struct gguf_walk *walk, struct bytes raw, uint64_t at, const char *key)
{
	for (size_t i = 0; i < raw.len; i++)
		if (raw.at[i] != 0 && raw.at[i] != 1)
			return gguf_fail(walk, WEIR_G_TYPE, at + i,
					 "key '%s': %u is not a truth value", key,
					 (unsigned)(unsigned char)raw.at[i]);
	return 0;
}

/* Steps over strings; comes back to where it was when there are more bytes. */
static int walk_strings(struct gguf_walk *walk, uint64_t count, const char *what)
{
	struct bytes ignored;
	uint64_t left = count, before;
	int ret;

	if (walk->array_at) {
		walk->p = walk->array_at;
		left = walk->array_left;
	}
	for (; left > 0; left--) {
		before = walk->p;
		ret = take_string(walk, GGUF_TEXT_MAX, WEIR_LIMIT, &ignored, what);
		if (ret == GGUF_MORE) {
			walk->array_at = before;
			walk->array_left = left;
		}
		if (ret)
			return ret;
	}
	walk->array_at = 0;
	return 0;
}

static int walk_array(struct gguf_walk *walk, struct gguf_value *value, const char *key)
{
	uint64_t bytes, at, start;
	int ret = take_u32(walk, &value->element, "an array's type");

	if (ret || (ret = take_u64(walk, &value->count, "an array's count")))
		return ret;
	start = walk->p;
	if (value->element >= GGUF_TYPES || value->element == GGUF_ARRAY)
		return gguf_fail(walk, WEIR_G_TYPE, start - 12,
				 "key '%s': an array of elements of type %" PRIu32, key,
				 value->element);
	if (!size_mul(value->count,
		      value->element == GGUF_STRING ? 8 : gguf_type_bytes(value->element), &bytes))
		return gguf_fail(walk, WEIR_G_OVERFLOW, start - 8,
				 "key '%s': the size of %" PRIu64 " elements overflows", key,
				 value->count);
	if (bytes > walk->file_bytes - start)
		return gguf_fail(walk, WEIR_G_SHORT, start - 8,
				 "key '%s': an array of %" PRIu64 " elements, with %" PRIu64
				 " bytes left",
				 key, value->count, walk->file_bytes - start);
	if (value->element != GGUF_STRING)
		return take_bytes(walk, bytes, &value->raw, "an array");
	ret = walk_strings(walk, value->count, "a string of an array");
	at = walk->p;
	if (ret == 0)
		value->raw = (struct bytes){walk->text + start, (size_t)(at - start)};
	return ret;
}

static int walk_value(struct gguf_walk *walk, struct gguf_value *value, struct bytes key)
{
	struct quoted quoted;
	const char *name = quote(&quoted, key);
	uint32_t truth;
	int ret;

	switch (value->type) {
	case GGUF_STRING:
		ret = take_string(walk, GGUF_TEXT_MAX, WEIR_LIMIT, &value->raw, "a string value");
		break;
	case GGUF_ARRAY:
		ret = walk_array(walk, value, name);
		break;
	default:
		ret = take_bytes(walk, gguf_type_bytes(value->type), &value->raw, "a value");
	}
	truth = value->type == GGUF_ARRAY ? value->element : value->type;
	if (ret == 0 && truth == GGUF_BOOL)
		ret = judge_bools(walk, value->raw, walk->p - value->raw.len, name);
	return ret;
}

int gguf_walk_pair(struct gguf_walk *walk, struct bytes *key, struct gguf_value *value)
{
	uint64_t start = walk->p;
	struct quoted quoted;
	int ret = take_string(walk, GGUF_KEY_MAX, WEIR_LIMIT, key, "a key");

	*value = (struct gguf_value){0};
	if (ret || (ret = take_u32(walk, &value->type, "a value's type")))
		return ret;
	if (key->len == 0)
		return gguf_fail(walk, WEIR_G_STRING, start, "an empty key");
	if ((ret = judge_name(walk, *key, start, "key")))
		return ret;
	if (value->type >= GGUF_TYPES)
		return gguf_fail(walk, WEIR_G_TYPE, walk->p - 4,
				 "key '%s': a value of type %" PRIu32, quote(&quoted, *key),
				 value->type);
	if ((ret = walk_value(walk, value, *key)))
		return ret;
	return bytes_equal(*key, BYTES("general.alignment")) ? judge_align(walk, value, start) : 0;
}

/* ---- Tensors ---- */

/*
 * Elements, as if no dimension were zero: so a zero hides no overflow, wherever it stands.  Below 2^63,
 * as file offsets are.
 */
static bool count_elements(const struct gguf_info *info, uint64_t *out, bool *empty)
{
	uint64_t product = 1;

	*empty = false;
	for (uint32_t i = 0; i < info->rank; i++) {
		*empty |= info->dims[i] == 0;
		if (!size_mul(product, max_of(info->dims[i], UINT64_C(1)), &product) ||
		    product > INT64_MAX)
			return false;
	}
	*out = product;
	return true;
}

static int judge_size(const struct gguf_walk *walk, struct gguf_info *info, uint64_t at)
{
	const struct dtype_info *type = dtype_info(info->dtype);
	uint64_t row = info->rank ? info->dims[0] : 1, elements, bytes;
	struct quoted quoted;
	bool empty;

	if (row % type->block_elements)
		return gguf_fail(walk, WEIR_G_BLOCK, at,
				 "tensor '%s': rows of %" PRIu64
				 " elements, but %s has blocks of %u",
				 quote(&quoted, info->name), row, type->name, type->block_elements);
	if (!count_elements(info, &elements, &empty) ||
	    !size_mul(elements / type->block_elements, type->block_bytes, &bytes) ||
	    bytes > INT64_MAX - GGUF_ALIGN_MAX)
		return gguf_fail(walk, WEIR_G_OVERFLOW, at, "tensor '%s': its size overflows",
				 quote(&quoted, info->name));
	info->size_bytes = empty ? 0 : bytes;
	return 0;
}

static int walk_dims(struct gguf_walk *walk, struct gguf_info *info)
{
	struct quoted quoted;
	int ret = take_u32(walk, &info->rank, "a tensor's rank");

	if (ret)
		return ret;
	if (info->rank > GGUF_RANK_MAX)
		return gguf_fail(walk, WEIR_G_DIMS, walk->p - 4,
				 "tensor '%s': %" PRIu32 " dimensions, of at most %d",
				 quote(&quoted, info->name), info->rank, GGUF_RANK_MAX);
	for (uint32_t i = 0; i < info->rank; i++) {
		if ((ret = take_u64(walk, &info->dims[i], "a dimension")))
			return ret;
		if (info->dims[i] > INT64_MAX)
			return gguf_fail(walk, WEIR_G_DIMS, walk->p - 8,
					 "tensor '%s': dimension %" PRIu32 " is %" PRIu64,
					 quote(&quoted, info->name), i, info->dims[i]);
	}
	return 0;
}

int gguf_walk_info(struct gguf_walk *walk, struct gguf_info *info)
{
	uint64_t start = walk->p;
	struct quoted quoted;
	uint32_t type;
	int ret = take_string(walk, GGUF_NAME_MAX, WEIR_G_STRING, &info->name, "a tensor's name");

	if (ret || (ret = judge_name(walk, info->name, start, "tensor")) ||
	    (ret = walk_dims(walk, info)) || (ret = take_u32(walk, &type, "a tensor's type")) ||
	    (ret = take_u64(walk, &info->offset_bytes, "a tensor's offset")))
		return ret;
	if (type >= array_size(dtypes) || dtypes[type] == 0)
		return gguf_fail(walk, WEIR_G_TYPE, walk->p - 12,
				 "tensor '%s': elements of type %" PRIu32,
				 quote(&quoted, info->name), type);
	info->dtype = dtypes[type] - 1u;
	return judge_size(walk, info, start);
}

/* ---- The whole ---- */

static int judge_version(const struct gguf_walk *walk, uint32_t version)
{
	if (version == 2 || version == 3)
		return 0;
	if (version != 0 && (version & 0xFFFF) == 0)
		return gguf_fail(walk, WEIR_G_VERSION, 4,
				 "version %" PRIu32 " means version %" PRIu32
				 " in big-endian byte order, which weir does not read",
				 version, __builtin_bswap32(version));
	return gguf_fail(walk, WEIR_G_VERSION, 4, "version %" PRIu32 ", not 2 or 3", version);
}

static int judge_count(const struct gguf_walk *walk, uint64_t at, uint64_t count, const char *what,
		       uint64_t least, uint64_t max)
{
	uint64_t left = walk->file_bytes - GGUF_PREFIX;

	if (count > left / least)
		return gguf_fail(walk, WEIR_G_COUNT, at,
				 "%" PRIu64 " %s, with %" PRIu64 " bytes left", count, what, left);
	if (count > max)
		return gguf_fail(walk, WEIR_LIMIT, at, "%" PRIu64 " %s, of at most %" PRIu64, count,
				 what, max);
	return 0;
}

static int walk_start(struct gguf_walk *walk)
{
	uint32_t magic, version;
	int ret = take_u32(walk, &magic, "the magic");

	if (ret)
		return ret;
	if (magic != load_le32("GGUF"))
		return gguf_fail(walk, WEIR_G_MAGIC, 0, "not a GGUF file");
	if ((ret = take_u32(walk, &version, "the version")) ||
	    (ret = judge_version(walk, version)) ||
	    (ret = take_u64(walk, &walk->tensor_count, "the tensor count")) ||
	    (ret = take_u64(walk, &walk->pair_count, "the key count")) ||
	    (ret = judge_count(walk, 8, walk->tensor_count, "tensors", INFO_BYTES_MIN,
			       GGUF_TENSORS_MAX)))
		return ret;
	return judge_count(walk, 16, walk->pair_count, "keys", PAIR_BYTES_MIN, GGUF_PAIRS_MAX);
}

static int next_pair(struct gguf_walk *walk)
{
	struct gguf_sink sink = {0};
	struct gguf_value value;
	struct bytes key;
	int ret = gguf_walk_pair(walk, &key, &value);

	if (ret)
		return ret;
	gguf_value_text(&sink, &value);
	walk->text_bytes += key.len + 1 + sink.len + 1;
	walk->pairs_seen++;
	return 0;
}

static int next_info(struct gguf_walk *walk)
{
	struct gguf_info info;
	int ret = gguf_walk_info(walk, &info);

	if (ret)
		return ret;
	walk->text_bytes += info.name.len + 1;
	walk->dims_total += info.rank;
	walk->tensors_seen++;
	return 0;
}

void gguf_walk_init(struct gguf_walk *walk, const char *label, uint64_t file_bytes)
{
	*walk = (struct gguf_walk){.label = label, .file_bytes = file_bytes, .align = GGUF_ALIGN};
}

int gguf_walk(struct gguf_walk *walk, const char *text, uint64_t have, struct weir_error *err)
{
	int ret = 0;

	walk->text = text;
	walk->have = min_of(have, walk->file_bytes);
	walk->err = err;
	walk->p = walk->at;
	while (ret == 0) {
		if (walk->at == 0)
			ret = walk_start(walk);
		else if (walk->pairs_seen < walk->pair_count)
			ret = next_pair(walk);
		else if (walk->tensors_seen < walk->tensor_count)
			ret = next_info(walk);
		else
			return 0;
		if (ret == 0)
			walk->at = walk->p;
	}
	return ret;
}
