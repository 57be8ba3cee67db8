/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registered memory of a feed.
 *
 * A region is cut into pieces, and a piece is pinned when the first request comes that lies in it: who
 * registers a gigabyte and uses a corner pays for the corner.  A piece that the kernel refuses is not
 * asked for again; its requests name their memory as others do.
 *
 *	slot: NULL --register--> region --unregister--> leaving --the driver settles--> NULL
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/size.h"
#include "engine/context.h"
#include "engine/feed.h"

/*
 * Pinning a piece takes the driver's time, about a millisecond for the small ones, and all that it drives
 * waits.  Regions with too many of those have large ones: a lane names some thousands.
 */
#define PIECE_BYTES       (16 * MIB)
#define PIECE_BYTES_LARGE (64 * MIB)
#define PIECES_SMALL      256u

/* Pinned between two reaps; requests in pieces that are left out name their memory as others do. */
#define PIN_BYTES (2 * PIECE_BYTES)

#define REFUSED UINT32_MAX

struct feed_region {
	uintptr_t start;
	uint64_t bytes;
	_Atomic uint64_t pinned_bytes;
	_Atomic bool leaving;
	uint64_t piece_bytes;
	uint32_t piece_count;
	uint32_t pieces[]; /* 0: not asked for yet; REFUSED; or what the kernel calls it */
};

int feed_regions_create(struct weir_feed *feed, struct weir_error *err)
{
	feed->pin_left = PIN_BYTES;
	feed->regions = calloc(FEED_REGIONS_MAX, sizeof(feed->regions[0]));
	return feed->regions ? 0 : error_nomem(err, NULL, "the regions of a feed");
}

void feed_regions_destroy(struct weir_feed *feed)
{
	for (uint32_t i = 0; i < feed->region_count; i++)
		free(atomic_load_explicit(&feed->regions[i], memory_order_relaxed));
	free((void *)feed->regions);
	lock_fini(&feed->region_lock);
}

/* ---- Anybody ---- */

static struct feed_region *region_of(const struct weir_feed *feed, uint32_t region)
{
	if (region == 0 || region > FEED_REGIONS_MAX)
		return NULL;
	/* Acquire, paired with add_locked(): what was registered is seen whole. */
	return atomic_load_explicit(&feed->regions[region - 1], memory_order_acquire);
}

static int add_locked(struct weir_feed *feed, struct feed_region *region, uint32_t *out)
{
	uint32_t slot = 0;

	while (slot < feed->region_count && region_of(feed, slot + 1))
		slot++;
	if (slot == FEED_REGIONS_MAX)
		return WEIR_LIMIT;
	feed->region_count = max_of(feed->region_count, slot + 1);
	atomic_store_explicit(&feed->regions[slot], region, memory_order_release);
	*out = slot + 1;
	return 0;
}

int weir_feed_register(struct weir_feed *feed, void *memory, uint64_t bytes, uint32_t *out,
		       struct weir_error *err)
{
	uint64_t piece = bytes > PIECES_SMALL * PIECE_BYTES ? PIECE_BYTES_LARGE : PIECE_BYTES;
	uint64_t pieces = bytes / piece + (bytes % piece != 0);
	struct feed_region *region;
	int ret;

	if (bytes == 0 || pieces >= REFUSED || !size_inside((uintptr_t)memory, bytes, UINTPTR_MAX))
		return error_set(err, WEIR_ARG, NULL, "a region of %llu bytes",
				 (unsigned long long)bytes);
	region = calloc(1, sizeof(*region) + pieces * sizeof(region->pieces[0]));
	if (!region)
		return error_nomem(err, NULL, "a region of a feed");
	region->start = (uintptr_t)memory;
	region->bytes = bytes;
	region->piece_bytes = piece;
	region->piece_count = (uint32_t)pieces;
	lock_take(&feed->region_lock);
	ret = add_locked(feed, region, out);
	lock_drop(&feed->region_lock);
	if (ret == 0)
		return 0;
	free(region);
	return error_set(err, ret, NULL, "a feed has %u regions at most", FEED_REGIONS_MAX);
}

void weir_feed_unregister(struct weir_feed *feed, uint32_t number)
{
	struct feed_region *region = region_of(feed, number);

	if (!region || atomic_exchange_explicit(&region->leaving, true, memory_order_release))
		return;
	/* Release, paired with feed_regions_settle(). */
	atomic_fetch_add_explicit(&feed->leaving, 1, memory_order_release);
	weir_feed_wake(feed);
}

