/* SPDX-License-Identifier: Apache-2.0 */
#include "source/memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/thread.h"
#include "lib/check.h"

#define MS NS_PER_MS

static int64_t clock_ns;
static int64_t simulated_now(void)
{
	return clock_ns;
}

static struct sys sys;
static struct source_env env = {.sys = &sys};
static struct source *source;
static const struct source_ops *ops;
static struct source_lane *lane;
static const struct source_how plain;

static struct source_lane *make_lane(uint32_t depth, bool simulated)
{
	struct lane_how how = {.depth = depth, .simulated = simulated};
	struct source_lane *out;

	check_int(ops->lane_create(source, &how, &out, NULL), 0);
	return out;
}

static void begin(bool simulated)
{
	sys = *sys_real();
	if (simulated)
		sys.now_ns = simulated_now;
	check_int(source_memory_create(&env, &source, NULL), 0);
	ops = source->ops;
	lane = make_lane(16, simulated);
}

static void end(void)
{
	ops->lane_destroy(lane);
	ops->destroy(source);
}

static void put(const char *name, const char *text)
{
	check_int(source_memory_put(source, name, text, strlen(text), NULL), 0);
}

static struct source_object *open_name(const char *name)
{
	struct source_object *object;

	check_int(ops->open(source, name, name, &plain, &object, NULL), 0);
	return object;
}

static struct request read_of(struct source_object *object, uint64_t offset, uint32_t length,
			      void *to)
{
	return (struct request){.object = object,
				.offset = offset,
				.length = length,
				.memory = to,
				.way = WAY_BUFFERED};
}

static struct request *reap_one(struct source_lane *from, int64_t deadline_ns)
{
	struct request *out;

	return ops->reap(from, &out, 1, deadline_ns) ? out : NULL;
}

/* ---- Bytes and versions ---- */

static void reads_are_short_at_the_end_only(void)
{
	struct source_object *object;
	struct request request;
	char to[16] = "................";

	begin(false);
	put("a", "0123456789");
	object = open_name("a");
	check_int(object->size_bytes, 10);
	request = read_of(object, 6, 10, to);
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) == &request);
	check_int(request.result, 4);
	check(memcmp(to, "6789............", 16) == 0);
	request = read_of(object, 10, 1, to);
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) == &request);
	check_int(request.result, 0);
	ops->close(object);
	end();
}

static void what_is_replaced_is_noticed(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *old, *live;
	const struct source_how how = {.flags = WEIR_OBJECT_LIVE};
	struct request request;
	char to[4];

	begin(false);
	put("a", "1234");
	old = open_name("a");
	check_int(ops->open(source, "a", "a", &how, &live, NULL), 0);
	check_int((ops->check)(old, &err), 0);
	put("a", "5678");
	check_int((ops->check)(old, &err), WEIR_CHANGED);
	check_int((ops->check)(live, &err), 0);
	put("a", "5");
	check_int((ops->check)(old, &err), WEIR_TRUNCATED);
	check_has(err.message, "has 1 bytes now, and had 4");
	/* Its bytes are those of the version that was opened. */
	request = read_of(old, 0, 4, to);
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) == &request);
	check(memcmp(to, "1234", 4) == 0);
	ops->close(old);
	ops->close(live);
	end();
}

static void ST_14_removed_while_it_is_read(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object, *again;

	begin(false);
	put("a", "1234");
	object = open_name("a");
	check_int(source_memory_remove(source, "a", &err), 0);
	check_int((ops->check)(object, &err), 0);
	check_int(ops->open(source, "a", "memory://a", &plain, &again, &err), WEIR_NOTFOUND);
	check_str(err.object, "memory://a");
	check_int(source_memory_remove(source, "a", &err), WEIR_NOTFOUND);
	ops->close(object);
	end();
}

static void versions_differ(void)
{
	struct weir_stat one, two;

	begin(false);
	put("a", "1234");
	check_int(ops->stat(source, "a", "a", &plain, &one, NULL), 0);
	put("a", "1234");
	check_int(ops->stat(source, "a", "a", &plain, &two, NULL), 0);
	check(strcmp(one.version, two.version) != 0);
	check_int(two.size_bytes, 4);
	end();
}

/* ---- Time ---- */

