/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files whose single calls fail, are cut short or hang.
 */
#include "file_rig.h"

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

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_01_ST_02_one_byte_at_a_time),
		TEST(ST_03_a_bad_block),
		TEST(ST_15_errnos_of_remote_file_systems),
		TEST(ST_16_a_read_that_hangs_is_left_behind),
		TEST_BOTH(wake_and_cancel),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
