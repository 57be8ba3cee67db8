/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting: look at the ring, for a moment where that was asked for (spin.h); where there is not
 * enough, say how much would be, drain the semaphore, look once more, and sleep on it for a slice.
 * A post that comes between the look and the sleep makes the sleep end at once; one that never
 * comes costs a slice.  Between slices the waiter looks at what the session's prober found, and
 * never touches the mount itself.
 */
#include "io/usrbio/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/size.h"
#include "io/usrbio/shm.h"
#include "io/usrbio/signal.h"
#include "io/usrbio/spin.h"

#define SLICE_NS (100 * NS_PER_MS)
#define LONG_NS                                                                                    \
	(250 * NS_PER_MS) /* who waits for several, or has the daemon watched, looks less often */
#define SILENCE_NS (60 * NS_PER_SEC)

struct usrbio_ring {
	struct usrbio_session *session; /* a reference */
	const struct sys *sys;
	struct usrbio_shm shm;
	struct usrbio_key key;
	struct usrbio_sem *bell; /* the session's */
	struct usrbio_client client;
	_Atomic bool woken;
	int64_t spin_ns;

	/* The waiting thread's. */
	int64_t quiet_since; /* when requests were first seen in flight without progress; 0: not */
	bool watching;       /* the session is probed for us */
};

/* ---- Making and removing ---- */

static int refuse_opts(const struct usrbio_session *session, const struct usrbio_ring_opts *opts,
		       struct weir_error *err)
{
	const char *mount = usrbio_session_mount(session);

	if (opts->entries < 1 || opts->entries > USRBIO_ENTRIES_MAX)
		return error_sys(err, EINVAL, mount, "%s: a ring of %u entries, not of 1 to %u",
				 mount, opts->entries, USRBIO_ENTRIES_MAX);
	if (opts->depth > (int)opts->entries)
		return error_sys(err, EINVAL, mount, "%s: a ring of depth %d in %u entries", mount,
				 opts->depth, opts->entries);
	if (opts->timeout_ms < 0)
		return error_sys(err, EINVAL, mount, "%s: a ring with a time-out of %d ms", mount,
				 opts->timeout_ms);
	return 0;
}

/* Memory and the client's end of it. */
static int make_memory(struct usrbio_ring *ring, const struct usrbio_ring_opts *opts,
		       struct weir_error *err)
{
	int ret = usrbio_shm_create(ring->sys, usrbio_session_shm_dir(ring->session),
				    usrbio_ring_bytes(opts->entries),
				    opts->mode ? opts->mode : 0600, opts->node, &ring->shm, err);

	if (ret)
		return ret;
	if (usrbio_client_init(&ring->client, ring->shm.memory, opts->entries))
		return error_nomem(err, usrbio_session_mount(ring->session), "a ring");
	return 0;
}

static int set_spin(struct usrbio_ring *ring, int64_t asked_ns, struct weir_error *err)
{
	int ret = asked_ns ? 0 : usrbio_spin_wanted(&asked_ns, err);

	ring->spin_ns = usrbio_spin_allowed(asked_ns);
	return ret;
}

static void fill_key(struct usrbio_key *key, const struct usrbio_ring_opts *opts)
{
	key->ring = true;
	key->for_read = opts->for_read;
	key->depth = opts->depth;
	key->priority = (int8_t)((opts->priority > 0) - (opts->priority < 0));
	key->timeout_ms = (uint32_t)opts->timeout_ms;
	key->flags = opts->flags;
}

static int link_ring(struct usrbio_ring *ring, struct weir_error *err)
{
	char key[USRBIO_KEY_MAX], target[sizeof(USRBIO_SHM) + USRBIO_SHM_NAME_MAX];

	if (usrbio_uuid_random(ring->sys, ring->key.id))
		return error_sys(err, EIO, usrbio_session_mount(ring->session), "a random id");
	usrbio_key_format(&ring->key, key);
	snprintf(target, sizeof(target), USRBIO_SHM "/%s", ring->shm.name);
	return usrbio_session_link(ring->session, key, target, err);
}

static void release(struct usrbio_ring *ring)
{
	usrbio_client_fini(&ring->client);
	usrbio_shm_unmap(ring->sys, &ring->shm);
	usrbio_session_put(ring->session);
	free(ring);
}

/* The bell before the link: whatever fails, no registration is left. */
static int fill_ring(struct usrbio_ring *ring, const struct usrbio_ring_opts *opts,
		     struct weir_error *err)
{
	int ret = usrbio_session_bell(ring->session, usrbio_bell_of(opts->priority), &ring->bell,
				      err);

	if (ret)
		return ret;
	fill_key(&ring->key, opts);
	ret = make_memory(ring, opts, err);
	if (!ret)
		ret = link_ring(ring, err);
	if (ring->shm.memory)
		usrbio_shm_unlink(ring->sys, usrbio_session_shm_dir(ring->session), ring->shm.name);
	return ret;
}

int usrbio_ring_create(struct usrbio_session *session, const struct usrbio_ring_opts *opts,
		       struct usrbio_ring **out, struct weir_error *err)
{
	struct usrbio_ring *ring;
	int ret = refuse_opts(session, opts, err);

