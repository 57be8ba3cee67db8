/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of io_depth and timeout (see batch.h).
 */
#include "mount/rings/batch.h"

#include "base/clock.h"

/* Requests in one batch; the depth is never negated as the 32-bit number it came as. */
static uint32_t batch_size(const struct batch_rule *rule)
{
	return rule->depth < 0 ? (uint32_t) - (int64_t)rule->depth : (uint32_t)rule->depth;
}

/* How long a partial batch waits, in nanoseconds; NEVER: until it is full. */
static int64_t patience(const struct batch_rule *rule)
{
	if (rule->depth < 0)
		return rule->timeout_ms * NS_PER_MS;
	return rule->strict ? NEVER : (rule->timeout_ms + BATCH_RELAXED_MS) * NS_PER_MS;
}

/* May the partial batch go?  Starts and reads its clock. */
static bool partial_goes(const struct batch_rule *rule, struct batch_wait *wait, bool waiting,
			 int64_t now_ns, int64_t *look_ns)
{
	int64_t due, after = patience(rule);

	if (after == 0)
		return true;
	if (after == NEVER)
		return false;
	if (!wait->since_ns)
		wait->since_ns = now_ns;
	due = wait->since_ns + after;
	if (now_ns < due) {
		*look_ns = due;
		return false;
	}
	return rule->depth < 0 || waiting;
}

uint32_t batch_grant(const struct batch_rule *rule, struct batch_wait *wait, uint32_t queued,
		     bool waiting, int64_t now_ns, uint32_t *batches, int64_t *look_ns)
{
	uint32_t size = batch_size(rule), full, rest, granted;

	*look_ns = NEVER;
	*batches = queued > 0;
	if (size == 0)
		return queued;
	full = queued / size;
	rest = queued % size;
	if (full) /* another partial batch than the one seen before */
		wait->since_ns = 0;
	*batches = full < BATCHES_PER_SCAN ? full : BATCHES_PER_SCAN;
	granted = *batches * size;
	if (*batches == BATCHES_PER_SCAN || !rest)
		return granted;
	if (!partial_goes(rule, wait, waiting, now_ns, look_ns))
		return granted;
	wait->since_ns = 0;
	++*batches;
	return granted + rest;
}
