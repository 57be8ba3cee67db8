/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The doorbell of a feed.
 *
 * A lane whose kernel can waits for the word and for its own completions at once.  For others a thread
 * waits for the word and wakes the lane.  It is asked to before each sleep and goes on listening when
 * the driver woke for another reason, so a post may cost a system call more than it had to.
 *
 *	driver: ask --> thread: count in, futex wait, count out --> wake the lane
 */
#include <errno.h>
#include <linux/futex.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/context.h"
#include "engine/feed.h"

/* A sleep of the thread; it looks then whether it is still wanted. */
#define NAP_NS (100 * NS_PER_MS)

/* ---- glibc's semaphores: the value below, those who wait above ---- */

#define ONE_WAITER (UINT64_C(1) << 32)

static int count_in(void *arg)
{
	uint64_t *data = arg;
	/* Sequentially consistent, as glibc has it: counted before the value is looked at. */
	uint64_t before = __atomic_fetch_add(data, ONE_WAITER, __ATOMIC_SEQ_CST);

	if ((uint32_t)before == 0)
		return 0;
	__atomic_fetch_sub(data, ONE_WAITER, __ATOMIC_SEQ_CST);
	return 1;
}

static int look(void *arg)
{
	return (uint32_t)__atomic_load_n((uint64_t *)arg, __ATOMIC_SEQ_CST) != 0;
}

static void count_out(void *arg)
{
	__atomic_fetch_sub((uint64_t *)arg, ONE_WAITER, __ATOMIC_SEQ_CST);
}

/* ---- The thread ---- */

static void nap(const struct sys *sys, const struct feed_bell *bell)
{
	const struct timespec most = {0, NAP_NS};

	sys->futex(bell->door.word, FUTEX_WAIT, 0, &most, 0);
}

/* Sleeps until it rings.  False: the memory is gone. */
static bool listen_on(const struct sys *sys, struct feed_bell *bell)
{
	for (;;) {
		int rang = bell->door.wait(bell->door.arg);

		if (rang != 0 || atomic_load_explicit(&bell->over, memory_order_acquire)) {
			if (rang == 0)
				bell->door.done(bell->door.arg);
			return rang >= 0;
		}
		nap(sys, bell);
		bell->door.done(bell->door.arg);
	}
}

static void *watch(void *arg)
{
	struct weir_feed *feed = arg;
	struct feed_bell *bell = &feed->bell;

	for (;;) {
		while (sem_wait(&bell->ask) && errno == EINTR)
			;
		if (atomic_load_explicit(&bell->over, memory_order_acquire))
			return NULL;
		if (!listen_on(feed->ctx->sys, bell))
			atomic_store_explicit(&bell->gone, true, memory_order_release);
		/* Release: the driver asks again once it sees this. */
		atomic_store_explicit(&bell->asked, false, memory_order_release);
		feed_ops(feed)->wake(feed->core);
	}
}

/* ---- The driver ---- */

int feed_bell_create(struct weir_feed *feed, const struct weir_feed_doorbell *door,
		     struct weir_error *err)
{
	struct feed_bell *bell = &feed->bell;
	int ret;

	if (!door->word)
		return 0;
	bell->door = *door;
	if (!door->wait) {
		bell->door.wait = count_in;
		bell->door.done = count_out;
		bell->door.look = look;
		bell->door.arg = door->word;
	}
	bell->listening = (struct bell){bell->door.word, bell->door.wait, bell->door.done,
					bell->door.arg};
	if (feed_ops(feed)->lane_listen &&
	    feed_ops(feed)->lane_listen(feed->core, &bell->listening)) {
		bell->mode = FEED_BELL_SOURCE;
		return 0;
	}
	if (feed->ctx->simulated) {
		bell->mode = FEED_BELL_LOOKED;
		return 0;
	}
	sem_init(&bell->ask, 0, 0);
	ret = thread_start(feed->ctx->sys, &bell->thread, "weir-bell", watch, feed, err);
	if (ret == 0)
		bell->mode = FEED_BELL_THREAD;
	return ret;
}

void feed_bell_destroy(struct weir_feed *feed)
{
	struct feed_bell *bell = &feed->bell;

	if (bell->mode != FEED_BELL_THREAD)
		return;
	atomic_store_explicit(&bell->over, true, memory_order_release);
	sem_post(&bell->ask);
	thread_join(bell->thread);
	sem_destroy(&bell->ask);
}

bool feed_bell_rang(struct weir_feed *feed)
{
	struct feed_bell *bell = &feed->bell;
	int rang;

	if (bell->mode == FEED_BELL_NONE || atomic_load_explicit(&bell->gone, memory_order_acquire))
		return false;
	rang = bell->door.look(bell->door.arg);
	if (rang < 0)
		atomic_store_explicit(&bell->gone, true, memory_order_release);
	return rang > 0;
}

void feed_bell_listen(struct weir_feed *feed)
{
	struct feed_bell *bell = &feed->bell;

	if (bell->mode != FEED_BELL_THREAD ||
	    atomic_load_explicit(&bell->gone, memory_order_acquire) ||
	    atomic_exchange_explicit(&bell->asked, true, memory_order_acq_rel))
		return;
	sem_post(&bell->ask);
}

const char *weir_feed_doorbell_kind(const struct weir_feed *feed)
{
	static const char *const names[] = {"none", "io_uring", "thread", "looked at"};

	return names[feed->bell.mode];
}
