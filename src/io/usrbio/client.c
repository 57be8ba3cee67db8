/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The orders in which a request changes hands, and what each relies on:
 *
 *	prepare   slot filled -> prepared counted -> slot flies -> args, sqe -> sq_head published
 *	reap      cqe copied and judged -> slot flies no more -> cq_tail published -> its bit set -> reaped counted
 *
 * A completion for a slot that does not fly is a lie, so it flies only when the slot says what was asked.
 * A slot is free for the next request only after cq_tail is past its completion, so a server that reads
 * sq_head before cq_tail never sees more requests than entries.
 *
 * The reaping thread hands bits over a word at a time, for an exchange is dear: it waits until all that was
 * written before it is, among it lines that the server's processor has to give up.
 */
#include "io/usrbio/client.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ERRNO_MAX 4095

static uint64_t bit_of(uint32_t slot)
{
	return UINT64_C(1) << slot % 64;
}

int usrbio_client_init(struct usrbio_client *client, void *memory, uint32_t entries)
{
	*client = (struct usrbio_client){0};
	if (entries < 1 || entries > USRBIO_ENTRIES_MAX)
		return -EINVAL;
	client->view = usrbio_view_of(memory, entries);
	client->entries = entries;
	client->words = (entries + 63) / 64;
	client->slots = calloc(entries, sizeof(*client->slots));
	client->free = calloc(client->words, sizeof(*client->free));
	client->reaped_slots = calloc(client->words, sizeof(*client->reaped_slots));
	if (!client->slots || !client->free || !client->reaped_slots) {
		usrbio_client_fini(client);
		return -ENOMEM;
	}
	for (uint32_t slot = 0; slot < entries; slot++)
		client->free[slot / 64] |= bit_of(slot);
	atomic_store_explicit(&client->view.mark->asked, USRBIO_MARK_ASKED, memory_order_relaxed);
	return 0;
}

void usrbio_client_fini(struct usrbio_client *client)
{
	free(client->slots);
	free(client->free);
	free((void *)client->reaped_slots);
	client->slots = NULL;
	client->free = NULL;
	client->reaped_slots = NULL;
}

/* The first reason stays. */
static int die(struct usrbio_client *client, int why)
{
	int alive = 0;

	atomic_compare_exchange_strong(&client->dead, &alive, why);
	return alive ? alive : why;
}

static bool outside(const struct usrbio_client *client, int32_t marker)
{
	return marker < 0 || marker >= client->view.places;
}

/* ---- Preparing ---- */

/* The lowest free one, or -1. */
static int32_t find_free(struct usrbio_client *client)
{
	for (uint32_t word = 0; word < client->words; word++) {
		_Atomic uint64_t *reaped = &client->reaped_slots[word];
		uint64_t bits = client->free[word];

		if (atomic_load_explicit(reaped, memory_order_relaxed)) {
			bits |= atomic_exchange_explicit(reaped, 0, memory_order_acquire);
			client->free[word] = bits;
		}
		if (bits)
			return (int32_t)(word * 64 + (uint32_t)__builtin_ctzll(bits));
	}
	return -1;
}

static void occupy(struct usrbio_client *client, uint32_t slot, const struct usrbio_args *args,
		   uint64_t room)
{
	uint32_t prepared = atomic_load_explicit(&client->prepared, memory_order_relaxed);
	struct usrbio_slot *asked = &client->slots[slot];

	client->free[slot / 64] &= ~bit_of(slot);
	asked->userdata = args->userdata;
	asked->length = args->length;
	asked->room = room;
	atomic_store_explicit(&client->prepared, prepared + 1, memory_order_release);
	atomic_store_explicit(&asked->flying, true, memory_order_release);
}

static void publish(struct usrbio_client *client, int32_t slot, const struct usrbio_args *args,
		    int32_t next)
{
	const struct usrbio_sqe sqe = {.index = slot, .userdata = args->userdata};
	const struct usrbio_view *view = &client->view;

	usrbio_store_words(&view->args[slot], args, sizeof(*args));
	usrbio_store_words(&view->sqe[client->sq_head], &sqe, sizeof(sqe));
	client->sq_head = next;
	atomic_store_explicit(view->sq_head, next, memory_order_release);
}

static int prepare(struct usrbio_client *client, const struct usrbio_args *args, uint64_t room)
{
	int dead = atomic_load_explicit(&client->dead, memory_order_relaxed);
	int32_t slot, tail, next = usrbio_next(client->sq_head, client->view.places);

	if (unlikely(dead))
		return dead;
	slot = find_free(client);
	if (slot < 0)
		return -EAGAIN;
	tail = atomic_load_explicit(client->view.sq_tail, memory_order_acquire);
	if (unlikely(outside(client, tail)))
		return die(client, -EPROTO);
	if (next == tail)
		return -EAGAIN;
	occupy(client, (uint32_t)slot, args, room);
	publish(client, slot, args, next);
	return slot;
}

int usrbio_client_prepare(struct usrbio_client *client, const struct usrbio_args *args,
			  uint64_t room)
{
	int ret;

	if (unlikely(atomic_exchange_explicit(&client->preparing, true, memory_order_acquire)))
		return -EINVAL;
	ret = prepare(client, args, room);
	atomic_store_explicit(&client->preparing, false, memory_order_release);
	return ret;
}

