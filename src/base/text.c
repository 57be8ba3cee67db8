/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/compiler.h"

/* Length of the well-formed UTF-8 sequence at `at`, or 0: RFC 3629, so no overlong forms, no
 * surrogates, nothing above U+10FFFF. */
static size_t sequence_len(const unsigned char *at, size_t left)
{
	unsigned char low = 0x80, high = 0xBF;
	size_t len;

	if (at[0] < 0x80)
		return 1;
	if (at[0] >= 0xC2 && at[0] <= 0xDF)
		len = 2;
	else if ((at[0] & 0xF0) == 0xE0)
		len = 3;
	else if (at[0] >= 0xF0 && at[0] <= 0xF4)
		len = 4;
	else
		return 0;
	if (len > left)
		return 0;
	if (at[0] == 0xE0)
		low = 0xA0;
	else if (at[0] == 0xED)
		high = 0x9F;
	else if (at[0] == 0xF0)
		low = 0x90;
	else if (at[0] == 0xF4)
		high = 0x8F;
	if (at[1] < low || at[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((at[i] & 0xC0) != 0x80)
			return 0;
	return len;
}

size_t utf8_valid_prefix(const char *text, size_t len)
{
	const unsigned char *at = (const unsigned char *)text;
	size_t done = 0;

	while (done < len) {
		size_t step;

		/* Text is mostly ASCII: eight bytes of it at a time. */
		if (len - done >= 8 && (load_le64(at + done) & UINT64_C(0x8080808080808080)) == 0) {
			done += 8;
			continue;
		}
		step = sequence_len(at + done, len - done);
		if (step == 0)
			break;
		done += step;
	}
	return done;
}

/* What a terminal acts on, or shows nothing of: C0, DEL, C1; marks of direction, joiners, separators, tags. */
static bool is_control(const unsigned char *at, size_t len)
{
	uint32_t c = len == 1 ? at[0] : at[0] & (0x7fu >> len);

	for (size_t i = 1; i < len; i++)
		c = c << 6 | (at[i] & 0x3fu);
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

const char *quote(struct quoted *out, struct bytes untrusted)
{
	const unsigned char *at = (const unsigned char *)untrusted.at;
	size_t len = untrusted.len < QUOTE_MAX ? untrusted.len : QUOTE_MAX;
	char *to = out->text;

	for (size_t i = 0; i < len;) {
		size_t step = sequence_len(at + i, len - i);

		if (step == 0 || is_control(at + i, step)) {
			for (size_t end = i + max_of(step, (size_t)1); i < end; i++)
				to += snprintf(to, 5, "\\x%02x", at[i]);
			continue;
		}
		memcpy(to, at + i, step);
		to += step;
		i += step;
	}
	memcpy(to, untrusted.len > QUOTE_MAX ? "..." : "", untrusted.len > QUOTE_MAX ? 4 : 1);
	return out->text;
}

void text_vprint(char *out, size_t size, const char *format, va_list args)
{
	vsnprintf(out, size, format, args);
}
