/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and their process: descriptors by the thousand, numbers taken by others, exec, fork, limits.
 */
#include "file_rig.h"
#include <sys/resource.h>
#include <sys/wait.h>

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

int main(int argc, char **argv)
{
	static const struct test tests[] = {
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
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
