/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading files: opening, versions, lanes, the page cache, on io_uring and with io_uring forbidden.
 */
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "file_rig.h"

static int check_of(struct source_object *object)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret = (source->ops->check)(object, &err);

	check_int(err.code, ret);
	if (ret)
		check_has(err.message, object->uri);
	return ret;
}

/* By way() from the first byte to the last, as the engine does, short answers included. */
static void read_all(struct source_object *object, unsigned char *memory)
{
	uint64_t size = object->size_bytes, at = 0;

	while (at < size) {
		uint64_t until, align = object->offset_align, length;
		int way = source->ops->way(object, at, size - at, &until);
		int64_t got;

		check(until > at && until <= size);
		check(way == WAY_BUFFERED || at % align == 0);
		length = min_of(until - at, UINT64_C(512) << 10);
		if (way == WAY_DIRECT)
			length = round_up(length, align);
		got = read_range(object, memory + at, at, (uint32_t)length, way);
		check(got > 0);
		at += (uint64_t)got;
		if (at < size && at % align && way == WAY_DIRECT)
			at = round_down(at, align); /* after a short one */
	}
	check_int(at, size);
	check_int(check_of(object), 0);
}

/* ---- Reading ---- */

BOTH(reads_cold_and_warm)
{
	uint64_t bytes = (5u << 20) + 12345;
	unsigned char *memory = memory_made(bytes + 65536);
	char *path = file_made(bytes);
	struct source_object *object;

	source_made();
	lane_made(8);
	drop(path);
	object = opened(path);
	check_int(object->size_bytes, bytes);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	source->ops->close(object);

	write_pattern(path, bytes); /* cached now */
	memset(memory, 0, bytes);
	object = opened(path);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check(source->ops->system_calls(lane) > 0);
	all_done(object);
}

BOTH(many_in_flight)
{
	enum {
		COUNT = 24,
		EACH = 65536
	};
	unsigned char *memory = memory_made(COUNT * EACH);
	char *path = file_made(COUNT * EACH);
	struct request requests[COUNT], extra, *out[5];
	struct source_object *object;
	unsigned ended = 0;

	source_made();
	lane_made(COUNT);
	drop(path);
	object = opened(path);
	for (unsigned i = 0; i < COUNT; i++) {
		requests[i] = request_of(object, memory + i * EACH, i * EACH, EACH,
					 i % 3 ? WAY_DIRECT : WAY_BUFFERED);
		check_int(source->ops->submit(lane, &requests[i]), 0);
	}
	extra = requests[0];
	check_int(source->ops->submit(lane, &extra), WEIR_LIMIT);
	while (ended < COUNT) {
		unsigned got = source->ops->reap(lane, out, 5, soon());

		check(got > 0 && got <= 5);
		for (unsigned i = 0; i < got; i++)
			check_int(out[i]->result, EACH);
		ended += got;
	}
	check_bytes(memory, 0, COUNT * EACH);
	all_done(object);
}

BOTH(ST_08_odd_offset_tail_and_address)
{
	uint64_t bytes = (1u << 20) + 777;
	unsigned char *memory = memory_made(4u << 20);
	char *path = file_made(bytes);
	struct source_object *object;

	source_made();
	lane_made(8);
	drop(path);
	object = opened(path);
	check_int(read_range(object, memory, 1, 100001, WAY_DIRECT), 100001);
	check_bytes(memory, 1, 100001);
	check_int(read_range(object, memory + 3, 8192, 8192, WAY_DIRECT), 8192);
	check_bytes(memory + 3, 8192, 8192);
	check_int(read_range(object, memory, 1u << 20, 4096, WAY_DIRECT), 777);
	check_bytes(memory, 1u << 20, 777);
	check_int(read_range(object, memory, bytes, 4096, WAY_BUFFERED), 0);
	check_int(read_range(object, memory, 2u << 20, 4096, WAY_DIRECT), 0);
	all_done(object);
}

BOTH(ST_17_sparse_file_reads_as_zeros)
{
	unsigned char *memory = memory_made(1u << 20);
	const char *path = path_of("sparse");
	struct source_object *object;
	int fd = open(path, O_RDWR | O_CREAT, 0600);

	check_int(ftruncate(fd, (off_t)5 << 30), 0);
	check_int(pwrite(fd, "end", 3, ((off_t)5 << 30) - 3), 3);
	close(fd);
	source_made();
	lane_made(4);
	object = opened(path);
	memset(memory, 1, 1u << 20);
	check_int(read_range(object, memory, UINT64_C(4) << 30, 1u << 20, WAY_DIRECT), 1u << 20);
	for (unsigned i = 0; i < 1u << 20; i++)
		check(memory[i] == 0);
	check_int(read_range(object, memory, (UINT64_C(5) << 30) - 3, 16, WAY_BUFFERED), 3);
	check(memcmp(memory, "end", 3) == 0);
	all_done(object);
}

BOTH(ST_19_no_file_has_bytes_there)
{
	unsigned char *memory = memory_made(4096);
	struct source_object *object;
	struct weir_error err = WEIR_ERROR_INIT;

	source_made();
	lane_made(2);
	object = opened(file_made(4096));
	check_int(read_range(object, memory, INT64_MAX - 10, 4096, WAY_BUFFERED), WEIR_ARG);
	check_int(read_range(object, memory, UINT64_MAX, 4096, WAY_DIRECT), WEIR_ARG);
	check_int(read_range(object, memory, 0, REQUEST_MAX + 1, WAY_BUFFERED), WEIR_ARG);
	check_int(source->ops->read(object, memory, INT64_MAX, 4096, &err), WEIR_ARG);
	check_int(err.offset_bytes, INT64_MAX);
	all_done(object);
}

