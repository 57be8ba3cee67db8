/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of a safetensors file.
 *
 *	u64 N, little-endian | N bytes of JSON | data
 *
 * The parser is fed: safetensors_need() looks at the first bytes and says how many it wants, first
 * the 8 of the size prefix, then 8 + N; safetensors_parse() makes the index of them.  Before N has
 * passed its checks against the cap and the size of the file, nobody allocates anything by it.
 *
 * Strict, the default, takes what the reference library takes, less a written list: repeated names
 * and metadata keys, unknown members, entries that are arrays, null metadata, a dtype that is an
 * object, NUL in a name, a zero that hides an overflow, names above 65,535 bytes and ranks above 64.
 * FORMAT_LENIENT takes those as well.  Both refuse a header above 100,000,000 bytes and more than
 * 2,000,000 tensors, and neither ever takes a hole, an overlap or a size that does not fit.
 */
#ifndef FORMAT_SAFETENSORS_H
#define FORMAT_SAFETENSORS_H

#include "format/index.h"

#define SAFETENSORS_PREFIX_BYTES     8
#define SAFETENSORS_HEADER_MAX_BYTES 100000000
#define SAFETENSORS_TENSORS_MAX      2000000
#define SAFETENSORS_RANK_MAX         64
#define SAFETENSORS_RANK_MAX_LENIENT 65536
#define SAFETENSORS_NAME_MAX_BYTES   65535

/*
 * How many bytes from the start of the file make the header, as far as the first `have_bytes` of it
 * tell.  Once *need_bytes <= have_bytes, safetensors_parse() may be called with that many.
 */
must_use int safetensors_need(const char *label, const void *first, size_t have_bytes,
			      uint64_t file_bytes, uint64_t *need_bytes, struct weir_error *err);

/*
 * Makes the index.  in->text holds the whole header, prefix included, and belongs to the index when
 * this succeeds.  Fails with one of the WEIR_H_ codes, WEIR_LIMIT or WEIR_NOMEM.
 */
must_use int safetensors_parse(const struct format_input *in, struct format_index **out,
			       struct weir_error *err);

#endif
