/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/sink.h"

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"

/*
 * That much flies, or some requests: what serves them is busy, and others need not wait long behind
 * it.  How many is found out: twice as many where a full set came back soon, half where it took
 * long.
 */
#define FLYING_BYTES (64 * MIB)
#define FLYING_LEAST 2u
#define FLYING_START 4u
#define FLYING_MOST  16u
#define SOON_NS      (200 * NS_PER_MS)
#define LONG_NS      (800 * NS_PER_MS)

void sink_init(struct sink *sink, struct budget *budget, struct pool *pool, bool shared)
{
	*sink = (struct sink){
		.budget = budget, .pool = pool, .shared = shared, .requests = FLYING_START};
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

enum sink_answer sink_take(struct sink *sink, uint64_t *bytes, uint64_t block, int64_t now_ns,
			   char **out)
{
	uint64_t most;

	if (!sink->memory && !make(sink, round_up(*bytes, POOL_UNIT)))
		return SINK_NONE;
	most = max_of(FLYING_BYTES, sink->requests * sink->bytes);
	*bytes = min_of(*bytes, round_down(sink->bytes, block));
	if (*bytes == 0)
		return SINK_NONE;
	if (sink->flying_bytes == 0) {
		sink->since_ns = now_ns;
		sink->filled = false;
	}
	sink->filled |= sink->flying_bytes + *bytes > most;
	if (sink->flying_bytes + *bytes > most)
		return SINK_FULL;
	sink->flying_bytes += *bytes;
	*out = sink->memory;
	return SINK_TAKEN;
}

static void learn(struct sink *sink, int64_t took_ns)
{
	if (took_ns < SOON_NS)
		sink->requests = min_of(2 * sink->requests, FLYING_MOST);
	else if (took_ns > LONG_NS)
		sink->requests = max_of(sink->requests / 2, FLYING_LEAST);
}

void sink_give(struct sink *sink, uint64_t bytes, int64_t now_ns)
{
	sink->flying_bytes -= bytes;
	if (sink->flying_bytes > 0)
		return;
	if (sink->filled)
		learn(sink, now_ns - sink->since_ns);
	let_go(sink);
}