static void blocking_read_for_headers(void)
{
	unsigned char *memory = memory_made(1u << 20);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;

	source_made();
	object = opened(file_made(100000));
	check_int(source->ops->read(object, memory, 7, 50000, &err), 50000);
	check_bytes(memory, 7, 50000);
	check_int(source->ops->read(object, memory, 90000, 50000, &err), 10000);
	check_bytes(memory, 90000, 10000);
	all_done(object);
}

static int no_thread(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	(void)out;
	(void)attr;
	(void)run;
	(void)arg;
	check_failed(__FILE__, __LINE__, "a thread is started");
}

static void simulated_lane_reads_without_a_thread(void)
{
	const struct lane_how how = {.depth = 2, .simulated = true};
	unsigned char *memory = memory_made(1u << 20);
	struct request request, *out;
	struct source_object *object;

	test_sys = *sys_real();
	test_sys.thread_create = no_thread;
	source_made();
	forbid_ring();
	check_int(source->ops->lane_create(source, &how, &lane, NULL), 0);
	object = opened(file_made(100000));
	check(source->ops->next_ns(lane) == NEVER);
	request = request_of(object, memory, 10, 5000, WAY_BUFFERED);
	check_int(source->ops->submit(lane, &request), 0);
	check(source->ops->next_ns(lane) <= sys_real()->now_ns());
	check_int(source->ops->reap(lane, &out, 1, NEVER), 1);
	check_int(request.result, 5000);
	check_bytes(memory, 10, 5000);
	check_int(source->ops->reap(lane, &out, 1, NEVER), 0);
	all_done(object);
}

/* ---- The page cache ---- */

static uint64_t cached_bytes(struct source_object *object)
{
	struct weir_stat stat;

	check_int(source->ops->describe(object, &stat, NULL), 0);
	return stat.cached_bytes;
}

