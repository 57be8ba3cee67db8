/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iovs that a server's requests name, found without a lock.
 *
 * The first request that names an iov asks the table, which locks; the others find it here, most of them in
 * the ring itself.  What is found is true until the iov has lost its name (share.gone).
 */
#include <stdlib.h>
#include <string.h>

#include "mount/rings/server.h"

static struct list *use_bucket(struct server *server, const uint8_t id[16])
{
	uint64_t a, b;

	memcpy(&a, id, 8);
	memcpy(&b, id + 8, 8);
	a = (a ^ b ^ server->table->seed) * UINT64_C(0x9e3779b97f4a7c15);
	return &server->uses[(a >> 40) % SERVER_BUCKETS];
}

void uses_init(struct server *server)
{
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_init(&server->uses[i]);
}

/* ---- Iovs ---- */

static bool gone(const struct use *use)
{
	return atomic_load_explicit(&use->share->gone, memory_order_acquire);
}

/* Takes over the reference to the share. */
static struct use *use_new(struct server *server, struct share *share)
{
	struct use *use = calloc(1, sizeof(*use));

	if (!use) {
		share_unref(share);
		return NULL;
	}
	use->share = share;
	if (weir_feed_register(server->feed, share->memory, share->bytes, &use->region, NULL))
		use->region = 0; /* works as well, with more work for the kernel */
	list_push_front(use_bucket(server, share->key.id), &use->link);
	return use;
}

static void use_free(struct server *server, struct use *use)
{
	list_remove(&use->link);
	if (use->region)
		weir_feed_unregister(server->feed, use->region);
	share_unref(use->share);
	free(use);
}

void use_done(struct server *server, struct use *use)
{
	if (!--use->in_flight && gone(use))
		atomic_store(&server->look, true); /* it waited for this one */
}

static struct use *use_known(struct server *server, const uint8_t id[16])
{
	list_for_each(at, use_bucket(server, id)) {
		struct use *use = list_entry(at, struct use, link);

		if (memcmp(use->share->key.id, id, 16) == 0 && !gone(use))
			return use;
	}
	return NULL;
}

struct use *use_find(struct server *server, struct ring *ring, const uint8_t id[16])
{
	struct use *use = ring->last_use;
	struct share *share;

	if (likely(use && memcmp(use->share->key.id, id, 16) == 0 && !gone(use)))
		return use;
	use = use_known(server, id);
	if (!use) {
		share = table_iov(server->table, id);
		if (share && share->uid != ring->share->uid) {
			share_unref(share); /* nothing is kept of what is not allowed */
			share = NULL;
		}
		use = share ? use_new(server, share) : NULL;
	}
	if (!use || use->share->uid != ring->share->uid)
		return NULL;
	ring->last_use = use;
	return use;
}

void uses_sweep(struct server *server)
{
	list_for_each(at, &server->rings)
		list_entry(at, struct ring, link)->last_use = NULL;
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->uses[i]) {
			struct use *use = list_entry(at, struct use, link);

			if (gone(use) && !use->in_flight)
				use_free(server, use);
		}
}

void uses_drop(struct server *server)
{
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->uses[i]) {
			struct use *use = list_entry(at, struct use, link);

			if (!use->in_flight)
				use_free(server, use);
		}
}
