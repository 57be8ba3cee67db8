/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of links in 3fs-virt/iovs/: a UUID and attributes, "765768c3-....w-2.pl.t0".  One function writes
 * them for creation and for removal; one function reads what any client wrote.
 */
#ifndef IO_USRBIO_KEY_H
#define IO_USRBIO_KEY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"

#define USRBIO_UUID_MAX 37   /* text of a UUID, its end included */
#define USRBIO_KEY_MAX  192  /* the longest that usrbio_key_format() writes, its end included */
#define USRBIO_KEY_CAP  1024 /* the longest name that a server takes */

struct usrbio_key {
	uint8_t id[16];
	uint64_t block_bytes; /* 0: the whole region is one block */
	bool ring, for_read;  /* for_read: of a ring */
	int8_t priority;      /* -1 high, 0 normal, 1 low */
	int32_t depth;        /* any; only compared with the entries, never negated */
	uint32_t timeout_ms;
	uint64_t flags;
};

/* The canonical text: parts in the vendor's order, written when the vendor writes them. */
void usrbio_key_format(const struct usrbio_key *key, char out[USRBIO_KEY_MAX]);

/*
 * 0, or -EIO (the UUID), -EINVAL (an attribute), -ENAMETOOLONG.  Order is free, the last of a repeated
 * attribute counts, unknown letters are ignored, what is absent has its default.
 */
must_use int usrbio_key_parse(const char *text, struct usrbio_key *out);

/*
 * Is this the name by which the vendor's library removes that ring: the same in all but the flags,
 * which it writes in decimal then?
 */
bool usrbio_key_is_alias(const char *asked, const struct usrbio_key *registered);

/* UUIDs: 16 bytes in the order of the text. */
void usrbio_uuid_format(const uint8_t id[16], char out[USRBIO_UUID_MAX]);
must_use bool usrbio_uuid_parse(const char *text, uint8_t out[16]); /* the first 36 bytes of text */
must_use int usrbio_uuid_random(const struct sys *sys, uint8_t out[16]); /* 0 or a negative errno */

#endif