static void direct_reads_leave_the_cache_cold(void)
{
	uint64_t bytes = 4u << 20;
	unsigned char *memory = memory_made(bytes);
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	lane_made(8);
	drop(path);
	object = opened(path);
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
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	lane_made(8);
	drop(path);
	object = opened_how(path, &how);
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

static int way_at(struct source_object *object, uint64_t offset, uint64_t *until)
{
	return source->ops->way(object, offset, object->size_bytes - offset, until);
}

#define CELL (32u << 10) /* the finest that is looked at */

static void way_follows_the_cache(void)
{
	uint64_t bytes = 40u << 20, until;
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	source_made();
	drop(path);
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
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys = *sys_real();
	test_sys.cachestat = cachestat_counted;
	source_made();
	drop(path);
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

static ssize_t preadv2_refused(int fd, const struct iovec *to, int count, off_t off, int flags)
{
	(void)fd;
	(void)to;
	(void)count;
	(void)off;
	(void)flags;
	errno = EOPNOTSUPP;
	return -1;
}

/* Another's file: reads that do not wait tell, and start no read-ahead. */
static void way_without_cachestat(void)
{
	uint64_t bytes = 48u << 20, until;
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys = *sys_real();
	test_sys.cachestat = cachestat_refused;
	source_made();
	drop(path);
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

BOTH(nobody_tells_what_is_cached)
{
	uint64_t bytes = 3u << 20, until;
	unsigned char *memory = memory_made(bytes);
	char *path = file_made(bytes);
	struct source_object *object;

	test_sys = *sys_real();
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
	char *path = file_made(1u << 20);
	struct source_object *object;

	source_made();
	lane_made(4);
	drop(path);
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

	test_sys = *sys_real();
	test_sys.fadvise = fadvise_fails;
	source_made();
	lane_made(4);
	object = opened(file_made(300000));
	read_all(object, memory);
	check_bytes(memory, 0, 300000);
	all_done(object);
}

/* ---- Without what a kernel may refuse ---- */

static void refused_ring(int os_errno)
{
	unsigned char *memory = memory_made(1u << 20);
	struct source_object *object;
	struct source_lane *second;
	struct weir_choice choice;

	filter_forbid(SYS_io_uring_setup, os_errno);
	source_made();
	lane_made(4);
	second = lane;
	lane_made(4);
	object = opened(file_made(300000));
	read_all(object, memory);
	check_bytes(memory, 0, 300000);
	source->ops->choice(source, &choice);
	check_str(choice.kind, "threads");
	check_int(choice.lanes, 2);
	check_int(choice.request_bytes, object->request_bytes);
	check_int(log_count, 1);
	check_has(log_lines, "plain threads");
	source->ops->lane_destroy(second);
	all_done(object);
}

static void ST_05_PR_21_ring_refused_ENOSYS(void)
{
	refused_ring(ENOSYS);
}

static void ST_05_PR_21_ring_refused_EPERM(void)
{
	refused_ring(EPERM);
}

static void ST_05_PR_21_ring_refused_ENOMEM(void)
{
	refused_ring(ENOMEM);
}

/* The set-up is allowed, and what follows is not. */
static void ST_06_PR_21_ring_refused_later(void)
{
	unsigned char *memory = memory_made(1u << 20);
	struct source_object *object;

	filter_forbid(SYS_io_uring_enter, EPERM);
	source_made();
	lane_made(4);
	object = opened(file_made(300000));
	read_all(object, memory);
	check_bytes(memory, 0, 300000);
	check_has(log_lines, "plain threads");
	all_done(object);
}

BOTH(ST_07_direct_refused_at_open)
{
	uint64_t bytes = 300000, until;
	unsigned char *memory = memory_made(1u << 20);
	char *path = file_made(bytes);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;

	filter_forbid_open_flags(O_DIRECT, EINVAL);
	source_made();
	lane_made(4);
	drop(path);
	object = opened(path);
	check_int(object->offset_align, 1);
	check_int(way_at(object, 3, &until), WAY_BUFFERED);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check_has(log_lines, "O_DIRECT is refused");
	check_int(open_fails(path, &(struct source_how){.direct = WEIR_DIRECT_ON}, &err),
		  WEIR_UNSUPPORTED);
	all_done(object);
}

/* Claims that any alignment will do, so that the kernel refuses the read. */
static int statx_lies(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	uint32_t ones[2] = {1, 1}; /* dio_mem_align, dio_offset_align */
	int ret = statx(dir, path, flags, mask, out);

	out->stx_mask |= 0x2000;
	memcpy((char *)out + 152, ones, sizeof(ones));
	return ret;
}

BOTH(ST_07_direct_refused_at_read)
{
	uint64_t bytes = 300000, until;
	unsigned char *memory = memory_made(1u << 20);
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys = *sys_real();
	test_sys.statx = statx_lies;
	source_made();
	lane_made(4);
	drop(path);
	object = opened(path);
	check_int(way_at(object, 0, &until), WAY_DIRECT);
	log_count = 0;
	check_int(read_range(object, memory, 5, 100001, WAY_DIRECT), 100001);
	check_bytes(memory, 5, 100001);
	check_int(log_count, 1);
	check_has(log_lines, "direct requests are refused");
	check_int(way_at(object, 0, &until), WAY_BUFFERED);
	check_int(read_range(object, memory, 7, 100001, WAY_DIRECT), 100001);
	check_int(log_count, 1);
	source->ops->close(object);

	object = opened_how(path, &(struct source_how){.direct = WEIR_DIRECT_ON});
	check_int(read_range(object, memory, 5, 100001, WAY_DIRECT), WEIR_ARG);
	all_done(object);
}

/* Kernels before 6.1 do not tell the alignment; what all file systems take is assumed. */
static int statx_silent(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	return statx(dir, path, flags, mask & ~0x2000u, out);
}

BOTH(alignment_not_told)
{
	uint64_t bytes = 300000;
	unsigned char *memory = memory_made(1u << 20);
	char *path = file_made(bytes);
	struct source_object *object;

	test_sys = *sys_real();
	test_sys.statx = statx_silent;
	source_made();
	lane_made(4);
	drop(path);
	object = opened(path);
	check_int(object->offset_align, 4096);
	check_int(object->memory_align, 4096);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	all_done(object);
}

static int openat_without_proc(int dir, const char *path, int flags, mode_t mode)
{
	if (strncmp(path, "/proc/", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	return openat(dir, path, flags, mode);
}

BOTH(PR_22_no_process_file_system)
{
	uint64_t bytes = 300000;
	unsigned char *memory = memory_made(1u << 20);
	char *path = file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys = *sys_real();
	test_sys.openat = openat_without_proc;
	source_made();
	lane_made(4);
	drop(path);
	object = opened(path);
	check(object->offset_align > 1);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check_int(cached_bytes(object), 0);
	all_done(object);
}

/* ---- Faults of single calls ---- */

static uint32_t bad_at = 40960;

static ssize_t pread_one_byte(int fd, void *to, size_t len, off_t off)
{
	static _Atomic unsigned call;
	unsigned n = atomic_fetch_add(&call, 1);

	if (n % 3 == 1) {
		errno = EINTR;
		return -1;
	}
	return pread(fd, to, n % 5 == 4 ? min_of(len, n % 7000 + 1) : min_of(len, (size_t)1), off);
}

/* A byte at a time, a random count, an interruption: whoever asks again gets all of it. */
static void ST_01_ST_02_one_byte_at_a_time(void)
{
	uint64_t bytes = 70000, at = 0;
	unsigned char *memory = memory_made(1u << 20);
	struct source_object *object;

	forbid_ring();
	test_sys = *sys_real();
	test_sys.preadv2 = preadv2_refused;
	test_sys.pread = pread_one_byte;
	source_made();
	lane_made(4);
	object = opened(file_made(bytes));
	while (at < bytes) {
		int64_t got = read_range(object, memory + at, at, (uint32_t)(bytes - at),
					 WAY_BUFFERED);

		check(got > 0);
		at += (uint64_t)got;
	}
	check_bytes(memory, 0, bytes);
	memset(memory, 0, bytes);
	check_int(source->ops->read(object, memory, 0, bytes, NULL), bytes);
	check_bytes(memory, 0, bytes);
	all_done(object);
}

static ssize_t pread_bad_block(int fd, void *to, size_t len, off_t off)
{
	if (off <= bad_at && bad_at < off + (off_t)len) {
		errno = EIO;
		return -1;
	}
	return pread(fd, to, len, off);
}

static ssize_t preadv2_bad_block(int fd, const struct iovec *to, int count, off_t off, int flags)
{
	struct iovec part = *to;

	(void)count;
	if (off <= bad_at && bad_at < off + (off_t)to->iov_len)
		part.iov_len = bad_at - (size_t)off;
	if (part.iov_len == 0) {
		errno = EIO;
		return -1;
	}
	return preadv2(fd, &part, 1, off, flags);
}

static void ST_03_a_bad_block(void)
{
	unsigned char *memory = memory_made(1u << 20);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;
	struct request request;
	char *path = file_made(200000);

	forbid_ring();
	test_sys = *sys_real();
	test_sys.preadv2 = preadv2_bad_block;
	test_sys.pread = pread_bad_block;
	source_made();
	lane_made(4);
	object = opened(path);
	/* Cached: what stands before it arrives, and asking for the rest says why. */
	check_int(read_range(object, memory, 0, 100000, WAY_BUFFERED), bad_at);
	check_bytes(memory, 0, bad_at);
	request = request_of(object, memory, bad_at, 100, WAY_BUFFERED);
	run_request(&request);
	check_int(request.result, WEIR_IO);
	check_int(request.os_errno, EIO);
	check_int(read_range(object, memory, 81920, 40960, WAY_DIRECT), 40960);
	check_bytes(memory, 81920, 40960);
	check_int(source->ops->read(object, memory, 0, 100000, &err), WEIR_IO);
	check_int(err.os_errno, EIO);
	check_int(err.offset_bytes, 0);
	check_has(err.message, path);
	all_done(object);
}

static int fault_errno;

static ssize_t pread_fault(int fd, void *to, size_t len, off_t off)
{
	(void)fd;
	(void)to;
	(void)len;
	(void)off;
	errno = fault_errno;
	return -1;
}

static void ST_15_errnos_of_remote_file_systems(void)
{
	static const struct {
		int os_errno, code;
	} cases[] = {
		{ESTALE, WEIR_CHANGED}, {ETIMEDOUT, WEIR_IO}, {ENOTCONN, WEIR_PEER_GONE},
		{EREMOTEIO, WEIR_IO},   {EIO, WEIR_IO},       {ENOMEM, WEIR_NOMEM},
	};
	unsigned char *memory = memory_made(4096);
	struct source_object *object;

	forbid_ring();
	test_sys = *sys_real();
	source_made();
	lane_made(2);
	object = opened(file_made(4096));
	test_sys.preadv2 = preadv2_refused;
	test_sys.pread = pread_fault;
	for (unsigned i = 0; i < array_size(cases); i++) {
		struct request request = request_of(object, memory, 0, 4096, WAY_BUFFERED);

		fault_errno = cases[i].os_errno;
		run_request(&request);
		check_int(request.result, cases[i].code);
		check_int(request.os_errno, cases[i].os_errno);
	}
	all_done(object);
}

static int stuck_pipe[2];

static ssize_t pread_stuck(int fd, void *to, size_t len, off_t off)
{
	char byte;

	if (off != 4096)
		return pread(fd, to, len, off);
	return read(stuck_pipe[0], &byte, 1);
}

/* The lane goes, the read stays: its request and its memory are not touched by us again. */
static void ST_16_a_read_that_hangs_is_left_behind(void)
{
	static struct request stuck;
	unsigned char *memory = memory_made(16384);
	struct source_object *object;
	struct request *out;

	forbid_ring();
	check_int(pipe(stuck_pipe), 0);
	test_sys = *sys_real();
	test_sys.preadv2 = preadv2_refused;
	test_sys.pread = pread_stuck;
	source_made();
	lane_made(4);
	object = opened(file_made(16384));
	stuck = request_of(object, memory, 4096, 4096, WAY_BUFFERED);
	check_int(source->ops->submit(lane, &stuck), 0);
	check_int(read_range(object, memory, 0, 4096, WAY_BUFFERED), 4096);
	source->ops->cancel(lane, &stuck);
	check_int(source->ops->reap(lane, &out, 1, sys_real()->now_ns() + 20 * NS_PER_MS), 0);
	source->ops->lane_destroy(lane);
	check_has(log_lines, "left behind");
	stuck.result = 4711;
	check_int(write(stuck_pipe[1], "x", 1), 1);
	usleep(50000);
	check_int(stuck.result, 4711);
}

BOTH(wake_and_cancel)
{
	struct request request, *out;
	unsigned char *memory = memory_made(4096);
	struct source_object *object;

	source_made();
	lane_made(2);
	object = opened(file_made(4096));
	source->ops->wake(lane);
	check_int(source->ops->reap(lane, &out, 1, NEVER), 0);
	request = request_of(object, memory, 0, 4096, WAY_DIRECT);
	check_int(source->ops->submit(lane, &request), 0);
	source->ops->cancel(lane, &request);
	check_int(source->ops->reap(lane, &out, 1, soon()), 1);
	check(request.result == 4096 || request.result == WEIR_CANCELLED);
	all_done(object);
}

/* ---- Opening ---- */

static void refuses(const char *path, int code)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t start = sys_real()->now_ns();

	check_int(open_fails(path, &(struct source_how){0}, &err), code);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
}

static void ST_18_IX_11_only_regular_files(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	const char *path;

	source_made();
	path = path_of("fifo");
	check_int(mkfifo(path, 0600), 0);
	refuses(path, WEIR_ARG);
	check_int(chdir(directory_made()), 0);
	strcpy(address.sun_path, "socket");
	check_int(bind(fd, (void *)&address, sizeof(address)), 0);
	refuses("socket", WEIR_ARG);
	check_int(chdir(".."), 0);
	refuses(directory, WEIR_ARG);
	refuses("/dev/null", WEIR_ARG);
	refuses("/dev/tty", errno == ENOENT ? WEIR_NOTFOUND : WEIR_ARG);
	refuses("/proc/version", WEIR_ARG);
	refuses("/proc/self/maps", WEIR_ARG);
	all_done(NULL);
}

static void an_empty_file_is_a_file(void)
{
	struct source_object *object;
	unsigned char byte;
	uint64_t until;

	source_made();
	lane_made(2);
	object = opened(file_made(0));
	check_int(object->size_bytes, 0);
	source->ops->way(object, 0, 0, &until);
	check_int(read_range(object, &byte, 0, 1, WAY_BUFFERED), 0);
	check_int(check_of(object), 0);
	all_done(object);
}

static void ST_20_names_that_cannot_be_opened(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char long_name[300];
	char *path = file_made(10), *link = path_of("link");

	source_made();
	check_int(open_fails(path_of("nothing"), &(struct source_how){0}, &err), WEIR_NOTFOUND);
	check_int(err.os_errno, ENOENT);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	check_int(open_fails(path_of(long_name), &(struct source_how){0}, &err), WEIR_ARG);
	check_int(err.os_errno, ENAMETOOLONG);
	strcat(path, "/x");
	check_int(open_fails(path, &(struct source_how){0}, &err), WEIR_NOTFOUND);
	check_int(err.os_errno, ENOTDIR);
	check_int(symlink("link", link), 0);
	check_int(open_fails(link, &(struct source_how){0}, &err), WEIR_ARG);
	check_int(err.os_errno, ELOOP);
	path = file_made(10);
	check_int(chmod(path, 0), 0);
	if (getuid() == 0)
		check_int(seteuid(65534), 0);
	check_int(open_fails(path, &(struct source_how){0}, &err), WEIR_DENIED);
	check_int(err.os_errno, EACCES);
	if (getuid() == 0)
		check_int(seteuid(0), 0);
	all_done(NULL);
}

static void IX_02_links_are_followed_unless_forbidden(void)
{
	const struct source_how how = {.flags = WEIR_OBJECT_NOFOLLOW};
	struct weir_error err = WEIR_ERROR_INIT;
	char *link = path_of("link");
	struct source_object *object;

	source_made();
	file_made(10);
	check_int(symlink("file0", link), 0);
	check_int(open_fails(link, &how, &err), WEIR_DENIED);
	check_int(err.os_errno, ELOOP);
	object = opened(link);
	all_done(object);
}

/* ---- Versions ---- */

static struct source_object *object_to_spoil(char **path)
{
	*path = file_made(100000);
	source_made();
	return opened(*path);
}

static void ST_09_file_shortened(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;
	char *path;

	object = object_to_spoil(&path);
	check_int(truncate(path, 5000), 0);
	check_int((source->ops->check)(object, &err), WEIR_TRUNCATED);
	check_has(err.message, "5000");
	check_has(err.message, "100000");
	all_done(object);
}

static void ST_11_file_lengthened(void)
{
	struct source_object *object;
	char *path;

	object = object_to_spoil(&path);
	check_int(truncate(path, 200000), 0);
	check_int(check_of(object), WEIR_CHANGED);
	all_done(object);
}

static void ST_12_rewritten_in_place(void)
{
	struct source_object *object;
	struct stat before;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	check_int(check_of(object), 0);
	check_int(stat(path, &before), 0);
	usleep(20000);
	fd = open(path, O_WRONLY);
	check_int(pwrite(fd, "x", 1, 0), 1);
	check_int(check_of(object), WEIR_CHANGED);
	/* The times put back: ctime cannot be. */
	check_int(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}), 0);
	check_int(check_of(object), WEIR_CHANGED);
	close(fd);
	all_done(object);
}

static void ST_12_live_files_may_change(void)
{
	struct source_object *object;
	char *path = file_made(1000);

	source_made();
	object = opened_how(path, &(struct source_how){.flags = WEIR_OBJECT_LIVE});
	check_int(truncate(path, 10), 0);
	check_int(check_of(object), 0);
	all_done(object);
}

static void ST_13_IX_12_replaced_by_rename(void)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object;
	char *path, *other = file_made(50000);

	object = object_to_spoil(&path);
	lane_made(4);
	check_int(truncate(other, 0), 0);
	check_int(rename(other, path), 0);
	read_all(object, memory); /* checks too: the old one, complete */
	check_bytes(memory, 0, 100000);
	all_done(object);
}

static void ST_14_removed(void)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	lane_made(4);
	fd = open(path, O_WRONLY);
	usleep(20000);
	check_int(unlink(path), 0);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	check_int(check_of(object), 0);
	/* And written to afterwards, with the old mtime: that is not forgiven. */
	usleep(20000);
	check_int(fchmod(fd, 0600), 0);
	check_int(check_of(object), WEIR_CHANGED);
	all_done(object);
}

