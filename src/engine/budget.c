/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/budget.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/thread.h"

struct budget {
	_Atomic uint32_t refs;
	struct budget *parent; /* counted */
	struct budget *root;   /* the end of the chain; its lock guards the whole tree */
	uint64_t limit, used;
	uint64_t fixed; /* of what is used: what nobody should wait for */

	/* Of the root. */
	struct lock lock;
	bool refused; /* somebody waits for bytes */
	void (*watch)(void *arg);
	void *watch_arg;
};

int budget_create(uint64_t limit_bytes, struct budget *parent, struct budget **out,
		  struct weir_error *err)
{
	struct budget *budget = calloc(1, sizeof(*budget));

	if (!budget)
		return error_nomem(err, NULL, "the budget");
	atomic_init(&budget->refs, 1);
	budget->limit = limit_bytes;
	budget->parent = parent ? budget_ref(parent) : NULL;
	budget->root = parent ? parent->root : budget;
	if (!parent)
		lock_init(&budget->lock);
	*out = budget;
	return 0;
}

struct budget *budget_ref(struct budget *budget)
{
	atomic_fetch_add_explicit(&budget->refs, 1, memory_order_relaxed);
	return budget;
}

void budget_unref(struct budget *budget)
{
	while (budget) {
		struct budget *parent = budget->parent;

		/* Acquire-release: the last one sees all that the others did. */
		if (atomic_fetch_sub_explicit(&budget->refs, 1, memory_order_acq_rel) != 1)
			return;
		if (!parent)
			lock_fini(&budget->lock);
		free(budget);
		budget = parent;
	}
}

bool budget_take(struct budget *budget, uint64_t bytes)
{
	struct budget *root = budget->root;
	bool fits = true;

	lock_take(&root->lock);
	for (struct budget *at = budget; at; at = at->parent)
		if (bytes > at->limit || at->used > at->limit - bytes)
			fits = false;
	for (struct budget *at = budget; fits && at; at = at->parent)
		at->used += bytes;
	root->refused |= !fits;
	lock_drop(&root->lock);
	return fits;
}

bool budget_take_fixed(struct budget *budget, uint64_t bytes)
{
	if (!budget_take(budget, bytes))
		return false;
	lock_take(&budget->root->lock);
	budget->fixed += bytes;
	lock_drop(&budget->root->lock);
	return true;
}

void budget_give_fixed(struct budget *budget, uint64_t bytes)
{
	lock_take(&budget->root->lock);
	budget->fixed -= bytes;
	lock_drop(&budget->root->lock);
	budget_give(budget, bytes);
}

uint64_t budget_attainable(struct budget *budget)
{
	uint64_t attainable = BUDGET_NONE;

	lock_take(&budget->root->lock);
	for (const struct budget *at = budget; at; at = at->parent)
		if (at->limit != BUDGET_NONE)
			attainable = min_of(attainable, at->limit - at->fixed);
	lock_drop(&budget->root->lock);
	return attainable;
}

void budget_give(struct budget *budget, uint64_t bytes)
{
	struct budget *root = budget->root;

	lock_take(&root->lock);
	for (struct budget *at = budget; at; at = at->parent)
		at->used -= bytes;
	/* Under the lock, so that after budget_watch(NULL) no call is under way: wakers only raise a
	 * flag and take no lock that is held while taking from a budget. */
	if (root->refused && root->watch) {
		root->refused = false;
		root->watch(root->watch_arg);
	}
	lock_drop(&root->lock);
}

void budget_watch(struct budget *budget, void (*fn)(void *arg), void *arg)
{
	lock_take(&budget->root->lock);
	budget->root->watch = fn;
	budget->root->watch_arg = arg;
	lock_drop(&budget->root->lock);
}

uint64_t budget_limit(const struct budget *budget)
{
	uint64_t limit = BUDGET_NONE;

	for (; budget; budget = budget->parent)
		limit = min_of(limit, budget->limit);
	return limit;
}

uint64_t budget_used(struct budget *budget)
{
	uint64_t used;

	lock_take(&budget->root->lock);
	used = budget->used;
	lock_drop(&budget->root->lock);
	return used;
}
