/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What memory.c (names) and memory_lane.c (requests under way) share; nobody else's.
 */
#ifndef SOURCE_MEMORY_STORE_H
#define SOURCE_MEMORY_STORE_H

#include <stdint.h>

#include "base/list.h"
#include "base/thread.h"
#include "source/memory.h"

struct blob {
	struct list link; /* of the store's list, while it is published */
	uint32_t refs;    /* the store's and the objects'; under the store's lock */
	uint64_t version;
	uint64_t size_bytes;
	char *name; /* owned */
	char *data; /* owned; constant once published */
};

struct memory_source {
	struct source source;
	struct {
		struct lock lock;
		struct list blobs; /* by name */
		uint64_t versions;
		struct memory_behaviour behaviour;
		uint64_t random;
		int64_t free_ns; /* when the bandwidth has carried all that was asked of it */
	} shared;                /* touch these only with shared.lock held */
};

struct memory_object {
	struct source_object object;
	struct source_how how;
	struct blob *blob; /* counted */
};

static inline struct memory_source *memory_source(struct source *source)
{
	return container_of(source, struct memory_source, source);
}

static inline struct memory_object *memory_object(struct source_object *object)
{
	return container_of(object, struct memory_object, object);
}

/* memory_lane.c's part of the operations. */
int memory_lane_create(struct source *source, const struct lane_how *how, struct source_lane **out,
		       struct weir_error *err);
void memory_lane_destroy(struct source_lane *lane);
void memory_lane_register(struct source_lane *lane, void *memory, uint64_t bytes);
int memory_lane_submit(struct source_lane *lane, struct request *request);
unsigned memory_lane_reap(struct source_lane *lane, struct request **out, unsigned max,
			  int64_t deadline_ns);
void memory_lane_wake(struct source_lane *lane);
void memory_lane_cancel(struct source_lane *lane, struct request *request);
int64_t memory_lane_next_ns(struct source_lane *lane);
uint64_t memory_lane_system_calls(const struct source_lane *lane);

#endif