static void ST_12_rewritten_and_then_removed(void)
{
	struct source_object *object;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	fd = open(path, O_WRONLY);
	usleep(20000);
	check_int(pwrite(fd, "x", 1, 0), 1);
	check_int(unlink(path), 0);
	check_int(check_of(object), WEIR_CHANGED);
	close(fd);
	all_done(object);
}

/* Some program closes numbers that are not its own, and gets them for another file. */
BOTH(PR_12_descriptor_closed_and_reused)
{
	char *path = file_made(100000), *other = file_made(100000);
	struct source_object *object;
	struct stat ours, now;
	int reused = 0;

	need_disk();
	source_made();
	object = opened(path);
	check_int(stat(path, &ours), 0);
	for (int fd = 3; fd < 64; fd++) {
		if (fstat(fd, &now) || now.st_ino != ours.st_ino)
			continue;
		check_int(check_of(object), 0);
		close(fd);
		check_int(check_of(object), WEIR_IO);
		check_int(open(other, O_RDONLY), fd);
		check_int(check_of(object), WEIR_CHANGED);
		reused++;
		close(fd);
		check_int(dup2(open(path, O_RDONLY), fd), fd);
	}
	check_int(reused, 2);
	source->ops->close(object);

	/* Closing does not close what is somebody else's by now: two numbers from the start. */
	object = opened_how(path, &(struct source_how){.direct = WEIR_DIRECT_ON});
	for (int fd = 3; fd < 64; fd++)
		if (fstat(fd, &now) == 0 && now.st_ino == ours.st_ino)
			check_int(dup2(STDERR_FILENO, fd), fd);
	reused = 0;
	source->ops->close(object);
	for (int fd = 3; fd < 64; fd++)
		reused += fcntl(fd, F_GETFD) >= 0;
	check(reused >= 2);
	all_done(NULL);
}

