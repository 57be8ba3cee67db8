/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is named to the kernel once, pinned, and used for many operations.
 *
 * Staging is registered in the first entries of a table, and operations are looked up in them.  What is
 * pinned by name (memory that the pool keeps, memory of those who are served) has the entries behind;
 * the first pin makes the table large.
 *
 *	entries   0 .. 63    64 .. 4159
 *	          pieces     pins: 1 .. 4096
 *
 * An operation that names a pin which its memory does not lie in, or no longer, goes unregistered: a
 * request may come again after its pin went.  Pinning is held against the limit of locked memory: where
 * that ends, operations go unregistered, too.
 */
#include <stdlib.h>

#include "base/size.h"
#include "io/ring.h"

/* The kernel takes pieces of at most this. */
#define PIECE_BYTES GIB

/* With pieces of 64 MiB 256 GiB. */
#define PINS_MAX 4096u

struct pins {
	struct piece piece[PINS_MAX]; /* bytes 0: free */
	uint32_t free[PINS_MAX];      /* their numbers, less 1 */
	uint32_t free_count;
};

static bool set_entry(struct ring *ring, unsigned index, void *memory, uint64_t bytes)
{
	struct iovec iov = {memory, (size_t)bytes};
	__u64 tag = 0;

	return io_uring_register_buffers_update_tag(&ring->uring, index, &iov, &tag, 1) == 1;
}

static bool lies_in(const struct io_op *op, const struct piece *piece)
{
	uintptr_t at = (uintptr_t)op->memory;

	return at >= piece->start && size_inside(at - piece->start, op->length, piece->bytes);
}

int ring_find_entry(const struct ring *ring, const struct io_op *op)
{
	if (op->pin)
		return lies_in(op, &ring->pins->piece[op->pin - 1])
			       ? (int)(RING_PIECES + op->pin - 1)
			       : -1;
	for (unsigned i = 0; i < ring->piece_count; i++)
		if (lies_in(op, &ring->pieces[i]))
			return (int)i;
	return -1;
}

/* ---- Staging ---- */

static bool register_piece(struct ring *ring, char *at, uint64_t bytes)
{
	if (ring->piece_count == RING_PIECES || !set_entry(ring, ring->piece_count, at, bytes))
		return false;
	ring->pieces[ring->piece_count++] = (struct piece){(uintptr_t)at, bytes};
	return true;
}

/* Any thread while the ring is switched off, later the one that drives it. */
void ring_register_memory(struct io *io, void *memory, uint64_t bytes)
{
	struct ring *ring = ring_of(io);
	char *at = memory;

	if (!ring->fixed || ring->broken)
		return;
	for (uint64_t done = 0; done < bytes;) {
		uint64_t piece = min_of(bytes - done, PIECE_BYTES);

		if (!register_piece(ring, at + done, piece))
			return;
		done += piece;
	}
}

/* ---- Pins ---- */

/* What the small table held is in the large one again, as far as the kernel takes it. */
static void register_again(struct ring *ring)
{
	unsigned count = ring->piece_count;

	ring->piece_count = 0;
	for (unsigned i = 0; i < count; i++)
		register_piece(ring, (char *)ring->pieces[i].start, ring->pieces[i].bytes);
}

/* Another table in place of the small one.  Operations under way keep what they were given. */
static bool grow(struct ring *ring)
{
	struct pins *pins;

	if (!ring->fixed)
		return false;
	pins = calloc(1, sizeof(*pins));
	if (!pins)
		return false;
	if (io_uring_sq_ready(&ring->uring) > 0)
		ring_enter(ring);
	ring->fixed = io_uring_unregister_buffers(&ring->uring) == 0 &&
		      io_uring_register_buffers_sparse(&ring->uring, RING_PIECES + PINS_MAX) == 0;
	if (!ring->fixed) {
		ring->piece_count = 0;
		free(pins);
		return false;
	}
	for (uint32_t index = PINS_MAX; index > 0; index--)
		pins->free[pins->free_count++] = index - 1;
	ring->pins = pins;
	register_again(ring);
	return true;
}

uint32_t ring_pin(struct io *io, void *memory, uint64_t bytes)
{
	struct ring *ring = ring_of(io);
	struct pins *pins;
	uint32_t index;

	if (ring->broken || bytes > PIECE_BYTES || (!ring->pins && !grow(ring)) ||
	    ring->pins->free_count == 0)
		return 0;
	pins = ring->pins;
	index = pins->free[pins->free_count - 1];
	if (!set_entry(ring, RING_PIECES + index, memory, bytes))
		return 0;
	pins->free_count--;
	pins->piece[index] = (struct piece){(uintptr_t)memory, bytes};
	return index + 1;
}

/* What is prepared and not handed over yet would look for an entry that is gone. */
static void go_without(struct ring *ring, unsigned entry)
{
	struct io_uring_sq *sq = &ring->uring.sq;
	unsigned mask = *sq->kring_mask;

	for (unsigned at = *sq->khead; at != sq->sqe_tail; at++) {
		struct io_uring_sqe *sqe = &sq->sqes[at & mask];

		if (sqe->buf_index != entry ||
		    (sqe->opcode != IORING_OP_READ_FIXED && sqe->opcode != IORING_OP_WRITE_FIXED))
			continue;
		sqe->opcode = sqe->opcode == IORING_OP_READ_FIXED ? IORING_OP_READ
								  : IORING_OP_WRITE;
		sqe->buf_index = 0;
	}
}

/* The kernel keeps the pages for operations that are under way. */
void ring_unpin(struct io *io, uint32_t pin)
{
	struct ring *ring = ring_of(io);

	ring->pins->piece[pin - 1] = (struct piece){0, 0};
	go_without(ring, RING_PIECES + pin - 1);
	if (ring->broken || !set_entry(ring, RING_PIECES + pin - 1, NULL, 0))
		return;
	ring->pins->free[ring->pins->free_count++] = pin - 1;
}
