/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of the kernel are played by text: openat() finds a path in a table and hands out a
 * temporary file that holds what the table says.
 */
#include "mem/limits.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/size.h"
#include "lib/check.h"

struct text_file {
	const char *path, *text;
};

static const struct text_file *files;

static int open_text(int dir, const char *path, int flags, mode_t mode)
{
	(void)dir;
	(void)flags;
	(void)mode;
	for (const struct text_file *file = files; file->path; file++) {
		int fd;

		if (strcmp(file->path, path) != 0)
			continue;
		fd = memfd_create("text", MFD_CLOEXEC);
		check(fd >= 0 && write(fd, file->text, strlen(file->text)) >= 0);
		return fd;
	}
	errno = ENOENT;
	return -1;
}

/* As procfs now and then does: a little at a time. */
static ssize_t pread_little(int fd, void *to, size_t len, off_t off)
{
	return pread(fd, to, len < 7 ? len : 7, off);
}

static struct memory_left left_with(const struct text_file *table)
{
	struct sys sys = *sys_real();
	struct memory_left left;

	files = table;
	sys.openat = open_text;
	sys.pread = pread_little;
	memory_left(&sys, &left);
	return left;
}

static int check_with(const struct text_file *table, uint64_t bytes, struct weir_error *err)
{
	struct sys sys = *sys_real();

	files = table;
	sys.openat = open_text;
	return memory_check(&sys, bytes, "model.safetensors", err);
}

#define MEMINFO                                                                                    \
	{                                                                                          \
		"/proc/meminfo", "MemTotal:   2048000 kB\nMemFree:  1 kB\nMemAvailable:  1024000 " \
				 "kB\nBuffers: 5 kB\n"                                             \
	}
#define MACHINE_LEFT (UINT64_C(1024000) * 1024)

static void PR_22_no_process_file_system(void)
{
	static const struct text_file none[] = {{0}};
	struct memory_left left = left_with(none);

	check(left.machine_bytes == UINT64_MAX);
	check(left.cgroup_bytes == UINT64_MAX);
	check(left.process_bytes == UINT64_MAX);
	check_int(check_with(none, UINT64_MAX, NULL), 0);
}

static void the_machine_alone(void)
{
	static const struct text_file table[] = {MEMINFO, {0}};
	struct memory_left left = left_with(table);

	check_int(left.machine_bytes, MACHINE_LEFT);
	check(left.cgroup_bytes == UINT64_MAX);
}

#define V2_MOUNT                                                                                   \
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"                                  \
	"31 22 0:28 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"

static void version_2_the_tightest_group_counts(void)
{
	static const struct text_file table[] = {
		MEMINFO,
		{"/proc/self/mountinfo", V2_MOUNT},
		{"/proc/self/cgroup", "0::/user.slice/job\n"},
		{"/sys/fs/cgroup/user.slice/job/memory.max", "max\n"},
		{"/sys/fs/cgroup/user.slice/job/memory.high", "900000000\n"},
		{"/sys/fs/cgroup/user.slice/job/memory.current", "300000000\n"},
		{"/sys/fs/cgroup/user.slice/job/memory.stat", "anon 5\ninactive_file 100000000\n"},
		{"/sys/fs/cgroup/user.slice/memory.max", "500000000\n"},
		{"/sys/fs/cgroup/user.slice/memory.high", "max\n"},
		{"/sys/fs/cgroup/user.slice/memory.current", "400000000\n"},
		{"/sys/fs/cgroup/user.slice/memory.stat", "inactive_file 1\n"},
		{0}};

	check_int(left_with(table).cgroup_bytes, 100000001);
	check_int(left_with(table).machine_bytes, MACHINE_LEFT);
}

static void version_2_nothing_left(void)
{
	static const struct text_file table[] = {{"/proc/self/mountinfo", V2_MOUNT},
						 {"/proc/self/cgroup", "0::/\n"},
						 {"/sys/fs/cgroup/memory.max", "1000\n"},
						 {"/sys/fs/cgroup/memory.current", "2000\n"},
						 {0}};

	check_int(left_with(table).cgroup_bytes, 0);
}

