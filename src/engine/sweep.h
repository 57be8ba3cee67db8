/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The planner: walks a sealed plan in order and cuts the next request from it.
 *
 * A sweep is the part of one plan that one group of lanes serves in one class.  It is a cursor, so that
 * nothing is allocated for requests that are not in flight.  Each request is one of these:
 *
 *	in place   whole blocks that land where they belong; nobody copies them
 *	staged     blocks that hold bytes of several small extents, or of one that lies crooked: read
 *	           into a slot and copied out.  Heads and tails of in-place extents that share a block
 *	           are one staged request, so that no byte is read twice
 *	           where its source cannot reach the destination: copied out too (and what is written,
 *	           copied in)
 *	buffered   what is in the page cache: the kernel copies it into place, at any alignment
 *	sunk       what nobody wants, into memory that all such requests share (engine/sink.h)
 *
 *	file     |--A--|--A--|--A--|--A--|--A--|
 *	extents     [xxxxxxxxxxxxxxxx][y][zzzz
 *	requests |st.|---in place----|--st---|-- ...
 */
#ifndef ENGINE_SWEEP_H
#define ENGINE_SWEEP_H

#include "engine/plan.h"
#include "engine/run.h"
#include "mem/cuda.h"

struct lane;
struct passage;
struct weir_transfer;

/* A place in a sweep: the extent at order[at], and how many of its bytes are behind. */
struct cursor {
	uint32_t at;
	uint64_t done;
};

struct sweep {
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct runs *runs;
	struct cursor cursor;
	uint32_t end; /* one past its last place in the order */
	uint8_t class_;
	bool alone;  /* serves an extent that its own sweep passes by */
	bool copies; /* it was seen that lanes have to copy */
	struct group *group;

	/* How the object is best read here: see way() in source/source.h. */
	const struct source_object *way_object;
	uint64_t way_from, way_until;
	int way;

	struct list ready; /* on its group's list of what can be worked on, or on none */
	struct list all;   /* on its group's list of all */
};

/*
 * A request under way, and which bytes of the plan it brings: from `from` up to `to`, no further in the
 * object than `end`.
 */
struct part {
	struct request request;
	struct sweep *sweep;
	struct cursor from, to;
	uint64_t start; /* what stands first in the request's memory, as it was submitted first */
	uint64_t end;   /* of the wanted bytes, in the object */
	char *slot;     /* staging memory; NULL: in place */
	uint64_t sunk;  /* bytes of the lane's sink that it is counted with; 0: not there */
	struct cuda_device
		*device; /* the bytes cross to or from it: engine/ferry.h; NULL: nobody's */
	int64_t submitted_ns;
	bool cancelling;
	bool landing;     /* as the transfer's books have it */
	bool background;  /* the class of its sweep, which may be gone when this is asked */
	struct list link; /* the lane's */

	/* Where its bytes cross to or from a device. */
	bool crossing, exposed; /* exposed: somebody but us may touch the extents' memory */
	struct list crossing_link;
	int64_t crossed_ns, look_ns; /* when it began; when to ask after it */
	cu_event event;              /* NULL: the stream is asked */
	uint64_t arrived;            /* what is told when it has crossed */
	int code, os_errno;

	/* Where cuFile may bring them: engine/canal.h. */
	bool straight, again; /* it does; again: it could not */
	uint8_t mark;         /* enum trial_mark */
	struct passage *passage;
};

enum sweep_answer {
	SWEEP_PART,     /* *part is filled but for lane matters */
	SWEEP_DONE,     /* all of it has been handed out */
	SWEEP_WAIT,     /* memory, budget or a slot is awaited: lanes are woken */
	SWEEP_FULL,     /* the queue's room is: likewise */
	SWEEP_NOT_HERE, /* the next request is for the first lane */
	SWEEP_AGAIN,    /* an extent has failed; the planner's own, no lane sees it */
};

/* With the transfer's lock held. */
enum sweep_answer sweep_next(struct sweep *sweep, struct lane *lane, struct part *part);

/*
 * Walks the pieces of a part: fills *extent, its `done` and the span, cut at the part's end.  Start with
 * *cursor = part->from; false at the end.
 */
struct piece {
	struct extent *extent;
	uint64_t done;
	uint64_t offset, length;
};
bool part_next(const struct part *part, struct cursor *cursor, struct piece *out);

/* Up to where bytes must come: what is past the end of the object is not missing from a request that was
 * rounded up. */
uint64_t part_needed_end(const struct part *part);

#endif