	if (ret)
		return ret;
	ring = calloc(1, sizeof(*ring));
	if (!ring)
		return error_nomem(err, usrbio_session_mount(session), "a ring");
	usrbio_session_ref(session);
	ring->session = session;
	ring->sys = usrbio_session_sys(session);
	ret = set_spin(ring, opts->spin_ns, err);
	if (!ret)
		ret = fill_ring(ring, opts, err);
	if (ret) {
		release(ring);
		return ret;
	}
	*out = ring;
	return 0;
}

static void stop_watching(struct usrbio_ring *ring)
{
	if (ring->watching)
		usrbio_session_unwatch(ring->session);
	ring->watching = false;
	ring->quiet_since = 0;
}

void usrbio_ring_destroy(struct usrbio_ring *ring)
{
	char key[USRBIO_KEY_MAX];

	if (!ring)
		return;
	if (usrbio_session_mine(ring->session)) {
		stop_watching(ring);
		usrbio_key_format(&ring->key, key);
		if (usrbio_session_health(ring->session) != USRBIO_GONE)
			usrbio_session_unlink(ring->session, key, NULL);
	}
	release(ring);
}

/* ---- Preparing ---- */

int usrbio_ring_prepare(struct usrbio_ring *ring, const struct usrbio_io *io)
{
	struct usrbio_args args;

	if (unlikely(!usrbio_session_mine(ring->session)))
		return -EPERM;
	if (!io->length || !size_inside(io->iov_offset, io->length, io->iov_bytes))
		return -EINVAL;
	memcpy(args.iov, io->iov, sizeof(args.iov));
	args.iov_offset = io->iov_offset;
	args.file = io->file;
	args.file_offset = io->file_offset;
	args.length = io->length;
	args.userdata = io->userdata;
	return usrbio_client_prepare(&ring->client, &args, io->iov_bytes - io->iov_offset);
}

int usrbio_ring_submit(struct usrbio_ring *ring)
{
	int dead = atomic_load_explicit(&ring->client.dead, memory_order_relaxed);

	if (unlikely(!usrbio_session_mine(ring->session)))
		return -EPERM;
	if (unlikely(dead))
		return dead;
	return usrbio_client_must_tell(&ring->client) ? usrbio_bell_ring(ring->sys, ring->bell) : 0;
}

/* ---- Waiting ---- */

struct waiting {
	struct usrbio_ring *ring;
	struct usrbio_cqe *out;
	int max, min, filled;
	int64_t deadline_ns;
	int64_t silent_since; /* of this call, as far as the clock was asked: its start, or when there was
				 progress, or nothing in flight; 0: now */
};

/* Did the daemon take all, and give their places back?  It can die between an answer and that. */
static bool all_taken(const struct usrbio_ring *ring)
{
	const struct usrbio_view *view = &ring->client.view;

	return atomic_load_explicit(view->sq_tail, memory_order_relaxed) ==
	       atomic_load_explicit(view->sq_head, memory_order_relaxed);
}

/*
 * A server that found no place for completions waits for a post.  It can only have found none where it
 * had something to take.
 */
static void tell_of_room(struct usrbio_ring *ring)
{
	if (!all_taken(ring) && usrbio_client_must_tell(&ring->client))
		usrbio_bell_ring(ring->sys, ring->bell);
}

/* Takes what is there: how many, or a negative errno. */
static int collect(struct waiting *waiting)
{
	struct usrbio_ring *ring = waiting->ring;
	int got = usrbio_client_reap(&ring->client, waiting->out + waiting->filled,
				     (unsigned)(waiting->max - waiting->filled));

	if (got > 0) {
		waiting->filled += got;
		stop_watching(ring);
		tell_of_room(ring);
	}
	return got;
}

/* The daemon is gone: what is in flight comes back, and when that is all, nothing more will. */
static int give_up(struct waiting *waiting)
{
	struct usrbio_ring *ring = waiting->ring;
	int got;

	do {
		got = usrbio_client_abandon(&ring->client, waiting->out + waiting->filled,
					    (unsigned)(waiting->max - waiting->filled));
		if (got > 0)
			waiting->filled += got;
	} while (got > 0 && waiting->filled < waiting->max);
	stop_watching(ring);
	if (got < 0)
		return got;
	return waiting->filled ? 0 : -ENOTCONN;
}

/* Requests that fly without news for a slice are reason to look after the daemon. */
static void note_quiet(struct waiting *waiting, int64_t now)
{
	struct usrbio_ring *ring = waiting->ring;

	if (!usrbio_client_flying(&ring->client))
		waiting->silent_since = now;
	if (!usrbio_client_flying(&ring->client) && all_taken(ring)) {
		stop_watching(ring);
		return;
	}
	if (!ring->quiet_since)
		ring->quiet_since = now;
	if (!ring->watching && now - ring->quiet_since >= SLICE_NS)
		ring->watching = usrbio_session_watch(ring->session);
}

