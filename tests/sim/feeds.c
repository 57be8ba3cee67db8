/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A feed beside the transfers: ios that come one by one, and whether what came back is what pread would
 * have said.
 */
#include <string.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/feed.h"
#include "sim/sim.h"
#include "weir/digest.h"

#define IOS 32

struct feed_want {
	struct weir_feed_io io;
	unsigned thing;
	bool flying, cancelled;
	unsigned char *at; /* guarded on both sides */
	uint64_t print;    /* of it, while nobody may write there; 0: not taken */
};

static struct {
	struct weir_feed *feed; /* NULL: this world has none */
	struct feed_want wants[IOS];
	uint32_t depth, flying;
} side;

#define GUARD      64
#define GUARD_BYTE 0xA5

static uint64_t take_print(const struct feed_want *want)
{
	return weir_xxh3_64(want->at - GUARD, want->io.length + 2 * GUARD) | 1;
}

void feeds_create(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_feed_opts opts = {.size = sizeof(opts), .scheme = "memory"};

	memset(&side, 0, sizeof(side));
	if (one_in(2))
		return;
	side.depth = 1 + (uint32_t)below(IOS);
	opts.depth = side.depth;
	opts.requests = 1 + (uint32_t)below(one_in(2) ? 4 : 40);
	opts.flying_bytes = one_in(2) ? 0 : 1 + below(MIB);
	sim_check(weir_feed_create(world.ctx, &opts, &side.feed, &err) == 0, "%s", err.message);
}

/* ---- What came ---- */

static uint64_t present(const struct feed_want *want)
{
	uint64_t size = world.things[want->thing].size;

	return want->io.offset < size ? min_of(want->io.length, size - want->io.offset) : 0;
}

static void check_content(const struct feed_want *want)
{
	const unsigned char *content = content_of(world.things[want->thing].content);
	uint64_t wrong = 0;

	for (int64_t i = 0; i < want->io.result; i++)
		wrong += want->at[i] != content[want->io.offset + (uint64_t)i];
	sim_check(wrong <= world.corrupt, "io %u: %llu bytes are wrong",
		  (unsigned)(want - side.wants), (unsigned long long)wrong);
}

static void check_end(const struct feed_want *want)
{
	unsigned index = (unsigned)(want - side.wants);
	uint64_t allowed = world.allowed | (want->cancelled ? CODE_BIT(WEIR_CANCELLED) : 0);
	int64_t result = want->io.result;

	if (result < 0)
		sim_check(allowed & CODE_BIT(result), "io %u: fails with %s, without a reason",
			  index, weir_code_name((int)result));
	else
		sim_check((uint64_t)result == present(want) ||
				  ((uint64_t)result < present(want) && allowed),
			  "io %u: %lld bytes of %llu, without a reason", index, (long long)result,
			  (unsigned long long)present(want));
	check_content(want);
	for (unsigned i = 0; i < GUARD; i++)
		sim_check(want->at[-1 - (int)i] == GUARD_BYTE &&
				  want->at[want->io.length + i] == GUARD_BYTE,
			  "io %u: bytes beside its memory were written", index);
}

static void io_ended(struct weir_feed_io *io)
{
	struct feed_want *want = container_of(io, struct feed_want, io);

	sim_check(want->flying, "io %u: comes back, and was not pushed",
		  (unsigned)(want - side.wants));
	sim_event("io-ends", (uint64_t)(want - side.wants), (uint64_t)io->result, 0);
	want->flying = false;
	side.flying--;
	check_end(want);
	want->print = take_print(want);
}

static unsigned reap(unsigned max)
{
	struct weir_feed_io *out[IOS];
	unsigned n = weir_feed_reap(side.feed, out, max, 0);

	for (unsigned i = 0; i < n; i++)
		io_ended(out[i]);
	return n;
}

/* ---- What a server does ---- */

static void push(void)
{
	struct feed_want *want = &side.wants[below(IOS)];
	const struct thing *thing;
	uint64_t most = one_in(3) ? CONTENT_BYTES : one_in(2) ? 64 * KIB : 9000;
	int ret;

	if (want->flying)
		return;
	if (want->print)
		sim_check(take_print(want) == want->print, "io %u: written to after its end",
			  (unsigned)(want - side.wants));
	*want = (struct feed_want){.thing = (unsigned)below(world.thing_count)};
	thing = &world.things[want->thing];
	want->io.offset = below(thing->size + (one_in(6) ? 20000 : 1));
	if (one_in(2))
		want->io.offset = round_down(want->io.offset, 4096);
	want->io.length = one_in(2) ? round_up(below(most), 4096) : below(most);
	want->io.object = thing->object;
	want->io.memory = want->at = want_memory(want->io.length, want->io.offset);
	if (!thing->object || !want->at)
		return;
	if (one_in(8))
		want->io.flags = WEIR_FEED_BUFFERED;
	ret = weir_feed_push(side.feed, &want->io);
	sim_event("push", want->io.offset, want->io.length, (uint64_t)ret);
	sim_check(ret == (side.flying < side.depth ? 0 : WEIR_LIMIT), "push: %d with %u of %u in",
		  ret, side.flying, side.depth);
	want->flying = ret == 0;
	side.flying += ret == 0;
}

static void cancel(void)
{
	struct feed_want *want = &side.wants[below(IOS)];

	if (!want->flying)
		return;
	sim_event("io-stops", (uint64_t)(want - side.wants), 0, 0);
	want->cancelled = true;
	weir_feed_cancel(side.feed, &want->io);
}

bool feeds_act(void)
{
	if (!side.feed || !one_in(4))
		return false;
	if (one_in(2))
		reap(1 + (unsigned)below(IOS));
	else if (one_in(20))
		cancel();
	else
		push();
	return true;
}

bool feeds_step(void)
{
	return side.feed && reap(IOS) > 0;
}

int64_t feeds_next_ns(void)
{
	return side.feed ? feed_next_ns(side.feed) : NEVER;
}

/* Everything that was pushed comes back. */
void feeds_run_out(void)
{
	while (side.feed && side.flying > 0)
		if (!feeds_step())
			sim_check(world_pass_time(), "%u ios will never come back", side.flying);
}

/* Now and then with ios under way. */
void feeds_destroy(void)
{
	unsigned stuck;

	if (!side.feed)
		return;
	world.waits = true;
	stuck = weir_feed_destroy(side.feed);
	world.waits = false;
	sim_check(stuck == 0, "%u ios are stuck, and nothing is under way", stuck);
	for (unsigned i = 0; i < IOS; i++)
		if (side.wants[i].print)
			sim_check(take_print(&side.wants[i]) == side.wants[i].print,
				  "io %u: written to after its end", i);
	side.feed = NULL;
}
