/* SPDX-License-Identifier: Apache-2.0 */
#include "source/retry.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "source/front.h"

/* The first wait is below this, the next below twice that ... */
#define WAIT_NS           (50 * NS_PER_MS)
#define WAIT_THROTTLED_NS (500 * NS_PER_MS)
#define WAIT_MAX_NS       (20 * NS_PER_SEC)

/* Credit is counted in tenths: a success earns one, a try costs ten. */
#define CREDIT_OF_A_TRY 10
#define CREDIT_FLOOR    (RETRY_FLOOR * CREDIT_OF_A_TRY)

/* What a long good time can save up for a bad one. */
#define CREDIT_MAX (100 * CREDIT_OF_A_TRY)

struct retry {
	struct front front;
	_Atomic bool saved_up; /* credit is at its most: read without the lock, and a guess then */
	struct {
		struct lock lock;
		uint32_t credit;
	} shared; /* touch these only with shared.lock held */
};

/* ---- What is worth it ---- */

static const int errnos_of_a_moment[] = {
	EAGAIN,       EINTR,     EBUSY,       ENOBUFS,      ETIMEDOUT, ECONNRESET,
	ECONNABORTED, ENETRESET, ENETUNREACH, EHOSTUNREACH, ENETDOWN,  EPIPE,
};

static bool of_a_moment(int os_errno)
{
	for (size_t i = 0; i < array_size(errnos_of_a_moment); i++)
		if (errnos_of_a_moment[i] == os_errno)
			return true;
	return false;
}

static bool worth_it(const struct request *request)
{
	switch (request->result) {
	case WEIR_THROTTLED:
	case WEIR_PEER_GONE:
	case WEIR_PROTO:
	case WEIR_TIMEOUT:
		return true;
	case WEIR_IO:
		return of_a_moment(request->os_errno);
	default:
		return false;
	}
}

/* ---- When ---- */

/* A random part of a time that doubles with each try: full jitter. */
static int64_t wait_ns(const struct sys *sys, const struct request *request)
{
	int64_t most = request->result == WEIR_THROTTLED ? WAIT_THROTTLED_NS : WAIT_NS;
	uint64_t random;

	for (uint32_t i = 0; i < request->retries && most < WAIT_MAX_NS; i++)
		most *= 2;
	most = min_of(most, (int64_t)WAIT_MAX_NS);
	if (sys->random(&random, sizeof(random)) < 0)
		return most;
	return (int64_t)(random % (uint64_t)most);
}

static void set_credit_locked(struct retry *retry, uint32_t credit)
{
	retry->shared.credit = credit;
	atomic_store_explicit(&retry->saved_up, credit == CREDIT_MAX, memory_order_relaxed);
}

static bool earn(struct retry *retry)
{
	/* Nearly always: a source that serves well costs no lock. */
	if (likely(atomic_load_explicit(&retry->saved_up, memory_order_relaxed)))
		return true;
	lock_take(&retry->shared.lock);
	if (retry->shared.credit < CREDIT_MAX)
		set_credit_locked(retry, retry->shared.credit + 1);
	lock_drop(&retry->shared.lock);
	return true;
}

static bool pay(struct retry *retry)
{
	bool enough;

	lock_take(&retry->shared.lock);
	enough = retry->shared.credit >= CREDIT_OF_A_TRY;
	if (enough)
		set_credit_locked(retry, retry->shared.credit - CREDIT_OF_A_TRY);
	lock_drop(&retry->shared.lock);
	return enough;
}

static bool back(struct front *front, struct front_slot *slot)
{
	struct retry *retry = container_of(front, struct retry, front);
	const struct sys *sys = front->source.env->sys;
	struct request *inner = &slot->inner;
	int64_t due_ns;

	if (inner->result >= 0)
		return earn(retry);
	if (slot->cancelled || !worth_it(inner) || inner->retries + 1 >= RETRY_TRIES)
		return true;
	due_ns = sys->now_ns() + wait_ns(sys, inner);
	if (inner->deadline_ns > 0 && due_ns >= inner->deadline_ns)
		return true;
	if (!pay(retry))
		return true;
	inner->retries++;
	slot->due_ns = due_ns;
	return false;
}

/* ---- The source ---- */

static void destroy(struct source *source)
{
	struct retry *retry = container_of(front(source), struct retry, front);

	front_fini(&retry->front);
	lock_fini(&retry->shared.lock);
	free(retry);
}

static const struct front_hooks hooks = {.back = back};

static const struct source_ops retry_ops = {
	.scheme = "retry",
	.destroy = destroy,
};

int source_retry_create(struct source *next, struct source **out, struct weir_error *err)
{
	struct retry *retry = calloc(1, sizeof(*retry));

	if (!retry)
		return error_nomem(err, NULL, "the source that tries again");
	front_init(&retry->front, &retry_ops, &hooks, next);
	lock_init(&retry->shared.lock);
	retry->shared.credit = CREDIT_FLOOR;
	*out = &retry->front.source;
	return 0;
}
