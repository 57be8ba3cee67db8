/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept memory, pinned: the pool's pinner is a lane that sends direct requests (mem/pool.h).
 *
 * Only where the context asks for it (pin_bytes), and only memory of the pool: what is the caller's is
 * never pinned.  Where the kernel refuses, requests name their memory as ever, and that is counted.
 *
 * The lane thread's alone.
 */
#ifndef ENGINE_KEPT_H
#define ENGINE_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/pool.h"
#include "source/source.h"

struct lane;
struct part;
struct weir_ctx;

struct kept {
	struct weir_ctx *ctx;
	struct lane *lane;
	struct source_lane *core;
	bool begun, refused;
	struct pool_pinned last; /* the row of the last request; pin 0: none */
};

/* Before the lane has a thread. */
void kept_init(struct kept *kept, struct weir_ctx *ctx, struct lane *lane,
	       struct source_lane *core);

/* Gives the request of a part the pin that it may name, before each submit. */
void kept_name(struct kept *kept, struct part *part);

/* In each step; and when the thread ends. */
void kept_settle(struct kept *kept);
void kept_end(struct kept *kept);

#endif
