/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "lib/check.h"
#include "source/memory.h"
#include "source/memory_store.h"

#define MS   NS_PER_MS
#define SIZE 1000

static int64_t clock_ns;
static int64_t simulated_now(void)
{
	return clock_ns;
}

static struct sys sys;
static struct source_env env = {.sys = &sys};
static struct source *store, *source;
static const struct source_ops *ops;
static struct source_lane *lane;
static struct source_object *object;
static const struct source_how plain;
static char content[SIZE], to[SIZE];

static void begin(bool simulated, uint64_t seed)
{
	struct lane_how how = {.depth = 4, .simulated = simulated};

	sys = *sys_real();
	if (simulated)
		sys.now_ns = simulated_now;
	for (size_t i = 0; i < SIZE; i++)
		content[i] = (char)(i * 7 + 1);
	memset(to, 0, SIZE);
	check_int(source_memory_create(&env, &store, NULL), 0);
	check_int(source_memory_put(store, "a", content, SIZE, NULL), 0);
	check_int(source_fault_create(store, seed, &source, NULL), 0);
	ops = source->ops;
	check_int(ops->lane_create(source, &how, &lane, NULL), 0);
	check_int(ops->open(source, "a", "memory://a", &plain, &object, NULL), 0);
	check(object->size_bytes == SIZE && object->source == source);
}

static void end(void)
{
	ops->close(object);
	ops->lane_destroy(lane);
	ops->destroy(source);
}

static struct request read_of(uint64_t offset, uint32_t length)
{
	return (struct request){.object = object,
				.offset = offset,
				.length = length,
				.memory = to + offset,
				.way = WAY_BUFFERED};
}

static struct request *reap_one(int64_t deadline_ns)
{
	struct request *out;

	return ops->reap(lane, &out, 1, deadline_ns) ? out : NULL;
}

/* A read from submit to its result. */
static int64_t read_now(uint64_t offset, uint32_t length, int *os_errno)
{
	struct request request = read_of(offset, length);

	check_int(ops->submit(lane, &request), 0);
	check(reap_one(NEVER) == &request);
	if (os_errno)
		*os_errno = request.os_errno;
	return request.result;
}

static void without_rules_it_is_not_there(void)
{
	struct weir_stat stat;
	struct weir_choice choice;
	uint64_t until;

	begin(true, 1);
	check_int(read_now(0, SIZE, NULL), SIZE);
	check(memcmp(to, content, SIZE) == 0);
	check_int(ops->describe(object, &stat, NULL), 0);
	check_int(stat.size_bytes, SIZE);
	check_int((ops->check)(object, NULL), 0);
	check_int(ops->way(object, 0, 10, &until), WAY_BUFFERED);
	ops->choice(source, &choice);
	check_str(choice.kind, "memory");
	end();
}

/* ---- Rules ---- */

static void ST_03_an_error_at_an_offset(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ,
					.offset = 300,
					.length = 10,
					.action = FAULT_ERROR,
					.code = WEIR_IO,
					.os_errno = EIO};
	int os_errno;

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	check_int(read_now(0, 300, NULL), 300);
	check_int(read_now(310, 100, NULL), 100);
	check_int(read_now(309, 1, &os_errno), WEIR_IO);
	check_int(os_errno, EIO);
	check_int(read_now(0, 301, NULL), WEIR_IO);
	check_int(read_now(200, 500, NULL), WEIR_IO);
	check_int(source_fault_hits(source, 0), 3);
	end();
}

static void the_nth_call_and_no_other(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ,
					.skip = 2,
					.times = 1,
					.action = FAULT_ERROR,
					.code = WEIR_PEER_GONE};

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	for (int i = 0; i < 5; i++)
		check_int(read_now(0, 1, NULL), i == 2 ? WEIR_PEER_GONE : 1);
	end();
}

static void chance_comes_from_the_seed(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .per_million = 500000, .action = FAULT_ERROR, .code = WEIR_IO};
	int64_t results[2][64];

	for (size_t run = 0; run < 2; run++) {
		begin(true, 99);
		source_fault_set(source, &rule, 1);
		for (size_t i = 0; i < 64; i++)
			results[run][i] = read_now(0, 1, NULL);
		check(source_fault_hits(source, 0) > 16 && source_fault_hits(source, 0) < 48);
		end();
	}
	check(memcmp(results[0], results[1], sizeof(results[0])) == 0);
}

static void only_the_object_that_is_named(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ | FAULT_OPEN,
					.name = "b",
					.action = FAULT_ERROR,
					.code = WEIR_IO};
	struct source_object *other;

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	check_int(read_now(0, 1, NULL), 1);
	check_int(source_memory_put(store, "b", "", 0, NULL), 0);
	check_int(ops->open(source, "b", "memory://b", &plain, &other, NULL), WEIR_IO);
	end();
}

/* ---- Actions ---- */

