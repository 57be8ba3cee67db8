/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/key.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "io/usrbio/layout.h"

/* The bytes after which a hyphen stands. */
static bool hyphen_after(unsigned byte)
{
	return byte == 3 || byte == 5 || byte == 7 || byte == 9;
}

void usrbio_uuid_format(const uint8_t id[16], char out[USRBIO_UUID_MAX])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 16; i++) {
		*out++ = digits[id[i] >> 4];
		*out++ = digits[id[i] & 15];
		if (hyphen_after(i))
			*out++ = '-';
	}
	*out = '\0';
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool usrbio_uuid_parse(const char *text, uint8_t out[16])
{
	for (unsigned i = 0; i < 16; i++) {
		int high = hex_value(text[0]), low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
		text += 2;
		if (hyphen_after(i) && *text++ != '-')
			return false;
	}
	return true;
}

int usrbio_uuid_random(const struct sys *sys, uint8_t out[16])
{
	if (sys->random(out, 16))
		return -EIO;
	out[6] = (uint8_t)((out[6] & 0x0f) | 0x40); /* version 4: random */
	out[8] = (uint8_t)((out[8] & 0x3f) | 0x80);
	return 0;
}

/* ---- Writing ---- */

/* Binary digits, the highest first, none of them a leading zero. */
static void format_flags(uint64_t flags, char out[65])
{
	int high = 63;

	while (high > 0 && !(flags >> high & 1))
		high--;
	for (int bit = high; bit >= 0; bit--)
		*out++ = (flags >> bit & 1) ? '1' : '0';
	*out = '\0';
}

void usrbio_key_format(const struct usrbio_key *key, char out[USRBIO_KEY_MAX])
{
	char id[USRBIO_UUID_MAX], block[24] = "", flags[68] = "";
	const char *priority = "";

	usrbio_uuid_format(key->id, id);
	if (key->block_bytes)
		snprintf(block, sizeof(block), ".b%" PRIu64, key->block_bytes);
	if (!key->ring) {
		snprintf(out, USRBIO_KEY_MAX, "%s%s", id, block);
		return;
	}
	if (key->priority)
		priority = key->priority < 0 ? ".ph" : ".pl";
	if (key->flags) {
		memcpy(flags, ".f", 2);
		format_flags(key->flags, flags + 2);
	}
	snprintf(out, USRBIO_KEY_MAX, "%s%s.%c%" PRId32 "%s.t%" PRIu32 "%s", id, block,
		 key->for_read ? 'r' : 'w', key->depth, priority, key->timeout_ms, flags);
}

/* ---- Reading ---- */

/* One attribute's text, without its letter. */
struct part {
	const char *at;
	size_t len;
};

/* What was seen so far. */
struct reading {
	struct usrbio_key key;
	bool ring_part; /* one of those that only a ring may have */
};

/*
 * As atoll() reads: a sign, digits, then whatever.  Without digits it is 0; above what fits it stays at
 * the limit.
 */
static int64_t read_number(struct part part)
{
	size_t i = 0;
	bool negative = false;
	int64_t value = 0;

	if (i < part.len && (part.at[i] == '-' || part.at[i] == '+'))
		negative = part.at[i++] == '-';
	for (; i < part.len && part.at[i] >= '0' && part.at[i] <= '9'; i++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_sub_overflow(value, part.at[i] - '0', &value))
			return negative ? INT64_MIN : INT64_MAX;
	if (negative)
		return value;
	return value == INT64_MIN ? INT64_MAX : -value;
}

static int read_block(struct reading *reading, struct part part)
{
	int64_t value = read_number(part);

	if (value <= 0)
		return -EINVAL;
	reading->key.block_bytes = (uint64_t)value;
	return 0;
}

/* A depth that no int holds is above any number of entries, or below any. */
static int read_ring(struct reading *reading, struct part part, bool for_read)
{
	int64_t value = read_number(part);

	reading->key.ring = true;
	reading->key.for_read = for_read;
	if (value > INT32_MAX)
		value = INT32_MAX;
	reading->key.depth = (int32_t)(value < INT32_MIN ? INT32_MIN : value);
	return 0;
}

static int read_priority(struct reading *reading, struct part part)
{
	reading->ring_part = true;
	if (part.len > 1)
		return -EINVAL;
	switch (part.len ? part.at[0] : 'n') {
	case 'h':
		reading->key.priority = -1;
		return 0;
	case 'n':
		reading->key.priority = 0;
		return 0;
	case 'l':
		reading->key.priority = 1;
		return 0;
	default:
		return -EINVAL;
	}
}

