/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulation of the engine: one thread, one seed, a clock of its own.
 *
 * A *world* is a context whose lanes nobody drives but the simulation, over objects in RAM with a
 * misbehaving source in front.  A seed decides what the world is like, which plans are carried out,
 * what goes wrong, and in which order everything happens; so a seed is a test case, and the same seed
 * is the same run, event by event.
 *
 *	acts.c    what a program does: start, append, cancel, promote, take, return, finish ...
 *	wants.c   what was asked for, and whether what came is right
 *	feeds.c   a server's feed beside the transfers
 *	world.c   context, clock, objects, faults, lanes
 *	sim.c     seeds, the end of a run, the command line
 */
#ifndef TESTS_SIM_H
#define TESTS_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/context.h"
#include "engine/group.h"
#include "engine/lane.h"
#include "engine/transfer.h"
#include "weir/weir.h"

/* Bytes that objects are made of: one array for each version of an object. */
#define CONTENTS      24
#define CONTENT_BYTES (UINT64_C(1) << 20)

#define THINGS_MAX  CONTENTS
#define FLIGHTS_MAX 24
#define QUEUES_MAX  2
#define WANTS_MAX   4096
#define LEVELS_MAX  3

/* An opened object. */
struct thing {
	struct weir_object *object; /* NULL: closed */
	unsigned name;
	unsigned content;
	uint64_t size;
	bool changed; /* another version has taken its name */
};

/* An extent, as it was asked for, and what became of it. */
struct want {
	unsigned thing;
	uint64_t offset, length, run_bytes;
	struct weir_stride strides[LEVELS_MAX];
	unsigned levels;
	bool alloc, write;
	unsigned char *at; /* ours: guarded on both sides */

	unsigned flight;
	uint64_t allowed; /* failures: a bit for each code */
	bool settled, lent, released, forgotten;
	int status;
	struct weir_buffer *held;
	bool scribbled;
	uint64_t print; /* of memory that nobody may write any more; 0: not taken */
};

/* A transfer. */
struct flight {
	struct weir_transfer *transfer; /* NULL: gone */
	int queue;                      /* -1: a private one */
	uint32_t flags;
	int64_t deadline_ns;
	bool open, stopped;
	bool closing; /* a finish came back with LENT: what is left completes in silence */
	uint32_t wants, settled, owed; /* owed: releases */
	struct weir_object *writes;    /* what it writes; or NULL */
	unsigned write_content;
};

/* A lane of the engine, as far as it sleeps. */
struct sleeper {
	const struct source_lane *core;
	bool woken;
	int64_t until_ns; /* 0: it does not sleep */
};

struct world {
	uint64_t seed, chance;
	struct weir_ctx *ctx;
	struct source *fault;
	struct source_ops
		ops; /* the fault source's, with a way() of ours, and wakes that are seen */
	const struct source_ops *fault_ops;
	struct sleeper sleepers[LANES_MAX];
	uint32_t sleeper_count;
	bool makes_feed; /* whose lane its own thread drives */
	uint64_t way_seed;
	bool one_direct_lane;
	uint64_t allowed; /* failures that any extent may have */
	bool slow;        /* something may take longer than a transfer's patience */
	uint64_t corrupt; /* bytes that may be wrong */
	bool waits;       /* a call may let time pass */
	bool device;      /* destinations are a device's memory (lib/fake_cuda.h) */
	bool faulty;      /* faults were ordered: short reads leave rubbish behind */

	struct thing things[THINGS_MAX];
	unsigned thing_count, contents_used;
	struct want wants[WANTS_MAX];
	unsigned want_count;
	struct flight flights[FLIGHTS_MAX];
	unsigned flight_count;
	struct weir_queue *queues[QUEUES_MAX];
	unsigned char *arena;
	uint64_t arena_used;

	uint64_t log; /* a hash of all that happened */
	uint64_t events;
};

extern struct world world;
extern bool sim_verbose;

/* Says what is wrong and how to see it again; ends the program. */
void sim_failed(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
#define sim_check(condition, ...)                                                                  \
	do {                                                                                       \
		if (!(condition))                                                                  \
			sim_failed(__VA_ARGS__);                                                   \
	} while (0)

/* Everything that happens is told here: it is what makes two runs comparable. */
void sim_event(const char *what, uint64_t a, uint64_t b, uint64_t c);

uint64_t below(uint64_t limit);
static inline bool one_in(uint64_t n)
{
	return below(n) == 0;
}
#define CODE_BIT(code) (UINT64_C(1) << -(code))

/* ---- world.c ---- */

void world_create(uint64_t seed);
void world_destroy(void);
const unsigned char *content_of(unsigned content);
int64_t world_now(void);

/* One step of a lane, or of all, unless they sleep; true when something happened. */
bool world_step_any(void);
bool world_step_all(void);
/* The clock goes on to the next thing that happens by itself; false: nothing ever will. */
bool world_pass_time(void);
void world_pass(int64_t ns);

bool world_open(unsigned name, unsigned content, uint64_t size);
void world_replace(unsigned thing);
void world_faults(void);
void world_no_faults(void);

/* ---- wants.c ---- */

/* Memory for so many bytes at a random alignment, guarded; NULL: no more. */
unsigned char *want_memory(uint64_t length, uint64_t offset);
void want_settled(const struct weir_done *done);
void want_return_buffer(struct want *want);
/* The flight is gone: what has not come will not; its memory is ours again, unless it was abandoned. */
void want_flight_gone(unsigned flight, bool abandoned);
void want_check_memory(void);
/* How many of its bytes are there. */
uint64_t want_present(const struct want *want);

/* ---- feeds.c ---- */

void feeds_create(void);
bool feeds_act(void); /* false: nothing was done */
bool feeds_step(void);
int64_t feeds_next_ns(void);
void feeds_run_out(void);
void feeds_destroy(void);

/* ---- acts.c ---- */

void act(void);
void act_take(bool all);
void act_return(bool all);
bool act_finish(unsigned flight, int64_t timeout_ns);

#endif