static void ends_in_the_order_of_their_times(void)
{
	struct memory_behaviour behaviour = {.latency_ns = 5 * MS};
	struct source_object *object;
	struct request request[3];
	char to[3];

	begin(true);
	put("a", "abc");
	object = open_name("a");
	for (size_t i = 0; i < 3; i++) {
		source_memory_behave(source, &behaviour);
		request[i] = read_of(object, i, 1, &to[i]);
		check_int(ops->submit(lane, &request[i]), 0);
		behaviour.latency_ns -= 2 * MS;
	}
	for (size_t i = 3; i-- > 0;) {
		int64_t due = ops->next_ns(lane);

		check_int(due, (int64_t)(5 - 2 * i) * MS);
		clock_ns = due - 1;
		check(!reap_one(lane, NEVER)); /* simulated: never waits */
		clock_ns = due;
		check(reap_one(lane, NEVER) == &request[i]);
	}
	check_int(ops->next_ns(lane), NEVER);
	ops->close(object);
	end();
}

static void bytes_arrive_when_they_are_due_cancelled_or_not(void)
{
	struct memory_behaviour behaviour = {.latency_ns = 5 * MS};
	struct source_object *object;
	struct request request;
	char to = '.';

	begin(true);
	source_memory_behave(source, &behaviour);
	put("a", "x");
	object = open_name("a");
	request = read_of(object, 0, 1, &to);
	check_int(ops->submit(lane, &request), 0);
	ops->cancel(lane, &request);
	clock_ns = 4 * MS;
	check(!reap_one(lane, 0));
	check(to == '.');
	clock_ns = 5 * MS;
	check(reap_one(lane, 0) == &request);
	check(to == 'x' && request.result == 1);
	ops->close(object);
	end();
}

static void bandwidth_is_of_all_lanes_together(void)
{
	struct memory_behaviour behaviour = {.latency_ns = 1 * MS, .bytes_per_second = 1000000};
	struct source_lane *other;
	struct source_object *object;
	struct request request[4];
	char *data = calloc(1, 10000), *to = malloc(40000);

	begin(true);
	other = make_lane(4, true);
	source_memory_behave(source, &behaviour);
	check_int(source_memory_put(source, "a", data, 10000, NULL), 0);
	object = open_name("a");
	for (size_t i = 0; i < 4; i++) {
		request[i] = read_of(object, 0, 10000, to + i * 10000);
		check_int(ops->submit(i % 2 ? other : lane, &request[i]), 0);
	}
	/* 10 ms each, one behind the other, and the latency. */
	check_int(ops->next_ns(lane), 11 * MS);
	check_int(ops->next_ns(other), 21 * MS);
	clock_ns = 41 * MS;
	check(reap_one(lane, 0) == &request[0] && reap_one(lane, 0) == &request[2]);
	check(reap_one(other, 0) == &request[1] && reap_one(other, 0) == &request[3]);
	/* Time that nobody used is gone. */
	clock_ns = 1000 * MS;
	check_int(ops->submit(lane, &request[0]), 0);
	check_int(ops->next_ns(lane), 1011 * MS);
	clock_ns = 2000 * MS;
	check(reap_one(lane, 0) == &request[0]);
	ops->close(object);
	ops->lane_destroy(other);
	end();
	free(data);
	free(to);
}

static void one_seed_one_sequence(void)
{
	struct memory_behaviour behaviour = {.jitter_ns = 1000 * MS, .seed = 42};
	struct source_object *object;
	int64_t due[2][8];
	char to;

	begin(true);
	put("a", "x");
	object = open_name("a");
	for (size_t run = 0; run < 2; run++) {
		source_memory_behave(source, &behaviour);
		clock_ns = 0;
		for (size_t i = 0; i < 8; i++) {
			struct request request = read_of(object, 0, 1, &to);

			check_int(ops->submit(lane, &request), 0);
			due[run][i] = ops->next_ns(lane);
			clock_ns = due[run][i];
			check(reap_one(lane, 0) == &request);
			check(i == 0 || due[run][i] != due[run][i - 1]);
			clock_ns = 0;
		}
	}
	check(memcmp(due[0], due[1], sizeof(due[0])) == 0);
	ops->close(object);
	end();
}

static void a_full_lane_says_so(void)
{
	struct source_object *object;
	struct request request[17];
	char to[17];

	begin(true);
	put("a", "x");
	object = open_name("a");
	for (size_t i = 0; i < 17; i++) {
		request[i] = read_of(object, 0, 1, &to[i]);
		check_int(ops->submit(lane, &request[i]), i < 16 ? 0 : WEIR_LIMIT);
	}
	check(reap_one(lane, 0) == &request[0]);
	check_int(ops->submit(lane, &request[16]), 0);
	while (reap_one(lane, 0))
		;
	ops->close(object);
	end();
}

