/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The context: what a program's weir consists of.
 *
 * It holds one *group* for each kind of source in use: the source, its lanes, and the sweeps (parts of
 * transfers) that those lanes work on.  Groups are made at the first object of their kind and their
 * lanes at the first transfer, so that opening and inspecting starts no lane.
 */
#ifndef ENGINE_CONTEXT_H
#define ENGINE_CONTEXT_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/log.h"
#include "base/sys.h"
#include "base/thread.h"
#include "engine/budget.h"
#include "engine/counters.h"
#include "engine/environment.h"
#include "engine/helper.h"
#include "engine/trace.h"
#include "mem/cuda.h"
#include "mem/pool.h"
#include "mem/populate.h"
#include "source/source.h"
#include "weir/context.h"

struct canal;
struct cufile_driver;
struct group;

#define GROUPS_MAX 16

/* On which 3FS mount a directory lies, as found out once (engine/route.h); "": on none. */
#define ROUTES_KEPT 8
struct route {
	char *dir, *mount; /* owned */
};

struct weir_ctx {
	pid_t pid;
	bool closed, stuck;    /* stuck: its memory is left to what comes back one day */
	const struct sys *sys; /* outlives the context */
	bool simulated;
	int library;    /* enum environment_library */
	bool any_mount; /* HF3FS_USRBIO_DONT_CHECKFS_FOR_MP: mounts of other types count as 3FS */
	struct environment_places vendor_places;
	struct node_wish node; /* where rings and what is read through them lie */
	struct log log;
	struct source_env env;
	struct weir_ctx_opts opts; /* what the caller said, environment included */
	struct pool *pool;
	struct populator *populator;
	struct budget *budget;
	struct helpers *helpers;
	struct trace *trace; /* NULL: none */
	struct counters counters;
	const struct cuda_driver *cuda_table; /* NULL: the real driver */
	_Atomic(struct cuda *) cuda;          /* counted; NULL: no device was named yet */
	struct canal *canal;                  /* NULL: cuFile is not wanted */

	int (*wrap)(struct source **source, void *arg, struct weir_error *err);
	bool (*idle)(struct weir_ctx *ctx, void *arg);
	void *seam_arg;

	struct lock lock; /* before every other lock */
	/* Under the lock. */
	struct group *groups[GROUPS_MAX];
	unsigned group_count;
	struct list abandoned; /* transfers */
	struct route routes[ROUTES_KEPT];
	unsigned route_next;
};

/* What tests put in place of the real thing. */
struct ctx_seams {
	const struct sys *sys; /* NULL: the real one */
	bool simulated;        /* no threads: whoever made it steps the lanes (engine/lane.h) */
	const struct cuda_driver *cuda;     /* NULL: the real one */
	const struct cufile_driver *cufile; /* likewise */
	/* Stands something in front of each source as it is made; NULL: nothing. */
	int (*wrap)(struct source **source, void *arg, struct weir_error *err);
	/* Simulated: called where a thread would wait.  Makes something happen (a step, the clock moved
	 * on) and returns true; false: nothing ever will. */
	bool (*idle)(struct weir_ctx *ctx, void *arg);
	void *arg; /* of both */
};

int ctx_create_with(const struct weir_ctx_opts *opts, const struct ctx_seams *seams,
		    struct weir_ctx **out, struct weir_error *err);

/* 0, or WEIR_CLOSED in a process that did not make it. */
int ctx_alive(const struct weir_ctx *ctx, struct weir_error *err);

/*
 * The group that serves a scheme, made where there is none yet.  store: which of its kind (the mount of
 * a 3FS path); NULL where there is but one.
 */
int ctx_group(struct weir_ctx *ctx, const char *scheme, const char *store, struct group **out,
	      struct weir_error *err);

/* The CUDA driver, opened when it is first asked for.  Borrowed. */
int ctx_cuda(struct weir_ctx *ctx, struct cuda **out, struct weir_error *err);

/* Where a thread is about to wait: true when a simulation made something happen instead. */
bool ctx_idle(struct weir_ctx *ctx);

/* All lanes look again: bytes came back, a queue has room.  Takes no lock but the lanes' own. */
void ctx_wake(struct weir_ctx *ctx);

/* What memory the context has now: the same in every transfer's counters. */
void ctx_memory_counters(struct weir_ctx *ctx, struct weir_counters *out);

/* 64 bits of chance, for hash seeds; never fails (a fixed value where the system has none). */
uint64_t ctx_random(struct weir_ctx *ctx);

/* Options are copied as far as the caller's version has them; what it lacks is zero. */
void opts_copy(void *to, size_t to_size, const void *from);

#endif
