/* SPDX-License-Identifier: Apache-2.0 */
#include "source/retry.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "lib/check.h"
#include "source/fault.h"
#include "source/memory.h"

#define MS   NS_PER_MS
#define SIZE 100

static int64_t clock_ns;
static int64_t simulated_now(void)
{
	return clock_ns;
}

/* The longest wait that chance allows. */
static int most_random(void *to, size_t len)
{
	uint64_t most = UINT64_MAX / (800 * NS_PER_MS) * (800 * NS_PER_MS) - 1;

	check_int(len, sizeof(most));
	memcpy(to, &most, len);
	return 0;
}

static struct sys sys;
static struct source_env env = {.sys = &sys};
static struct source *misbehaving, *source;
static const struct source_ops *ops;
static struct source_lane *lane;
static struct source_object *object;
static char content[SIZE], to[SIZE];

static void begin_lane(bool simulated)
{
	const struct lane_how how = {.depth = 4, .simulated = simulated};
	const struct source_how plain = {0};
	struct source *store;

	sys = *sys_real();
	sys.now_ns = simulated_now;
	memset(content, 'x', SIZE);
	memset(to, 0, SIZE);
	check_int(source_memory_create(&env, &store, NULL), 0);
	check_int(source_memory_put(store, "a", content, SIZE, NULL), 0);
	check_int(source_fault_create(store, 1, &misbehaving, NULL), 0);
	check_int(source_retry_create(misbehaving, &source, NULL), 0);
	ops = source->ops;
	check_int(ops->lane_create(source, &how, &lane, NULL), 0);
	check_int(ops->open(source, "a", "a", &plain, &object, NULL), 0);
}

static void begin(void)
{
	begin_lane(true);
}

static void end(void)
{
	ops->close(object);
	ops->lane_destroy(lane);
	ops->destroy(source);
}

static void fail_reads(int code, int os_errno, uint32_t times)
{
	const struct fault_rule rule = {.calls = FAULT_READ,
					.times = times,
					.action = FAULT_ERROR,
					.code = code,
					.os_errno = os_errno};

	source_fault_set(misbehaving, &rule, 1);
}

static struct request read_all(void)
{
	return (struct request){
		.object = object, .length = SIZE, .memory = to, .way = WAY_BUFFERED};
}

/* Steps the clock to what comes next until the request is back. */
static void run(struct request *request)
{
	struct request *out;

	while (!ops->reap(lane, &out, 1, 0)) {
		check(ops->next_ns(lane) != NEVER);
		clock_ns = ops->next_ns(lane);
	}
	check(out == request);
}

static struct request read_now(int64_t deadline_ns)
{
	struct request request = read_all();

	request.deadline_ns = deadline_ns;
	check_int(ops->submit(lane, &request), 0);
	run(&request);
	return request;
}

/* ---- What is worth it ---- */

static void what_passes_is_tried_again(void)
{
	static const struct {
		int code, os_errno;
	} worth[] = {
		{WEIR_THROTTLED, 0}, {WEIR_PEER_GONE, 0}, {WEIR_PROTO, 0},
		{WEIR_TIMEOUT, 0},   {WEIR_IO, EAGAIN},   {WEIR_IO, ETIMEDOUT},
	};

	begin();
	for (size_t i = 0; i < array_size(worth); i++) {
		struct request request;

		memset(to, 0, SIZE);
		fail_reads(worth[i].code, worth[i].os_errno, 1);
		request = read_now(0);
		check_int(request.result, SIZE);
		check_int(request.retries, 1);
		check(memcmp(to, content, SIZE) == 0);
	}
	end();
}

static void what_stays_is_not(void)
{
	static const struct {
		int code, os_errno;
	} not_worth[] = {
		{WEIR_IO, EIO},          {WEIR_IO, ESTALE},   {WEIR_IO, 0},
		{WEIR_NOTFOUND, ENOENT}, {WEIR_DENIED, 0},    {WEIR_AUTH, 0},
		{WEIR_CHANGED, 0},       {WEIR_TRUNCATED, 0}, {WEIR_NOMEM, 0},
		{WEIR_NOSPACE, 0},       {WEIR_INTEGRITY, 0}, {WEIR_TLS, 0},
		{WEIR_REDIRECT, 0},      {WEIR_CANCELLED, 0},
	};

	begin();
	for (size_t i = 0; i < array_size(not_worth); i++) {
		struct request request;

		fail_reads(not_worth[i].code, not_worth[i].os_errno, 1);
		request = read_now(0);
		check_int(request.result, not_worth[i].code);
		check_int(request.os_errno, not_worth[i].os_errno);
		check_int(request.retries, 0);
	}
	check_int(clock_ns, 0);
	end();
}

/* ---- How often, and when ---- */

static void five_tries_and_the_last_error(void)
{
	struct request request;

	begin();
	fail_reads(WEIR_PEER_GONE, ECONNRESET, 0);
	request = read_now(0);
	check_int(request.result, WEIR_PEER_GONE);
	check_int(request.os_errno, ECONNRESET);
	check_int(request.retries, 4);
	check_int(source_fault_hits(misbehaving, 0), 5);
	end();
}

