/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trials: which way is the faster one, at speeds and in orders that are made up.
 */
#include "engine/trial.h"

#include "lib/check.h"

#define REQUEST (512 * KIB)
#define DEPTH   16

/* A transfer that keeps so many requests in flight; each way brings one after the other at its speed. */
struct run {
	struct trial trial;
	int64_t now_ns;
	uint64_t speed[2]; /* bytes a second */
	struct {
		uint8_t mark;
		int way;
	} flying[DEPTH];
	unsigned first, count;
	uint64_t bytes[2]; /* that each way brought */
};

/* The oldest request ends; true: a verdict. */
static bool land(struct run *run, bool well)
{
	int way = run->flying[run->first].way;
	uint8_t mark = run->flying[run->first].mark;

	run->first = (run->first + 1) % DEPTH;
	run->count--;
	run->now_ns += (int64_t)(REQUEST * 1000000000 / run->speed[way]);
	run->bytes[way] += REQUEST;
	return trial_ended(&run->trial, mark, REQUEST, well, run->now_ns);
}

static void launch(struct run *run, const void *owner)
{
	unsigned at = (run->first + run->count++) % DEPTH;

	run->flying[at].way = trial_choose(&run->trial, owner, REQUEST, run->now_ns,
					   &run->flying[at].mark);
}

/* A transfer of so many bytes; how many verdicts. */
static unsigned carry(struct run *run, const void *owner, uint64_t bytes)
{
	unsigned verdicts = 0;

	for (uint64_t sent = 0; sent < bytes; sent += REQUEST) {
		if (run->count == DEPTH)
			verdicts += land(run, true);
		launch(run, owner);
	}
	while (run->count)
		verdicts += land(run, true);
	return verdicts;
}

static void the_faster_way_wins_by_a_margin(void)
{
	static const struct {
		uint64_t first, second;
		int winner;
	} cases[] = {
		{GIB, 2 * GIB, 1},        {2 * GIB, GIB, 0}, {GIB, GIB, 0},
		{GIB, GIB + GIB / 25, 0}, /* 4 % more */
		{GIB, GIB + GIB / 16, 1}, /* 6 % more */
	};

	for (size_t i = 0; i < array_size(cases); i++) {
		struct run run = {.speed = {cases[i].first, cases[i].second}};

		check_int(carry(&run, &run, 256 * MIB), 1);
		check_int(run.trial.stage, TRIAL_DECIDED);
		check_int(run.trial.way, cases[i].winner);
		check(trial_rate(&run.trial, 0) > 0.99 * (double)cases[i].first &&
		      trial_rate(&run.trial, 0) < 1.01 * (double)cases[i].first);
		check(trial_rate(&run.trial, 1) > 0.99 * (double)cases[i].second &&
		      trial_rate(&run.trial, 1) < 1.01 * (double)cases[i].second);
		check(run.bytes[!cases[i].winner] < TRIAL_WARM + TRIAL_BYTES + 2 * DEPTH * REQUEST);
	}
}

static void a_verdict_holds_for_other_transfers_and_not_for_ever(void)
{
	struct run run = {.speed = {GIB, 2 * GIB}};
	int other, third;

	check_int(carry(&run, &run, 256 * MIB), 1);
	run.bytes[0] = 0;
	check_int(carry(&run, &other, 64 * MIB), 0);
	check_int(run.bytes[0], 0);
	run.speed[1] = GIB / 2;
	run.now_ns += TRIAL_KEEP_NS;
	check_int(carry(&run, &third, 256 * MIB), 1);
	check_int(run.trial.way, 0);
}

static void both_ways_are_measured_in_one_transfer(void)
{
	struct run run = {.speed = {GIB, 2 * GIB}};
	int small[10];

	/* None of them is large enough, and what they saw is not put together. */
	for (int i = 0; i < 10; i++)
		check_int(carry(&run, &small[i], 48 * MIB), 0);
	check_int(carry(&run, &run, 256 * MIB), 1);
}

static void others_go_the_first_way_meanwhile(void)
{
	struct run run = {.speed = {GIB, 2 * GIB}};
	uint8_t mark;
	int other;

	launch(&run, &run);
	check_int(trial_choose(&run.trial, &other, REQUEST, 0, &mark), 0);
	check_int(mark, TRIAL_NONE);
	check(!trial_ended(&run.trial, mark, REQUEST, true, 0));
	land(&run, true);
	check_int(run.trial.flying, 0);
	check(run.trial.owner == &run);
	trial_choose(&run.trial, &other, REQUEST, 0, &mark);
	check(run.trial.owner == &other);
}

/* What failed was not measured: there is no verdict, until somebody tries again. */
static void a_failure_spoils_it(void)
{
	struct run run = {.speed = {GIB, 2 * GIB}};
	unsigned verdicts = 0;

	for (unsigned i = 0; i < 1000; i++) {
		if (run.count == DEPTH)
			verdicts += land(&run, i != 500 && i != 60);
		launch(&run, &run);
	}
	while (run.count)
		verdicts += land(&run, true);
	check_int(verdicts, 0);
	check_int(carry(&run, &run, 256 * MIB), 1);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(the_faster_way_wins_by_a_margin),
		TEST(a_verdict_holds_for_other_transfers_and_not_for_ever),
		TEST(both_ways_are_measured_in_one_transfer),
		TEST(others_go_the_first_way_meanwhile),
		TEST(a_failure_spoils_it),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