static void ST_01_short_reads_are_not_to_be_believed(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ, .action = FAULT_SHORT, .bytes = 10};

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	check_int(read_now(0, SIZE, NULL), 10);
	check(memcmp(to, content, 10) == 0);
	for (size_t i = 10; i < SIZE; i++)
		check_int((unsigned char)to[i], 0xDB);
	check_int(read_now(5, 7, NULL), 7);
	check(memcmp(to + 5, content + 5, 7) == 0);
	end();
}

static void ST_23_wrong_bytes(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ, .action = FAULT_CORRUPT};
	size_t wrong = 0;

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	check_int(read_now(0, SIZE, NULL), SIZE);
	for (size_t i = 0; i < SIZE; i++)
		wrong += to[i] != content[i];
	check_int(wrong, 1);
	end();
}

static void a_refused_submit(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ, .times = 6, .action = FAULT_REFUSE};
	struct request request;

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	request = read_of(0, 1);
	for (int i = 0; i < 6; i++) /* more often than there are slots */
		check_int(ops->submit(lane, &request), WEIR_LIMIT);
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(0) == &request);
	end();
}

static void a_delayed_read_can_be_called_back(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 50 * MS};
	struct request request[2];

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	for (size_t i = 0; i < 2; i++) {
		request[i] = read_of(i, 1);
		check_int(ops->submit(lane, &request[i]), 0);
	}
	check_int(ops->next_ns(lane), 50 * MS);
	check(!reap_one(0));
	ops->cancel(lane, &request[1]);
	check(reap_one(0) == &request[1] && request[1].result == WEIR_CANCELLED);
	clock_ns = 50 * MS;
	check(reap_one(0) == &request[0] && request[0].result == 1);
	check(to[0] == content[0] && to[1] == 0);
	end();
}

static void ST_16_stuck_bytes_arrive_late(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_STUCK, .delay_ns = 3600 * NS_PER_SEC};
	struct request request;

	begin(true, 1);
	source_fault_set(source, &rule, 1);
	request = read_of(0, SIZE);
	check_int(ops->submit(lane, &request), 0);
	ops->cancel(lane, &request);
	clock_ns = 3599 * NS_PER_SEC;
	check(!reap_one(0));
	check(to[0] == 0);
	clock_ns = 3600 * NS_PER_SEC;
	check(reap_one(0) == &request);
	check_int(request.result, SIZE);
	check(memcmp(to, content, SIZE) == 0);
	end();
}

static void several_rules_add_up(void)
{
	const struct fault_rule rules[] = {
		{.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 5 * MS},
		{.calls = FAULT_READ, .action = FAULT_SHORT, .bytes = 3},
		{.calls = FAULT_READ, .skip = 1, .action = FAULT_ERROR, .code = WEIR_THROTTLED},
	};
	struct request request;

	begin(true, 1);
	source_fault_set(source, rules, 3);
	for (int i = 0; i < 2; i++) {
		request = read_of(0, 10);
		check_int(ops->submit(lane, &request), 0);
		check(!reap_one(0));
		clock_ns += 5 * MS;
		check(reap_one(0) == &request);
		check_int(request.result, i == 0 ? 3 : WEIR_THROTTLED);
	}
	end();
}

static void writes_are_shortened_before_they_move(void)
{
	const struct fault_rule rule = {.calls = FAULT_WRITE, .action = FAULT_SHORT, .bytes = 2};
	struct source_object *writer;
	struct request request;

	begin(true, 1);
	check_int(ops->create(source, "w", "memory://w", 4, &plain, &writer, NULL), 0);
	source_fault_set(source, &rule, 1);
	request = (struct request){.object = writer,
				   .op = REQUEST_WRITE,
				   .way = WAY_BUFFERED,
				   .memory = content,
				   .length = 4};
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(0) == &request);
	check_int(request.result, 2);
	check_int(ops->commit(writer, 0, NULL), 0);
	check(!writer->writing);
	ops->close(writer);
	end();
}

static void calls_on_names_fail_too(void)
{
	const struct fault_rule rules[] = {
		{.calls = FAULT_STAT,
		 .action = FAULT_ERROR,
		 .code = WEIR_DENIED,
		 .os_errno = EACCES},
		{.calls = FAULT_LIST, .action = FAULT_ERROR, .code = WEIR_IO},
		{.calls = FAULT_CREATE, .action = FAULT_ERROR, .code = WEIR_NOSPACE},
		{.calls = FAULT_CHECK, .action = FAULT_ERROR, .code = WEIR_CHANGED},
		{.calls = FAULT_COMMIT, .action = FAULT_ERROR, .code = WEIR_IO},
	};
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_listing listing = {0};
	struct source_object *writer;
	struct weir_stat stat;

	begin(true, 1);
	check_int(ops->create(source, "w", "w", 4, &plain, &writer, NULL), 0);
	source_fault_set(source, rules, 5);
	check_int(ops->stat(source, "a", "memory://a", &plain, &stat, &err), WEIR_DENIED);
	check_int(err.os_errno, EACCES);
	check_str(err.object, "memory://a");
	check_int(ops->describe(object, &stat, NULL), WEIR_DENIED);
	check_int(ops->list(source, "", "memory://", &listing, NULL), WEIR_IO);
	check_int(ops->create(source, "x", "x", 4, &plain, &writer, NULL), WEIR_NOSPACE);
	check_int((ops->check)(object, NULL), WEIR_CHANGED);
	check_int(ops->commit(writer, 0, NULL), WEIR_IO);
	check(writer->writing);
	ops->close(writer);
	end();
}

