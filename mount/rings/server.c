/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that serves the rings of one priority (see server.h).
 *
 * It sleeps in one place, weir_feed_reap(), and is woken there by the bell, by the end of a request, by
 * who adds or removes a ring, and by the time of the next look: a ring's queue is looked at without a
 * bell every 10 ms while any ring of the priority is active, every 100 ms otherwise.
 *
 * Where it was told to spin (--ring-spin) it goes on looking for a moment after it had something to do.
 *
 * The bell is everybody's.  Who rings it without need costs a look each time, so that looks which find
 * nothing are held to a few for each one that finds something; above that the thread naps.
 */
#include "mount/rings/server.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "mount/rings/files.h"

#define REAP            64
#define STORM_WINDOW_NS (10 * NS_PER_MS)
#define STORM_IDLE      64 /* fruitless looks for the bell in a window, */
#define STORM_RATIO     4  /* and for each fruitful one */
#define NAP_NS          (NS_PER_MS / 2)
#define OWED_NS         (300 * NS_PER_US) /* a post waits no longer for more results */
#define CANCEL_NS       NS_PER_SEC        /* for requests that were asked to end */

/* ---- Rings that come and go ---- */

int ring_create(struct share *share, const struct sys *sys, bool strict)
{
	struct ring *ring = calloc(1, sizeof(*ring));
	int ret;

	if (!ring)
		return ENOMEM;
	ret = usrbio_server_init(&ring->end, sys, share->memory, share->bytes);
	if (ret) {
		free(ring);
		return -ret;
	}
	list_init(&ring->link);
	list_init(&ring->touched);
	list_init(&ring->attended);
	ring->entries = usrbio_ring_entries(share->bytes);
	ring->rule = (struct batch_rule){
		.depth = share->key.depth, .timeout_ms = share->key.timeout_ms, .strict = strict};
	ring->for_read = share->key.for_read;
	ring->no_holes = share->key.flags & USRBIO_FLAG_NO_HOLES;
	share->ring = ring;
	return 0;
}

/* Under the lock, for the thread takes its feed away when it ends. */
static void wake(struct server *server)
{
	lock_take(&server->lock);
	if (!server->over)
		weir_feed_wake(server->feed);
	lock_drop(&server->lock);
}

void server_look(struct server *server)
{
	atomic_store(&server->look, true);
	wake(server);
}

void server_add(struct server *server, struct ring *ring, struct share *share)
{
	ring->share = share_ref(share);
	lock_take(&server->lock);
	list_push(&server->incoming, &ring->link);
	lock_drop(&server->lock);
	server_look(server);
}

static struct user_load *load_of(struct server *server, uid_t uid)
{
	struct user_load *load;

	list_for_each(at, &server->loads) {
		load = list_entry(at, struct user_load, link);
		if (load->uid == uid)
			return load;
	}
	load = calloc(1, sizeof(*load));
	if (!load)
		return NULL;
	load->uid = uid;
	list_push(&server->loads, &load->link);
	return load;
}

/* Rings without a load are dead before they lived: out of memory. */
static void admit(struct server *server)
{
	struct list *link;
	struct ring *ring;

	lock_take(&server->lock);
	while ((link = list_pop(&server->incoming))) {
		ring = list_entry(link, struct ring, link);
		ring->load = load_of(server, ring->share->uid);
		if (ring->load)
			ring->load->rings++;
		else
			ring_kill(server, ring);
		ring->active_ns = server->active_ns = server->sys->now_ns();
		list_push(&server->rings, &ring->link);
	}
	lock_drop(&server->lock);
}

static void part(struct ring *ring)
{
	struct user_load *load = ring->load;
	struct share *share = ring->share;

	list_remove(&ring->link);
	list_remove(&ring->touched);
	list_remove(&ring->attended);
	if (load && --load->rings == 0) {
		list_remove(&load->link);
		free(load);
	}
	share_unref(share); /* the ring goes with it */
}

static void sweep(struct server *server)
{
	waiting_sweep(server);
	list_for_each_safe(at, &server->rings) {
		struct ring *ring = list_entry(at, struct ring, link);

		if (!ring->in_flight &&
		    atomic_load_explicit(&ring->share->gone, memory_order_acquire))
			part(ring);
	}
	uses_sweep(server);
	if (list_empty(&server->rings))
		grips_sweep(server);
}

