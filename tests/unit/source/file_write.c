/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing files, and names: drafts and what becomes of them, listing, and every system call failing once.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "file_rig.h"

static const struct source_how plain;

static struct source_object *created(const char *path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object = NULL;

	if (source->ops->create(source, path, path, bytes, &plain, &object, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check(object->writing);
	check_int(object->size_bytes, bytes);
	return object;
}

static int create_fails(const char *path, uint64_t bytes)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object = NULL;
	int ret = source->ops->create(source, path, path, bytes, &plain, &object, &err);

	check(ret < 0 && !object);
	check_int(err.code, ret);
	check_has(err.message, path);
	return ret;
}

/* Names in the case's directory, "." and ".." left out. */
static unsigned count_names(void)
{
	DIR *dir = opendir(directory_made());
	unsigned count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

/* By way() from the first byte to the last, as the engine does; 0 or the first error. */
static int64_t write_all(struct source_object *object, unsigned char *memory)
{
	uint64_t size = object->size_bytes, at = 0;

	while (at < size) {
		uint64_t until;
		int way = source->ops->way(object, at, size - at, &until);
		struct request request;

		check(until > at && until <= size);
		check(way == WAY_BUFFERED || (at | until) % object->offset_align == 0);
		until = min_of(until, at + (512u << 10));
		request = request_of(object, memory + at, at, (uint32_t)(until - at), way);
		request.op = REQUEST_WRITE;
		run_request(&request);
		if (request.result < 0)
			return request.result;
		at += (uint64_t)request.result;
	}
	return 0;
}

static unsigned char *pattern_made(uint64_t bytes)
{
	unsigned char *memory = memory_made(bytes + 1);

	for (uint64_t i = 0; i < bytes; i++)
		memory[i] = byte_at(i);
	return memory;
}

static void check_file(const char *path, uint64_t bytes)
{
	unsigned char *memory = memory_made(bytes + 1);
	int fd = open(path, O_RDONLY);

	check(fd >= 0);
	check_int(read(fd, memory, bytes + 1), bytes);
	check_bytes(memory, 0, bytes);
	close(fd);
}

/* ---- Writing ---- */

static void writes_and_commits(uint64_t bytes, int durability)
{
	unsigned char *memory = pattern_made(bytes);
	const char *path = path_of("written");
	struct source_object *object;
	struct stat st;

	umask(027);
	source_made();
	lane_made(4);
	object = created(path, bytes);
	check_int(stat(path, &st), -1);
	check_int(count_names(), 1);
	check_int(write_all(object, memory), 0);
	check_int(source->ops->commit(object, durability, NULL), 0);
	check_int(count_names(), 1);
	check_file(path, bytes);
	check_int(stat(path, &st), 0);
	check_int(st.st_mode & 07777, 0640);
	check_int(umask(0), 027);
	check_int(source->ops->commit(object, durability, NULL), WEIR_ARG);
	check_int(source->ops->abort(object, NULL), WEIR_ARG);
	all_done(object);
	check_file(path, bytes);
}

BOTH(writes_with_an_unaligned_tail)
{
	writes_and_commits((3u << 20) + 777, WEIR_DURABLE_NO);
}

BOTH(writes_whole_blocks_durably)
{
	writes_and_commits(2u << 20, WEIR_DURABLE_DATA);
}

BOTH(writes_a_few_bytes)
{
	writes_and_commits(5, WEIR_DURABLE_DATA);
}

BOTH(writes_nothing)
{
	writes_and_commits(0, WEIR_DURABLE_NO);
}

static void aligned_writes_go_past_the_cache(void)
{
	uint64_t bytes = 4u << 20;
	unsigned char *memory = pattern_made(bytes);
	const char *path = path_of("written");
	struct source_object *object;
	struct weir_stat stat;

	need_disk();
	source_made();
	lane_made(4);
	object = created(path, bytes);
	check(object->offset_align >= 4096);
	check_int(write_all(object, memory), 0);
	check_int(source->ops->describe(object, &stat, NULL), 0);
	check_int(stat.cached_bytes, 0);
	check_int(source->ops->commit(object, WEIR_DURABLE_NO, NULL), 0);
	all_done(object);
	check_file(path, bytes);
}

static void replaces_whole_or_not_at_all(void)
{
	char *path = file_made(1000);
	struct source_object *object;
	unsigned char *memory = pattern_made(5000);
	struct stat st;

	source_made();
	lane_made(4);
	object = created(path, 5000);
	check_int(write_all(object, memory), 0);
	check_file(path, 1000);
	check_int(source->ops->abort(object, NULL), 0);
	check_int(source->ops->commit(object, WEIR_DURABLE_NO, NULL), WEIR_ARG);
	source->ops->close(object);
	check_file(path, 1000);
	check_int(count_names(), 1);

	object = created(path, 5000);
	check_int(write_all(object, memory), 0);
	check_int(stat(path, &st), 0);
	source->ops->close(object); /* neither committed nor aborted */
	check_file(path, 1000);
	check_int(count_names(), 1);

	object = created(path, 5000);
	check_int(write_all(object, memory), 0);
	check_int(source->ops->commit(object, WEIR_DURABLE_NO, NULL), 0);
	check_file(path, 5000);
	all_done(object);
}

static void temporaries_are_ours_alone(void)
{
	struct source_object *object;
	struct dirent *entry;
	DIR *dir;

	umask(0);
	source_made();
	object = created(path_of("written"), 100);
	dir = opendir(directory_made());
	while ((entry = readdir(dir))) {
		struct stat st;

		if (strncmp(entry->d_name, ".weir-", 6) != 0)
			continue;
		check_int(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
		check_int(st.st_mode & 07777, 0600);
		check_int(st.st_size, 100);
		closedir(dir);
		all_done(object);
		return;
	}
	check_failed(__FILE__, __LINE__, "no temporary");
}

static void names_that_cannot_be_written(void)
{
	const char *fifo;

	source_made();
	check_int(create_fails(path_of("no/such"), 10), WEIR_NOTFOUND);
	check_int(create_fails(directory_made(), 10), WEIR_ARG);
	check_int(create_fails(path_of("x/"), 10), WEIR_ARG);
	check_int(create_fails(path_of(".."), 10), WEIR_ARG);
	check_int(create_fails("/dev/null", 10), WEIR_ARG);
	fifo = path_of("fifo");
	check_int(mkfifo(fifo, 0600), 0);
	check_int(create_fails(fifo, 10), WEIR_ARG);
	check_int(create_fails(path_of("huge"), UINT64_MAX), WEIR_ARG);
	check_int(create_fails(path_of("huge"), UINT64_C(1) << 60), WEIR_NOSPACE);
	check_int(create_fails(path_of("large"), UINT64_C(1) << 43), WEIR_NOSPACE);
	check_int(count_names(), 1);
	all_done(NULL);
}

static void ST_20_a_directory_that_may_not_be_written(void)
{
	if (getuid() != 0)
		skip("needs root, to become somebody else");
	source_made();
	directory_made();
	check_int(chmod(directory, 0755), 0);
	check_int(seteuid(65534), 0);
	check_int(create_fails(path_of("written"), 10), WEIR_DENIED);
	check_int(seteuid(0), 0);
	all_done(NULL);
}

/* The signal's default action would end this process. */
static void PR_06_file_size_limit(void)
{
	struct rlimit limit = {100000, 100000};
	struct source_object *object;
	sigset_t pending;

	source_made();
	check_int(setrlimit(RLIMIT_FSIZE, &limit), 0);
	check_int(create_fails(path_of("written"), 200000), WEIR_NOSPACE);
	check_int(count_names(), 0);
	sigpending(&pending);
	check_int(sigismember(&pending, SIGXFSZ), 0);
	object = created(path_of("written"), 100000);
	all_done(object);
}

static int fallocate_unknown(int fd, int mode, off_t off, off_t len)
{
	(void)fd;
	(void)mode;
	(void)off;
	(void)len;
	errno = EOPNOTSUPP;
	return -1;
}

BOTH(file_systems_that_cannot_reserve)
{
	test_sys = *sys_real();
	test_sys.fallocate = fallocate_unknown;
	writes_and_commits(100001, WEIR_DURABLE_NO);
}

static void PR_13_a_forked_child_removes_nothing(void)
{
	unsigned char *memory = pattern_made(5000);
	const char *path = path_of("written");
	struct source_object *object;
	int status;
	pid_t pid;

	source_made();
	lane_made(4);
	object = created(path, 5000);
	pid = fork();
	if (pid == 0) {
		source->ops->close(object);
		_exit(0);
	}
	check_int(waitpid(pid, &status, 0), pid);
	check_int(status, 0);
	check_int(write_all(object, memory), 0);
	check_int(source->ops->commit(object, WEIR_DURABLE_NO, NULL), 0);
	all_done(object);
	check_file(path, 5000);
}

/* ---- Cloning ---- */

static void clones(void)
{
	char *from_path = file_made(300001);
	const char *to_path = path_of("clone");
	struct source_object *from, *to;
	struct weir_error err = WEIR_ERROR_INIT;

	source_made();
	from = opened(from_path);
	to = created(to_path, 300001);
	if (source->ops->clone(to, from, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	check_int(source->ops->commit(to, WEIR_DURABLE_NO, NULL), 0);
	check_file(to_path, 300001);
	source->ops->close(to);
	to = created(to_path, 5);
	check_int(source->ops->clone(to, from, &err), WEIR_ARG);
	source->ops->close(to);
	all_done(from);
}

static int clone_refused(int to, int from)
{
	(void)to;
	(void)from;
	errno = EOPNOTSUPP;
	return -1;
}

static int copy_errno;

static ssize_t copy_in_pieces(int from, off_t *from_off, int to, off_t *to_off, size_t len,
			      unsigned flags)
{
	static unsigned calls;

	if (copy_errno || calls++ % 2) {
		errno = copy_errno ? copy_errno : EINTR;
		return -1;
	}
	return copy_file_range(from, from_off, to, to_off, min_of(len, (size_t)70000), flags);
}

static void clones_piece_by_piece(void)
{
	struct source_object *from, *to;

	test_sys = *sys_real();
	test_sys.clone_file = clone_refused;
	test_sys.copy_file_range = copy_in_pieces;
	clones();

	source_made();
	from = opened(file_made(1000));
	to = created(path_of("other"), 1000);
	copy_errno = EXDEV;
	check_int(source->ops->clone(to, from, NULL), WEIR_UNSUPPORTED);
	copy_errno = EIO;
	check_int(source->ops->clone(to, from, NULL), WEIR_IO);
	source->ops->close(to);
	all_done(from);
}

static void a_clone_of_a_file_that_changed(void)
{
	struct source_object *from, *to;
	char *path = file_made(1000);

	source_made();
	from = opened(path);
	to = created(path_of("other"), 1000);
	check_int(truncate(path, 500), 0);
	check_int(source->ops->clone(to, from, NULL), WEIR_TRUNCATED);
	check_int(truncate(path, 1000), 0);
	check_int(source->ops->clone(to, from, NULL), WEIR_CHANGED);
	source->ops->close(to);
	all_done(from);
}

/* ---- Names ---- */

static void stats(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	const struct source_how nofollow = {.flags = WEIR_OBJECT_NOFOLLOW};
	char *path = file_made(5000), version[96];
	struct weir_stat stat;

	source_made();
	check_int(source->ops->stat(source, path, path, &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_FILE);
	check_int(stat.size_bytes, 5000);
	check_int(stat.cached_bytes, 5000);
	check(stat.modified_ns > INT64_C(1000000000) * 1700000000);
	memcpy(version, stat.version, sizeof(version));
	check(strlen(version) > 10 && strlen(version) < sizeof(version) - 1);
	usleep(20000);
	check_int(truncate(path, 4000), 0);
	check_int(source->ops->stat(source, path, path, &plain, &stat, &err), 0);
	check(strcmp(version, stat.version) != 0);
	check_int(source->ops->stat(source, directory, directory, &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_DIRECTORY);
	check_int(source->ops->stat(source, "/dev/null", "/dev/null", &plain, &stat, &err), 0);
	check_int(stat.kind, WEIR_KIND_OTHER);
	check_int(source->ops->stat(source, path_of("no"), "no", &plain, &stat, &err),
		  WEIR_NOTFOUND);
	check_int(symlink("file0", path_of("link")), 0);
	check_int(source->ops->stat(source, path_of("link"), "link", &plain, &stat, &err), 0);
	check_int(stat.size_bytes, 4000);
	check_int(source->ops->stat(source, path_of("link"), "link", &nofollow, &stat, &err),
		  WEIR_DENIED);
	all_done(NULL);
}

static void lists(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_listing listing = {0};
	char name[32];

	source_made();
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%u", (i * 37 + 11) % 150 + 100);
		write_pattern(path_of(name), i);
	}
	check_int(source->ops->mkdir(source, path_of("sub"), "sub", &err), 0);
	check_int(source->ops->mkdir(source, path_of("sub"), "sub", &err), WEIR_CONFLICT);
	check_int(symlink("nowhere", path_of("zlink")), 0);
	check_int(source->ops->list(source, directory, directory, &listing, &err), 0);
	check_int(listing.count, 152);
	for (unsigned i = 0; i < 150; i++) {
		snprintf(name, sizeof(name), "%u", i + 100);
		check_str(listing.entries[i].name, name);
		check_int(listing.entries[i].stat.kind, WEIR_KIND_FILE);
	}
	check_str(listing.entries[150].name, "sub");
	check_int(listing.entries[150].stat.kind, WEIR_KIND_DIRECTORY);
	check_int(listing.entries[151].stat.kind, WEIR_KIND_OTHER);
	arena_fini(&listing.arena);
	check_int(source->ops->list(source, path_of("sub"), "sub", &listing, &err), 0);
	check_int(listing.count, 0);
	arena_fini(&listing.arena);
	check_int(source->ops->list(source, path_of("no"), "no", &listing, &err), WEIR_NOTFOUND);
	all_done(NULL);
}

/* ---- Every call fails once ---- */

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
	test_sys = *sys_real();
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
		if (fine(source->ops->clone(to, from, &err), &err))
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
		TEST_BOTH(writes_with_an_unaligned_tail),
		TEST_BOTH(writes_whole_blocks_durably),
		TEST_BOTH(writes_a_few_bytes),
		TEST_BOTH(writes_nothing),
		TEST(aligned_writes_go_past_the_cache),
		TEST(replaces_whole_or_not_at_all),
		TEST(temporaries_are_ours_alone),
		TEST(names_that_cannot_be_written),
		TEST(ST_20_a_directory_that_may_not_be_written),
		TEST(PR_06_file_size_limit),
		TEST_BOTH(file_systems_that_cannot_reserve),
		TEST(PR_13_a_forked_child_removes_nothing),
		TEST(clones),
		TEST(clones_piece_by_piece),
		TEST(a_clone_of_a_file_that_changed),
		TEST(stats),
		TEST(lists),
		TEST_BOTH(every_system_call_fails_once),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
