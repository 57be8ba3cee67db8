/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extents, and the list of them that a plan is.
 *
 * A plan is filled by one thread.  When a transfer takes it over it is *sealed*: put into the order in
 * which a disk would like it (class, source, object, offset), and cut into runs of memory for the
 * extents whose destination weir allocates (engine/run.h).  After that its arrays do not move, and
 * what changes in an extent is guarded by the transfer's lock.
 */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include <stdbool.h>

#include "engine/object.h"
#include "engine/queue.h"
#include "weir/plan.h"

struct berth;

/*
 *	planned --> moving --> settled --> released
 *	                \--> lent ----------^
 *
 * Settled is "has its completion, and nothing can write any more"; lent "has its completion, and
 * something still can".  Released is the end, and for most extents the same moment as settled.
 */
enum extent_state {
	EXTENT_PLANNED,
	EXTENT_MOVING,
	EXTENT_LENT,
	EXTENT_SETTLED,
	EXTENT_RELEASED,
};

struct extent {
	/* What is asked. */
	struct weir_object *object; /* counted at the first of its extents in a row */
	struct weir_buffer *mapped; /* counted; a view that stands for the bytes: nothing is read */
	uint64_t offset;            /* of the first byte */
	uint64_t length;            /* bytes delivered in all */
	uint64_t run_bytes;         /* of one contiguous piece; length where there is no stride */
	char *memory;               /* NULL: weir allocates, and has not yet */
	struct berth *berth;        /* whose memory it is: engine/berth.h; NULL: the host's */
	uint64_t tag;
	uint32_t stride_first, align;
	uint8_t stride_count;
	uint8_t class_; /* as sorted: enum sweep_class */
	bool write;
	bool allocate; /* weir has the memory, not the caller */
	bool nobody;   /* and nobody gets it: the bytes are counted */
	bool far;      /* only its device reaches the memory: bytes cross by ferry */
	bool hopeless; /* reaches past the end, and that is not allowed: gets no memory */

	/* How far it is.  Under the transfer's lock. */
	bool withdrawn;   /* its sweep passes it by: dropped, promoted, or failed before it began */
	uint8_t state;    /* enum extent_state */
	uint32_t parts;   /* requests in flight that bring some of it */
	uint32_t staged;  /* of them, those whose bytes come to a slot of ours first */
	uint32_t copies;  /* of those, the ones being copied out just now */
	uint32_t run;     /* index of its run, or RUN_NONE */
	uint64_t left;    /* bytes neither arrived nor known to be missing */
	uint64_t missing; /* bytes past the end, where that is allowed */
	int32_t status, os_errno;
	uint64_t error_offset;
	struct extent *next_finished; /* on a lane's list, between its last byte and its settling */
	struct completion settled, released;
};

/* In the order in which lanes serve them. */
enum sweep_class {
	SWEEP_URGENT,
	SWEEP_NORMAL,
	SWEEP_BACKGROUND,
	SWEEP_CLASSES,
};

struct weir_plan {
	struct weir_ctx *ctx;
	struct extent *extents;
	uint64_t count, room;
	uint64_t blank; /* from count up to here extents are zeroed, if none is begun */
	bool begun;     /* one behind the last was filled in, and not added so far */
	struct weir_stride *strides; /* of all extents, one after another */
	uint64_t stride_count, stride_room;
	uint64_t bytes;
	struct berth *berths; /* owned */
	uint8_t class_;
	uint64_t charged_bytes; /* taken from the budget for the arrays */

	/* Sealed. */
	uint32_t *order; /* indexes of extents */
	struct weir_plan *next;
};

/*
 * The bytes as a mapping, where their source has such a view of them and it is aligned well enough:
 * what the completion hands out is that.  1 where there is none, and nothing was added.
 */
int plan_mapped(struct weir_plan *plan, struct weir_object *object, uint64_t offset,
		uint64_t length, uint32_t align, uint64_t tag, struct weir_error *err);

/* As weir_plan_range(). */
int plan_read(struct weir_plan *plan, struct weir_object *object, uint64_t offset, uint64_t length,
	      const struct weir_dest *dest, uint64_t tag, struct weir_error *err);

/* The order[]; plans have at most 2^32 - 1 extents. */
int plan_seal(struct weir_plan *plan, struct weir_error *err);

/* A contiguous piece of an extent. */
struct span {
	uint64_t offset; /* in the object */
	uint64_t length;
};

/* The piece that holds the byte number `done` of what is delivered, from that byte on. */
struct span extent_span(const struct weir_plan *plan, const struct extent *extent, uint64_t done);

/* One past the last byte that it touches. */
uint64_t extent_end(const struct weir_plan *plan, const struct extent *extent);

#endif
