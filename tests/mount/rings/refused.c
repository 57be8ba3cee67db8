/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that ask for what they may not have: each is answered, and its neighbours unharmed.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "setting.h"

static struct setting at;

static struct ask usual(void)
{
	return (struct ask){.iov = &at.iov, .file = FILE_1, .length = 4096};
}

static int64_t answer(struct ask ask)
{
	return ring_result(&at.reads, &ask);
}

#define ANSWER(...)                                                                                \
	__extension__({                                                                            \
		struct ask ask_ = usual();                                                         \
		__VA_ARGS__;                                                                       \
		answer(ask_);                                                                      \
	})

static void UB_38_RG_07_RG_08_ranges(void)
{
	const uint64_t size = 4 * MIB;

	setting_make(&at, NULL, 4);
	check_int(ANSWER(ask_.iov_offset = size), -EINVAL);
	check_int(ANSWER(ask_.iov_offset = size - 4095), -EINVAL);
	check_int(ANSWER(ask_.iov_offset = size - 4096), 4096);
	check_int(ANSWER(ask_.iov_offset = size + 1, ask_.length = 0), -EINVAL);
	check_int(ANSWER(ask_.length = 0), 0);
	check_int(ANSWER(ask_.length = UINT64_C(1) << 63), -EINVAL);
	check_int(ANSWER(ask_.length = UINT64_MAX), -EINVAL);
	check_int(ANSWER(ask_.iov_offset = 8, ask_.length = UINT64_MAX - 4), -EINVAL);
	check_int(ANSWER(ask_.iov_offset = UINT64_MAX, ask_.length = 4096), -EINVAL);
	check_int(ANSWER(ask_.iov_offset = UINT64_MAX - 4095, ask_.length = 4096), -EINVAL);
	setting_end(&at);
}

static void RG_14_file_offsets(void)
{
	setting_make(&at, NULL, 4);
	check_int(ANSWER(ask_.offset = FILE_BYTES + 1), 0);
	check_int(ANSWER(ask_.offset = INT64_MAX - 4096), 0);
	check_int(ANSWER(ask_.offset = INT64_MAX - 4095), -EINVAL);
	check_int(ANSWER(ask_.offset = UINT64_C(1) << 63), -EINVAL);
	check_int(ANSWER(ask_.offset = UINT64_MAX - 100), -EINVAL);
	setting_end(&at);
}

/* Three requests in one batch, the middle one with a bad buffer. */
static void between_neighbours(const struct ask *bad, int64_t expected)
{
	struct ask good = usual();
	struct usrbio_cqe cqes[3];

	good.userdata = 1;
	check(ring_ask(&at.reads, &good) >= 0);
	check(ring_ask(&at.reads, bad) >= 0);
	good.iov_offset = 8192;
	check(ring_ask(&at.reads, &good) >= 0);
	ring_bell(&at.reads);
	check_int(ring_reap(&at.reads, cqes, 3, 2000), 3);
	for (int i = 0; i < 3; i++)
		check_int(cqes[i].result, cqes[i].userdata == 1 ? 4096 : expected);
	check_int(pattern_check((char *)at.iov.memory + 8192, FILE_1, 0, 4096), 4096);
}

static void UB_39_RG_09_no_shortcut_for_a_repeated_iov(void)
{
	struct ask bad = usual();

	setting_make(&at, NULL, 4);
	bad.iov_offset = 4 * MIB - 1;
	between_neighbours(&bad, -EINVAL);
	setting_end(&at);
}

static void UB_38_RG_10_block_borders(void)
{
	struct shared blocks;

	setting_make(&at, NULL, 4);
	iov_make(&at.rig, &blocks, at.iov.uid, MIB + 100, 65536);
	check_int(ANSWER(ask_.iov = &blocks, ask_.length = 65536), 65536);
	check_int(ANSWER(ask_.iov = &blocks, ask_.length = 65537), -EINVAL);
	check_int(ANSWER(ask_.iov = &blocks, ask_.iov_offset = 65535, ask_.length = 1), 1);
	check_int(ANSWER(ask_.iov = &blocks, ask_.iov_offset = 65535, ask_.length = 2), -EINVAL);
	check_int(ANSWER(ask_.iov = &blocks, ask_.iov_offset = MIB, ask_.length = 100), 100);
	check_int(ANSWER(ask_.iov = &blocks, ask_.iov_offset = 65536, ask_.length = 0), 0);
	check_int(rig_unlink(&at.rig, at.iov.uid, blocks.name), 0);
	shared_close(&at.rig, &blocks);
	setting_end(&at);
}