/* What came, what went, and files that were opened, or may have been closed. */
static void look_around(struct server *server)
{
	uint64_t epoch = files_epoch(server->files);

	if (atomic_exchange(&server->came, false)) {
		grips_settle(server);
		holes_settle(server);
	}
	if (atomic_exchange(&server->look, false)) {
		admit(server);
		sweep(server);
	}
	if (epoch != server->epoch) {
		server->epoch = epoch;
		grips_sweep(server);
	}
}

/* ---- The loop ---- */

static void nap(void)
{
	struct timespec time = {.tv_nsec = NAP_NS};

	nanosleep(&time, NULL);
}

/* A look was taken because the bell rang. */
static void weather_storm(struct server *server, bool fruitful, int64_t now_ns)
{
	struct storm *storm = &server->storm;

	if (now_ns - storm->since_ns > STORM_WINDOW_NS)
		*storm = (struct storm){.since_ns = now_ns};
	if (fruitful)
		storm->fruitful++;
	else
		storm->idle++;
	if (storm->idle > STORM_IDLE + STORM_RATIO * storm->fruitful)
		nap();
}

/* When to look at the rings again, whatever happens. */
static int64_t next_look(const struct server *server, int64_t last_ns)
{
	int64_t next;
	bool soon;

	if (list_empty(&server->rings))
		return NEVER;
	if (server->backlog)
		return 0;
	soon = last_ns - server->active_ns < NS_PER_SEC || server_together(server) > 1;
	next = last_ns + (soon ? SERVER_SOON_NS : SERVER_LATER_NS);
	return min_of(next, server->look_ns);
}

/* Nobody waits long for a post, and least of all while there is nothing to do. */
static void post_owed(struct server *server, bool idle, int64_t now_ns)
{
	server->only_deep = false;
	if (list_empty(&server->touched)) {
		server->owed_since_ns = 0;
		return;
	}
	if (!server->owed_since_ns)
		server->owed_since_ns = now_ns;
	if (now_ns - server->owed_since_ns >= OWED_NS) {
		server_post(server);
		server->owed_since_ns = 0;
	} else if (idle) {
		server_post_shallow(server);
		server->only_deep = true;
	}
}

/* How long to wait for ends of requests. */
static int64_t patience(const struct server *server, int64_t next_ns)
{
	if (server->spin_ns && server->awake_ns - server->active_ns < server->spin_ns)
		return 0;
	if (list_empty(&server->touched))
		return next_ns == NEVER ? WEIR_FOREVER : next_ns;
	return server->only_deep ? min_of(next_ns, server->owed_since_ns + OWED_NS) : 0;
}

/* Ends of requests, then a look at the rings if there is a reason. */
static void step(struct server *server, int64_t *last_ns)
{
	not_zeroed struct weir_feed_io *ios[REAP];
	int64_t next = next_look(server, *last_ns), now_ns;
	bool owing = !list_empty(&server->touched), rang, worked;
	/* A client that is answered at once may have come again by now: no end can be there before its request. */
	bool again = !server->in_flight && server_has_news(server);
	unsigned n = 0;

	if (!again) {
		server_gather(server);
		n = weir_feed_reap(server->feed, ios, REAP, patience(server, next));
	}
	now_ns = server->sys->now_ns();
	server_gathered(server, n, now_ns);
	if (n)
		server_settle(server, ios, n);
	server_post_soon(server);
	post_owed(server, owing && n == 0 && !server->backlog, now_ns);
	look_around(server);
	waiting_expire(server, now_ns);
	rang = bell_drain(server->bell) > 0 || again || server_has_news(server);
	if (n)
		server->active_ns = now_ns;
	if (list_empty(&server->rings) || (!rang && now_ns < next && !(n && server->limited)))
		worked = false;
	else {
		worked = server_scan(server, now_ns);
		*last_ns = now_ns;
	}
	/* After the look: a ring that has more to do by now is not one that waits for its post. */
	server_post_due(server);
	if (rang)
		weather_storm(server, worked || n, now_ns);
	else if (server->spin_ns && !n)
		sched_yield(); /* whoever it looks for may want this processor */
}

static void settle_some(struct server *server)
{
	struct weir_feed_io *ios[REAP];
	unsigned n = weir_feed_reap(server->feed, ios, REAP,
				    server->sys->now_ns() + SERVER_SOON_NS);

	server_settle(server, ios, n);
	grips_settle(server);
	holes_settle(server);
	server_post(server);
	bell_drain(server->bell); /* else reap would not wait */
}