static void waits_double(void)
{
	struct request request = read_all(), *out;
	int64_t last = 0;

	begin();
	request.object = object;
	sys.random = most_random;
	fail_reads(WEIR_PEER_GONE, 0, 0);
	check_int(ops->submit(lane, &request), 0);
	for (int i = 0; i < 4; i++) {
		check(!ops->reap(lane, &out, 1, 0));
		check_int(ops->next_ns(lane) - last, (50 << i) * MS - 1);
		last = clock_ns = ops->next_ns(lane);
	}
	check(ops->reap(lane, &out, 1, 0) == 1);
	end();
}

static void waits_are_spread(void)
{
	int64_t waits[8];

	begin();
	for (size_t i = 0; i < 8; i++) {
		int64_t start = clock_ns;

		fail_reads(WEIR_PEER_GONE, 0, 1);
		check_int(read_now(0).result, SIZE);
		waits[i] = clock_ns - start;
		check(waits[i] < 50 * MS);
		check(i == 0 || waits[i] != waits[i - 1]);
	}
	end();
}

static int no_random(void *bytes, size_t len)
{
	(void)bytes;
	(void)len;
	return -1;
}

static void without_chance_the_wait_is_the_longest(void)
{
	begin();
	sys.random = no_random;
	fail_reads(WEIR_PEER_GONE, 0, 1);
	check_int(read_now(0).result, SIZE);
	check_int(clock_ns, 50 * MS);
	end();
}

static void never_past_the_deadline(void)
{
	struct request request;

	begin();
	sys.random = most_random; /* waits of 50, 100, 200 ms */
	fail_reads(WEIR_PEER_GONE, 0, 0);
	request = read_now(160 * MS);
	check_int(request.result, WEIR_PEER_GONE);
	check_int(request.retries, 2);
	check(clock_ns < 160 * MS);
	end();
}

static void tries_again_are_one_in_ten(void)
{
	uint32_t hits;

	begin();
	fail_reads(WEIR_PEER_GONE, 0, 0);
	for (int i = 0; i < 10; i++)
		check_int(read_now(0).result, WEIR_PEER_GONE);
	/* Ten first tries, and the ten in hand. */
	check_int(source_fault_hits(misbehaving, 0), 20);
	/* Twenty successes earn two. */
	source_fault_set(misbehaving, NULL, 0);
	for (int i = 0; i < 20; i++)
		check_int(read_now(0).result, SIZE);
	fail_reads(WEIR_PEER_GONE, 0, 0);
	for (int i = 0; i < 3; i++)
		check_int(read_now(0).result, WEIR_PEER_GONE);
	hits = source_fault_hits(misbehaving, 0);
	check_int(hits, 5);
	end();
}

/* ---- Cancelling ---- */

static void a_wait_ends_when_it_is_cancelled(void)
{
	struct request request, *out;

	begin();
	fail_reads(WEIR_THROTTLED, 0, 0);
	request = read_all();
	check_int(ops->submit(lane, &request), 0);
	check(!ops->reap(lane, &out, 1, 0));
	ops->cancel(lane, &request);
	check(ops->reap(lane, &out, 1, 0) == 1 && out == &request);
	check_int(request.result, WEIR_CANCELLED);
	end();
}

static void a_cancelled_try_is_the_last(void)
{
	const struct fault_rule rules[] = {
		{.calls = FAULT_READ, .action = FAULT_STUCK, .delay_ns = 10 * MS},
		{.calls = FAULT_READ, .action = FAULT_ERROR, .code = WEIR_PEER_GONE},
	};
	struct request request;

	begin();
	source_fault_set(misbehaving, rules, 2);
	request = read_all();
	check_int(ops->submit(lane, &request), 0);
	ops->cancel(lane, &request);
	run(&request);
	check_int(request.result, WEIR_PEER_GONE);
	check_int(request.retries, 0);
	end();
}

static const struct source_ops *misbehaving_ops;
static unsigned looks;

/* A lane whose answer ends its wake as well: somebody woke it just before there was one. */
static unsigned wake_and_look(struct source_lane *next, struct request **out, unsigned max,
			      int64_t deadline_ns)
{
	check(looks == 0 || deadline_ns <= clock_ns); /* else it would sleep */
	if (looks++ == 0)
		ops->wake(lane);
	return misbehaving_ops->reap(next, out, max, 0);
}

static void a_wake_beside_what_is_tried_again_is_not_slept_over(void)
{
	struct request request, *out;
	struct source_ops looking;

	begin_lane(false);
	request = read_all();
	misbehaving_ops = misbehaving->ops;
	looking = *misbehaving_ops;
	looking.reap = wake_and_look;
	misbehaving->ops = &looking;
	fail_reads(WEIR_PEER_GONE, 0, 1);
	check_int(ops->submit(lane, &request), 0);
	check_int(ops->reap(lane, &out, 1, NEVER), 0);
	check_int(looks, 1);
	run(&request);
	check_int(request.result, SIZE);
	misbehaving->ops = misbehaving_ops;
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(what_passes_is_tried_again),
		TEST(what_stays_is_not),
		TEST(five_tries_and_the_last_error),
		TEST(waits_double),
		TEST(waits_are_spread),
		TEST(without_chance_the_wait_is_the_longest),
		TEST(never_past_the_deadline),
		TEST(tries_again_are_one_in_ten),
		TEST(a_wait_ends_when_it_is_cancelled),
		TEST(a_cancelled_try_is_the_last),
		TEST(a_wake_beside_what_is_tried_again_is_not_slept_over),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
