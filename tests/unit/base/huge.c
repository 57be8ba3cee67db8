/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages in shared memory.  Whether this kernel makes them is found out by doing it by hand.
 */
#include "base/huge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/fail.h"

#define HUGE     (2 * MIB)
#define COLLAPSE 25

static int make_file(uint64_t bytes)
{
	int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	check(fd >= 0);
	check_int(ftruncate(fd, (off_t)bytes), 0);
	return fd;
}

static uint64_t allocated(int fd)
{
	struct stat st;

	check_int(fstat(fd, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Bytes of the mapping at that address that are mapped by huge pages. */
static uint64_t huge_bytes(const void *at)
{
	unsigned long long start, end, kib = 0, found = 0;
	FILE *file = fopen("/proc/self/smaps", "re");
	bool inside = false;
	char line[512];

	check(file);
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2 &&
		    strchr(line, '-') < strchr(line, ' '))
			inside = start <= (uintptr_t)at && (uintptr_t)at < end;
		else if (inside && sscanf(line, "ShmemPmdMapped: %llu", &kib) == 1)
			found += kib << 10;
	}
	fclose(file);
	return found;
}

static bool kernel_gathers(void)
{
	int fd = make_file(HUGE);
	char *at = huge_map_shared(sys_real(), fd, HUGE);
	bool can;

	check((void *)at != MAP_FAILED);
	at[0] = 1;
	can = madvise(at, HUGE, COLLAPSE) == 0;
	munmap(at, HUGE);
	close(fd);
	return can;
}

static void begins_where_a_huge_page_does(void)
{
	static const uint64_t sizes[] = {1, 4096, HUGE - 1, HUGE, HUGE + 1, 5 * HUGE + 4096};

	for (size_t i = 0; i < array_size(sizes); i++) {
		int fd = make_file(sizes[i]);
		char *at = huge_map_shared(sys_real(), fd, sizes[i]);

		check((void *)at != MAP_FAILED);
		if (sizes[i] >= HUGE)
			check_int((uintptr_t)at & (HUGE - 1), 0);
		at[0] = at[sizes[i] - 1] = 1;
		check_int(munmap(at, sizes[i]), 0);
		close(fd);
	}
}

static void nothing_stays_mapped_of_one_that_failed(void)
{
	int fd = make_file(2 * HUGE);

	for (unsigned nth = 1; nth <= 2; nth++) {
		fail_call(FAIL_mmap, nth, FAIL_ONCE, ENOMEM);
		check(huge_map_shared(fail_sys(), fd, 2 * HUGE) == MAP_FAILED);
		check_int(errno, ENOMEM);
		check(fail_call_end());
		check_int(fail_mapped_bytes(), 0);
	}
	close(fd);
}

static void fills_the_whole_ones_inside(void)
{
	const uint64_t bytes = 4 * HUGE + 4096;
	int fd = make_file(bytes);
	char *at = huge_map_shared(sys_real(), fd, bytes);

	check((void *)at != MAP_FAILED);
	huge_fill_shared(sys_real(), fd, at, 4096, bytes - 4096);
	if (kernel_gathers()) {
		check_int(huge_bytes(at + HUGE), 3 * HUGE);
		check_int(allocated(fd), 3 * HUGE);
	}
	for (uint64_t i = 0; i < bytes; i += 4096)
		check_int(at[i], 0);
	munmap(at, bytes);
	close(fd);
}

/* None inside, no room, refused: nothing happens, and nothing is touched. */
static void is_a_wish(void)
{
	int fd = make_file(3 * HUGE);
	char *at = huge_map_shared(sys_real(), fd, 3 * HUGE);

	huge_fill_shared(sys_real(), fd, at, 4096, 2 * HUGE - 8192);
	check_int(allocated(fd), 0);
	huge_fill_shared(sys_real(), fd, at + 4096, 0, HUGE);
	check_int(allocated(fd), 0);
	fail_call(FAIL_fallocate, 1, FAIL_ONCE, ENOSPC);
	huge_fill_shared(fail_sys(), fd, at, 0, 3 * HUGE);
	check(fail_call_end());
	check_int(allocated(fd), 0);
	fail_call(FAIL_madvise, 1, FAIL_ONCE, EINVAL);
	huge_fill_shared(fail_sys(), fd, at, 0, 3 * HUGE);
	check(fail_call_end());
	check_int(huge_bytes(at), 0);
	munmap(at, 3 * HUGE);
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(begins_where_a_huge_page_does),
		TEST(nothing_stays_mapped_of_one_that_failed),
		TEST(fills_the_whole_ones_inside),
		TEST(is_a_wish),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
