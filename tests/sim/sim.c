/* SPDX-License-Identifier: Apache-2.0 */
/*
 *	sim --seed N [-v]      runs one seed; -v tells every event
 *	sim --seeds A..B       runs seeds A to B; at the first that fails, says how to see it again
 *	sim --replays A..B     runs each twice and compares all that happened
 */
#include "sim/sim.h"

#include <malloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "source/fault.h"

/* Real seconds that one seed may take, sanitizers included. */
#define SEED_SECONDS 60

bool sim_verbose;

static const char *program;

static void how_to_replay(void)
{
	dprintf(STDERR_FILENO, "replay: %s --seed %llu -v\n", program,
		(unsigned long long)world.seed);
}

void sim_failed(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fprintf(stderr, "seed %llu, event %llu: ", (unsigned long long)world.seed,
		(unsigned long long)world.events);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	how_to_replay();
	_exit(1);
}

static void crashed(int number)
{
	how_to_replay();
	signal(number, SIG_DFL);
	raise(number);
}

/* The sanitizers' own way to tell that they end the program. */
void __sanitizer_set_death_callback(void (*fn)(void)) __attribute__((weak));

void sim_event(const char *what, uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t values[] = {world.log, (uint64_t)world_now(), a, b, c};

	world.log = weir_xxh3_64(values, sizeof(values)) ^ weir_xxh3_64(what, strlen(what));
	world.events++;
	if (sim_verbose)
		printf("%6llu %14lld %-8s %lld %lld %lld\n", (unsigned long long)world.events,
		       (long long)world_now(), what, (long long)a, (long long)b, (long long)c);
}

/* ---- The end of a run: everything must come to its own end ---- */

static unsigned flights_left(void)
{
	unsigned left = 0;

	for (unsigned i = 0; i < world.flight_count; i++)
		left += world.flights[i].transfer != NULL;
	return left;
}

/* For whoever looks at a transfer that is stuck. */
static void tell_unsettled(const struct weir_transfer *transfer)
{
	for (const struct batch *batch = transfer->batches; batch; batch = batch->next)
		for (uint64_t i = 0; i < batch->plan->count; i++) {
			const struct extent *extent = &batch->plan->extents[i];

			if (extent->state < EXTENT_LENT)
				fprintf(stderr,
					"extent %llu: class %u, state %u, withdrawn %d, parts %u, "
					"left %llu of %llu, run %d, status %d, align %u, memory %p\n",
					(unsigned long long)extent->tag, extent->class_,
					extent->state, extent->withdrawn, extent->parts,
					(unsigned long long)extent->left,
					(unsigned long long)extent->length, (int)extent->run,
					extent->status, extent->align, (void *)extent->memory);
		}
}

/* With all completions taken and all buffers returned: somebody must still have something to do. */
static void check_not_stuck(void)
{
	uint64_t flying = transfers_stuck(world.ctx), unsettled = 0;

	for (unsigned i = 0; i < world.flight_count; i++)
		if (world.flights[i].transfer) {
			flying += world.flights[i].transfer->flying;
			unsettled += world.flights[i].transfer->unsettled;
		}
	if (flying > 0 || unsettled == 0)
		return;
	for (unsigned i = 0; i < world.flight_count; i++)
		if (world.flights[i].transfer)
			tell_unsettled(world.flights[i].transfer);
	sim_failed("%llu extents have not settled, and nothing is under way",
		   (unsigned long long)unsettled);
}

static void close_flight(unsigned index)
{
	struct flight *flight = &world.flights[index];

	if (!flight->transfer || flight->transfer->unsettled > 0 || flight->transfer->lent > 0 ||
	    flight->transfer->flying > 0)
		return;
	act_take(true);
	sim_check(flight->closing || flight->settled == flight->wants,
		  "transfer %u: %u completions for %u extents", index, flight->settled,
		  flight->wants);
	sim_check(flight->closing || flight->owed == 0, "transfer %u: %u releases never came",
		  index, flight->owed);
	sim_check(act_finish(index, 0), "transfer %u: lent, and nothing is under way", index);
}

static void run_out(void)
{
	for (unsigned i = 0; i < world.flight_count; i++)
		if (world.flights[i].transfer) {
			weir_transfer_end(world.flights[i].transfer);
			world.flights[i].open = false;
		}
	while (flights_left() > 0) {
		bool happened = world_step_all();

		act_take(true);
		act_return(true);
		happened |= world_step_all();
		for (unsigned i = 0; i < world.flight_count; i++)
			close_flight(i);
		if (happened)
			continue;
		check_not_stuck();
		sim_check(flights_left() == 0 || world_pass_time(), "nothing will ever happen");
	}
	/* Requests of transfers that were left behind. */
	for (int i = 0; i < 1000; i++)
		if (!world_step_all() && !world_pass_time())
			break;
}

static void check_books(void)
{
	struct weir_counters counters;
	struct pool_usage usage;

	act_return(true);
	weir_ctx_counters(world.ctx, &counters);
	pool_usage(world.ctx->pool, &usage);
	sim_check(usage.held_bytes == 0, "%llu bytes of the pool are held by nobody",
		  (unsigned long long)usage.held_bytes);
	sim_check(counters.extents >= counters.extents_failed, "more failures than extents");
}

static uint64_t run(uint64_t seed)
{
	unsigned acts;

	alarm(SEED_SECONDS);
	world_create(seed);
	acts = 20 + (unsigned)below(600);
	while (acts-- > 0)
		act();
	run_out();
	if (!one_in(4))
		feeds_run_out();
	check_books();
	world_destroy();
	return world.log;
}

/* ---- Seeds ---- */

static int usage(void)
{
	fprintf(stderr, "usage: %s --seed N [-v] | --seeds A..B | --replays A..B\n", program);
	return 2;
}

static void run_range(uint64_t first, uint64_t last, bool twice)
{
	uint64_t events = 0, all = 0;

	for (uint64_t seed = first; seed <= last; seed++) {
		uint64_t log = run(seed);

		events += world.events;
		all = all * 31 + log;
		if (twice && run(seed) != log)
			sim_failed("another run of the same seed went another way");
	}
	printf("%llu seeds, %llu events, %016llx\n", (unsigned long long)(last - first + 1),
	       (unsigned long long)events, (unsigned long long)all);
}

int main(int argc, char **argv)
{
	unsigned long long first, last;

	program = argv[0];
	/* Objects come and go by the thousand: their memory is kept for the next. */
	mallopt(M_MMAP_THRESHOLD, 64 << 20);
	mallopt(M_TRIM_THRESHOLD, 512 << 20);
	signal(SIGABRT, crashed);
	signal(SIGSEGV, crashed);
	signal(SIGALRM, crashed);
	if (__sanitizer_set_death_callback)
		__sanitizer_set_death_callback(how_to_replay);
	if (argc < 3)
		return usage();
	sim_verbose = argc > 3 && strcmp(argv[3], "-v") == 0;
	if (strcmp(argv[1], "--seed") == 0 && sscanf(argv[2], "%llu", &first) == 1)
		run_range(first, first, false);
	else if (sscanf(argv[2], "%llu..%llu", &first, &last) != 2)
		return usage();
	else
		run_range(first, last, strcmp(argv[1], "--replays") == 0);
	return 0;
}
