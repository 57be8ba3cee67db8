/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every system call of writing, cloning and listing fails once.
 */
#include "file_draft.h"

static _Atomic unsigned calls;
static unsigned fail_at;

/* Whether this call is the one. */
static bool strikes(void)
{
	if (atomic_fetch_add(&calls, 1) + 1 != fail_at)
		return false;
	errno = EIO;
	return true;
}

#define FAILING(type, name, parameters, arguments)                                                 \
	static type failing_##name parameters                                                      \
	{                                                                                          \
		return strikes() ? (type)-1 : sys_real()->name arguments;                          \
	}

FAILING(int, openat, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode))
FAILING(ssize_t, pread, (int fd, void *to, size_t len, off_t off), (fd, to, len, off))
FAILING(ssize_t, preadv2, (int fd, const struct iovec *to, int count, off_t off, int flags),
	(fd, to, count, off, flags))
FAILING(ssize_t, pwrite, (int fd, const void *from, size_t len, off_t off), (fd, from, len, off))
FAILING(int, fstat, (int fd, struct stat *out), (fd, out))
FAILING(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *out),
	(dir, path, flags, mask, out))
FAILING(int, fstatfs, (int fd, struct statfs *out), (fd, out))
FAILING(int, ftruncate, (int fd, off_t len), (fd, len))
FAILING(int, fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
FAILING(int, fchmod, (int fd, mode_t mode), (fd, mode))
FAILING(int, fdatasync, (int fd), (fd))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, renameat2,
	(int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
	(from_dir, from, to_dir, to, flags))
FAILING(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
FAILING(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
FAILING(int, cachestat,
	(int fd, struct sys_cache_range *range, struct sys_cache_stat *out, unsigned flags),
	(fd, range, out, flags))
FAILING(ssize_t, copy_file_range,
	(int from, off_t *from_off, int to, off_t *to_off, size_t len, unsigned flags),
	(from, from_off, to, to_off, len, flags))
FAILING(int, clone_file, (int to, int from), (to, from))
FAILING(int, random, (void *to, size_t len), (to, len))

static int failing_fadvise(int fd, off_t off, off_t len, int advice)
{
	return strikes() ? EIO : sys_real()->fadvise(fd, off, len, advice);
}

static int failing_thread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
				 void *arg)
{
	return strikes() ? EAGAIN : sys_real()->thread_create(out, attr, run, arg);
}

static void every_call_may_fail(void)
{
	test_sys.openat = failing_openat;
	test_sys.pread = failing_pread;
	test_sys.preadv2 = failing_preadv2;
	test_sys.pwrite = failing_pwrite;
	test_sys.fstat = failing_fstat;
	test_sys.statx = failing_statx;
	test_sys.fstatfs = failing_fstatfs;
	test_sys.ftruncate = failing_ftruncate;
	test_sys.fallocate = failing_fallocate;
	test_sys.fchmod = failing_fchmod;
	test_sys.fdatasync = failing_fdatasync;
	test_sys.fsync = failing_fsync;
	test_sys.renameat2 = failing_renameat2;
	test_sys.unlinkat = failing_unlinkat;
	test_sys.mkdirat = failing_mkdirat;
	test_sys.cachestat = failing_cachestat;
	test_sys.copy_file_range = failing_copy_file_range;
	test_sys.clone_file = failing_clone_file;
	test_sys.random = failing_random;
	test_sys.fadvise = failing_fadvise;
	test_sys.thread_create = failing_thread_create;
}

/* What a call may answer: success, or an error that names its object. */
static bool fine(int ret, const struct weir_error *err)
{
	if (ret == 0)
		return true;
	check(ret < 0);
	check_int(err->code, ret);
	check(err->message[0] != '\0');
	return false;
}

static void write_one(const char *path, const unsigned char *data, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;
	unsigned char *copy = memory_made(bytes);
	struct stat st;

	memcpy(copy, data, bytes);
	if (!fine(source->ops->create(source, path, path, bytes, &plain, &object, &err), &err))
		return;
	if (write_all(object, copy) == 0 &&
	    fine(source->ops->commit(object, WEIR_DURABLE_DATA, &err), &err))
		check_file(path, bytes);
	else if (stat(path, &st) == 0)
		check_file(path, bytes); /* named, and then something else failed */
	source->ops->close(object);
	munmap(copy, bytes);
}

static void read_one(const char *path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	unsigned char *memory = memory_made(bytes + 65536);
	struct source_object *object;
	struct weir_stat stat;
	uint64_t until;

	if (!fine(source->ops->open(source, path, path, &plain, &object, &err), &err))
		return;
	for (uint64_t at = 0; at < bytes; at = until) {
		int way = source->ops->way(object, at, bytes - at, &until);
		int64_t got;

		until = min_of(until, at + 65536);
		got = read_range(object, memory + at, at, 65536, way);
		check(got < 0 || got > 0);
		if (got < 0)
			break;
		until = at + (uint64_t)got;
		check_bytes(memory + at, at, (uint64_t)got);
		if (until % object->offset_align && until < bytes)
			until = round_down(until, object->offset_align);
	}
	fine((source->ops->check)(object, &err), &err);
	fine(source->ops->describe(object, &stat, &err), &err);
	source->ops->close(object);
	munmap(memory, bytes + 65536);
}

static void clone_one(const char *from_path, const char *to_path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *from, *to;

	if (!fine(source->ops->open(source, from_path, from_path, &plain, &from, &err), &err))
		return;
	if (fine(source->ops->create(source, to_path, to_path, bytes, &plain, &to, &err), &err)) {
		if (fine(source->ops->clone(to, from, NULL, &err), &err))
			fine(source->ops->commit(to, WEIR_DURABLE_NO, &err), &err);
		else
			fine(source->ops->abort(to, &err), &err);
		source->ops->close(to);
	}
	source->ops->close(from);
}

static void list_one(const char *path)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_listing listing = {0};
	struct weir_stat stat;

	fine(source->ops->stat(source, path, path, &plain, &stat, &err), &err);
	fine(source->ops->mkdir(source, path_of("sub"), "sub", &err), &err);
	if (fine(source->ops->list(source, path, path, &listing, &err), &err))
		arena_fini(&listing.arena);
}

static unsigned count_fds(void)
{
	unsigned count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

/* First, second, third ... call until none fails: clean errors, right bytes, no descriptor left. */
BOTH(every_system_call_fails_once)
{
	uint64_t bytes = 200001;
	unsigned char *data = pattern_made(bytes);
	char *path = file_made(bytes);
	char *written = path_of("written"), *cloned = path_of("cloned");
	unsigned before = count_fds();

	every_call_may_fail();
	do {
		fail_at++;
		atomic_store(&calls, 0);
		drop(path);
		source_made();
		lane_made(4);
		write_one(written, data, bytes);
		read_one(path, bytes);
		clone_one(path, cloned, bytes);
		list_one(directory_made());
		all_done(NULL);
		check_int(count_fds(), before);
		unlink(written);
		unlink(cloned);
		rmdir(path_of("sub"));
	} while (atomic_load(&calls) >= fail_at);
	check(fail_at > 30);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST_BOTH(every_system_call_fails_once),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