/* ---- Processes ---- */

static void PR_14_descriptors_are_closed_by_exec(void)
{
	bool before[64];
	struct source_object *object;
	char *path = file_made(10000);

	for (int fd = 0; fd < 64; fd++)
		before[fd] = fcntl(fd, F_GETFD) >= 0;
	source_made();
	lane_made(4);
	object = opened(path);
	for (int fd = 0; fd < 64; fd++)
		if (!before[fd] && fcntl(fd, F_GETFD) >= 0)
			check(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	all_done(object);
}

BOTH(PR_11_standard_descriptors_closed)
{
	unsigned char *memory = memory_made(200000);
	char *path = file_made(100000);
	struct source_object *object;

	close(0);
	close(1);
	source_made();
	lane_made(4);
	object = opened(path);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	check_int(fcntl(0, F_GETFD), -1);
	check_int(fcntl(1, F_GETFD), -1);
	all_done(object);
}

#define HIGH (1 << 30)

static int openat_high(int dir, const char *path, int flags, mode_t mode)
{
	int fd;

	if (strncmp(path, "/proc/", 6) == 0) {
		errno = ENOENT;
		return -1;
	}
	fd = openat(dir, path, flags, mode);
	return fd < 0 ? fd : fd + HIGH;
}

static int low(int fd)
{
	return fd >= HIGH ? fd - HIGH : fd;
}

static int close_high(int fd)
{
	return close(low(fd));
}

static int fstat_high(int fd, struct stat *out)
{
	return fstat(low(fd), out);
}

static int statx_high(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	return statx(low(dir), path, flags, mask, out);
}

static ssize_t pread_high(int fd, void *to, size_t len, off_t off)
{
	return pread(low(fd), to, len, off);
}

static ssize_t preadv2_high(int fd, const struct iovec *to, int count, off_t off, int flags)
{
	return preadv2(low(fd), to, count, off, flags);
}

static int cachestat_high(int fd, struct sys_cache_range *range, struct sys_cache_stat *out,
			  unsigned flags)
{
	return sys_real()->cachestat(low(fd), range, out, flags);
}

/* Numbers as high as they get: nothing loops over them, or keeps a table by them. */
static void PR_11_descriptors_around_2_30(void)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object;

	forbid_ring();
	test_sys = *sys_real();
	test_sys.openat = openat_high;
	test_sys.close = close_high;
	test_sys.fstat = fstat_high;
	test_sys.statx = statx_high;
	test_sys.pread = pread_high;
	test_sys.preadv2 = preadv2_high;
	test_sys.cachestat = cachestat_high;
	source_made();
	lane_made(4);
	object = opened(file_made(100000));
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	all_done(object);
}

