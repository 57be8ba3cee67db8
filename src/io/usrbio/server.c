/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever touches the client's memory is a function of its own here (touch_*), run under the guard; it
 * writes what it found into memory of ours, and the rest is decided from that.
 */
#include "io/usrbio/server.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "io/usrbio/guard.h"
#include "io/usrbio/signal.h"

static int die(struct usrbio_server *server, int error, const char *why)
{
	server->dead = error;
	server->why = why;
	return error;
}

/* Runs a touch of the ring; a ring that was cut off is dead. */
static int touch_ring(struct usrbio_server *server, void (*touch)(void *), void *arg)
{
	int ret = usrbio_guarded(touch, arg, server->memory, server->bytes);

	return unlikely(ret) ? die(server, ret, "its memory went away") : 0;
}

static void touch_init(void *arg)
{
	struct usrbio_server *server = arg;

	atomic_store_explicit(server->view.sq_tail, 0, memory_order_relaxed);
	atomic_store_explicit(server->view.cq_head, 0, memory_order_relaxed);
	usrbio_sem_init(server->view.done);
	server->marks = atomic_load_explicit(&server->view.mark->asked, memory_order_relaxed) ==
			USRBIO_MARK_ASKED;
}

int usrbio_server_init(struct usrbio_server *server, const struct sys *sys, void *memory,
		       uint64_t bytes)
{
	uint32_t entries = usrbio_ring_entries(bytes);

	*server = (struct usrbio_server){.sys = sys, .memory = memory, .bytes = bytes};
	if (entries < 1 || entries > USRBIO_ENTRIES_MAX)
		return -EINVAL;
	server->entries = (int32_t)entries;
	server->view = usrbio_view_of(memory, entries);
	return touch_ring(server, touch_init, server);
}

/* ---- Claiming ---- */

/* The client's two markers. */
struct markers {
	const struct usrbio_view *view;
	int32_t sq_head, cq_tail;
};

/*
 * sq_head first: a client frees a slot after it moved cq_tail, so whoever reads in this order never
 * sees a slot in use twice.
 */
static void touch_markers(struct markers *markers)
{
	markers->sq_head = atomic_load_explicit(markers->view->sq_head, memory_order_acquire);
	markers->cq_tail = atomic_load_explicit(markers->view->cq_tail, memory_order_acquire);
}

static void keep_seen(struct usrbio_server *server, const struct markers *markers)
{
	server->seen_head = markers->sq_head;
	server->seen_tail = markers->cq_tail;
}

static bool outside(const struct usrbio_server *server, int32_t marker)
{
	return marker < 0 || marker >= server->view.places;
}

/* How many requests are queued; NULL in *why, or what is broken. */
static int32_t judge_head(const struct usrbio_server *server, int32_t sq_head, const char **why)
{
	int32_t queued;

	*why = "its submission head lies outside the ring";
	if (outside(server, sq_head))
		return 0;
	queued = usrbio_distance(server->sq_tail, sq_head, server->view.places);
	*why = queued + server->unfinished > server->entries
		       ? "more requests are queued than it has entries"
		       : NULL;
	return queued;
}

/* Its completion tail may only follow our head: what it passed was published. */
static const char *judge_tail(const struct usrbio_server *server, int32_t cq_tail)
{
	int32_t places = server->view.places, moved, published;

	if (outside(server, cq_tail))
		return "its completion tail lies outside the ring";
	moved = usrbio_distance(server->cq_tail, cq_tail, places);
	published = usrbio_distance(server->cq_tail, server->cq_head, places);
	return moved > published ? "its completion tail went ahead of the head, or back" : NULL;
}

struct claiming {
	struct usrbio_server *server;
	struct usrbio_claim *out;
	unsigned max;
	struct markers markers;
	const char *why; /* what is broken */
	int32_t count, sq_tail;
};

static void copy_request(const struct usrbio_server *server, int32_t at, struct usrbio_claim *out)
{
	struct usrbio_sqe sqe;

	usrbio_load_words(&sqe, &server->view.sqe[at], sizeof(sqe));
	out->index = sqe.index;
	out->userdata = sqe.userdata;
	out->error = outside(server, sqe.index) ? -EINVAL : 0;
	if (out->error)
		out->args = (struct usrbio_args){0};
	else
		usrbio_load_words(&out->args, &server->view.args[sqe.index], sizeof(out->args));
}

/* How many requests may be taken now, by what the markers say. */
static int32_t allowed(const struct usrbio_server *server, struct claiming *claiming)
{
	int32_t queued, room, waiting;

	queued = judge_head(server, claiming->markers.sq_head, &claiming->why);
	if (!claiming->why)
		claiming->why = judge_tail(server, claiming->markers.cq_tail);
	if (claiming->why)
		return 0;
	waiting = usrbio_distance(claiming->markers.cq_tail, server->cq_head, server->view.places);
	room = server->entries - server->unfinished - waiting;
	return min_of(queued, max_of(room, 0));
}

static void touch_claim(void *arg)
{
	struct claiming *claiming = arg;
	const struct usrbio_server *server = claiming->server;

	touch_markers(&claiming->markers);
	claiming->count = allowed(server, claiming);
	if ((unsigned)claiming->count > claiming->max)
		claiming->count = (int32_t)claiming->max;
	claiming->sq_tail = server->sq_tail;
	for (int32_t i = 0; i < claiming->count; i++) {
		copy_request(server, claiming->sq_tail, &claiming->out[i]);
		claiming->sq_tail = usrbio_next(claiming->sq_tail, server->view.places);
	}
	if (claiming->count)
		atomic_store_explicit(server->view.sq_tail, claiming->sq_tail,
				      memory_order_release);
}

