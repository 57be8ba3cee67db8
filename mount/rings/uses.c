/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iovs and files that a server's requests name, found without a lock.
 *
 * The first request that names an iov or a file asks the table or the mount, which lock; the others
 * find it here, most of them in the ring itself.  What is found is true until the iov has lost its
 * name (share.gone) or a right has ended somewhere (files_epoch): then it is asked again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mount/rings/files.h"
#include "mount/rings/server.h"

static struct list *use_bucket(struct server *server, const uint8_t id[16])
{
	uint64_t a, b;

	memcpy(&a, id, 8);
	memcpy(&b, id + 8, 8);
	a = (a ^ b ^ server->table->seed) * UINT64_C(0x9e3779b97f4a7c15);
	return &server->uses[(a >> 40) % SERVER_BUCKETS];
}

static struct list *grip_bucket(struct server *server, uint64_t ino)
{
	return &server->grips[(ino * UINT64_C(0x9e3779b97f4a7c15) >> 40) % SERVER_BUCKETS];
}

void uses_init(struct server *server)
{
	list_init(&server->rings);
	list_init(&server->loads);
	list_init(&server->touched);
	list_init(&server->attended);
	for (size_t i = 0; i < SERVER_BUCKETS; i++) {
		list_init(&server->uses[i]);
		list_init(&server->grips[i]);
	}
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

static void forget_last(struct server *server)
{
	list_for_each(at, &server->rings) {
		struct ring *ring = list_entry(at, struct ring, link);

		ring->last_use = NULL;
		ring->last_grip = NULL;
	}
}

void uses_sweep(struct server *server)
{
	forget_last(server);
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->uses[i]) {
			struct use *use = list_entry(at, struct use, link);

			if (gone(use) && !use->in_flight)
				use_free(server, use);
		}
}

/* ---- Files ---- */

static void grip_free(struct server *server, struct grip *grip)
{
	list_remove(&grip->link);
	files_put(server->files, grip->ino, grip->object);
	free(grip);
}

void grip_done(struct server *server, struct grip *grip)
{
	if (!--grip->in_flight && grip->stale)
		grip_free(server, grip);
}

static struct grip *grip_known(struct server *server, uid_t uid, uint64_t ino, bool write)
{
	list_for_each(at, grip_bucket(server, ino)) {
		struct grip *grip = list_entry(at, struct grip, link);

		if (grip->ino == ino && grip->uid == uid && grip->write == write && !grip->stale)
			return grip;
	}
	return NULL;
}

/* 0 or an errno: asks the mount, and keeps what it says.  A refusal costs no memory. */
static int grip_new(struct server *server, uid_t uid, uint64_t ino, bool write, uint64_t epoch,
		    struct grip **out)
{
	struct weir_object *object;
	struct grip *grip;
	int fd, ret = files_get(server->files, uid, ino, write, &object, &fd);

	if (ret)
		return ret;
	grip = calloc(1, sizeof(*grip));
	if (!grip) {
		files_put(server->files, ino, object);
		return ENOMEM;
	}
	*grip = (struct grip){
		.uid = uid, .ino = ino, .write = write, .epoch = epoch, .object = object, .fd = fd};
	list_push_front(grip_bucket(server, ino), &grip->link);
	*out = grip;
	return 0;
}

/* What was allowed may not be any more: it is asked anew, and its requests keep what they have. */
static void retire(struct server *server, struct grip *grip)
{
	forget_last(server);
	grip->stale = true;
	if (!grip->in_flight)
		grip_free(server, grip);
}

int grip_find(struct server *server, struct ring *ring, uint64_t ino, struct grip **out)
{
	uint64_t epoch = files_epoch(
		server->files); /* before files_get(): else one could be missed */
	struct grip *grip = ring->last_grip;
	int ret;

	if (likely(grip && grip->ino == ino && grip->epoch == epoch)) {
		*out = grip;
		return 0;
	}
	grip = grip_known(server, ring->share->uid, ino, !ring->for_read);
	if (grip && grip->epoch != epoch) {
		retire(server, grip);
		grip = NULL;
	}
	if (!grip) {
		ret = grip_new(server, ring->share->uid, ino, !ring->for_read, epoch, &grip);
		if (ret)
			return ret;
	}
	*out = ring->last_grip = grip;
	return 0;
}

void grips_sweep(struct server *server)
{
	forget_last(server);
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->grips[i]) {
			struct grip *grip = list_entry(at, struct grip, link);

			if (!grip->in_flight)
				grip_free(server, grip);
		}
}

void uses_drop(struct server *server)
{
	grips_sweep(server);
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->uses[i]) {
			struct use *use = list_entry(at, struct use, link);

			if (!use->in_flight)
				use_free(server, use);
		}
}
