/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs, for people and programs that ask: copied under the table's lock, never while I/O waits for it.
 */
#include <string.h>

#include "mount/rings/rings.h"

static uint64_t load(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

void virt_totals(struct rings *rings, struct virt_totals *out)
{
	struct table *table = &rings->table;

	*out = (struct virt_totals){.registered_bytes = load(&table->bytes),
				    .refused = load(&table->refused),
				    .dead_rings = load(&table->dead_rings)};
	lock_take(&table->lock);
	out->iovs = table->iovs;
	out->rings = table->rings;
	lock_drop(&table->lock);
	for (unsigned i = 0; i < USRBIO_BELLS; i++) {
		struct server_counters *counters = &rings->servers[i].counters;

		out->requests += load(&counters->requests);
		out->bytes += load(&counters->bytes);
		out->errors += load(&counters->errors);
		out->posts += load(&counters->posts);
		out->scans += load(&counters->scans);
		out->batches += load(&counters->batches);
	}
}

static void describe_iov(const struct share *share, struct virt_iov_status *out)
{
	memcpy(out->key, share->name, strlen(share->name) + 1);
	out->uid = share->uid;
	out->pid = share->process ? share->process->pid : 0;
	out->bytes = share->bytes;
	out->block_bytes = share->key.block_bytes;
}

static void describe_ring(const struct share *share, struct virt_ring_status *out)
{
	struct ring *ring = share->ring;

	describe_iov(share, &out->iov);
	out->for_read = ring->for_read;
	out->dead = atomic_load(&ring->dead);
	out->priority = (share->key.priority > 0) - (share->key.priority < 0);
	out->depth = share->key.depth;
	out->entries = ring->entries;
	out->timeout_ms = share->key.timeout_ms;
	out->in_flight = atomic_load_explicit(&ring->counters.in_flight, memory_order_relaxed);
	out->requests = load(&ring->counters.requests);
	out->bytes = load(&ring->counters.bytes);
	out->errors = load(&ring->counters.errors);
}

void virt_each_iov(struct rings *rings, bool (*tell)(void *arg, const struct virt_iov_status *),
		   void *arg)
{
	struct virt_iov_status status;
	bool more = true;

	lock_take(&rings->table.lock);
	list_for_each(at, &rings->table.shares) {
		const struct share *share = list_entry(at, struct share, by_order);

		if (!more || share->ring)
			continue;
		describe_iov(share, &status);
		more = tell(arg, &status);
	}
	lock_drop(&rings->table.lock);
}

void virt_each_ring(struct rings *rings, bool (*tell)(void *arg, const struct virt_ring_status *),
		    void *arg)
{
	struct virt_ring_status status;
	bool more = true;

	lock_take(&rings->table.lock);
	list_for_each(at, &rings->table.shares) {
		const struct share *share = list_entry(at, struct share, by_order);

		if (!more || !share->ring)
			continue;
		describe_ring(share, &status);
		more = tell(arg, &status);
	}
	lock_drop(&rings->table.lock);
}
