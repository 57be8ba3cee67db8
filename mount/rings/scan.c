/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at all rings of a priority: what may go by the rule of each ring, and into the feed with it.
 *
 * A look takes from each ring a turn's worth, small enough that results are published meanwhile and that
 * no ring waits for another's long queue; the one that is first moves on from look to look.  What a
 * turn leaves goes with the next, which follows at once.
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "mount/rings/server.h"

#define TURN_BYTES       ((uint64_t)1 << 20) /* about */
/* Where none was copied as it was started: all that takes the places of ends that came together. */
#define TURN_BYTES_QUICK ((uint64_t)8 << 20)
#define QUICK_NS         (30 * NS_PER_US) /* of a request that is only handed on */

void ring_kill(struct server *server, struct ring *ring)
{
	struct quoted key;

	if (ring->dead)
		return;
	atomic_store_explicit(&ring->dead, true, memory_order_relaxed);
	log_warn(server->log, "ring '%s' of user %u: %s; it is served no more",
		 quote(&key, (struct bytes){ring->share->name, strlen(ring->share->name)}),
		 (unsigned)ring->share->uid,
		 ring->end.why ? ring->end.why : "its memory went away");
	atomic_fetch_add(&server->table->dead_rings, 1);
	janitor_dismiss(server->janitor, ring->share);
}

/* ---- What may go ---- */

/* The partial batch of a ring of positive depth goes only while its client sleeps. */
static bool sleeps(struct ring *ring)
{
	return ring->rule.depth > 0 && !ring->rule.strict && usrbio_server_waiters(&ring->end) > 0;
}

static void grant(struct server *server, struct ring *ring, int64_t now_ns)
{
	int available = usrbio_server_available(&ring->end);
	uint32_t queued, batches;
	int64_t look_ns;

	if (available < 0) {
		ring_kill(server, ring);
		return;
	}
	if ((uint32_t)available <= ring->granted) {
		ring->granted = (uint32_t)available;
		return;
	}
	queued = (uint32_t)available - ring->granted;
	ring->granted += batch_grant(&ring->rule, &ring->wait, queued, sleeps(ring), now_ns,
				     &batches, &look_ns);
	count_up(&server->counters.batches, batches);
	if (batches == BATCHES_PER_SCAN)
		server->backlog = true; /* there may be more of them */
	if (look_ns < server->look_ns)
		server->look_ns = look_ns;
}

/* ---- And does ---- */

static void start(struct server *server, struct ring *ring, const struct usrbio_claim *claim,
		  int64_t now_ns)
{
	struct request *request = server->free;
	int64_t result;

	if (claim_judge(server, ring, claim, request, &result)) {
		ring_answer(server, ring, claim->index, claim->userdata, result);
		return;
	}
	server->free = request->next_free;
	request_takes_off(server, request, now_ns);
	++request->use->in_flight;
	++request->grip->in_flight;
	if (request->grip->opening)
		request_waits(server, request);
	else if (weir_feed_push(server->feed, &request->io))
		request_end(server, request, -EIO);
}

/* How many requests of a ring may start now. */
static uint32_t room_of(const struct server *server, const struct ring *ring)
{
	uint64_t bytes = ring->quick && ring_is_patient(ring) ? TURN_BYTES_QUICK : TURN_BYTES;
	uint32_t room = min_of(ring->granted, SERVER_TURN);

	if (ring->flying_bytes >= SERVER_RING_BYTES)
		return 0;
	if (ring->turn_bytes > bytes / SERVER_TURN)
		room = min_of(room, (uint32_t)(bytes / ring->turn_bytes) + 1);
	room = min_of(room, SERVER_RING_MOST - ring->in_flight);
	room = min_of(room, SERVER_USER_MOST - ring->load->in_flight);
	return min_of(room, SERVER_REQUESTS - server->in_flight);
}

/* One turn of a ring: how many requests were claimed. */
static int take_turn(struct server *server, struct ring *ring, int64_t now_ns)
{
	not_zeroed struct usrbio_claim claims[SERVER_TURN];
	uint32_t room = room_of(server, ring);
	bool patient = ring_is_patient(ring);
	int n = room ? usrbio_server_claim(&ring->end, claims, room) : 0;

	if (n < 0) {
		ring_kill(server, ring);
		return 0;
	}
	if (patient)
		now_ns = server->sys->now_ns();
	for (int i = 0; i < n; i++)
		start(server, ring, &claims[i], now_ns);
	if (patient)
		ring->quick = server->sys->now_ns() - now_ns <= n * QUICK_NS;
	if (n) {
		ring->turn_bytes = claims[n - 1].args.length;
		ring->granted -= (uint32_t)n;
		ring->active_ns = server->active_ns = now_ns;
		ring_attend(server, ring);
	}
	return n;
}

static bool served(const struct ring *ring)
{
	return !ring->dead && !atomic_load_explicit(&ring->share->gone, memory_order_acquire);
}

bool server_scan(struct server *server, int64_t now_ns)
{
	struct list *first = list_pop(&server->rings);
	bool worked = false;

	server->look_ns = NEVER;
	server->backlog = server->limited = false;
	count_up(&server->counters.scans, 1);
	if (first)
		list_push(&server->rings, first);
	list_for_each(at, &server->rings) {
		struct ring *ring = list_entry(at, struct ring, link);
		int n;

		if (!served(ring))
			continue;
		grant(server, ring, now_ns);
		if (!ring->granted || ring->dead)
			continue;
		n = take_turn(server, ring, now_ns);
		if (ring->granted && !room_of(server, ring))
			server->limited = true;
		else if (ring->granted && n > 0) /* none: its completions are not collected */
			server->backlog = true;
		worked |= n > 0;
	}
	return worked;
}
