/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errands: whose turn it is, what is taken back, and an end while one hangs.
 */
#include "mount/rings/errand.h"

#include <errno.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "rig.h"

#define USERS 4
#define HALF  (ERRANDS_MOST / 2)

/* Waits while it is held. */
struct task {
	struct errand errand;
	_Atomic bool *held;
	_Atomic int *begun, *ended;
	_Atomic int place; /* in the order of beginnings */
};

static struct errands *errands;
static struct task tasks[256];
static _Atomic int begun[USERS], ended[USERS];
static _Atomic bool held[USERS];

static void run(struct errand *errand)
{
	struct task *task = container_of(errand, struct task, errand);

	task->place = atomic_fetch_add(task->begun, 1);
	while (atomic_load(task->held))
		rig_rest(500);
	atomic_fetch_add(task->ended, 1);
}

static void post_one(unsigned user, unsigned at, _Atomic bool *while_held)
{
	struct task *task = &tasks[at];

	task->errand = (struct errand){.uid = user, .run = run};
	task->held = while_held;
	task->begun = &begun[user];
	task->ended = &ended[user];
	check_int(errand_post(errands, &task->errand), 0);
}

static void post(unsigned user, unsigned from, unsigned count)
{
	for (unsigned at = from; at < from + count; at++)
		post_one(user, at, &held[user]);
}

static bool reached(_Atomic int *counter, int value)
{
	for (int ms = 0; ms < 5000; ms++) {
		if (atomic_load(counter) >= value)
			return true;
		rig_rest(1000);
	}
	return false;
}

static int64_t in_ms(int64_t ms)
{
	return sys_real()->now_ns() + ms * NS_PER_MS;
}

static void all_are_run_those_of_a_user_in_their_order(void)
{
	errands = errands_create(sys_real());
	held[0] = true;
	post(0, 0, 100);
	check(reached(&begun[0], HALF));
	rig_rest(20000);
	check_int(begun[0], HALF);
	for (int i = 0; i < HALF; i++)
		check(tasks[i].place < HALF);
	held[0] = false;
	check(reached(&ended[0], 100));
	check(errands_destroy(errands, in_ms(5000)));
}

static void a_user_with_all_of_his_stuck_keeps_nobody_up(void)
{
	errands = errands_create(sys_real());
	held[0] = held[1] = true;
	post(0, 0, 100);
	check(reached(&begun[0], HALF));
	post(1, 100, 20);
	check(reached(&begun[1], HALF / 2));
	post(2, 120, 40);
	check(reached(&ended[2], 40));
	check_int(begun[0], HALF);
	check_int(begun[1], HALF / 2);
	held[0] = held[1] = false;
	check(reached(&ended[0], 100));
	check(reached(&ended[1], 20));
	check(errands_destroy(errands, in_ms(5000)));
}

/* As many as leave as many free again: of each of two users, with one of a third. */
#define THIRD ((ERRANDS_MOST - 1) / 3)

/* Who has most of all ends one: he may begin another, and so may whoever waited for that. */
static void one_end_may_let_two_begin(void)
{
	enum {
		OTHER,
		BUSY,
		NEXT,
		PASSING
	};
	static _Atomic bool first_held = true;

	_Static_assert(3 * THIRD + 1 == ERRANDS_MOST, "so that both wait for the same end");
	errands = errands_create(sys_real());
	for (int user = OTHER; user <= NEXT; user++)
		held[user] = true;
	post(OTHER, 0, 1);
	for (int i = 0; i <= THIRD; i++) { /* one each more than may begin */
		post(NEXT, 100 + (unsigned)i, 1);
		check(reached(&begun[NEXT], i < THIRD ? i + 1 : THIRD));
		post_one(BUSY, 1 + (unsigned)i, i ? &held[BUSY] : &first_held);
		check(reached(&begun[BUSY], i < THIRD ? i + 1 : THIRD));
	}
	post(PASSING, 200, 1); /* and leaves a thread with nothing to do */
	check(reached(&ended[PASSING], 1));
	first_held = false;
	check(reached(&begun[NEXT], THIRD + 1));
	check(reached(&begun[BUSY], THIRD + 1));
	for (int user = OTHER; user <= NEXT; user++)
		held[user] = false;
	check(errands_destroy(errands, in_ms(5000)));
}

static void only_what_has_not_begun_is_taken_back(void)
{
	struct list mine;

	list_init(&mine);
	errands = errands_create(sys_real());
	held[0] = true;
	post(0, 0, HALF + 2);
	check(reached(&begun[0], HALF));
	check(!errand_recall(errands, &tasks[0].errand));
	check(errand_recall(errands, &tasks[HALF].errand));
	check(!errand_recall(errands, &tasks[HALF].errand));
	held[0] = false;
	check(reached(&ended[0], HALF + 1));
	rig_rest(5000);
	check_int(ended[0], HALF + 1);
	/* Its link is its owner's again, and may be on any list. */
	list_push(&mine, &tasks[0].errand.link);
	check(!errand_recall(errands, &tasks[0].errand));
	check(!list_empty(&mine));
	check(errands_destroy(errands, in_ms(5000)));
}

/* What is left is done at the end; what hangs is left to itself. */
static void an_end_with_one_that_hangs(void)
{
	int64_t from = sys_real()->now_ns();

	errands = errands_create(sys_real());
	held[0] = true;
	post(0, 0, 1);
	check(reached(&begun[0], 1));
	post(1, 1, 30);
	check(!errands_destroy(errands, in_ms(100)));
	check(sys_real()->now_ns() - from < 5 * NS_PER_SEC);
	check_int(ended[1], 30);
	held[0] = false;
	check(reached(&ended[0], 1));
	rig_rest(20000); /* it frees the rest */
}

static int no_thread(pthread_t *out, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	(void)out;
	(void)attr;
	(void)start;
	(void)arg;
	return EAGAIN;
}

static void without_a_thread_it_stays_the_callers(void)
{
	struct sys sys = *sys_real();
	struct task task = {.errand = {.run = run}};

	sys.thread_create = no_thread;
	errands = errands_create(&sys);
	check_int(errand_post(errands, &task.errand), ENOMEM);
	check(!errand_recall(errands, &task.errand));
	check(errands_destroy(errands, in_ms(5000)));
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(all_are_run_those_of_a_user_in_their_order),
		TEST(a_user_with_all_of_his_stuck_keeps_nobody_up),
		TEST(one_end_may_let_two_begin),
		TEST(only_what_has_not_begun_is_taken_back),
		TEST(an_end_with_one_that_hangs),
		TEST(without_a_thread_it_stays_the_callers),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
