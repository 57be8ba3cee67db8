/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sink.h"

#include "base/error.h"
#include "base/size.h"

/* That much flies, or four requests: what serves them is busy, and others need not wait long behind it. */
#define FLYING_BYTES (64 * MIB)
#define FLYING_LEAST 4

void sink_init(struct sink *sink, struct budget *budget, struct pool *pool, bool shared)
{
	*sink = (struct sink){.budget = budget, .pool = pool, .shared = shared};
}

static void let_go(struct sink *sink)
{
	if (!sink->memory)
		return;
	pool_drop(sink->pool, sink->memory, sink->bytes);
	budget_give(sink->budget, sink->bytes);
	sink->memory = NULL;
	sink->bytes = 0;
}

void sink_fini(struct sink *sink)
{
	let_go(sink);
}

static bool make(struct sink *sink, uint64_t bytes)
{
	void *memory;
	bool fresh;

	if (!budget_take(sink->budget, bytes))
		return false;
	if (pool_take(sink->pool, bytes, POOL_UNIT, 0, &memory, &fresh, NULL) == 0) {
		if (!fresh || !sink->shared ||
		    pool_populate(sink->pool, memory, bytes, NULL) == 0) {
			sink->memory = memory;
			sink->bytes = bytes;
			return true;
		}
		pool_drop(sink->pool, memory, bytes);
	}
	budget_give(sink->budget, bytes);
	return false;
}

enum sink_answer sink_take(struct sink *sink, uint64_t *bytes, uint64_t block, char **out)
{
	uint64_t most;

	if (!sink->memory && !make(sink, round_up(*bytes, POOL_UNIT)))
		return SINK_NONE;
	most = max_of(FLYING_BYTES, FLYING_LEAST * sink->bytes);
	*bytes = min_of(*bytes, round_down(sink->bytes, block));
	if (*bytes == 0)
		return SINK_NONE;
	if (sink->flying_bytes + *bytes > most)
		return SINK_FULL;
	sink->flying_bytes += *bytes;
	*out = sink->memory;
	return SINK_TAKEN;
}

void sink_give(struct sink *sink, uint64_t bytes)
{
	sink->flying_bytes -= bytes;
	if (sink->flying_bytes == 0)
		let_go(sink);
}