static int read_timeout(struct reading *reading, struct part part)
{
	int64_t value = read_number(part);

	reading->ring_part = true;
	if (value < 0)
		return -EINVAL;
	reading->key.timeout_ms = (uint32_t)(value > INT32_MAX ? INT32_MAX : value);
	return 0;
}

static int read_flags(struct reading *reading, struct part part)
{
	uint64_t value = 0;

	reading->ring_part = true;
	if (part.len > 64)
		return -EINVAL;
	for (size_t i = 0; i < part.len; i++) {
		if (part.at[i] != '0' && part.at[i] != '1')
			return -EINVAL;
		value = value << 1 | (uint64_t)(part.at[i] - '0');
	}
	reading->key.flags = value;
	return 0;
}

static int read_part(struct reading *reading, struct part part)
{
	struct part rest = {part.at + 1, part.len - 1};

	switch (part.at[0]) {
	case 'b':
		return read_block(reading, rest);
	case 'r':
	case 'w':
		return read_ring(reading, rest, part.at[0] == 'r');
	case 'p':
		return read_priority(reading, rest);
	case 't':
		return read_timeout(reading, rest);
	case 'f':
		return read_flags(reading, rest);
	default:
		return 0;
	}
}

/* The next part at or behind *at, which moves past it; false at the end. */
static bool next_part(const char **at, struct part *out)
{
	if (**at != '.')
		return false;
	out->at = ++*at;
	out->len = strcspn(*at, ".");
	*at += out->len;
	return true;
}

int usrbio_key_parse(const char *text, struct usrbio_key *out)
{
	struct reading reading = {0};
	const char *at = text;
	struct part part;
	int ret = 0;

	if (strnlen(text, USRBIO_KEY_CAP + 1) > USRBIO_KEY_CAP)
		return -ENAMETOOLONG;
	if (!usrbio_uuid_parse(text, reading.key.id))
		return -EIO;
	at += USRBIO_UUID_MAX - 1;
	if (*at != '.' && *at != '\0')
		return -EIO;
	while (!ret && next_part(&at, &part))
		if (part.len)
			ret = read_part(&reading, part);
	if (!ret && reading.ring_part && !reading.key.ring)
		ret = -EINVAL;
	if (!ret)
		*out = reading.key;
	return ret;
}

/* ---- The name that the vendor's library removes ---- */

/* The last part with flags, read in decimal; false: there is none, or it is no such number. */
static bool flags_in_decimal(const char *text, uint64_t *out)
{
	const char *at = text + USRBIO_UUID_MAX - 1;
	struct part part;
	bool found = false;

	while (next_part(&at, &part)) {
		if (part.len < 2 || part.at[0] != 'f')
			continue;
		found = true;
		*out = 0;
		for (size_t i = 1; i < part.len; i++) {
			if (part.at[i] < '0' || part.at[i] > '9' ||
			    __builtin_mul_overflow(*out, 10u, out) ||
			    __builtin_add_overflow(*out, (unsigned)(part.at[i] - '0'), out))
				return false;
		}
	}
	return found;
}

/* The text without its flags, of a length that was checked. */
static void without_flags(const char *text, char out[USRBIO_KEY_CAP + 1])
{
	const char *at = text + USRBIO_UUID_MAX - 1;
	size_t len = USRBIO_UUID_MAX - 1;
	struct part part;

	memcpy(out, text, len);
	while (next_part(&at, &part)) {
		if (part.len && part.at[0] == 'f')
			continue;
		memcpy(out + len, part.at - 1, part.len + 1);
		len += part.len + 1;
	}
	out[len] = '\0';
}

bool usrbio_key_is_alias(const char *asked, const struct usrbio_key *registered)
{
	char rest[USRBIO_KEY_CAP + 1];
	struct usrbio_key key;
	uint64_t flags = 0;

	if (!registered->ring || strnlen(asked, USRBIO_KEY_CAP + 1) > USRBIO_KEY_CAP ||
	    strlen(asked) < USRBIO_UUID_MAX - 1)
		return false;
	without_flags(asked, rest);
	if (usrbio_key_parse(rest, &key) || !flags_in_decimal(asked, &flags))
		return false;
	return memcmp(key.id, registered->id, 16) == 0 && key.ring &&
	       key.for_read == registered->for_read && key.depth == registered->depth &&
	       key.priority == registered->priority && key.timeout_ms == registered->timeout_ms &&
	       key.block_bytes == registered->block_bytes && flags == registered->flags;
}

const char *usrbio_bell_link(enum usrbio_bell bell)
{
	static const char *const names[USRBIO_BELLS] = {"submit-ios.ph", "submit-ios",
							"submit-ios.pl"};

	return names[bell];
}