int usrbio_server_claim(struct usrbio_server *server, struct usrbio_claim *out, unsigned max)
{
	struct claiming claiming = {.server = server, .out = out, .max = max};

	claiming.markers.view = &server->view;
	if (unlikely(server->dead) || touch_ring(server, touch_claim, &claiming))
		return server->dead;
	if (unlikely(claiming.why))
		return die(server, -EPROTO, claiming.why);
	keep_seen(server, &claiming.markers);
	server->cq_tail = claiming.markers.cq_tail;
	server->sq_tail = claiming.sq_tail;
	server->unfinished += claiming.count;
	return claiming.count;
}

static void touch_look(void *arg)
{
	touch_markers(arg);
}

int usrbio_server_available(struct usrbio_server *server)
{
	struct markers markers = {.view = &server->view};
	const char *why;
	int32_t queued;

	if (unlikely(server->dead) || touch_ring(server, touch_look, &markers))
		return server->dead;
	keep_seen(server, &markers);
	queued = judge_head(server, markers.sq_head, &why);
	return unlikely(why) ? die(server, -EPROTO, why) : queued;
}

/* ---- Completing ---- */

struct completing {
	struct usrbio_server *server;
	struct usrbio_cqe cqe;
	int32_t next;
};

static void touch_complete(void *arg)
{
	const struct completing *completing = arg;
	const struct usrbio_server *server = completing->server;

	usrbio_store_words(&server->view.cqe[server->cq_head], &completing->cqe,
			   sizeof(completing->cqe));
	atomic_store_explicit(server->view.cq_head, completing->next, memory_order_release);
}

int usrbio_server_complete(struct usrbio_server *server, int32_t index, uint64_t userdata,
			   int64_t result)
{
	struct completing completing = {
		.server = server,
		.cqe = {.index = index, .result = result, .userdata = userdata},
		.next = usrbio_next(server->cq_head, server->view.places),
	};

	/* There is a place: claims were only made where their completions had one. */
	assert(server->unfinished > 0 && completing.next != server->cq_tail);
	server->unfinished--;
	if (unlikely(server->dead) || touch_ring(server, touch_complete, &completing))
		return server->dead;
	server->cq_head = completing.next;
	return 0;
}

/* ---- The mark ---- */

static void touch_mark(void *arg)
{
	const struct usrbio_server *server = arg;

	atomic_store_explicit(&server->view.mark->awake, USRBIO_MARK_AWAKE, memory_order_relaxed);
}

bool usrbio_server_attends(struct usrbio_server *server)
{
	if (!server->awake && server->marks && !server->dead)
		server->awake = touch_ring(server, touch_mark, server) == 0;
	return server->awake;
}

/* The mark first: a client who still found it there has written before what is read after it. */
static void touch_rest(void *arg)
{
	struct markers *markers = arg;

	atomic_exchange_explicit(&markers->view->mark->awake, 0, memory_order_acq_rel);
	touch_markers(markers);
}

/* Requests, or completions collected while some of the requests wait. */
static bool changed(struct usrbio_server *server, void (*touch)(void *))
{
	struct markers markers = {.view = &server->view};
	bool head, tail;

	if (server->dead || touch_ring(server, touch, &markers))
		return false;
	head = markers.sq_head != server->seen_head;
	tail = markers.cq_tail != server->seen_tail && markers.sq_head != server->sq_tail;
	keep_seen(server, &markers);
	return head || tail;
}

bool usrbio_server_rests(struct usrbio_server *server)
{
	server->awake = false;
	return changed(server, touch_rest);
}

bool usrbio_server_news(struct usrbio_server *server)
{
	return changed(server, touch_look);
}

/* ---- The semaphore ---- */

struct posting {
	struct usrbio_server *server;
	bool posted;
};

/*
 * Would the client find less than it sleeps for?  Whoever wants more than one says so before it
 * looks, with an exchange: read with another, its word or its look is the later.
 */
static bool comes_early(const struct usrbio_server *server)
{
	const struct usrbio_view *view = &server->view;
	uint32_t wanted;
	int32_t tail;

	if (!server->marks || !server->unfinished ||
	    atomic_load_explicit(&view->mark->wanted, memory_order_relaxed) <= 1)
		return false;
	wanted = atomic_fetch_or_explicit(&view->mark->wanted, 0, memory_order_acq_rel);
	tail = atomic_load_explicit(view->cq_tail, memory_order_acquire);
	return !outside(server, tail) &&
	       (uint32_t)usrbio_distance(tail, server->cq_head, view->places) < wanted;
}

static void touch_post(void *arg)
{
	struct posting *posting = arg;

	if (comes_early(posting->server))
		return;
	posting->posted = true;
	usrbio_sem_post(posting->server->sys, posting->server->view.done);
}

bool usrbio_server_post(struct usrbio_server *server)
{
	struct posting posting = {.server = server};

	if (likely(!server->dead))
		touch_ring(server, touch_post, &posting);
	return posting.posted;
}

struct looking {
	const struct usrbio_sem *sem;
	uint32_t waiters;
};

static void touch_waiters(void *arg)
{
	struct looking *looking = arg;

	looking->waiters = usrbio_sem_waiters(looking->sem);
}

uint32_t usrbio_server_waiters(struct usrbio_server *server)
{
	struct looking looking = {.sem = server->view.done};

	if (server->dead || touch_ring(server, touch_waiters, &looking))
		return 0;
	return looking.waiters;
}
