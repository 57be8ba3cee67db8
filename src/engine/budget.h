/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The byte budget: what weir may hold at one time.
 *
 * One for a context, and below it one for each transfer that has a share.  Taking is all or nothing up
 * the chain and never waits; who was refused is told through the watcher when bytes come back.
 * Counted, since buffers give their bytes back after the context is gone.
 */
#ifndef ENGINE_BUDGET_H
#define ENGINE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "weir/error.h"

struct budget;

#define BUDGET_NONE UINT64_MAX /* no limit: only counted */

/* parent: NULL, or one that the child takes from as well, and keeps a reference to. */
int budget_create(uint64_t limit_bytes, struct budget *parent, struct budget **out,
		  struct weir_error *err);
struct budget *budget_ref(struct budget *budget);
void budget_unref(struct budget *budget);

must_use bool budget_take(struct budget *budget, uint64_t bytes);

/* For what does not come back while transfers run (staging, plans): nobody may wait for it. */
must_use bool budget_take_fixed(struct budget *budget, uint64_t bytes);
void budget_give_fixed(struct budget *budget, uint64_t bytes);
void budget_give(struct budget *budget, uint64_t bytes);

/* Of a root: `fn` runs after bytes came back that somebody was refused; NULL ends that. */
void budget_watch(struct budget *budget, void (*fn)(void *arg), void *arg);

uint64_t budget_limit(const struct budget *budget); /* the least of the chain */
uint64_t budget_used(struct budget *budget);

/* The most that can ever be had at once, if all that is waited for comes back. */
uint64_t budget_attainable(struct budget *budget);

#endif
