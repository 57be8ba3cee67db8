/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sparing clients their posts: a ring that has something under way is told that its server is awake, and
 * looked at without a bell until the server sleeps.
 *
 *	claim, completion     the ring's mark says awake       its client does not post
 *	after ends            a look at those rings
 *	before each sleep     the marks are taken back, then each ring is looked at once more
 *
 * A client who writes while the mark is there has written before that last look; one who writes later finds
 * no mark, and posts.  Clients who know no marks post always, which is a look each time as ever.
 *
 * A ring that is full (gather.c) keeps its mark while the server sleeps: what it asks for meanwhile
 * would only wait behind what is under way already, so it is looked at when the next ends come, or
 * at the next look.
 */
#include "mount/rings/server.h"

void ring_attend(struct server *server, struct ring *ring)
{
	if (!server->attends || !list_empty(&ring->attended) || ring->dead)
		return;
	if (usrbio_server_attends(&ring->end))
		list_push(&server->attended, &ring->attended);
}

bool server_has_news(struct server *server)
{
	list_for_each(at, &server->attended)
		if (usrbio_server_news(&list_entry(at, struct ring, attended)->end))
			return true;
	return false;
}

bool server_rests(void *arg)
{
	struct server *server = arg;

	server->held = false;
	list_for_each_safe(at, &server->attended) {
		struct ring *ring = list_entry(at, struct ring, attended);

		if (server->attends && ring_is_full(server, ring)) {
			server->held = true;
			continue;
		}
		list_remove(at);
		if (usrbio_server_rests(&ring->end))
			return false;
	}
	return true;
}