/* A container without a cgroup namespace: the mount shows a part, our path begins with it. */
static void version_2_the_root_of_the_mount_is_cut_off(void)
{
	static const struct text_file table[] = {
		{"/proc/self/mountinfo",
		 "31 22 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
		{"/proc/self/cgroup", "0::/docker/abc/inner\n"},
		{"/sys/fs/cgroup/inner/memory.max", "5000\n"},
		{"/sys/fs/cgroup/inner/memory.current", "1000\n"},
		{"/sys/fs/cgroup/memory.max", "7000\n"},
		{"/sys/fs/cgroup/memory.current", "4000\n"},
		{0}};

	check_int(left_with(table).cgroup_bytes, 3000);
}

/* A path that the mount does not show: the mount's top is what there is to see. */
static void version_2_a_group_that_is_not_shown(void)
{
	static const struct text_file table[] = {
		{"/proc/self/mountinfo",
		 "31 22 0:28 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n"},
		{"/proc/self/cgroup", "0::/../other\n"},
		{"/sys/fs/cgroup/memory.max", "7000\n"},
		{"/sys/fs/cgroup/memory.current", "4000\n"},
		{0}};

	check_int(left_with(table).cgroup_bytes, 3000);
}

#define V1_MOUNT                                                                                   \
	"32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"                              \
	"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"

static void version_1(void)
{
	static const struct text_file table[] = {
		{"/proc/self/mountinfo", V1_MOUNT},
		{"/proc/self/cgroup", "5:cpu,cpuacct:/x\n4:hugetlb,memory:/a/b\n0::/\n"},
		{"/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n"},
		{"/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "5000\n"},
		{"/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "100000\n"},
		{"/sys/fs/cgroup/memory/a/memory.usage_in_bytes", "50000\n"},
		{"/sys/fs/cgroup/memory/a/memory.stat",
		 "inactive_file 7\ntotal_inactive_file 10000\n"},
		{0}};

	check_int(left_with(table).cgroup_bytes, 60000);
}

static void broken_files_are_unknown(void)
{
	static const struct text_file table[] = {{"/proc/meminfo", "MemAvailable: lots\n"},
						 {"/proc/self/mountinfo", "one two\n - cgroup2\n"},
						 {"/proc/self/cgroup", "no colons here\n"},
						 {0}};
	struct memory_left left = left_with(table);

	check(left.machine_bytes == UINT64_MAX);
	check(left.cgroup_bytes == UINT64_MAX);
}

static void the_message_has_both_numbers_and_advice(void)
{
	static const struct text_file table[] = {MEMINFO, {0}};
	struct weir_error err = WEIR_ERROR_INIT;

	check_int(check_with(table, 900 * MIB, &err), 0);
	check_int(check_with(table, 3 * GIB + 1, &err), WEIR_NOMEM);
	check_str(err.message,
		  "model.safetensors: 3073 MiB are needed, but this machine has 1000 MiB "
		  "left; load a smaller part, or stream it within a budget (--budget)");
	/* The last percent is not handed out. */
	check_int(check_with(table, MACHINE_LEFT, &err), WEIR_NOMEM);
}

static void PR_09_a_group_limit_is_named(void)
{
	static const struct text_file table[] = {MEMINFO,
						 {"/proc/self/mountinfo", V2_MOUNT},
						 {"/proc/self/cgroup", "0::/\n"},
						 {"/sys/fs/cgroup/memory.max", "104857600\n"},
						 {"/sys/fs/cgroup/memory.current", "52428800\n"},
						 {0}};
	struct weir_error err = WEIR_ERROR_INIT;

	check_int(check_with(table, 60 * MIB, &err), WEIR_NOMEM);
	check_has(err.message,
		  "60 MiB are needed, but the control group of this process has 50 MiB");
}

static void PR_09_an_address_space_limit_is_named(void)
{
	static const struct text_file table[] = {
		/* 2^60 - 2^31 bytes: sanitizers map much. */
		{"/proc/self/status", "VmPeak:  1 kB\nVmSize: 1125899904745472 kB\n"},
		{0}};
	struct weir_error err = WEIR_ERROR_INIT;
	struct rlimit limit = {.rlim_cur = (rlim_t)1 << 60, .rlim_max = (rlim_t)1 << 60};

	if (setrlimit(RLIMIT_AS, &limit) < 0)
		skip("no right to set a limit");
	check_int(left_with(table).process_bytes, 2 * GIB);
	check_int(check_with(table, 2 * GIB, &err), WEIR_NOMEM);
	check_has(err.message, "2048 MiB are needed, but the address-space limit");
}

static void this_machine_is_understood(void)
{
	struct memory_left left;

	memory_left(sys_real(), &left);
	check(left.machine_bytes > 0 && left.machine_bytes != UINT64_MAX);
	check_int(memory_check(sys_real(), 1, "a byte", NULL), 0);
	check_int(memory_check(sys_real(), left.machine_bytes * 2, "too much", NULL), WEIR_NOMEM);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_22_no_process_file_system),
		TEST(the_machine_alone),
		TEST(version_2_the_tightest_group_counts),
		TEST(version_2_nothing_left),
		TEST(version_2_the_root_of_the_mount_is_cut_off),
		TEST(version_2_a_group_that_is_not_shown),
		TEST(version_1),
		TEST(broken_files_are_unknown),
		TEST(the_message_has_both_numbers_and_advice),
		TEST(PR_09_a_group_limit_is_named),
		TEST(PR_09_an_address_space_limit_is_named),
		TEST(this_machine_is_understood),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