static void UB_38_RG_11_RG_31_iovs_that_are_not_ones_own(void)
{
	struct shared unknown = {.key.id = {1, 2, 3}}, zero = {0}, theirs;
	uid_t other;

	setting_make(&at, NULL, 4);
	other = geteuid() == 0 ? USER_B : at.iov.uid;
	check_int(ANSWER(ask_.iov = &unknown), -EINVAL);
	check_int(ANSWER(ask_.iov = &zero), -EINVAL);
	check_int(ANSWER(ask_.iov = &at.reads.shared), -EINVAL); /* a ring is no iov */
	if (geteuid() == 0) {
		iov_make(&at.rig, &theirs, other, MIB, 0);
		check_int(ANSWER(ask_.iov = &theirs), -EINVAL);
		between_neighbours(&(struct ask){.iov = &theirs, .file = FILE_1, .length = 8},
				   -EINVAL);
		check_int(((char *)theirs.memory)[0], 0);
		check_int(rig_unlink(&at.rig, other, theirs.name), 0);
		shared_close(&at.rig, &theirs);
	}
	setting_end(&at);
}

static void UB_38_RG_12_files_that_are_not_open(void)
{
	setting_make(&at, NULL, 4);
	files_add(&at.rig, 12, 8192);
	files_add(&at.rig, 13, 8192);
	files_open(&at.rig, 13, at.iov.uid + 1, O_RDWR);
	check_int(ANSWER(ask_.file = 4711), -EBADF);
	check_int(ANSWER(ask_.file = 0), -EBADF);
	check_int(ANSWER(ask_.file = UINT64_MAX), -EBADF);
	check_int(ANSWER(ask_.file = 12), -EBADF);
	check_int(ANSWER(ask_.file = 13), -EBADF);
	files_open(&at.rig, 12, at.iov.uid, O_RDONLY);
	check_int(ANSWER(ask_.file = 12), 4096);
	files_release(&at.rig, 12, at.iov.uid);
	check_int(ANSWER(ask_.file = 12), -EBADF); /* rights end with the last release */
	setting_end(&at);
}

static void UB_38_RG_13_the_other_direction(void)
{
	struct ask ask = usual();

	setting_make(&at, NULL, 4);
	ask.iov = &at.iov;
	files_release(&at.rig, FILE_1, at.iov.uid);
	files_open(&at.rig, FILE_1, at.iov.uid, O_WRONLY);
	check_int(ring_result(&at.reads, &ask), -EACCES);
	check_int(ring_result(&at.writes, &ask), 4096);
	files_release(&at.rig, FILE_1, at.iov.uid);
	files_open(&at.rig, FILE_1, at.iov.uid, O_RDONLY);
	check_int(ring_result(&at.writes, &ask), -EACCES);
	check_int(ring_result(&at.reads, &ask), 4096);
	setting_end(&at);
}

static void RG_34_userdata_is_echoed(void)
{
	setting_make(&at, NULL, 4);
	check_int(ANSWER(ask_.userdata = UINT64_MAX), 4096);
	check_int(ANSWER(ask_.userdata = 1), 4096);
	check_int(ANSWER(ask_.userdata = UINT64_C(0x8000000000000000), ask_.length = 0), 0);
	setting_end(&at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_38_RG_07_RG_08_ranges),
		TEST(RG_14_file_offsets),
		TEST(UB_39_RG_09_no_shortcut_for_a_repeated_iov),
		TEST(UB_38_RG_10_block_borders),
		TEST(UB_38_RG_11_RG_31_iovs_that_are_not_ones_own),
		TEST(UB_38_RG_12_files_that_are_not_open),
		TEST(UB_38_RG_13_the_other_direction),
		TEST(RG_34_userdata_is_echoed),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
