/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing files: drafts and what becomes of them.
 */
#include <dirent.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "file_draft.h"

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
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
