/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Feeds over files: ends, holes, odd offsets, what is cached and what is not, writes, pinned memory; with
 * io_uring and with plain threads.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "io/io.h"
#include "lib/check.h"
#include "lib/fail.h"
#include "lib/filter.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define SIZE (5 * MIB + 1234)
#define ROOM (8 * MIB)
#define SEED 11

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_feed *feed;
static struct weir_object *object;
static char *path, *memory;
static int file;

static void begin_with(const struct weir_object_opts *opts, int flags)
{
	path = pattern_file("feed", SEED, SIZE);
	file = open(path, flags | O_CLOEXEC);
	check(file >= 0);
	memory = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(memory != MAP_FAILED);
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_object_from_fd(ctx, file, "a file", opts, &object, &err), 0);
	check_int(weir_feed_create(ctx, NULL, &feed, &err), 0);
}

static void begin(void)
{
	begin_with(NULL, O_RDWR);
}

static void end(void)
{
	check_int(weir_feed_destroy(feed), 0);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	munmap(memory, ROOM);
	close(file);
	unlink(path);
	free(path);
}

static void forget_cache(void)
{
	check_int(fsync(file), 0);
	check_int(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
}

static int64_t soon(void)
{
	return deadline_after(sys_real(), 20 * NS_PER_SEC);
}

static int64_t run(struct weir_feed_io *io)
{
	struct weir_feed_io *out = NULL;

	check_int(weir_feed_push(feed, io), 0);
	while (weir_feed_reap(feed, &out, 1, soon()) == 0)
		;
	check(out == io);
	return io->result;
}

/* Reads into memory + at, held against what pread says. */
static void check_read(uint64_t offset, uint64_t length, uint64_t at, uint32_t region)
{
	struct weir_feed_io io = {.object = object,
				  .memory = memory + at,
				  .offset = offset,
				  .length = length,
				  .region = region};
	char *expected = malloc(length + 1);
	int64_t got;

	memset(memory + at, 0xEE, length);
	got = run(&io);
	check_int(pread(file, expected, length, (off_t)offset),
		  got); /* afterwards: it fills the cache */
	check(memcmp(memory + at, expected, (size_t)got) == 0);
	free(expected);
}

static const uint64_t offsets[] = {0, 1, 511, 512, 4096, 4097, MIB, 5 * MIB, SIZE - 1, SIZE};
static const uint64_t lengths[] = {1, 511, 512, 4095, 4096, 8192, 65536, MIB, 2 * MIB + 3};
static const uint64_t places[] = {0, 1, 512, 4096, 4099};

static void read_everywhere(uint32_t region)
{
	for (unsigned i = 0; i < array_size(offsets); i++)
		for (unsigned j = 0; j < array_size(lengths); j++)
			for (unsigned k = 0; k < array_size(places); k++)
				check_read(offsets[i], lengths[j], places[k], region);
}

static void reads_as_pread_does_cached(void)
{
	begin();
	read_everywhere(0);
	end();
}

static void read_cold(void)
{
	for (unsigned i = 0; i < array_size(offsets); i++)
		for (unsigned j = 0; j < array_size(lengths); j++) {
			forget_cache();
			check_read(offsets[i], lengths[j], places[j % array_size(places)], 0);
		}
}

static void reads_as_pread_does_uncached(void)
{
	begin();
	read_cold();
	end();
}

static void reads_as_pread_does_past_the_cache(void)
{
	begin_with(WEIR_OBJECT_OPTS(.direct = WEIR_DIRECT_ON), O_RDONLY);
	read_everywhere(0);
	end();
}

static void plain_threads_do_the_same(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
	begin();
	read_cold();
	read_everywhere(0);
	end();
}

static void holes_read_as_zeros(void)
{
	struct weir_feed_io io;

	begin();
	check_int(ftruncate(file, 0), 0);
	check_int(ftruncate(file, 4 * MIB), 0);
	check_int(pwrite(file, "x", 1, 2 * MIB), 1);
	forget_cache();
	memset(memory, 0xEE, ROOM);
	io = (struct weir_feed_io){.object = object, .memory = memory, .length = 5 * MIB};
	check_int(run(&io), 4 * MIB);
	for (uint64_t i = 0; i < 4 * MIB; i++)
		check_int(memory[i], i == 2 * MIB ? 'x' : 0);
	end();
}

/* The file grows after it was opened, and is cut again: each read tells what there is. */
static void a_live_file_has_the_size_that_it_has(void)
{
	begin();
	check_int(ftruncate(file, (off_t)(7 * MIB)), 0);
	check_read(6 * MIB, 2 * MIB, 0, 0);
	check_int(ftruncate(file, 100), 0);
	check_read(0, MIB, 0, 0);
	check_read(4096, 4096, 0, 0);
	end();
}

static void check_write(uint64_t offset, uint64_t length, uint64_t at)
{
	struct weir_feed_io io = {.object = object,
				  .memory = memory + at,
				  .offset = offset,
				  .length = length,
				  .flags = WEIR_FEED_WRITE};
	char *back = malloc(length);

	pattern_fill(memory + at, SEED + 1, offset, length);
	check_int(run(&io), length);
	check_int(pread(file, back, length, (off_t)offset), length);
	check_int(pattern_check(back, SEED + 1, offset, length), length);
	free(back);
}

static void write_everywhere(void)
{
	for (unsigned i = 0; i < array_size(offsets); i++)
		for (unsigned j = 0; j < array_size(lengths); j++)
			check_write(offsets[i], lengths[j], places[(i + j) % array_size(places)]);
}

static void writes_as_pwrite_does(void)
{
	struct stat st;

	begin();
	write_everywhere();
	check_write(SIZE + 10 * MIB, 4096, 0);
	check_int(fstat(file, &st), 0);
	check_int(st.st_size, SIZE + 10 * MIB + 4096);
	end();
}

static void plain_threads_write_the_same(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
	begin();
	write_everywhere();
	end();
}

/* Neighbours within a page, written at once: both are there afterwards. */
static void neighbours_in_a_page_do_not_undo_each_other(void)
{
	enum {
		COUNT = 64,
		STEP = 1536
	};
	struct weir_feed_io ios[COUNT], *out[COUNT];
	unsigned count = 0;
	char *back = malloc((size_t)COUNT * STEP);

	begin();
	forget_cache();
	pattern_fill(memory, SEED + 1, 0, COUNT * STEP);
	for (uint64_t i = 0; i < COUNT; i++) {
		ios[i] = (struct weir_feed_io){.object = object,
					       .memory = memory + i * STEP,
					       .offset = i * STEP,
					       .length = STEP,
					       .flags = WEIR_FEED_WRITE};
		check_int(weir_feed_push(feed, &ios[i]), 0);
	}
	while (count < COUNT)
		count += weir_feed_reap(feed, out, COUNT, soon());
	check_int(pread(file, back, COUNT * STEP, 0), COUNT * STEP);
	check_int(pattern_check(back, SEED + 1, 0, COUNT * STEP), COUNT * STEP);
	free(back);
	end();
}

static void what_may_not_be_done_says_so(void)
{
	struct weir_feed_io io;

	begin_with(NULL, O_RDONLY);
	io = (struct weir_feed_io){
		.object = object, .memory = memory, .length = 100, .flags = WEIR_FEED_WRITE};
	check(run(&io) < 0);
	check_int(io.os_errno, EBADF);
	io.length = 4096;
	check(run(&io) < 0);
	check_int(io.os_errno, EBADF);
	end();
	begin_with(NULL, O_WRONLY);
	io = (struct weir_feed_io){.object = object, .memory = memory, .length = 100};
	check(run(&io) < 0);
	check_int(io.os_errno, EBADF);
	end();
}

static void memory_that_is_not_there_is_an_error(void)
{
	char *hole;
	struct weir_feed_io io;

	begin();
	hole = mmap(NULL, 2 * MIB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	io = (struct weir_feed_io){.object = object, .memory = hole, .length = MIB};
	check(run(&io) < 0);
	check_int(io.os_errno, EFAULT);
	forget_cache();
	check(run(&io) < 0);
	check_int(io.os_errno, EFAULT);
	munmap(hole, 2 * MIB);
	end();
}

static void descriptors_that_are_no_files_are_refused(void)
{
	struct weir_object *none;
	int pipes[2], directory = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	begin();
	check_int(pipe2(pipes, O_CLOEXEC), 0);
	check_int(weir_object_from_fd(ctx, pipes[0], "a pipe", NULL, &none, &err), WEIR_ARG);
	check_has(err.message, "a pipe");
	check_int(weir_object_from_fd(ctx, directory, "a directory", NULL, &none, &err), WEIR_ARG);
	check(weir_object_from_fd(ctx, -1, "nothing", NULL, &none, &err) < 0);
	check_int(weir_object_from_fd(ctx, file, "", NULL, &none, &err), WEIR_ARG);
	close(pipes[0]);
	close(pipes[1]);
	close(directory);
	end();
}

/* The owner may close its descriptor, and hints of ours are not the owner's. */
static void an_object_outlives_the_descriptor(void)
{
	int other;

	begin();
	other = open(path, O_RDONLY | O_CLOEXEC);
	close(file);
	file = other;
	check_read(100, MIB, 0, 0);
	end();
}

static void an_empty_file_grows_under_its_object(void)
{
	begin();
	check_int(ftruncate(file, 0), 0);
	weir_object_unref(object);
	check_int(weir_object_from_fd(ctx, file, "a file", NULL, &object, &err), 0);
	check_write(0, 2 * MIB, 0);
	forget_cache();
	check_read(0, 3 * MIB, 0, 0);
	end();
}

/* ---- Pinned memory ---- */

static bool has_ring(void)
{
	struct weir_choice choice;

	check_int(weir_ctx_choice(ctx, "/", &choice, &err), 0);
	return strcmp(choice.kind, "io_uring") == 0;
}

static void pinned_memory_is_read_into(void)
{
	struct weir_feed_counters counters;
	uint32_t region;

	begin();
	if (!has_ring())
		skip("no io_uring");
	check_int(weir_feed_register(feed, memory, ROOM, &region, &err), 0);
	check_int(weir_feed_pinned_bytes(feed, region), 0); /* not before it is used */
	forget_cache();
	check_read(0, 2 * MIB, 0, region);
	check_int(weir_feed_pinned_bytes(feed, region), ROOM);
	weir_feed_counters(feed, &counters);
	check(counters.requests_pinned > 0);
	check_int(counters.pinned_bytes, ROOM);
	read_everywhere(region);
	weir_feed_unregister(feed, region);
	check_int(weir_feed_reap(feed, &(struct weir_feed_io *){NULL}, 1, 0), 0);
	check_int(weir_feed_pinned_bytes(feed, region), 0);
	weir_feed_counters(feed, &counters);
	check_int(counters.pinned_bytes, 0);
	end();
}

static void a_region_has_an_end(void)
{
	struct weir_feed_io io;
	uint32_t region;

	begin();
	check_int(weir_feed_register(feed, memory + 4096, 8192, &region, &err), 0);
	io = (struct weir_feed_io){.object = object, .region = region, .length = 8192};
	io.memory = memory + 4096;
	check_int(run(&io), 8192);
	io.memory = memory + 4095;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	io.memory = memory + 4097;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	weir_feed_unregister(feed, region);
	weir_feed_reap(feed, &(struct weir_feed_io *){NULL}, 1, 0);
	io.memory = memory + 4096;
	check_int(weir_feed_push(feed, &io), WEIR_ARG);
	end();
}

/* An ordinary user's, whose limit has room for a ring, but not for this. */
static void refused_pins_are_done_without(void)
{
	const struct rlimit little = {MIB, MIB};
	struct weir_feed_counters counters;
	uint32_t region;

	check_int(setrlimit(RLIMIT_MEMLOCK, &little), 0);
	if (geteuid() == 0 && setresuid(65534, 65534, 65534))
		skip("cannot become another user");
	begin();
	if (!has_ring())
		skip("no io_uring");
	check_int(weir_feed_register(feed, memory, ROOM, &region, &err), 0);
	forget_cache();
	check_read(0, 2 * MIB, 0, region);
	weir_feed_counters(feed, &counters);
	check_int(counters.pinned_bytes, 0);
	check_int(counters.pins_refused, 1);
	end();
}

static void requests_end_where_pieces_do(void)
{
	uint64_t bytes = 130 * MIB;
	struct weir_feed_counters counters;
	struct weir_feed_io io;
	char *large = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t region;

	begin();
	if (!has_ring())
		skip("no io_uring");
	forget_cache();
	check_int(weir_feed_register(feed, large, bytes, &region, &err), 0);
	io = (struct weir_feed_io){.object = object, .region = region, .length = 4 * MIB};
	io.memory = large + 15 * MIB + 512 * KIB + 4096;
	check_int(run(&io), 4 * MIB);
	check_int(pattern_check(io.memory, SEED, 0, 4 * MIB), 4 * MIB);
	weir_feed_counters(feed, &counters);
	check_int(counters.pinned_bytes, 32 * MIB);
	check_int(counters.requests_pinned, counters.requests);
	munmap(large, bytes);
	end();
}

/* Who touches all of a large region at once does not hold up the driver until all of it is pinned. */
static void pieces_are_pinned_some_at_a_time(void)
{
	enum {
		PIECES = 8
	};
	uint64_t bytes = PIECES * 16 * MIB;
	struct weir_feed_counters counters;
	struct weir_feed_io ios[PIECES], *out[PIECES];
	char *large = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t region;

	begin();
	if (!has_ring())
		skip("no io_uring");
	check_int(weir_feed_register(feed, large, bytes, &region, &err), 0);
	for (uint64_t round = 1; round <= 3; round++) {
		forget_cache();
		for (uint64_t i = 0; i < PIECES; i++) {
			ios[i] = (struct weir_feed_io){.object = object,
						       .region = region,
						       .memory = large + i * 16 * MIB,
						       .length = MIB};
			check_int(weir_feed_push(feed, &ios[i]), 0);
		}
		weir_feed_counters(feed, &counters);
		check(counters.pinned_bytes >= 32 * MIB);
		check(round > 1 || counters.pinned_bytes == 32 * MIB);
		for (unsigned got = 0; got < PIECES;)
			got += weir_feed_reap(feed, out, PIECES, WEIR_FOREVER);
		for (uint64_t i = 0; i < PIECES; i++)
			check_int(pattern_check(ios[i].memory, SEED, 0, MIB), MIB);
	}
	munmap(large, bytes);
	end();
}

/* Regions come and go on one thread, wakes on another, while ios fly on a third. */
static _Atomic bool enough;

/* Those that left have their places until the driver reaps, which may take it a while on a busy machine. */
static bool find_room(char *mine, uint32_t *region)
{
	struct weir_error why = WEIR_ERROR_INIT;
	int ret;

	while ((ret = weir_feed_register(feed, mine, MIB, region, &why)) == WEIR_LIMIT) {
		if (atomic_load(&enough))
			return false;
		usleep(1000);
	}
	check_int(ret, 0);
	return true;
}

static void *come_and_go(void *arg)
{
	char *mine = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uint32_t region;

	(void)arg;
	while (!atomic_load(&enough) && find_room(mine, &region)) {
		check_int(weir_feed_pinned_bytes(feed, region), 0);
		weir_feed_unregister(feed, region);
	}
	munmap(mine, MIB);
	return NULL;
}

static void *wake_often(void *arg)
{
	struct weir_feed_counters counters;

	(void)arg;
	while (!atomic_load(&enough)) {
		weir_feed_wake(feed);
		weir_feed_counters(feed, &counters);
	}
	return NULL;
}

static void other_threads_may_do_what_they_may(void)
{
	pthread_t threads[2];
	uint32_t region;

	begin();
	check_int(weir_feed_register(feed, memory, ROOM, &region, &err), 0);
	pthread_create(&threads[0], NULL, come_and_go, NULL);
	pthread_create(&threads[1], NULL, wake_often, NULL);
	for (int i = 0; i < 20; i++) {
		forget_cache();
		check_read(4096, 2 * MIB, 0, region);
	}
	atomic_store(&enough, true);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(reads_as_pread_does_cached),
		TEST(reads_as_pread_does_uncached),
		TEST(reads_as_pread_does_past_the_cache),
		TEST(plain_threads_do_the_same),
		TEST(holes_read_as_zeros),
		TEST(a_live_file_has_the_size_that_it_has),
		TEST(writes_as_pwrite_does),
		TEST(plain_threads_write_the_same),
		TEST(neighbours_in_a_page_do_not_undo_each_other),
		TEST(what_may_not_be_done_says_so),
		TEST(memory_that_is_not_there_is_an_error),
		TEST(descriptors_that_are_no_files_are_refused),
		TEST(an_object_outlives_the_descriptor),
		TEST(an_empty_file_grows_under_its_object),
		TEST(pinned_memory_is_read_into),
		TEST(a_region_has_an_end),
		TEST(refused_pins_are_done_without),
		TEST(requests_end_where_pieces_do),
		TEST(pieces_are_pinned_some_at_a_time),
		TEST(other_threads_may_do_what_they_may),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
