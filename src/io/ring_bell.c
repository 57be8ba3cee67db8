/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Waiting for a word in shared memory and for completions at once: FUTEX_WAIT as an operation of the
 * ring (Linux 6.7).
 *
 * The operation stays with the kernel until somebody wakes it, from one sleep to the next.  Waiters are
 * counted for the time of a sleep only: whoever rings meanwhile need not call the kernel, and we look
 * before we sleep again.
 *
 * Several ends together are waited for by their number, and to the kernel the bell is one of them.  So
 * that it ends such a sleep alone, empty operations are linked behind it as it is armed:
 *
 *	bell --> nothing --> nothing --> nothing
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/bell.h"
#include "base/clock.h"
#include "base/size.h"
#include "io/ring.h"

/* Of <linux/io_uring.h> and <linux/futex.h> since 6.7; the headers here may be older. */
#define OP_FUTEX_WAIT    51
#define FUTEX2_U32       0x02u /* not private: others' memory */
#define FUTEX2_ANY_WAKER UINT64_C(0xffffffff)

/* The submission that these numbers go into. */
_Static_assert(sizeof(struct io_uring_sqe) == 64, "struct io_uring_sqe");
_Static_assert(offsetof(struct io_uring_sqe, fd) == 4, "struct io_uring_sqe: fd");
_Static_assert(offsetof(struct io_uring_sqe, off) == 8, "struct io_uring_sqe: off");
_Static_assert(offsetof(struct io_uring_sqe, addr) == 16, "struct io_uring_sqe: addr");
_Static_assert(offsetof(struct io_uring_sqe, addr3) == 48, "struct io_uring_sqe: addr3");

/* A ring that is broken waits for nothing; then the word is looked at this often. */
#define LOOK_NS (5 * NS_PER_MS)

static bool can_wait(struct ring *ring)
{
	struct io_uring_probe *probe = io_uring_get_probe_ring(&ring->uring);
	bool can;

	if (!probe)
		return false;
	can = probe->last_op >= OP_FUTEX_WAIT &&
	      (probe->ops[OP_FUTEX_WAIT].flags & IO_URING_OP_SUPPORTED);
	io_uring_free_probe(probe);
	return can;
}

bool ring_listen(struct io *io, const struct bell *bell)
{
	struct ring *ring = ring_of(io);

	if (ring->broken || !can_wait(ring))
		return false;
	ring->bell = bell;
	return true;
}

void ring_gather(struct io *io, uint32_t least)
{
	ring_of(io)->least = min_of(least, GATHER_MOST);
}

uint32_t ring_gathers(const struct ring *ring)
{
	uint32_t least = max_of(ring->least, 1u);

	return ring->bell ? min_of(least, ring->bell_company + 1) : least;
}

bool ring_make_room(struct ring *ring, uint32_t count)
{
	if (io_uring_sq_space_left(&ring->uring) < count)
		ring_enter(ring);
	return !ring->broken && io_uring_sq_space_left(&ring->uring) >= count;
}

void ring_add_company(struct ring *ring, struct io_uring_sqe *sqe, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		sqe->flags |= IOSQE_IO_LINK;
		sqe = io_uring_get_sqe(&ring->uring);
		io_uring_prep_nop(sqe);
		io_uring_sqe_set_data64(sqe, TAG_NOTHING);
	}
}

/* It was armed for fewer ends, and nobody rang since: it ends at once, and is armed anew before the next sleep. */
static void disarm(struct ring *ring)
{
	struct io_uring_sqe *sqe;

	if (ring->bell_leaves || !ring_make_room(ring, 1))
		return;
	sqe = io_uring_get_sqe(&ring->uring);
	io_uring_prep_cancel64(sqe, TAG_BELL, 0);
	io_uring_sqe_set_data64(sqe, TAG_NOTHING);
	ring->bell_leaves = true;
}

static bool arm(struct ring *ring)
{
	uint32_t company = ring->least > 1 ? ring->least - 1 : 0;
	struct io_uring_sqe *sqe;

	if (ring->bell_armed && company > ring->bell_company)
		disarm(ring);
	if (ring->bell_armed)
		return true;
	if (!ring_make_room(ring, 1 + company))
		return false;
	sqe = io_uring_get_sqe(&ring->uring);
	io_uring_prep_rw(OP_FUTEX_WAIT, sqe, (int)FUTEX2_U32, ring->bell->word, 0, 0);
	sqe->addr3 = FUTEX2_ANY_WAKER;
	io_uring_sqe_set_data64(sqe, TAG_BELL);
	ring_add_company(ring, sqe, company);
	ring->bell_company = company;
	ring->bell_armed = true;
	return true;
}

bool ring_bell_wait(struct ring *ring, int64_t *left_ns)
{
	int rang = ring->bell->wait(ring->bell->arg);

	if (rang < 0) {
		ring->bell = NULL;
		return true;
	}
	if (rang > 0)
		return false;
	if (ring->broken || !arm(ring))
		*left_ns = min_of(*left_ns, LOOK_NS);
	return true;
}

void ring_bell_done(struct ring *ring)
{
	if (ring->bell)
		ring->bell->done(ring->bell->arg);
}

void ring_bell_ended(struct ring *ring, int result)
{
	ring->bell_armed = ring->bell_leaves = false;
	if (result == -EFAULT) /* the word is there no more */
		ring->bell = NULL;
}
