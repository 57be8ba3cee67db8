/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of every piece of work fails once; then all of its kind from each one on.  Reads go
 * by plain threads as well, where each of them is a call of the table.
 */
#include <errno.h>

#include "lib/check.h"
#include "rig.h"
#include "weir/error.h"

static bool no_memory(int ret)
{
	return ret == WEIR_NOMEM;
}

static bool no_right(int ret)
{
	return ret == WEIR_DENIED;
}

static bool io(int ret)
{
	return ret == WEIR_IO;
}

static bool no_space(int ret)
{
	return ret == WEIR_NOSPACE;
}

/* What is only a hint, or has another way, must not be seen at all. */
static bool nothing(int ret)
{
	(void)ret;
	return false;
}

/* How each call fails, and what may come of it. */
static const struct fault {
	enum fail_call call;
	int os_errno;
	bool (*expected)(int ret);
} faults[] = {
	{FAIL_openat, EACCES, no_right},
	{FAIL_close, EIO, nothing},
	{FAIL_pread, EIO, io},
	{FAIL_preadv2, EOPNOTSUPP, nothing},
	{FAIL_pwrite, ENOSPC, no_space},
	{FAIL_fstat, EIO, io},
	{FAIL_statx, EIO, io},
	{FAIL_ftruncate, ENOSPC, no_space},
	{FAIL_fallocate, ENOSPC, no_space},
	{FAIL_fallocate, EOPNOTSUPP, nothing},
	{FAIL_fdatasync, EIO, io},
	{FAIL_fsync, EIO, io},
	{FAIL_renameat2, EACCES, no_right},
	{FAIL_unlinkat, EACCES, no_right},
	{FAIL_fadvise, EINVAL, nothing},
	{FAIL_cachestat, ENOSYS, nothing},
	{FAIL_mmap, ENOMEM, no_memory},
	{FAIL_munmap, ENOMEM, nothing},
	{FAIL_madvise, ENOMEM, no_memory},
	{FAIL_madvise, EINVAL, nothing},
	{FAIL_thread_create, EAGAIN, no_memory},
	{FAIL_random, EIO, io},
};

static void sweep(unsigned piece)
{
	rig_prepare();
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const struct fault *fault = &faults[i];

		for (int mode = FAIL_ONCE; mode <= FAIL_FROM; mode++)
			sweep_calls(&pieces[piece], fault->call, (enum fail_mode)mode,
				    fault->os_errno, fault->expected);
	}
}

#define PIECE(index, name)                                                                         \
	static void PR_07_PR_08_##name(void)                                                       \
	{                                                                                          \
		sweep(index);                                                                      \
	}                                                                                          \
	static void PR_07_PR_08_without_rings_##name(void)                                         \
	{                                                                                          \
		rig_forbid_rings();                                                                \
		sweep(index);                                                                      \
	}

PIECE(0, load_model)
PIECE(1, read_ranges)
PIECE(2, cancel_reads)
PIECE(3, write_object)
PIECE(4, look_around)
PIECE(5, post_requests)

#define TESTS(name) TEST(PR_07_PR_08_##name), TEST(PR_07_PR_08_without_rings_##name)

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TESTS(load_model),   TESTS(read_ranges), TESTS(cancel_reads),
		TESTS(write_object), TESTS(look_around), TESTS(post_requests),
	};

	check_int(piece_count, 6);
	return tests_run(argc, argv, tests, sizeof(tests) / sizeof(tests[0]));
}