/* With one number left a file is read through the page cache; with none it is an error. */
static void PR_11_ST_21_few_descriptors(void)
{
	struct rlimit limit = {16, 16};
	struct weir_error err = WEIR_ERROR_INIT;
	unsigned char *memory = memory_made(200000);
	char *path = file_made(100000);
	struct source_object *object;
	int fd;

	source_made();
	lane_made(4);
	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	while ((fd = dup(2)) >= 0)
		;
	check_int(open_fails(path, &(struct source_how){0}, &err), WEIR_IO);
	check_int(err.os_errno, EMFILE);
	close(15);
	object = opened(path);
	check_int(object->offset_align, 1);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	all_done(object);
}

static unsigned direct_opens;
static int direct_errno; /* not 0: no further one is opened */

static int openat_counted(int dir, const char *path, int flags, mode_t mode)
{
	if (flags & O_DIRECT && ++direct_opens > 1 && direct_errno) {
		errno = direct_errno;
		return -1;
	}
	return openat(dir, path, flags, mode);
}

/* Two objects of a source that knows that it may read past the cache. */
static struct source_object *second_object(int os_errno)
{
	char *path = file_made(100000);

	need_disk();
	direct_errno = os_errno;
	test_sys = *sys_real();
	test_sys.openat = openat_counted;
	source_made();
	lane_made(4);
	source->ops->close(opened(path));
	check_int(direct_opens, 1);
	drop(path);
	return opened(path);
}