/* What waits for its file, or for what is said of it, gets a moment and no more: it touches no memory. */
static void settle_waiting(struct server *server)
{
	int64_t until = min_of(server->stop_ns, server->sys->now_ns() + CANCEL_NS);

	while ((!list_empty(&server->waiting) || server->looking) && server->sys->now_ns() < until)
		settle_some(server);
	waiting_drop(server);
	server_post(server);
}

static void settle_until(struct server *server, int64_t deadline_ns)
{
	while (server->in_flight > server->looking && server->sys->now_ns() < deadline_ns)
		settle_some(server);
}

/* Nothing new; what is under way may end, and is asked to when it is time. */
static void drain(struct server *server)
{
	server->attends = false;
	while (!server_rests(server))
		;
	server->bell->rests = NULL;
	settle_waiting(server);
	settle_until(server, server->stop_ns);
	for (unsigned i = 0; server->in_flight && i < SERVER_REQUESTS; i++)
		if (server->requests[i].ring && !server->requests[i].looking)
			weir_feed_cancel(server->feed, &server->requests[i].io);
	settle_until(server, server->sys->now_ns() + CANCEL_NS);
	server->stuck = server->in_flight;
	if (!server->stuck) {
		admit(server);
		grips_drop(server);
		uses_drop(server);
	}
	lock_take(&server->lock);
	server->over = true;
	lock_drop(&server->lock);
	grips_settle(server);
	server->stuck += weir_feed_destroy(server->feed);
	if (server->stuck)
		return;
	list_for_each_safe(at, &server->rings)
		part(list_entry(at, struct ring, link));
}

static void *run(void *arg)
{
	struct server *server = arg;
	int64_t last_ns = server->sys->now_ns();

	while (!atomic_load(&server->stopping))
		step(server, &last_ns);
	drain(server);
	return NULL;
}

static int make_requests(struct server *server, struct weir_error *err)
{
	server->requests = calloc(SERVER_REQUESTS, sizeof(*server->requests));
	if (!server->requests)
		return error_nomem(err, NULL, "rings: the requests of a server");
	for (unsigned i = 0; i < SERVER_REQUESTS; i++) {
		server->requests[i].next_free = server->free;
		server->free = &server->requests[i];
	}
	return 0;
}

/* Only where this thread is the one that the feed sleeps on: another one knows nothing of its rings. */
static void listen_awake(struct server *server)
{
	server->attends = strcmp(weir_feed_doorbell_kind(server->feed), "io_uring") == 0;
	server->bell->rests_arg = server;
	server->bell->rests = server->attends ? server_rests : NULL;
}

int server_start(struct server *server, struct weir_ctx *ctx, struct weir_error *err)
{
	static const char *const names[] = {"weir-rings-ph", "weir-rings", "weir-rings-pl"};
	struct weir_feed_doorbell doorbell = bell_doorbell(server->bell);
	int ret = make_requests(server, err);

	if (ret)
		return ret;
	lock_init(&server->lock);
	list_init(&server->incoming);
	list_init(&server->rings);
	list_init(&server->loads);
	list_init(&server->touched);
	list_init(&server->attended);
	list_init(&server->waiting);
	list_init(&server->looked);
	uses_init(server);
	grips_init(server);
	server->look_ns = NEVER;
	server->trial.sparing = true;
	ret = weir_feed_create(ctx,
			       WEIR_FEED_OPTS(.depth = SERVER_REQUESTS, .requests = SERVER_REQUESTS,
					      .doorbell = doorbell),
			       &server->feed, err);
	if (ret == 0) {
		listen_awake(server);
		ret = thread_start(server->sys, &server->thread, names[server->which], run, server,
				   err);
		if (ret)
			weir_feed_destroy(server->feed);
	}
	if (ret)
		server_fini(server);
	server->started = ret == 0;
	return ret;
}

bool server_stop(struct server *server, int64_t deadline_ns)
{
	if (!server->started)
		return true;
	server->stop_ns = deadline_ns;
	atomic_store(&server->stopping, true);
	wake(server);
	thread_join(server->thread);
	server->started = false;
	return server->stuck == 0;
}

void server_fini(struct server *server)
{
	if (!server->requests)
		return;
	lock_fini(&server->lock);
	free(server->requests);
	server->requests = NULL;
}