/* ---- Threads ---- */

static void *wake_later(void *arg)
{
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	ops->wake(arg);
	return NULL;
}

static void a_threaded_lane_waits(void)
{
	struct memory_behaviour behaviour = {.latency_ns = 300 * MS};
	struct source_object *object;
	struct request request;
	pthread_t thread;
	int64_t start;
	char to;

	begin(false);
	source_memory_behave(source, &behaviour);
	put("a", "x");
	object = open_name("a");
	start = sys.now_ns();
	request = read_of(object, 0, 1, &to);
	check_int(ops->submit(lane, &request), 0);
	check(!reap_one(lane, start)); /* past: no wait */
	check(!reap_one(lane, start + 10 * MS));
	check(sys.now_ns() >= start + 10 * MS);
	check(reap_one(lane, NEVER) == &request);
	check(sys.now_ns() >= start + 300 * MS);
	/* Nothing under way: only a wake ends it. */
	check_int(thread_start(&sys, &thread, "wake", wake_later, lane, NULL), 0);
	check(!reap_one(lane, NEVER));
	thread_join(thread);
	/* A wake before the wait is not lost. */
	ops->wake(lane);
	check(!reap_one(lane, NEVER));
	ops->close(object);
	end();
}

/* ---- Alignment ---- */

static void direct_requests_are_held_to_the_alignment(void)
{
	struct memory_behaviour behaviour = {.offset_align = 512, .memory_align = 512};
	static char data[1000] __attribute__((aligned(512))),
		to[1024] __attribute__((aligned(512)));
	struct source_object *object;
	struct request request;
	uint64_t until;

	begin(false);
	source_memory_behave(source, &behaviour);
	check_int(source_memory_put(source, "a", data, 1000, NULL), 0);
	object = open_name("a");
	check_int(object->offset_align, 512);
	check_int(ops->way(object, 0, 1000, &until), WAY_DIRECT);
	request = read_of(object, 512, 512, to);
	request.way = WAY_DIRECT;
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) && request.result == 488);
	request.memory = to + 1;
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) && request.result == WEIR_IO && request.os_errno == EINVAL);
	ops->close(object);
	end();
}

/* ---- Names ---- */

static void names_are_listed(void)
{
	struct source_listing listing = {0};
	struct weir_stat stat;

	begin(false);
	put("m/b", "1");
	put("m/a/2", "12");
	put("m/a/1", "123");
	put("m/a-x", "1234");
	put("other", "1");
	check_int(ops->list(source, "m/", "memory://m/", &listing, NULL), 0);
	check_int(listing.count, 3);
	check_str(listing.entries[0].name, "a");
	check_int(listing.entries[0].stat.kind, WEIR_KIND_DIRECTORY);
	check_str(listing.entries[1].name, "a-x");
	check_int(listing.entries[1].stat.size_bytes, 4);
	check_str(listing.entries[2].name, "b");
	arena_fini(&listing.arena);
	check_int(ops->list(source, "", "memory://", &listing, NULL), 0);
	check_int(listing.count, 2);
	arena_fini(&listing.arena);
	check_int(ops->list(source, "m/b", "memory://m/b", &listing, NULL), WEIR_NOTFOUND);
	check_int(ops->stat(source, "m", "memory://m", &plain, &stat, NULL), 0);
	check_int(stat.kind, WEIR_KIND_DIRECTORY);
	check_int(ops->stat(source, "x", "memory://x", &plain, &stat, NULL), WEIR_NOTFOUND);
	end();
}

/* ---- Writing ---- */

static void write_all(struct source_object *object, const char *text)
{
	struct request request = {.object = object,
				  .op = REQUEST_WRITE,
				  .way = WAY_BUFFERED,
				  .memory = (void *)(uintptr_t)text,
				  .length = (uint32_t)strlen(text)};

	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) == &request);
	check_int(request.result, strlen(text));
}