/* Is there a reason to stop waiting?  1: return what there is; 0: none; or a negative errno. */
static int reason_to_stop(struct waiting *waiting, int64_t now)
{
	struct usrbio_ring *ring = waiting->ring;

	if (atomic_load_explicit(&ring->woken, memory_order_relaxed) &&
	    atomic_exchange(&ring->woken, false))
		return 1;
	if (now >= waiting->deadline_ns)
		return 1;
	if (!waiting->silent_since)
		waiting->silent_since = now;
	note_quiet(waiting, now);
	if (waiting->deadline_ns == NEVER && now - waiting->silent_since >= SILENCE_NS)
		return waiting->filled ? 1 : -ETIMEDOUT;
	return 0;
}

static void sleep_a_slice(struct waiting *waiting, int64_t now)
{
	struct usrbio_ring *ring = waiting->ring;
	struct usrbio_sem *done = ring->client.view.done;
	int wanted = waiting->min - waiting->filled;
	int64_t slice = wanted > 1 || ring->watching ? LONG_NS : SLICE_NS;
	int64_t until = min_of(waiting->deadline_ns, now + slice);

	if (ring->spin_ns && usrbio_spin(ring->sys, &ring->client, &ring->woken,
					 min_of(waiting->deadline_ns, now + ring->spin_ns)))
		return;
	usrbio_client_wants(&ring->client, (uint32_t)wanted);
	usrbio_sem_drain(done);
	if (usrbio_client_ready(&ring->client) ||
	    atomic_load_explicit(&ring->woken, memory_order_acquire))
		return;
	/* Ended by a post, by the slice's end, or by nothing at all: the ring is looked at again. */
	(void)!usrbio_sem_wait(ring->sys, done, until);
}

/* Nothing came: is there a reason to stop?  Else sleeps.  As reason_to_stop(). */
static int nothing_came(struct waiting *waiting)
{
	struct usrbio_ring *ring = waiting->ring;
	int64_t now = ring->sys->now_ns();
	int stop = reason_to_stop(waiting, now);

	if (!stop && waiting->filled >= waiting->min)
		return 1;
	if (!stop)
		sleep_a_slice(waiting, now);
	return stop;
}

/* 0: look again; else as reason_to_stop(). */
static int wait_once(struct waiting *waiting)
{
	struct usrbio_ring *ring = waiting->ring;
	int got = collect(waiting), stop;

	if (got < 0 && got != -ENOTCONN)
		return waiting->filled ? 1 : got;
	if (waiting->filled && waiting->filled >= waiting->min)
		return 1;
	if (got == -ENOTCONN || usrbio_session_health(ring->session) == USRBIO_GONE) {
		stop = give_up(waiting);
		return stop ? stop : 1;
	}
	if (got > 0) {
		waiting->silent_since = 0;
		return 0;
	}
	return nothing_came(waiting);
}

int usrbio_ring_wait(struct usrbio_ring *ring, struct usrbio_cqe *out, int max, int min,
		     int64_t deadline_ns)
{
	struct waiting waiting = {.ring = ring,
				  .out = out,
				  .max = max,
				  .min = min_of(min, max),
				  .deadline_ns = deadline_ns};
	int stop;

	if (max <= 0)
		return -EINVAL;
	if (unlikely(!usrbio_session_mine(ring->session)))
		return -EPERM;
	do
		stop = wait_once(&waiting);
	while (!stop);
	return stop < 0 ? stop : waiting.filled;
}

void usrbio_ring_wake(struct usrbio_ring *ring)
{
	atomic_store(&ring->woken, true);
	usrbio_sem_post(ring->sys, ring->client.view.done);
}

int usrbio_ring_deadline(const struct sys *sys, const struct timespec *abs_time,
			 int64_t *deadline_ns)
{
	int64_t point, left;

	*deadline_ns = NEVER;
	if (!abs_time)
		return 0;
	if (abs_time->tv_nsec < 0 || abs_time->tv_nsec >= NS_PER_SEC)
		return -EINVAL;
	if (__builtin_mul_overflow((int64_t)abs_time->tv_sec, NS_PER_SEC, &point) ||
	    __builtin_add_overflow(point, abs_time->tv_nsec, &point)) {
		*deadline_ns = abs_time->tv_sec < 0 ? 0 : NEVER - 1;
		return 0;
	}
	if (__builtin_sub_overflow(point, sys->real_ns(), &left) ||
	    __builtin_add_overflow(sys->now_ns(), left, deadline_ns))
		*deadline_ns = point < 0 ? 0 : NEVER - 1;
	return 0;
}

/* ---- What is known of it ---- */

uint32_t usrbio_ring_entries_of(const struct usrbio_ring *ring)
{
	return ring->client.entries;
}

uint32_t usrbio_ring_flying(const struct usrbio_ring *ring)
{
	return usrbio_client_flying(&ring->client);
}

const struct usrbio_key *usrbio_ring_key(const struct usrbio_ring *ring)
{
	return &ring->key;
}

void *usrbio_ring_memory(const struct usrbio_ring *ring)
{
	return ring->shm.memory;
}
