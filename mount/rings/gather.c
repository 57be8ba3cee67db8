/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many ends of requests the server waits for together.
 *
 * For each end of a request by itself the server wakes up, wakes the client, and is woken by the
 * client's next request: three changes of context where reading the block took one.  While large
 * requests are all that is under way, and many of them, the next end is never far, and some are
 * taken together, as network cards do it: a quarter, or as many as leave eight under way.
 *
 *	under way	1 .. 7	8 .. 11	12	13 ..	16 ..
 *	together	1	2, 3	4	5 ..	8
 *
 * The first of them waits for the others, up to half of the time that one takes.  That is not
 * done while a single small request is under way, or a ring with few, and the bell ends the wait: nobody's
 * new request waits for it, but for that of a ring that is *full*.  Where the others did not come, and not
 * the next time either, each is answered alone for a while.
 *
 * A ring is *full* when as many requests would be left under way after the next ends as keep a disk busy.
 * Another one would only join the line, so its client does not ring: a wake-up less for each wait.  Where
 * requests take the same time however many are under way, as over a network, that is slower; so both are
 * tried by turns of 64 MiB, and ringing is spared unless that is seen to cost a sixteenth of the time.
 */
#include "base/clock.h"
#include "base/size.h"
#include "mount/rings/server.h"

#define LARGE_BYTES   (128 * KIB)
#define DEEP          8u /* requests of a ring: fewer, and its client may miss the next end */
#define CHARGE_MOST   (SERVER_RING_BYTES / 4)
#define TOGETHER_MOST 8u
#define SHARE         4u              /* of what is under way, */
#define DISK_BUSY     8u              /* or what leaves so many */
#define TURN_BYTES    (64 * MIB)      /* of a trial */
#define TURNS         8u              /* of which the other way has one */
#define VAIN_NS       (5 * NS_PER_MS) /* or as long as one took */
#define VAIN_MOST     2u              /* one after the other: disks make pauses */
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

void request_takes_off(struct server *server, struct request *request, int64_t now_ns)
{
	struct ring *ring = request->ring;

	request->since_ns = now_ns;
	ring->flying_bytes += charge(request);
	count_in_flight(server, ring, 1);
	server->small += !is_large(request);
}

void request_lands(struct server *server, struct request *request)
{
	struct ring *ring = request->ring;

	server->trial.bytes += charge(request);
	server->took_ns = server->awake_ns - request->since_ns;
	ring->flying_bytes -= charge(request);
	count_in_flight(server, ring, -1);
	server->small -= !is_large(request);
}

bool ring_is_patient(const struct ring *ring)
{
	return ring->in_flight >= DEEP && ring->flying_bytes / ring->in_flight >= LARGE_BYTES;
}

bool ring_is_full(const struct server *server, const struct ring *ring)
{
	return server->trial.sparing && server->together > 1 && ring_is_patient(ring) &&
	       ring->in_flight >= DISK_BUSY + server->together;
}

/* ---- Is it faster to be rung for? ---- */

static bool next_way(const struct trial *trial)
{
	int64_t ringing = trial->ns_per_mib[RINGING];
	bool spare = !ringing || trial->ns_per_mib[SPARING] <= ringing + ringing / 16;

	return trial->turns % TURNS == TURNS - 1 ? !spare : spare;
}

static void end_turn(struct trial *trial, int64_t now_ns)
{
	int64_t *known = &trial->ns_per_mib[trial->sparing ? SPARING : RINGING];
	int64_t now = (now_ns - trial->since_ns) / (int64_t)(trial->bytes / MIB);

	*known = *known ? (3 * *known + now) / 4 : now;
	trial->turns++;
	trial->sparing = next_way(trial);
}

/* Only ends that were waited for together tell, one such wait after the other. */
static void watch_trial(struct trial *trial, bool counts, int64_t now_ns)
{
	if (counts && trial->bytes < TURN_BYTES)
		return;
	if (counts)
		end_turn(trial, now_ns);
	trial->bytes = 0;
	trial->since_ns = now_ns;
}

/* 1: the first end is answered at once.  What was given to a ring that is held will be under way again. */
uint32_t server_together(const struct server *server)
{
	uint32_t count = server->in_flight + (server->held ? server->given : 0);

	if (server->each_alone || server->shallow || server->small || server->looking ||
	    server->in_flight < DISK_BUSY || server->awake_ns < server->alone_until_ns ||
	    !list_empty(&server->waiting))
		return 1; /* what waits for its file, or for its holes, has no end that could come */
	count = min_of(max_of(count / SHARE, count - DISK_BUSY), server->in_flight / 2);
	return min_of(count, TOGETHER_MOST);
}

void server_gather(struct server *server)
{
	server->together = server_together(server);
	weir_feed_gather(server->feed, server->together);
}

void server_gathered(struct server *server, unsigned count, int64_t now_ns)
{
	if (server->together > 1 && count < server->together &&
	    now_ns - server->awake_ns >= max_of(VAIN_NS, server->took_ns))
		server->vain++;
	else if (count)
		server->vain = 0;
	if (server->vain == VAIN_MOST) {
		server->vain = 0;
		server->alone_until_ns = now_ns + ALONE_NS;
	}
	watch_trial(&server->trial, server->together > 1, now_ns);
	server->given = count;
	server->awake_ns = now_ns;
}
