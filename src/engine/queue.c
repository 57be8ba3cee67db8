/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/queue.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "engine/context.h"
#include "io/fd.h"

#define CAPACITY_DEFAULT 65536

void queue_init(struct weir_queue *queue, struct weir_ctx *ctx, uint32_t capacity)
{
	*queue = (struct weir_queue){.ctx = ctx, .fd = -1};
	queue->capacity = capacity ? capacity : CAPACITY_DEFAULT;
	queue->last = &queue->first;
	lock_init(&queue->lock);
	cond_init(&queue->arrived);
}

void queue_fini(struct weir_queue *queue)
{
	if (queue->fd >= 0)
		close(queue->fd);
	cond_fini(&queue->arrived);
	lock_fini(&queue->lock);
}

/* The descriptor says "readable" exactly while completions are there.  With the lock held. */
static void signal_fd(struct weir_queue *queue)
{
	uint64_t value = 1;
	ssize_t ret = 0;

	if (queue->fd < 0 || queue->signalled == (queue->count > 0))
		return;
	queue->signalled = queue->count > 0;
	if (queue->signalled)
		ret = write(queue->fd, &value, sizeof(value));
	else
		ret = read(queue->fd, &value, sizeof(value));
	(void)ret; /* non-blocking, and the counter is 0 or 1: neither can fail */
}

void queue_post(struct weir_queue *queue, struct completion *completion)
{
	lock_take(&queue->lock);
	completion->next = NULL;
	*queue->last = completion;
	queue->last = &completion->next;
	queue->count++;
	if (queue->count == 1) {
		signal_fd(queue);
		cond_wake_all(&queue->arrived);
	}
	lock_drop(&queue->lock);
}

void queue_nudge(struct weir_queue *queue)
{
	lock_take(&queue->lock);
	queue->nudged = true;
	cond_wake_all(&queue->arrived);
	lock_drop(&queue->lock);
}

unsigned queue_take(struct weir_queue *queue, struct weir_done *out, unsigned max)
{
	unsigned taken = 0;
	bool was_full;

	lock_take(&queue->lock);
	was_full = queue->count >= queue->capacity;
	while (taken < max && queue->first) {
		struct completion *completion = queue->first;

		queue->first = completion->next;
		out[taken++] = completion->done;
	}
	if (!queue->first)
		queue->last = &queue->first;
	queue->count -= taken;
	signal_fd(queue);
	was_full = was_full && queue->count < queue->capacity;
	lock_drop(&queue->lock);
	if (was_full)
		ctx_wake(queue->ctx);
	return taken;
}

/* Relaxed, both: a time to reckon with, nothing is published by it. */
void queue_begin_wait(struct weir_queue *queue)
{
	atomic_store_explicit(&queue->waits_since_ns, queue->ctx->sys->now_ns() - queue->waited_ns,
			      memory_order_relaxed);
}

/* Many short waits in vain are one long one: who looks after a progress bar meanwhile waits as well. */
void queue_end_wait(struct weir_queue *queue, bool in_vain)
{
	int64_t since = atomic_exchange_explicit(&queue->waits_since_ns, 0, memory_order_relaxed);

	queue->waited_ns = in_vain ? queue->ctx->sys->now_ns() - since : 0;
}

bool queue_sleep(struct weir_queue *queue, int64_t deadline_ns)
{
	bool in_time = true;

	lock_take(&queue->lock);
	while (in_time && !queue->first && !queue->nudged)
		in_time = cond_wait(&queue->arrived, &queue->lock, deadline_ns);
	in_time = in_time || queue->first;
	queue->nudged = false;
	lock_drop(&queue->lock);
	return in_time;
}

/* Takes out those of a transfer, or the one that is named. */
static void take_out(struct weir_queue *queue, const struct weir_transfer *transfer,
		     const struct completion *one)
{
	struct completion **at = &queue->first;
	bool was_full;

	lock_take(&queue->lock);
	was_full = queue->count >= queue->capacity;
	while (*at) {
		struct completion *completion = *at;

		if (one ? completion != one : completion->done.transfer != transfer) {
			at = &completion->next;
			continue;
		}
		*at = completion->next;
		queue->count--;
		weir_buffer_unref(completion->done.buffer);
	}
	queue->last = at;
	signal_fd(queue);
	was_full = was_full && queue->count < queue->capacity;
	lock_drop(&queue->lock);
	if (was_full)
		ctx_wake(queue->ctx); /* others may have waited for the room */
}

void queue_forget(struct weir_queue *queue, const struct weir_transfer *transfer)
{
	take_out(queue, transfer, NULL);
}

void queue_withdraw(struct weir_queue *queue, const struct completion *completion)
{
	take_out(queue, NULL, completion);
}

bool queue_full(const struct weir_queue *queue)
{
	return atomic_load_explicit(&queue->count, memory_order_relaxed) >= queue->capacity;
}

/* ---- The public face ---- */

int weir_queue_create(struct weir_ctx *ctx, uint32_t capacity, struct weir_queue **out,
		      struct weir_error *err)
{
	struct weir_queue *queue;
	int ret = ctx_alive(ctx, err);

	if (ret < 0)
		return ret;
	queue = malloc(sizeof(*queue));
	if (!queue)
		return error_nomem(err, NULL, "a queue");
	queue_init(queue, ctx, capacity);
	*out = queue;
	return 0;
}

void weir_queue_destroy(struct weir_queue *queue)
{
	if (!queue)
		return;
	/* A forked child leaves the lock as the parent's threads held it. */
	if (ctx_alive(queue->ctx, NULL) == 0)
		queue_fini(queue);
	free(queue);
}

int weir_queue_wait(struct weir_queue *queue, struct weir_done *out, unsigned max,
		    int64_t timeout_ns, struct weir_error *err)
{
	int ret = ctx_alive(queue->ctx, err);
	int64_t deadline;
	unsigned taken;

	if (ret < 0)
		return ret;
	if (max == 0)
		return error_set(err, WEIR_ARG, NULL, "waiting for 0 completions");
	deadline = deadline_after(queue->ctx->sys, timeout_ns);
	taken = queue_take(queue, out, max);
	if (taken == 0 && timeout_ns != 0) {
		queue_begin_wait(queue);
		while (queue_sleep(queue, deadline) && !(taken = queue_take(queue, out, max)))
			;
		queue_end_wait(queue, taken == 0);
	}
	if (taken == 0)
		return error_set(err, WEIR_TIMEOUT, NULL, "no completion came in time");
	return (int)min_of(taken, (unsigned)INT32_MAX);
}

int weir_queue_fd(struct weir_queue *queue)
{
	int fd;

	if (ctx_alive(queue->ctx, NULL) < 0)
		return -1;
	lock_take(&queue->lock);
	if (queue->fd < 0) {
		queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (queue->fd >= 0)
			queue->fd = fd_lift(queue->ctx->sys, queue->fd);
		signal_fd(queue);
	}
	fd = queue->fd;
	lock_drop(&queue->lock);
	return fd;
}
