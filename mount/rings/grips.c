/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a server's requests name, found without a lock and without waiting.
 *
 * The first request that names a file asks the mount; the others find it here, most of them in the ring
 * itself.  What is found is true until a right has ended somewhere (files_epoch): then it is asked again.
 *
 * Opening and closing may wait for the file system below, so that both are errands:
 *
 *	files_find() says EAGAIN --> opening --errand--> opened --server--> used --idle--> errand: closed
 *	                               |    (waiting.c: its requests)
 *	                               '-- nobody waits for it any more: closed when it has been opened
 */
#include <errno.h>
#include <stdlib.h>

#include "mount/rings/files.h"
#include "mount/rings/server.h"

static struct list *bucket(struct server *server, uint64_t ino)
{
	return &server->grips[(ino * UINT64_C(0x9e3779b97f4a7c15) >> 40) % SERVER_BUCKETS];
}

void grips_init(struct server *server)
{
	list_init(&server->opened);
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_init(&server->grips[i]);
}

static struct grip *grip_of(struct errand *errand)
{
	return container_of(errand, struct grip, errand);
}

static void forget_last(struct server *server)
{
	list_for_each(at, &server->rings)
		list_entry(at, struct ring, link)->last_grip = NULL;
}

/* ---- Closing ---- */

/* The errand; where no thread is to be had, the serving thread has to. */
static void close_grip(struct errand *errand)
{
	struct grip *grip = grip_of(errand);

	if (grip->object)
		files_put(grip->server->files, grip->ino, grip->object);
	free(grip);
}

static void grip_free(struct server *server, struct grip *grip)
{
	list_remove(&grip->link);
	grip->errand.run = close_grip;
	if (!grip->object || errand_post(server->errands, &grip->errand))
		close_grip(&grip->errand);
}

void grip_done(struct server *server, struct grip *grip)
{
	if (--grip->in_flight)
		return;
	if (grip->opening) {
		if (!errand_recall(server->errands, &grip->errand))
			return; /* it is dealt with when it comes back */
		forget_last(server);
		grip_free(server, grip);
	} else if (grip->stale) {
		grip_free(server, grip);
	}
}

/* What was allowed may not be any more: it is asked anew, and its requests keep what they have. */
static void retire(struct server *server, struct grip *grip)
{
	forget_last(server);
	grip->stale = true;
	if (!grip->in_flight && !grip->opening)
		grip_free(server, grip);
}

void grips_sweep(struct server *server)
{
	forget_last(server);
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->grips[i]) {
			struct grip *grip = list_entry(at, struct grip, link);

			if (!grip->in_flight && !grip->opening)
				grip_free(server, grip);
		}
}

/* ---- Opening ---- */

static void take_over(struct grip *grip)
{
	grip->opening = false;
	if (grip->got.error)
		return;
	grip->object = grip->got.object;
	grip->fd = grip->got.fd;
}

/* The errand: the grip is the server's again, unless that has ended. */
static void open_grip(struct errand *errand)
{
	struct grip *grip = grip_of(errand);
	struct server *server = grip->server;
	bool over;

	grip->got.error = files_get(server->files, grip->uid, grip->ino, grip->write,
				    &grip->got.object, &grip->got.fd);
	lock_take(&server->lock);
	over = server->over;
	if (!over) {
		list_push(&server->opened, &errand->link);
		atomic_store(&server->came, true);
		weir_feed_wake(server->feed);
	}
	lock_drop(&server->lock);
	if (!over)
		return;
	take_over(grip);
	close_grip(errand);
}

void grips_settle(struct server *server)
{
	struct list opened, *link;

	list_init(&opened);
	lock_take(&server->lock);
	while ((link = list_pop(&server->opened)))
		list_push(&opened, link);
	lock_drop(&server->lock);
	while ((link = list_pop(&opened))) {
		struct grip *grip = grip_of(list_entry(link, struct errand, link));

		++grip->in_flight; /* so that it stays */
		take_over(grip);
		waiting_go(server, grip);
		/* An error may pass; and nobody would hear of a file that nobody waits for. */
		if (grip->got.error || grip->in_flight == 1) {
			forget_last(server);
			grip->stale = true;
		}
		grip_done(server, grip);
	}
}

/* The serving thread ends: what is being opened is left to its errand. */
void grips_drop(struct server *server)
{
	for (size_t i = 0; i < SERVER_BUCKETS; i++)
		list_for_each_safe(at, &server->grips[i]) {
			struct grip *grip = list_entry(at, struct grip, link);

			if (grip->in_flight)
				continue;
			if (!grip->opening || errand_recall(server->errands, &grip->errand))
				grip_free(server, grip);
			else
				list_remove(&grip->link);
		}
}

/* ---- Finding ---- */

static struct grip *grip_known(struct server *server, uid_t uid, uint64_t ino, bool write)
{
	list_for_each(at, bucket(server, ino)) {
		struct grip *grip = list_entry(at, struct grip, link);

		if (grip->ino == ino && grip->uid == uid && grip->write == write && !grip->stale)
			return grip;
	}
	return NULL;
}

static int grip_new(struct server *server, const struct grip *what, struct grip **out)
{
	struct grip *grip = calloc(1, sizeof(*grip));
	int ret = 0;

	if (!grip) {
		if (what->object)
			files_put(server->files, what->ino, what->object);
		return ENOMEM;
	}
	*grip = *what;
	list_init(&grip->link);
	if (grip->opening)
		ret = errand_post(server->errands, &grip->errand);
	if (ret) {
		free(grip);
		return ret;
	}
	list_push_front(bucket(server, grip->ino), &grip->link);
	*out = grip;
	return 0;
}

/* 0 or an errno: asks the mount, and keeps what it says.  A refusal costs no memory. */
static int ask(struct server *server, struct ring *ring, uint64_t ino, uint64_t epoch,
	       struct grip *opening, struct grip **out)
{
	struct grip found = {
		.server = server,
		.uid = ring->share->uid,
		.write = !ring->for_read,
		.ino = ino,
		.epoch = epoch,
		.fd = -1,
		.errand = {.uid = ring->share->uid, .run = open_grip},
	};
	int ret = files_find(server->files, found.uid, ino, found.write, &found.object, &found.fd);

	if (ret && ret != EAGAIN)
		return ret;
	if (ret && opening) { /* still allowed, and one errand is enough */
		opening->epoch = epoch;
		*out = opening;
		return 0;
	}
	if (opening) /* somebody else's errand was quicker */
		retire(server, opening);
	found.opening = ret != 0;
	return grip_new(server, &found, out);
}

int grip_find(struct server *server, struct ring *ring, uint64_t ino, struct grip **out)
{
	uint64_t epoch = files_epoch(
		server->files); /* before it is asked: else one could be missed */
	struct grip *grip = ring->last_grip;
	int ret;

	if (likely(grip && grip->ino == ino && grip->epoch == epoch)) {
		*out = grip;
		return 0;
	}
	grip = grip_known(server, ring->share->uid, ino, !ring->for_read);
	if (grip && grip->epoch != epoch && !grip->opening) {
		retire(server, grip);
		grip = NULL;
	}
	if (!grip || grip->epoch != epoch) {
		ret = ask(server, ring, ino, epoch, grip, &grip);
		if (ret)
			return ret;
	}
	*out = ring->last_grip = grip;
	return 0;
}
