/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the names of links in 3fs-virt/iovs/.
 *
 * What is taken is written back to a name that means the same; what the vendor's library would call the
 * same ring is found by its alias.
 */
#include "io/usrbio/key.h"

#include <errno.h>

#include "fuzz.h"
#include "io/usrbio/shm.h"

static char *text_of(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	require(text);
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

static void check_same(const struct usrbio_key *a, const struct usrbio_key *b)
{
	require(memcmp(a->id, b->id, 16) == 0 && a->ring == b->ring);
	require(a->block_bytes == b->block_bytes);
	if (!a->ring)
		return;
	require(a->for_read == b->for_read && a->depth == b->depth && a->priority == b->priority);
	require(a->timeout_ms == b->timeout_ms && a->flags == b->flags);
}

/* The vendor's name for the removal of that ring: flags in decimal. */
static void check_alias(const struct usrbio_key *key)
{
	struct usrbio_key bare = *key;
	char name[USRBIO_KEY_MAX], alias[USRBIO_KEY_MAX + 32];

	bare.flags = 0;
	usrbio_key_format(&bare, name);
	snprintf(alias, sizeof(alias), "%s.f%llu", name, (unsigned long long)key->flags);
	require(usrbio_key_is_alias(alias, key));
	snprintf(alias, sizeof(alias), "%s.f%llu", name, (unsigned long long)key->flags ^ 4);
	require(!usrbio_key_is_alias(alias, key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = text_of(data, size), out[USRBIO_KEY_MAX];
	struct usrbio_key key, again;
	const char *component = usrbio_shm_component(text);
	int ret = usrbio_key_parse(text, &key);

	require(!component || (*component && !strchr(component, '/')));
	require(ret == 0 || ret == -EIO || ret == -EINVAL || ret == -ENAMETOOLONG);
	if (ret == 0) {
		usrbio_key_format(&key, out);
		require(strlen(out) < sizeof(out));
		require(usrbio_key_parse(out, &again) == 0);
		check_same(&key, &again);
		usrbio_key_is_alias(text, &key);
		if (key.ring)
			check_alias(&key);
	}
	free(text);
	return 0;
}
