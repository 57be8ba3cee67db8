/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that is named to the kernel once, pinned, and used for many operations.
 *
 * Staging is registered in a table of a few entries, and operations are looked up in it.  What a caller
 * pins itself (one who serves others' memory) it names by number; the first pin makes the table large.
 *
 * Pinning is held against the limit of locked memory: where it ends, operations go unregistered.
 */
#include <stdlib.h>

#include "base/size.h"
#include "io/ring.h"

/* The kernel takes pieces of at most this. */
#define PIECE_BYTES GIB

/* Entries of the large table: with pieces of 64 MiB 256 GiB. */
#define PINS_MAX 4096u

static bool set_entry(struct ring *ring, unsigned index, void *memory, uint64_t bytes)
{
	struct iovec iov = {memory, (size_t)bytes};
	__u64 tag = 0;

	return io_uring_register_buffers_update_tag(&ring->uring, index, &iov, &tag, 1) == 1;
}

/* ---- Staging ---- */

int ring_find_piece(const struct ring *ring, const struct io_op *op)
{
	uintptr_t at = (uintptr_t)op->memory;

	for (unsigned i = 0; i < ring->piece_count; i++) {
		const struct piece *piece = &ring->pieces[i];

		if (at >= piece->start && size_inside(at - piece->start, op->length, piece->bytes))
			return (int)i;
	}
	return -1;
}

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

	if (!ring->fixed || ring->broken || ring->free_pins)
		return;
	for (uint64_t done = 0; done < bytes;) {
		uint64_t piece = min_of(bytes - done, PIECE_BYTES);

		if (!register_piece(ring, at + done, piece))
			return;
		done += piece;
	}
}

/* ---- Pins ---- */

/* Another table in place of the small one, which nothing is in. */
static bool grow(struct ring *ring)
{
	uint32_t *free_pins;

	if (!ring->fixed || ring->piece_count > 0)
		return false;
	free_pins = calloc(PINS_MAX, sizeof(free_pins[0]));
	if (!free_pins)
		return false;
	ring->fixed = io_uring_unregister_buffers(&ring->uring) == 0 &&
		      io_uring_register_buffers_sparse(&ring->uring, PINS_MAX) == 0;
	if (!ring->fixed) {
		free(free_pins);
		return false;
	}
	for (uint32_t pin = PINS_MAX; pin > 0; pin--)
		free_pins[ring->free_pin_count++] = pin;
	ring->free_pins = free_pins;
	return true;
}

uint32_t ring_pin(struct io *io, void *memory, uint64_t bytes)
{
	struct ring *ring = ring_of(io);
	uint32_t pin;

	if (ring->broken || bytes > PIECE_BYTES || (!ring->free_pins && !grow(ring)) ||
	    ring->free_pin_count == 0)
		return 0;
	pin = ring->free_pins[ring->free_pin_count - 1];
	if (!set_entry(ring, pin - 1, memory, bytes))
		return 0;
	ring->free_pin_count--;
	return pin;
}

/* The kernel keeps the pages for operations that are under way. */
void ring_unpin(struct io *io, uint32_t pin)
{
	struct ring *ring = ring_of(io);

	if (ring->broken || !set_entry(ring, pin - 1, NULL, 0))
		return;
	ring->free_pins[ring->free_pin_count++] = pin;
}
