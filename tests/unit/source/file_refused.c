/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files where a kernel or a file system refuses something: io_uring, O_DIRECT, statx, /proc.
 */
#include "file_rig.h"

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
	char *path = cold_file_made(bytes);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;

	filter_forbid_open_flags(O_DIRECT, EINVAL);
	source_made();
	lane_made(4);
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
	char *path = cold_file_made(bytes);
	struct source_object *object;

	need_disk();
	test_sys.statx = statx_lies;
	source_made();
	lane_made(4);
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
	struct source_object *object;

	test_sys.statx = statx_silent;
	source_made();
	lane_made(4);
	object = opened(cold_file_made(bytes));
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
	struct source_object *object;

	need_disk();
	test_sys.openat = openat_without_proc;
	source_made();
	lane_made(4);
	object = opened(cold_file_made(bytes));
	check(object->offset_align > 1);
	read_all(object, memory);
	check_bytes(memory, 0, bytes);
	check_int(cached_bytes(object), 0);
	all_done(object);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_05_PR_21_ring_refused_ENOSYS),   TEST(ST_05_PR_21_ring_refused_EPERM),
		TEST(ST_05_PR_21_ring_refused_ENOMEM),   TEST(ST_06_PR_21_ring_refused_later),
		TEST_BOTH(ST_07_direct_refused_at_open), TEST_BOTH(ST_07_direct_refused_at_read),
		TEST_BOTH(alignment_not_told),           TEST_BOTH(PR_22_no_process_file_system),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
