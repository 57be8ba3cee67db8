/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names in 3fs-virt/iovs: a UUID, then attributes behind dots.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stub.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static int parse_id(const char *text, uint8_t id[16])
{
	unsigned at = 0;
	for (unsigned i = 0; i < 36; i++) {
		if (i == 8 || i == 13 || i == 18 || i == 23) {
			if (text[i] != '-')
				return EIO;
			continue;
		}
		int high = hex(text[i]), low = high < 0 ? -1 : hex(text[i + 1]);
		if (low < 0)
			return EIO;
		id[at++] = (uint8_t)(high << 4 | low);
		i++;
	}
	return text[36] == '.' || !text[36] ? 0 : EIO;
}

/* Attributes of a ring, whose numbers the caller of parse() judges. */
struct attributes {
	bool block, ring, timeout, others;
	long long block_bytes, depth, timeout_ms;
	int priority;
	bool for_read, bad;
};

static int priority_of(const char *text)
{
	if (!strcmp(text, "h"))
		return 0;
	return !strcmp(text, "l") ? 2 : !*text || !strcmp(text, "n") ? 1 : -1;
}

static void parse_attribute(const char *part, struct attributes *a)
{
	switch (part[0]) {
	case 'b':
		a->block = true;
		a->block_bytes = atoll(part + 1);
		break;
	case 'r':
	case 'w':
		a->ring = true;
		a->for_read = part[0] == 'r';
		a->depth = atoll(part + 1);
		break;
	case 'p':
		a->others = true;
		a->priority = priority_of(part + 1);
		a->bad |= a->priority < 0;
		break;
	case 't':
		a->others = a->timeout = true;
		a->timeout_ms = atoll(part + 1);
		break;
	case 'f':
		a->others = true;
		a->bad |= part[1 + strspn(part + 1, "01")] != 0;
		break;
	default:
		break;
	}
}

/* Fills what OBJECT has from its name; 0 or an errno.  Clients of ours write .t for each ring. */
int key_parse(const char *key, uint64_t bytes, struct object *object)
{
	struct attributes a = {.priority = 1};
	char text[256];
	if (strlen(key) < 36 || strlen(key) >= sizeof(text) || parse_id(key, object->id))
		return EIO;
	strcpy(text, key + 36);
	for (char *save, *part = strtok_r(text, ".", &save); part;
	     part = strtok_r(NULL, ".", &save))
		parse_attribute(part, &a);
	if (a.bad || (a.block && a.block_bytes <= 0) || a.timeout_ms < 0 || (a.others && !a.ring))
		return EINVAL;
	if (a.block && (uint64_t)a.block_bytes > bytes)
		return EINVAL;
	object->ring = a.ring;
	if (!a.ring)
		return 0;
	object->for_read = a.for_read;
	object->priority = a.priority;
	object->entries = wire_entries(bytes);
	if (!object->entries || a.depth > object->entries)
		return EINVAL;
	if (!a.timeout)
		stub_complain("%s: a ring without .t", key);
	if (bytes != wire_bytes((uint64_t)object->entries))
		stub_complain("%s: %llu bytes are not those of %d entries", key,
			      (unsigned long long)bytes, object->entries);
	return 0;
}
