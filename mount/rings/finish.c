/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ends of requests: results into the rings, then at most one post for each ring.
 *
 * A post may cost two system calls, one of ours and one of the client, who has slept.  So a ring with more
 * under way gets its post when some results have come together, or when the server has nothing else to do
 * (one with many small ones under way some microseconds later), or before the last turn of many; one with
 * nothing under way gets it at once, and so does one with many large ones: those have come together
 * already.
 *
 * Files that were written to are reported before a completion of theirs can be seen: a client that stats
 * after it must not be told the old length.
 */
#include <errno.h>

#include "mount/rings/files.h"
#include "mount/rings/server.h"

/* Results without a post, while more are under way. */
#define OWED_MOST 64
/* Results that are worth a post before the last turn: the client asks for more meanwhile. */
#define OWED_MANY 32
/* With so many under way the next result is never far, and nobody misses the last one for a moment. */
#define DEEP      16

void ring_answer(struct server *server, struct ring *ring, int32_t index, uint64_t userdata,
		 int64_t result)
{
	struct ring_counters *counters = &ring->counters;

	count_up(&counters->requests, 1);
	count_up(&server->counters.requests, 1);
	if (result < 0) {
		count_up(&counters->errors, 1);
		count_up(&server->counters.errors, 1);
	} else {
		count_up(&counters->bytes, (uint64_t)result);
		count_up(&server->counters.bytes, (uint64_t)result);
	}
	if (ring->dead)
		return;
	if (usrbio_server_complete(&ring->end, index, userdata, result)) {
		ring_kill(server, ring);
		return;
	}
	ring->owed++;
	ring_attend(server, ring);
	if (list_empty(&ring->touched))
		list_push(&server->touched, &ring->touched);
}

static void post(struct server *server, struct ring *ring)
{
	list_remove(&ring->touched);
	ring->owed = 0;
	if (usrbio_server_post(&ring->end))
		count_up(&server->counters.posts, 1);
}

void server_post(struct server *server)
{
	while (!list_empty(&server->touched))
		post(server, list_entry(server->touched.next, struct ring, touched));
}

void server_post_shallow(struct server *server)
{
	list_for_each_safe(at, &server->touched) {
		struct ring *ring = list_entry(at, struct ring, touched);

		if (ring->in_flight < DEEP || ring_is_patient(ring))
			post(server, ring);
	}
}

/* What is cached is copied as it is started, so that nothing of these is under way between two turns. */
void server_post_soon(struct server *server)
{
	list_for_each_safe(at, &server->touched) {
		struct ring *ring = list_entry(at, struct ring, touched);

		if (ring->owed >= OWED_MANY && !ring->in_flight && ring->granted &&
		    ring->granted <= SERVER_TURN)
			post(server, ring);
	}
}

void server_post_due(struct server *server)
{
	list_for_each_safe(at, &server->touched) {
		struct ring *ring = list_entry(at, struct ring, touched);

		if (!ring->in_flight || ring->owed >= OWED_MOST || ring_is_patient(ring))
			post(server, ring);
	}
}

static struct request *request_of(struct weir_feed_io *io)
{
	return container_of(io, struct request, io);
}

/* What the client is told. */
static int64_t result_of(const struct request *request)
{
	const struct weir_feed_io *io = &request->io;

	if (io->result < 0)
		return io->os_errno > 0 ? -io->os_errno : -EIO;
	if (request->ring->for_read && request->ring->no_holes)
		return hole_result(request->grip->fd, io->offset, io->length, io->result);
	return io->result;
}

/* Each file that was written to, once. */
static void report_writes(struct server *server, struct weir_feed_io **ios, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct grip *grip = request_of(ios[i])->grip;

		if (!grip->write || grip->changed || ios[i]->result <= 0)
			continue;
		grip->changed = true;
		files_changed(server->files, grip->ino);
	}
	for (unsigned i = 0; i < count; i++)
		request_of(ios[i])->grip->changed = false;
}

/* Gives back what it held, and its place. */
static void release(struct server *server, struct request *request)
{
	struct ring *ring = request->ring;

	request_lands(server, request);
	use_done(server, request->use);
	grip_done(server, request->grip);
	if (!ring->in_flight && atomic_load_explicit(&ring->share->gone, memory_order_acquire))
		atomic_store(&server->look, true); /* it waited for this one */
	request->ring = NULL;
	request->next_free = server->free;
	server->free = request;
}

void request_end(struct server *server, struct request *request, int64_t result)
{
	ring_answer(server, request->ring, request->index, request->userdata, result);
	release(server, request);
}

void server_settle(struct server *server, struct weir_feed_io **ios, unsigned count)
{
	report_writes(server, ios, count);
	for (unsigned i = 0; i < count; i++) {
		struct request *request = request_of(ios[i]);

		if (!holes_ask(server, request))
			request_end(server, request, result_of(request));
	}
}
