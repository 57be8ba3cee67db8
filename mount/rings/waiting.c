/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests whose file is being opened.
 *
 * They have their places, and count as under way, but nothing has been asked for them yet: so they can
 * be given up at any time.  That is done for a client that is dead, for a ring that is, when
 * opening takes longer than the limit (-ETIMEDOUT), and when the server ends.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/log.h"
#include "mount/rings/server.h"

#define LIMIT_NS (60 * NS_PER_SEC)

void request_waits(struct server *server, struct request *request)
{
	request->since_ns = server->sys->now_ns();
	list_push(&server->waiting, &request->waiting);
}

static struct request *request_at(struct list *link)
{
	return list_entry(link, struct request, waiting);
}

static void give_up(struct server *server, struct request *request, int64_t result)
{
	list_remove(&request->waiting);
	request_end(server, request, result);
}

void waiting_go(struct server *server, struct grip *grip)
{
	list_for_each_safe(at, &server->waiting) {
		struct request *request = request_at(at);

		if (request->grip != grip)
			continue;
		request->io.object = grip->object;
		if (grip->got.error) {
			give_up(server, request, -grip->got.error);
		} else if (weir_feed_push(server->feed, &request->io)) {
			give_up(server, request, -EIO);
		} else {
			list_remove(&request->waiting);
		}
	}
}

void waiting_sweep(struct server *server)
{
	list_for_each_safe(at, &server->waiting) {
		struct request *request = request_at(at);

		if (request->ring->dead || atomic_load(&request->ring->share->orphaned))
			give_up(server, request, -EIO);
	}
}

void waiting_expire(struct server *server, int64_t now_ns)
{
	int64_t limit = server->open_limit_ns ? server->open_limit_ns : LIMIT_NS;

	while (!list_empty(&server->waiting)) {
		struct request *request = request_at(server->waiting.next);

		if (now_ns - request->since_ns < limit)
			return;
		if (!request->grip->told)
			log_warn(server->log,
				 "rings: file %llu of user %u is still being opened after %lld ms",
				 (unsigned long long)request->grip->ino,
				 (unsigned)request->grip->uid, (long long)(limit / NS_PER_MS));
		request->grip->told = true;
		give_up(server, request, -ETIMEDOUT);
	}
}

void waiting_drop(struct server *server)
{
	while (!list_empty(&server->waiting))
		give_up(server, request_at(server->waiting.next), -EIO);
}
