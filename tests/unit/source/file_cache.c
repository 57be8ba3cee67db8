/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and the page cache: what stands in it, what a read leaves there, and which way each part is read.
 */
#include "file_rig.h"

static void direct_reads_leave_the_cache_cold(void)
{
	uint64_t bytes = 4u << 20;
	unsigned char *memory = memory_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	lane_made(8);
	object = opened(cold_file_made(bytes));
	check(object->offset_align > 1 && object->memory_align > 1);
	read_all(object, memory);
	check_int(cached_bytes(object), 0);
	all_done(object);
}

static void fill_reads_through_the_cache(void)
{
	const struct source_how how = {.cache = WEIR_CACHE_FILL};
	uint64_t bytes = 4u << 20;
	unsigned char *memory = memory_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	lane_made(8);
	object = opened_how(cold_file_made(bytes), &how);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check_int(cached_bytes(object), bytes);
	all_done(object);
}

static void touch(const char *path, uint64_t offset, uint64_t length)
{
	int fd = open(path, O_RDONLY);
	char *memory = malloc(length);

	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	check_int(pread(fd, memory, length, (off_t)offset), length);
	close(fd);
	free(memory);
}

#define CELL (32u << 10) /* the finest that is looked at */

static void way_follows_the_cache(void)
{
	uint64_t bytes = 40u << 20, until;
	char *path = cold_file_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	touch(path, 6u << 20, 2u << 20);
	touch(path, (9u << 20) + CELL, 1u << 20);
	touch(path, 20u << 20, 20u << 20);
	object = opened(path);
	check_int(way_at(object, 0, &until), WAY_DIRECT);
	check_int(until, 6u << 20);
	check_int(way_at(object, 6u << 20, &until), WAY_BUFFERED);
	check_int(until, 8u << 20);
	check_int(way_at(object, 8u << 20, &until), WAY_DIRECT);
	check_int(until, (9u << 20) + CELL);
	check_int(way_at(object, until, &until), WAY_BUFFERED);
	check_int(until, (10u << 20) + CELL);
	check_int(way_at(object, until, &until), WAY_DIRECT);
	check_int(until, 20u << 20);
	check_int(way_at(object, 20u << 20, &until), WAY_BUFFERED);
	check_int(until, bytes);
	check_int(source->ops->way(object, 7u << 20, 1000, &until), WAY_BUFFERED);
	check_int(until, (7u << 20) + 1000);
	all_done(object);
}

static unsigned cachestats;

static int cachestat_counted(int fd, struct sys_cache_range *range, struct sys_cache_stat *out,
			     unsigned flags)
{
	cachestats++;
	return sys_real()->cachestat(fd, range, out, flags);
}

/*
 * Holes of a page each: one big direct read is better than many small ones, and so is not looking at
 * each of them.
 */
static void way_past_a_cache_full_of_holes(void)
{
	uint64_t bytes = 8u << 20, until;
	char *path = cold_file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys.cachestat = cachestat_counted;
	source_made();
	for (uint64_t at = 0; at < bytes; at += 8192)
		touch(path, at, 4096);
	object = opened(path);
	check_int(way_at(object, 0, &until), WAY_DIRECT);
	check_int(until, bytes);
	check(cachestats <= 1 + 8 + 4 * 8);
	/* And what was seen is believed for a moment. */
	cachestats = 0;
	check_int(way_at(object, 1u << 20, &until), WAY_DIRECT);
	check_int(cachestats, 0);
	all_done(object);
}

static void way_as_asked(void)
{
	uint64_t bytes = 1u << 20, until;
	char *path = file_made(bytes); /* all cached */
	struct source_object *object;

	need_disk();
	source_made();
	object = opened_how(path, &(struct source_how){.direct = WEIR_DIRECT_ON});
	check_int(way_at(object, 0, &until), WAY_DIRECT);
	check_int(until, bytes);
	source->ops->close(object);
	object = opened_how(path, &(struct source_how){.direct = WEIR_DIRECT_OFF});
	check_int(way_at(object, 5, &until), WAY_BUFFERED);
	check_int(object->offset_align, 1);
	all_done(object);
}

static int cachestat_refused(int fd, struct sys_cache_range *range, struct sys_cache_stat *out,
			     unsigned flags)
{
	(void)fd;
	(void)range;
	(void)out;
	(void)flags;
	errno = EPERM;
	return -1;
}

/* Another's file: reads that do not wait tell, and start no read-ahead. */
static void way_without_cachestat(void)
{
	uint64_t bytes = 48u << 20, until;
	char *path = cold_file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys.cachestat = cachestat_refused;
	source_made();
	touch(path, 16u << 20, 16u << 20);
	object = opened(path);
	check_int(way_at(object, 0, &until), WAY_DIRECT);
	check_int(until, 16u << 20);
	check_int(way_at(object, 16u << 20, &until), WAY_BUFFERED);
	check_int(until, 32u << 20);
	check_int(way_at(object, 32u << 20, &until), WAY_DIRECT);
	check_int(cached_bytes(object), UINT64_MAX);
	test_sys.cachestat = sys_real()->cachestat;
	check(cached_bytes(object) < (17u << 20));
	all_done(object);
}

