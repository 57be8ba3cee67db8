/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client's end of one ring: preparing requests and collecting what became of them.
 *
 * It stands on nothing but the mapped memory, waits for nobody and calls no system.  sq_head and cq_tail
 * are kept privately; which slots are free, and what was asked in each, is known from a private table
 * alone, so that a server can neither complete a request twice nor one that was never made.
 *
 * One thread prepares and one reaps; they may be two.  A second one beside either is told -EINVAL.
 */
#ifndef IO_USRBIO_CLIENT_H
#define IO_USRBIO_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "io/usrbio/layout.h"

/* What was asked in a slot; the client's alone. */
struct usrbio_slot {
	uint64_t userdata;
	uint64_t length;
	uint64_t room;       /* bytes from the start of its buffer to the end of the iov */
	_Atomic bool flying; /* until its completion is seen */
};

struct usrbio_client {
	struct usrbio_view view;
	struct usrbio_slot *slots;      /* entries of them */
	uint64_t *free;                 /* a bit for each slot: free; the preparing thread's */
	_Atomic uint64_t *reaped_slots; /* and those that it was not told of yet */
	uint32_t entries, words;        /* words of either */
	_Atomic int dead; /* 0, or why the ring is of no more use: -EPROTO, -ENOTCONN */
	_Atomic bool preparing, reaping; /* somebody is in there */

	int32_t sq_head;           /* the preparing thread's */
	_Atomic uint32_t prepared; /* ever; written by the preparing thread */

	int32_t cq_tail;         /* the reaping thread's */
	_Atomic uint32_t reaped; /* ever; written by the reaping thread */
	uint64_t clamped;        /* results above their request's length */
	uint32_t wants;          /* as the mark has it */
};

/*
 * Memory of usrbio_ring_bytes(entries), zero, not registered yet; 1..USRBIO_ENTRIES_MAX entries.  0, -EINVAL or
 * -ENOMEM.
 */
must_use int usrbio_client_init(struct usrbio_client *client, void *memory, uint32_t entries);
void usrbio_client_fini(struct usrbio_client *client);

/*
 * Queues one request; room is how many bytes the iov has from iov_offset on.  Returns the slot;
 * -EAGAIN: none is free, or the server has not taken enough yet: reap, and try again; -EPROTO, -ENOTCONN:
 * the ring is dead; -EINVAL: two threads prepare at once.
 */
must_use int usrbio_client_prepare(struct usrbio_client *client, const struct usrbio_args *args,
				   uint64_t room);

/*
 * Collects up to max completions, in whatever order they come.  A result above the length asked is
 * clamped to it.  -EPROTO: the server broke the protocol, and the ring is dead from now on.
 */
must_use int usrbio_client_reap(struct usrbio_client *client, struct usrbio_cqe *out, unsigned max);

/*
 * The server is gone: what had completed is still collected, and then each request in flight is given
 * back once with the result -ENOTCONN.  Returns how many, up to max; call it until it returns 0.
 */
must_use int usrbio_client_abandon(struct usrbio_client *client, struct usrbio_cqe *out,
				   unsigned max);

/* Is there something to reap?  One look at the shared word; a broken one counts as yes. */
must_use bool usrbio_client_ready(const struct usrbio_client *client);

/*
 * Is the server to be told, by its submit semaphore, of what was prepared or reaped since the last time?
 * No while it says that it is awake and will look.  A server that is not ours never says so.
 */
static inline bool usrbio_client_must_tell(const struct usrbio_client *client)
{
	/* An exchange, not a load: see struct usrbio_mark. */
	return atomic_fetch_or_explicit(&client->view.mark->awake, 0, memory_order_acq_rel) !=
	       USRBIO_MARK_AWAKE;
}

/*
 * Before a sleep for that many completions.  Who sleeps looks at the ring after this and before that, with
 * usrbio_client_ready(): what the server did while it still knew of fewer is seen there.
 */
static inline void usrbio_client_wants(struct usrbio_client *client, uint32_t count)
{
	if (client->wants == count)
		return;
	client->wants = count;
	atomic_exchange_explicit(&client->view.mark->wanted, count, memory_order_acq_rel);
}

/* How many were prepared and not reaped. */
static inline uint32_t usrbio_client_flying(const struct usrbio_client *client)
{
	uint32_t reaped = atomic_load_explicit(&client->reaped, memory_order_acquire);

	return atomic_load_explicit(&client->prepared, memory_order_acquire) - reaped;
}

#endif