uint64_t weir_feed_pinned_bytes(struct weir_feed *feed, uint32_t number)
{
	const struct feed_region *region;
	uint64_t bytes = 0;

	lock_take(&feed->region_lock); /* the driver may be about to free it */
	region = region_of(feed, number);
	if (region)
		bytes = atomic_load_explicit(&region->pinned_bytes, memory_order_relaxed);
	lock_drop(&feed->region_lock);
	return bytes;
}

/* ---- The driver ---- */

bool feed_region_holds(const struct weir_feed *feed, uint32_t number, const void *memory,
		       uint64_t length)
{
	const struct feed_region *region = region_of(feed, number);

	return region && (uintptr_t)memory >= region->start &&
	       size_inside((uintptr_t)memory - region->start, length, region->bytes);
}

static uint64_t piece_bytes(const struct feed_region *region, uint32_t piece)
{
	return min_of(region->bytes - piece * region->piece_bytes, region->piece_bytes);
}

static void count_pinned(struct weir_feed *feed, struct feed_region *region, uint64_t bytes)
{
	/* Modulo 2^64, and meant: unpinning adds a negative number. */
	atomic_fetch_add_explicit(&region->pinned_bytes, bytes, memory_order_relaxed);
	feed_count(feed, pinned_bytes, bytes);
}

/* What the kernel calls it, or REFUSED; 0: not now. */
static uint32_t pin_piece(struct weir_feed *feed, struct feed_region *region, uint32_t piece)
{
	uint64_t bytes = piece_bytes(region, piece);
	char *at = (char *)(region->start + piece * region->piece_bytes);
	uint32_t pin;

	if (feed->pin_left == 0)
		return 0;
	feed->pin_left -= min_of(feed->pin_left, bytes);
	pin = feed_ops(feed)->lane_pin(feed->core, at, bytes);
	if (pin == 0) {
		feed_count(feed, pins_refused, 1);
		return REFUSED;
	}
	count_pinned(feed, region, bytes);
	return pin;
}

uint32_t feed_region_pin(struct weir_feed *feed, uint32_t number, const void *memory,
			 uint32_t *length, uint32_t align)
{
	struct feed_region *region = region_of(feed, number);
	uint64_t at = (uintptr_t)memory - region->start;
	uint32_t piece = (uint32_t)(at / region->piece_bytes);
	uint64_t left = piece_bytes(region, piece) - at % region->piece_bytes;

	if (!feed_ops(feed)->lane_pin)
		return 0;
	if (*length > left) {
		if (left % align)
			return 0;
		*length = (uint32_t)left;
	}
	if (region->pieces[piece] == 0)
		region->pieces[piece] = pin_piece(feed, region, piece);
	if (region->pieces[piece] == 0 || region->pieces[piece] == REFUSED)
		return 0;
	feed_count(feed, requests_pinned, 1);
	return region->pieces[piece];
}

static void unpin(struct weir_feed *feed, struct feed_region *region)
{
	for (uint32_t i = 0; i < region->piece_count; i++) {
		if (region->pieces[i] == 0 || region->pieces[i] == REFUSED)
			continue;
		feed_ops(feed)->lane_unpin(feed->core, region->pieces[i]);
		count_pinned(feed, region, -piece_bytes(region, i));
	}
}

static void settle_slot_locked(struct weir_feed *feed, uint32_t slot)
{
	struct feed_region *region = region_of(feed, slot + 1);

	/* Acquire, paired with weir_feed_unregister(). */
	if (!region || !atomic_load_explicit(&region->leaving, memory_order_acquire))
		return;
	unpin(feed, region);
	atomic_store_explicit(&feed->regions[slot], NULL, memory_order_relaxed);
	free(region);
}

void feed_regions_settle(struct weir_feed *feed)
{
	feed->pin_left = PIN_BYTES;
	if (likely(atomic_load_explicit(&feed->leaving, memory_order_relaxed) == 0))
		return;
	atomic_exchange_explicit(&feed->leaving, 0, memory_order_acquire);
	lock_take(&feed->region_lock);
	for (uint32_t i = 0; i < feed->region_count; i++)
		settle_slot_locked(feed, i);
	lock_drop(&feed->region_lock);
}