/* A model of a hundred shards is opened for the price of a hundred headers. */
BOTH(direct_descriptor_waits_for_a_request)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object = second_object(0);
	uint64_t until;

	check_int(object->offset_align > 1, 1);
	check_int(source->ops->read(object, memory, 0, 1000, NULL), 1000);
	check_int(direct_opens, 1);
	check_int(way_at(object, 65536, &until), WAY_DIRECT);
	check_int(direct_opens, 2);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	check_int(direct_opens, 2);
	check_int(source->ops->read(object, memory, 0, 1000, NULL), 1000);
	all_done(object);
}

/* Where it is not to be had by then, the page cache does. */
static void no_direct_later(int os_errno)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object = second_object(os_errno);
	uint64_t until;

	check_int(way_at(object, 65536, &until), WAY_BUFFERED);
	check_has(log_lines, "O_DIRECT is refused");
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	check_int(direct_opens, 2);
	all_done(object);
}

BOTH(PR_11_no_number_for_the_direct_descriptor)
{
	no_direct_later(EMFILE);
}

BOTH(ST_07_direct_refused_at_the_first_request)
{
	no_direct_later(EINVAL);
}

static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* Many more objects than numbers: those not in use are parked, and come back. */
static unsigned many_objects(unsigned objects, rlim_t numbers)
{
	enum {
		EACH = 5000
	};
	struct rlimit limit = {numbers, numbers};
	struct source_object *object[1000];
	char *path[1000];
	unsigned char *memory = memory_made(EACH + 65536);
	unsigned most = 0;

	check(objects <= array_size(object));
	for (unsigned i = 0; i < objects; i++)
		path[i] = file_made(EACH);
	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	source_made();
	lane_made(4);
	for (unsigned i = 0; i < objects; i++) {
		object[i] = opened(path[i]);
		check_int(source->ops->read(object[i], memory, 0, 8, NULL), 8);
		most = max_of(most, count_fds());
	}
	for (unsigned i = 0; i < objects; i++) {
		read_all(object[i * 7 % objects], memory);
		check_bytes(memory, 0, EACH);
		most = max_of(most, count_fds());
	}
	for (unsigned i = 0; i < objects; i++)
		source->ops->close(object[i]);
	all_done(NULL);
	return most;
}

BOTH(ST_21_a_thousand_shards)
{
	check(many_objects(1000, 256) < 256 * 3 / 4); /* and the program has the rest */
}

/* What else the program has open leaves fewer than the share that was counted on. */
BOTH(ST_21_numbers_taken_by_others)
{
	for (unsigned i = 0; i < 30; i++)
		check(dup(2) >= 0);
	many_objects(50, 48);
}

/* Coming back to a parked object finds the version that it was, or says so. */
static void ST_13_ST_21_parked_and_replaced(void)
{
	struct rlimit limit = {32, 32};
	struct source_object *first, *others[20];
	unsigned char memory[16];
	struct weir_error err = WEIR_ERROR_INIT;
	char *path = file_made(5000);
	uint64_t until;

	check_int(setrlimit(RLIMIT_NOFILE, &limit), 0);
	source_made();
	lane_made(2);
	first = opened(path);
	for (unsigned i = 0; i < array_size(others); i++)
		others[i] = opened(file_made(100));
	check_int(rename(file_made(5000), path), 0);
	check_int(source->ops->read(first, memory, 0, 8, &err), WEIR_CHANGED);
	check_has(err.message, path);
	check_int(check_of(first), WEIR_CHANGED);
	check_int(way_at(first, 0, &until), first->offset_align > 1 ? WAY_DIRECT : WAY_BUFFERED);
	check_int(read_range(first, memory, 0, 8, WAY_BUFFERED), WEIR_CHANGED);
	check_int(unlink(path), 0);
	check_int(check_of(first), WEIR_CHANGED);
	for (unsigned i = 0; i < array_size(others); i++)
		source->ops->close(others[i]);
	all_done(first);
}