static void an_object_appears_whole_at_the_commit(void)
{
	struct source_object *writer, *old, *reader;
	struct weir_stat stat;

	begin(false);
	put("a", "old");
	old = open_name("a");
	check_int(ops->create(source, "a", "a", 5, &plain, &writer, NULL), 0);
	check(writer->writing);
	write_all(writer, "fresh");
	check_int(ops->stat(source, "a", "a", &plain, &stat, NULL), 0);
	check_int(stat.size_bytes, 3);
	check_int((ops->check)(old, NULL), 0);
	check_int(ops->commit(writer, WEIR_DURABLE_NO, NULL), 0);
	check_int(ops->commit(writer, WEIR_DURABLE_NO, NULL), WEIR_ARG);
	check_int((ops->check)(old, NULL), WEIR_CHANGED);
	reader = open_name("a");
	check_int(reader->size_bytes, 5);
	ops->close(writer);
	check_int((ops->check)(reader, NULL), 0);
	ops->close(reader);
	ops->close(old);
	end();
}

static void what_is_not_committed_never_was(void)
{
	struct source_object *writer;
	struct weir_stat stat;
	struct request request;
	char byte = 0;

	begin(false);
	check_int(ops->create(source, "a", "a", 1, &plain, &writer, NULL), 0);
	request = read_of(writer, 1, 1, &byte);
	request.op = REQUEST_WRITE;
	check_int(ops->submit(lane, &request), 0);
	check(reap_one(lane, NEVER) && request.result == WEIR_NOSPACE);
	check_int(ops->abort(writer, NULL), 0);
	ops->close(writer);
	check_int(ops->create(source, "b", "b", 1, &plain, &writer, NULL), 0);
	ops->close(writer);
	check_int(ops->stat(source, "a", "a", &plain, &stat, NULL), WEIR_NOTFOUND);
	check_int(ops->stat(source, "b", "b", &plain, &stat, NULL), WEIR_NOTFOUND);
	check_int(ops->create(source, "dir/", "dir/", 1, &plain, &writer, NULL), WEIR_ARG);
	check_int(ops->create(source, "c", "c", UINT64_MAX, &plain, &writer, NULL), WEIR_NOMEM);
	end();
}

static void a_clone_has_the_bytes(void)
{
	struct source_object *from, *to;

	begin(false);
	put("a", "1234");
	from = open_name("a");
	check_int(ops->create(source, "b", "b", 3, &plain, &to, NULL), 0);
	check_int(ops->clone(to, from, NULL, NULL), WEIR_ARG);
	ops->close(to);
	check_int(ops->create(source, "b", "b", 4, &plain, &to, NULL), 0);
	check_int(ops->clone(to, from, NULL, NULL), 0);
	check_int(ops->commit(to, WEIR_DURABLE_NO, NULL), 0);
	ops->close(to);
	ops->close(from);
	from = open_name("b");
	check_int(from->size_bytes, 4);
	ops->close(from);
	end();
}

/* ---- Several threads on one store ---- */

static void *read_much(void *arg)
{
	struct source_lane *own = make_lane(8, false);
	(void)arg;
	for (unsigned i = 0; i < 500; i++) {
		struct source_object *object = open_name("shared");
		struct request request;
		char to[4];
		int version;

		request = read_of(object, 0, 4, to);
		check_int(ops->submit(own, &request), 0);
		check(reap_one(own, NEVER) == &request);
		check(to[0] == to[3]); /* never bytes of two versions */
		version = (ops->check)(object, NULL);
		check(version == 0 || version == WEIR_CHANGED);
		ops->close(object);
	}
	ops->lane_destroy(own);
	return NULL;
}

static void readers_while_it_is_replaced(void)
{
	pthread_t threads[3];

	begin(false);
	put("shared", "0000");
	for (size_t i = 0; i < 3; i++)
		check_int(thread_start(&sys, &threads[i], "read", read_much, NULL, NULL), 0);
	for (unsigned i = 0; i < 500; i++) {
		char text[5] = {0};

		memset(text, 'a' + (int)(i % 26), 4);
		put("shared", text);
	}
	for (size_t i = 0; i < 3; i++)
		thread_join(threads[i]);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(reads_are_short_at_the_end_only),
		TEST(what_is_replaced_is_noticed),
		TEST(ST_14_removed_while_it_is_read),
		TEST(versions_differ),
		TEST(ends_in_the_order_of_their_times),
		TEST(bytes_arrive_when_they_are_due_cancelled_or_not),
		TEST(bandwidth_is_of_all_lanes_together),
		TEST(one_seed_one_sequence),
		TEST(a_full_lane_says_so),
		TEST(a_threaded_lane_waits),
		TEST(direct_requests_are_held_to_the_alignment),
		TEST(names_are_listed),
		TEST(an_object_appears_whole_at_the_commit),
		TEST(what_is_not_committed_never_was),
		TEST(a_clone_has_the_bytes),
		TEST(readers_while_it_is_replaced),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