#define WINDOW     (16u << 20)
#define COLD_FIRST 40u /* windows of which nothing is there, and all of the others is */

static unsigned samples;

static ssize_t preadv2_of_the_end(int fd, const struct iovec *iov, int count, off_t offset,
				  int flags)
{
	(void)fd;
	(void)flags;
	check_int(count, 1);
	samples++;
	if (offset >= (off_t)COLD_FIRST * WINDOW)
		return (ssize_t)iov->iov_len;
	errno = EAGAIN;
	return -1;
}

/* Each sample that misses is a read of the disk. */
static void few_samples_of_a_cold_file(void)
{
	uint64_t until;
	char *path = file_made(4096);
	struct source_object *object;
	unsigned warm = 0;

	need_disk();
	check_int(truncate(path, (off_t)64 * WINDOW), 0);
	test_sys.cachestat = cachestat_refused;
	test_sys.preadv2 = preadv2_of_the_end;
	source_made();
	object = opened(path);
	for (uint64_t i = 0; i < COLD_FIRST; i++)
		check_int(source->ops->way(object, i * WINDOW, 1u << 20, &until), WAY_DIRECT);
	check(samples >= 2 * 4 && samples <= 2 * 10);
	for (uint64_t i = COLD_FIRST; i < 64; i++)
		warm += source->ops->way(object, i * WINDOW, 1u << 20, &until) == WAY_BUFFERED;
	check(warm >= 64 - COLD_FIRST - 7);
	all_done(object);
}

static int64_t skipped_ns;
static bool is_there;

static int64_t later_ns(void)
{
	return sys_real()->now_ns() + skipped_ns;
}

static ssize_t preadv2_of_all(int fd, const struct iovec *iov, int count, off_t offset, int flags)
{
	(void)fd;
	(void)count;
	(void)offset;
	(void)flags;
	errno = EAGAIN;
	return is_there ? (ssize_t)iov->iov_len : -1;
}

/* Somebody fills the cache while the file is read from the disk, again and again. */
static void a_cold_file_that_is_filled(void)
{
	uint64_t until;
	char *path = file_made(4u << 20);
	struct source_object *object;

	need_disk();
	test_sys.cachestat = cachestat_refused;
	test_sys.preadv2 = preadv2_of_all;
	test_sys.now_ns = later_ns;
	source_made();
	object = opened(path);
	for (unsigned i = 0; i < 11; i++, skipped_ns += 2 * NS_PER_SEC)
		check_int(source->ops->way(object, 0, 1u << 20, &until), WAY_DIRECT);
	is_there = true;
	check_int(source->ops->way(object, 0, 1u << 20, &until), WAY_BUFFERED);
	all_done(object);
}

BOTH(nobody_tells_what_is_cached)
{
	uint64_t bytes = 3u << 20, until;
	unsigned char *memory = memory_made(bytes);
	char *path = file_made(bytes);
	struct source_object *object;

	test_sys.cachestat = cachestat_refused;
	test_sys.preadv2 = preadv2_refused;
	source_made();
	lane_made(4);
	object = opened(path);
	if (object->offset_align > 1)
		check_int(way_at(object, 0, &until), WAY_DIRECT);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check_int(read_range(object, memory, 0, 1000, WAY_BUFFERED), 1000);
	all_done(object);
}

/* A cached range of which half went away between way() and submit. */
BOTH(half_of_a_cached_request_is_gone)
{
	unsigned char *memory = memory_made(1u << 20);
	char *path = cold_file_made(1u << 20);
	struct source_object *object;

	source_made();
	lane_made(4);
	touch(path, 0, 256 << 10);
	object = opened(path);
	check_int(read_range(object, memory, 0, 1u << 20, WAY_BUFFERED), 1u << 20);
	check_bytes(memory, 0, 1u << 20);
	all_done(object);
}

static int fadvise_fails(int fd, off_t off, off_t len, int advice)
{
	(void)fd;
	(void)off;
	(void)len;
	(void)advice;
	return EINVAL;
}

BOTH(ST_26_hints_fail)
{
	unsigned char *memory = memory_made(1u << 20);
	struct source_object *object;

	test_sys.fadvise = fadvise_fails;
	source_made();
	lane_made(4);
	object = opened(file_made(300000));
	read_all(object, memory);
	check_bytes(memory, 0, 300000);
	all_done(object);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(direct_reads_leave_the_cache_cold),
		TEST(fill_reads_through_the_cache),
		TEST(way_follows_the_cache),
		TEST(way_past_a_cache_full_of_holes),
		TEST(way_as_asked),
		TEST(way_without_cachestat),
		TEST(few_samples_of_a_cold_file),
		TEST(a_cold_file_that_is_filled),
		TEST_BOTH(nobody_tells_what_is_cached),
		TEST_BOTH(half_of_a_cached_request_is_gone),
		TEST_BOTH(ST_26_hints_fail),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
