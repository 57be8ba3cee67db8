/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many ends of requests the server waits for together.
 *
 * For each end of a request by itself the server wakes up, wakes the client, and is woken by the
 * client's next request: three changes of context where reading the block took one.  While large
 * requests are all that is under way, and many of them, the next end is never far, and some are
 * taken together, as network cards do it.
 *
 *	under way	1 .. 7	8 .. 11	12 .. 15	16 ..
 *	together	1	2	3		4
 *
 * The first of them waits for the others, as a rule a quarter of the time that one takes.  That is not
 * done while a single small request is under way, or a ring with few, and the bell ends the wait: nobody's
 * new request waits for it.  Where the others did not come, each is answered alone for a while.
 */
#include "base/clock.h"
#include "base/size.h"
#include "mount/rings/server.h"

#define LARGE_BYTES   (128 * KIB)
#define DEEP          8u /* requests of a ring: fewer, and its client may miss the next end */
#define CHARGE_MOST   (SERVER_RING_BYTES / 4)
#define TOGETHER_MOST 4u
#define SHARE         4u /* of what is under way */
#define VAIN_NS       (5 * NS_PER_MS)
#define ALONE_NS      (100 * NS_PER_MS)

static bool is_shallow(const struct ring *ring)
{
	return ring->in_flight > 0 && ring->in_flight < DEEP;
}

static bool is_large(const struct request *request)
{
	return request->io.length >= LARGE_BYTES;
}

static void count_in_flight(struct server *server, struct ring *ring, int32_t by)
{
	server->shallow -= is_shallow(ring);
	ring->in_flight += (uint32_t)by;
	server->shallow += is_shallow(ring);
	server->in_flight += (uint32_t)by;
	ring->load->in_flight += (uint32_t)by;
	atomic_store_explicit(&ring->counters.in_flight, ring->in_flight, memory_order_relaxed);
}

/* Of a very long one the feed sends a part at a time; the ring may have others beside it. */
static uint64_t charge(const struct request *request)
{
	return min_of(request->io.length, CHARGE_MOST);
}

void request_takes_off(struct server *server, struct request *request)
{
	struct ring *ring = request->ring;

	ring->flying_bytes += charge(request);
	count_in_flight(server, ring, 1);
	server->small += !is_large(request);
}

void request_lands(struct server *server, struct request *request)
{
	struct ring *ring = request->ring;

	ring->flying_bytes -= charge(request);
	count_in_flight(server, ring, -1);
	server->small -= !is_large(request);
}

bool ring_is_patient(const struct ring *ring)
{
	return ring->in_flight >= DEEP && ring->flying_bytes / ring->in_flight >= LARGE_BYTES;
}

/* 1: the first end is answered at once. */
static uint32_t together(const struct server *server)
{
	if (server->each_alone || server->shallow || server->small || server->in_flight < DEEP ||
	    server->awake_ns < server->alone_until_ns)
		return 1;
	return min_of(server->in_flight / SHARE, TOGETHER_MOST);
}

void server_gather(struct server *server)
{
	server->together = together(server);
	weir_feed_gather(server->feed, server->together);
}

void server_gathered(struct server *server, unsigned count, int64_t now_ns)
{
	if (server->together > 1 && count < server->together &&
	    now_ns - server->awake_ns >= VAIN_NS)
		server->alone_until_ns = now_ns + ALONE_NS;
	server->awake_ns = now_ns;
}