BOTH(PR_10_ST_22_little_lockable_memory)
{
	struct rlimit limit = {64 << 10, 64 << 10};
	uint64_t bytes = 4u << 20;
	unsigned char *memory = memory_made(bytes);
	char *path = file_made(bytes);
	struct source_object *object;

	check_int(chmod(directory, 0777), 0);
	check_int(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	if (getuid() == 0)
		check_int(seteuid(200000 + (uid_t)getpid()), 0); /* root is exempt */
	source_made();
	lane_made(4);
	source->ops->lane_register(lane, memory, bytes);
	object = opened(path);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	all_done(object);
	if (getuid() == 0)
		check_int(seteuid(0), 0);
}

BOTH(PR_13_a_forked_child_only_frees)
{
	unsigned char *memory = memory_made(200000);
	char *path = file_made(100000);
	struct source_object *object;
	int status;
	pid_t pid;

	source_made();
	lane_made(4);
	object = opened(path);
	read_all(object, memory);
	pid = fork();
	if (pid == 0) {
		source->ops->close(object);
		source->ops->lane_destroy(lane);
		source->ops->destroy(source);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	all_done(object);
}

/* ---- URIs ---- */

static void splits(const char *uri, const char *scheme, const char *path)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const char *got_scheme = NULL;
	char *got_path = NULL;

	if (source_split_uri(uri, &got_scheme, &got_path, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_str(got_scheme, scheme);
	check_str(got_path, path);
	free(got_path);
}

static void does_not_split(const char *uri, int code)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const char *scheme;
	char *path = NULL;

	check_int(source_split_uri(uri, &scheme, &path, &err), code);
	check_int(err.code, code);
	check(path == NULL && err.message[0]);
}

static void uris(void)
{
	splits("/a b", "file", "/a b");
	splits("file:///a%20b", "file", "/a b");
	splits("FILE://localhost/a", "file", "/a");
	splits("/a%20b", "file", "/a%20b");
	splits("model.safetensors", "file", "model.safetensors");
	splits("c:/x", "file", "c:/x");
	splits("a/b://c", "file", "a/b://c");
	splits("memory://name", "memory", "name");
	splits("memory://a/b%2fc", "memory", "a/b/c");
	splits("file:///a%e2%82%ac", "file", "/a\xe2\x82\xac");
	does_not_split("", WEIR_ARG);
	does_not_split("file:///a%2", WEIR_ARG);
	does_not_split("file:///a%zz", WEIR_ARG);
	does_not_split("file:///a%00b", WEIR_ARG);
	does_not_split("memory://", WEIR_ARG);
	does_not_split("file://server/a", WEIR_UNSUPPORTED);
	does_not_split("ftp://a/b", WEIR_UNSUPPORTED);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(reads_cold_and_warm),
		TEST_BOTH(many_in_flight),
		TEST_BOTH(ST_08_odd_offset_tail_and_address),
		TEST_BOTH(ST_17_sparse_file_reads_as_zeros),
		TEST_BOTH(ST_19_no_file_has_bytes_there),
		TEST(blocking_read_for_headers),
		TEST(simulated_lane_reads_without_a_thread),
		TEST(direct_reads_leave_the_cache_cold),
		TEST(fill_reads_through_the_cache),
		TEST(way_follows_the_cache),
		TEST(way_past_a_cache_full_of_holes),
		TEST(way_as_asked),
		TEST(way_without_cachestat),
		TEST_BOTH(nobody_tells_what_is_cached),
		TEST_BOTH(half_of_a_cached_request_is_gone),
		TEST_BOTH(ST_26_hints_fail),
		TEST(ST_05_PR_21_ring_refused_ENOSYS),
		TEST(ST_05_PR_21_ring_refused_EPERM),
		TEST(ST_05_PR_21_ring_refused_ENOMEM),
		TEST(ST_06_PR_21_ring_refused_later),
		TEST_BOTH(ST_07_direct_refused_at_open),
		TEST_BOTH(ST_07_direct_refused_at_read),
		TEST_BOTH(alignment_not_told),
		TEST_BOTH(PR_22_no_process_file_system),
		TEST(ST_01_ST_02_one_byte_at_a_time),
		TEST(ST_03_a_bad_block),
		TEST(ST_15_errnos_of_remote_file_systems),
		TEST(ST_16_a_read_that_hangs_is_left_behind),
		TEST_BOTH(wake_and_cancel),
		TEST(ST_18_IX_11_only_regular_files),
		TEST(an_empty_file_is_a_file),
		TEST(ST_20_names_that_cannot_be_opened),
		TEST(IX_02_links_are_followed_unless_forbidden),
		TEST(ST_09_file_shortened),
		TEST(ST_11_file_lengthened),
		TEST(ST_12_rewritten_in_place),
		TEST(ST_12_live_files_may_change),
		TEST(ST_13_IX_12_replaced_by_rename),
		TEST(ST_14_removed),
		TEST(ST_12_rewritten_and_then_removed),
		TEST_BOTH(PR_12_descriptor_closed_and_reused),
		TEST(PR_14_descriptors_are_closed_by_exec),
		TEST_BOTH(PR_11_standard_descriptors_closed),
		TEST(PR_11_descriptors_around_2_30),
		TEST(PR_11_ST_21_few_descriptors),
		TEST_BOTH(direct_descriptor_waits_for_a_request),
		TEST_BOTH(PR_11_no_number_for_the_direct_descriptor),
		TEST_BOTH(ST_07_direct_refused_at_the_first_request),
		TEST_BOTH(ST_21_a_thousand_shards),
		TEST_BOTH(ST_21_numbers_taken_by_others),
		TEST(ST_13_ST_21_parked_and_replaced),
		TEST_BOTH(PR_10_ST_22_little_lockable_memory),
		TEST_BOTH(PR_13_a_forked_child_only_frees),
		TEST(uris),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