/* ---- Reaping ---- */

/* How many completions stand there, or -EPROTO: more than there are requests, or nonsense. */
static int count_ready(const struct usrbio_client *client)
{
	int32_t head = atomic_load_explicit(client->view.cq_head, memory_order_acquire);
	int32_t count;

	if (unlikely(outside(client, head)))
		return -EPROTO;
	count = usrbio_distance(client->cq_tail, head, client->view.places);
	return (uint32_t)count > usrbio_client_flying(client) ? -EPROTO : count;
}

/* Is it the completion of a request that was made and not completed?  Then it is clamped to that. */
static bool judge(struct usrbio_client *client, struct usrbio_cqe *cqe)
{
	uint32_t slot = (uint32_t)cqe->index;
	struct usrbio_slot *asked;

	if (slot >= client->entries)
		return false;
	asked = &client->slots[slot];
	if (!atomic_load_explicit(&asked->flying, memory_order_acquire))
		return false;
	if (asked->userdata != cqe->userdata || cqe->result < -ERRNO_MAX)
		return false;
	if (cqe->result > 0 && (uint64_t)cqe->result > asked->length) {
		if ((uint64_t)cqe->result > asked->room)
			return false;
		client->clamped++;
		cqe->result = (int64_t)asked->length;
	}
	cqe->reserved = 0;
	atomic_store_explicit(&asked->flying, false, memory_order_relaxed);
	return true;
}

static void release(struct usrbio_client *client, const struct usrbio_cqe *cqes, uint32_t count)
{
	uint32_t reaped = atomic_load_explicit(&client->reaped, memory_order_relaxed), i = 0;

	while (i < count) {
		uint32_t word = (uint32_t)cqes[i].index / 64;
		uint64_t bits = 0;

		for (; i < count && (uint32_t)cqes[i].index / 64 == word; i++)
			bits |= bit_of((uint32_t)cqes[i].index);
		atomic_fetch_or_explicit(&client->reaped_slots[word], bits, memory_order_release);
	}
	atomic_store_explicit(&client->reaped, reaped + count, memory_order_release);
}

/* They were found good beside one that was not: none of them is told of. */
static int refuse(struct usrbio_client *client, const struct usrbio_cqe *cqes, int count)
{
	for (int i = 0; i < count; i++)
		atomic_store_explicit(&client->slots[cqes[i].index].flying, true,
				      memory_order_relaxed);
	return -EPROTO;
}

static int reap(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	int count = count_ready(client);
	int32_t at = client->cq_tail;

	if (count <= 0)
		return count;
	if ((unsigned)count > max)
		count = (int)max;
	for (int i = 0; i < count; i++) {
		usrbio_load_words(&out[i], &client->view.cqe[at], sizeof(*out));
		if (unlikely(!judge(client, &out[i])))
			return refuse(client, out, i);
		at = usrbio_next(at, client->view.places);
	}
	client->cq_tail = at;
	atomic_store_explicit(client->view.cq_tail, at, memory_order_release);
	release(client, out, (uint32_t)count);
	return count;
}

static int reap_alive(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	int ret = atomic_load_explicit(&client->dead, memory_order_relaxed);

	if (unlikely(ret))
		return ret;
	ret = reap(client, out, max);
	return unlikely(ret < 0) ? die(client, ret) : ret;
}

int usrbio_client_reap(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	int ret;

	if (unlikely(atomic_exchange_explicit(&client->reaping, true, memory_order_acquire)))
		return -EINVAL;
	ret = reap_alive(client, out, max);
	atomic_store_explicit(&client->reaping, false, memory_order_release);
	return ret;
}

bool usrbio_client_ready(const struct usrbio_client *client)
{
	return atomic_load_explicit(&client->dead, memory_order_relaxed) ||
	       atomic_load_explicit(client->view.cq_head, memory_order_acquire) != client->cq_tail;
}

/* ---- The other side is gone ---- */

static int give_back(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	unsigned count = 0;

	for (uint32_t slot = 0; slot < client->entries && count < max; slot++) {
		struct usrbio_slot *asked = &client->slots[slot];

		if (!atomic_load_explicit(&asked->flying, memory_order_acquire))
			continue;
		atomic_store_explicit(&asked->flying, false, memory_order_relaxed);
		out[count++] = (struct usrbio_cqe){
			.index = (int32_t)slot, .result = -ENOTCONN, .userdata = asked->userdata};
	}
	release(client, out, count);
	return (int)count;
}

static int abandon(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	int ret = 0;

	if (die(client, -ENOTCONN) != -EPROTO)
		ret = reap(client, out, max);
	if (ret > 0)
		return ret;
	if (ret < 0)
		atomic_store(&client->dead, -EPROTO);
	return give_back(client, out, max);
}

int usrbio_client_abandon(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max)
{
	int ret;

	if (atomic_exchange_explicit(&client->reaping, true, memory_order_acquire))
		return -EINVAL;
	ret = abandon(client, out, max);
	atomic_store_explicit(&client->reaping, false, memory_order_release);
	return ret;
}
