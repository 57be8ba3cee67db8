/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects in RAM: what weir_memory_put() fills, what tests and simulations read from.
 *
 * A store maps names to blobs.  A blob is constant once it is published, counted, and has a version of
 * its own: putting a name again makes another blob, readers of the old one go on with its bytes and
 * check() tells them.  Requests end when the store's latency and bandwidth say so, and only then are
 * their bytes copied, as a device writes memory when it comes to it and not when it is asked.
 */
#ifndef SOURCE_MEMORY_H
#define SOURCE_MEMORY_H

#include <stdint.h>

#include "base/compiler.h"
#include "source/source.h"

/* How a store behaves; zero: at once, without limit, any alignment. */
struct memory_behaviour {
	int64_t latency_ns;        /* of each request */
	int64_t jitter_ns;         /* up to that much more */
	uint64_t bytes_per_second; /* of all lanes together; 0: no limit */
	uint64_t seed;             /* all chance comes from it */

	/* Of objects opened from now on, for tests of what files ask for; 0: 1. */
	uint32_t offset_align;
	uint32_t memory_align;
	uint32_t request_bytes; /* 0: 512 KiB */
};

/* Copies the bytes; replaces what has the name.  Any thread, as all of these. */
must_use int source_memory_put(struct source *source, const char *name, const void *data,
			       uint64_t size_bytes, struct weir_error *err);

/* What was opened before stays readable. */
must_use int source_memory_remove(struct source *source, const char *name, struct weir_error *err);

/* For requests submitted from now on. */
void source_memory_behave(struct source *source, const struct memory_behaviour *behaviour);

#endif