static void header_reads_fail_too(void)
{
	const struct fault_rule rules[] = {
		{.calls = FAULT_READ,
		 .skip = 1,
		 .times = 1,
		 .action = FAULT_ERROR,
		 .code = WEIR_IO},
		{.calls = FAULT_READ, .skip = 2, .times = 1, .action = FAULT_SHORT, .bytes = 3},
		{.calls = FAULT_READ, .skip = 3, .times = 1, .action = FAULT_CORRUPT},
	};

	begin(true, 1);
	source_fault_set(source, rules, 3);
	check_int(ops->read(object, to, SIZE - 5, 10, NULL), 5);
	check(memcmp(to, content + SIZE - 5, 5) == 0);
	check_int(ops->read(object, to, SIZE, 10, NULL), WEIR_IO);
	check_int(ops->read(object, to, 0, 10, NULL), 3);
	check_int(ops->read(object, to, 0, 10, NULL), 10);
	check(memcmp(to, content, 10) != 0);
	check_int(ops->read(object, to, SIZE, 10, NULL), 0);
	end();
}

/* ---- Threads ---- */

static void *wake_later(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	ops->wake(arg);
	return NULL;
}

static void a_threaded_lane_waits_for_what_is_held(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 400 * MS};
	struct memory_behaviour behaviour = {.latency_ns = 20 * MS};
	struct request request;
	pthread_t thread;
	int64_t start;

	begin(false, 1);
	source_memory_behave(store, &behaviour);
	source_fault_set(source, &rule, 1);
	start = sys.now_ns();
	request = read_of(0, SIZE);
	check_int(ops->submit(lane, &request), 0);
	check(!reap_one(start + 5 * MS));
	check_int(thread_start(&sys, &thread, "wake", wake_later, lane, NULL), 0);
	check(!reap_one(NEVER)); /* the wake */
	thread_join(thread);
	check(reap_one(NEVER) == &request);
	check(sys.now_ns() >= start + 420 * MS);
	check(memcmp(to, content, SIZE) == 0);
	end();
}

/* The store's lane, after which the clock goes on. */
static unsigned reap_and_go_on(struct source_lane *base, struct request **out, unsigned max,
			       int64_t deadline_ns)
{
	unsigned count = memory_lane_reap(base, out, max, deadline_ns);

	clock_ns += 100 * MS;
	return count;
}

static void a_wake_that_comes_as_something_is_due(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_DELAY, .delay_ns = 50 * MS};
	struct source_ops slow;
	struct request request;

	begin(false, 1);
	sys.now_ns = simulated_now;
	slow = *store->ops;
	slow.reap = reap_and_go_on;
	store->ops = &slow;
	source_fault_set(source, &rule, 1);
	request = read_of(0, SIZE);
	check_int(ops->submit(lane, &request), 0);
	ops->wake(lane);
	check(!reap_one(NEVER));
	check(reap_one(NEVER) == &request);
	end();
}

static void an_open_that_hangs_for_a_while(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_OPEN, .action = FAULT_STUCK, .delay_ns = 30 * MS};
	struct source_object *other;
	int64_t start;

	begin(false, 1);
	source_fault_set(source, &rule, 1);
	start = sys.now_ns();
	check_int(ops->open(source, "a", "a", &plain, &other, NULL), 0);
	check(sys.now_ns() >= start + 30 * MS);
	ops->close(other);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(without_rules_it_is_not_there),
		TEST(ST_03_an_error_at_an_offset),
		TEST(the_nth_call_and_no_other),
		TEST(chance_comes_from_the_seed),
		TEST(only_the_object_that_is_named),
		TEST(ST_01_short_reads_are_not_to_be_believed),
		TEST(ST_23_wrong_bytes),
		TEST(a_refused_submit),
		TEST(a_delayed_read_can_be_called_back),
		TEST(ST_16_stuck_bytes_arrive_late),
		TEST(several_rules_add_up),
		TEST(writes_are_shortened_before_they_move),
		TEST(calls_on_names_fail_too),
		TEST(header_reads_fail_too),
		TEST(a_threaded_lane_waits_for_what_is_held),
		TEST(a_wake_that_comes_as_something_is_due),
		TEST(an_open_that_hangs_for_a_while),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
