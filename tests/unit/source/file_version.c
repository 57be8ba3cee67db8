/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that change after they were opened.
 */
#include <linux/openat2.h>

#include "file_rig.h"

static struct source_object *object_to_spoil(char **path)
{
	*path = file_made(100000);
	source_made();
	return opened(*path);
}

static void ST_09_file_shortened(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *object;
	char *path;

	object = object_to_spoil(&path);
	check_int(truncate(path, 5000), 0);
	check_int((source->ops->check)(object, &err), WEIR_TRUNCATED);
	check_has(err.message, "5000");
	check_has(err.message, "100000");
	all_done(object);
}

static void ST_11_file_lengthened(void)
{
	struct source_object *object;
	char *path;

	object = object_to_spoil(&path);
	check_int(truncate(path, 200000), 0);
	check_int(check_of(object), WEIR_CHANGED);
	all_done(object);
}

static void ST_12_rewritten_in_place(void)
{
	struct source_object *object;
	struct stat before;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	check_int(check_of(object), 0);
	check_int(stat(path, &before), 0);
	usleep(20000);
	fd = open(path, O_WRONLY);
	check_int(pwrite(fd, "x", 1, 0), 1);
	check_int(check_of(object), WEIR_CHANGED);
	/* The times put back: ctime cannot be. */
	check_int(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}), 0);
	check_int(check_of(object), WEIR_CHANGED);
	close(fd);
	all_done(object);
}

static void ST_12_live_files_may_change(void)
{
	struct source_object *object;
	char *path = file_made(1000);

	source_made();
	object = opened_how(path, &(struct source_how){.flags = WEIR_OBJECT_LIVE});
	check_int(truncate(path, 10), 0);
	check_int(check_of(object), 0);
	all_done(object);
}

/* A remote file system: what it remembers of a file is a second old, unless it is told to ask. */
static int statx_remembers(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	int ret = statx(dir, path, flags, mask, out);

	if (!(flags & AT_STATX_FORCE_SYNC)) {
		out->stx_mtime.tv_sec--;
		out->stx_ctime.tv_sec--;
	}
	return ret;
}

static void attributes_that_were_cached_are_no_change(void)
{
	char *path = file_made(1000);
	struct source_object *object;

	test_sys.statx = statx_remembers;
	source_made();
	object = opened(path);
	check_int(check_of(object), 0);
	check_int(truncate(path, 10), 0);
	check_int(check_of(object), WEIR_TRUNCATED);
	all_done(object);
}

/* Who renames a directory at that moment can make the kernel unsure. */
static bool in_place(struct source_object *object)
{
	bool found = false;

	for (int i = 0; i < 100 && !found; i++)
		found = source->ops->in_place(object);
	return found;
}

static unsigned asked;

static int statx_counts(int dir, const char *path, int flags, unsigned mask, struct statx *out)
{
	asked += !(flags & AT_STATX_DONT_SYNC);
	return statx(dir, path, flags, mask, out);
}

static int nothing_remembered(int dir, const char *path, int flags, uint64_t resolve)
{
	(void)dir;
	(void)path;
	check_int(flags, O_PATH | O_CLOEXEC);
	check_int(resolve, RESOLVE_CACHED);
	errno = EAGAIN;
	return -1;
}

static void whether_a_path_leads_there_is_told_without_asking(void)
{
	struct source_object *object;
	struct stat before;
	char *path, *other = file_made(1000);

	test_sys.statx = statx_counts;
	source_made();
	path = file_made(1000);
	object = opened(path);
	asked = 0;
	check(in_place(object));
	check(in_place(object));
	check_int(asked, 0);
	test_sys.openat2 = nothing_remembered;
	check(!in_place(object));
	test_sys.openat2 = sys_real()->openat2;
	check_int(stat(path, &before), 0);
	check_int(truncate(path, 999), 0);
	check(!in_place(object));
	check_int(truncate(path, 1000), 0);
	check_int(utimensat(AT_FDCWD, path, (struct timespec[]){before.st_atim, before.st_mtim}, 0),
		  0);
	check(!in_place(object)); /* ctime cannot be put back */
	source->ops->close(object);
	object = opened(path);
	check(in_place(object));
	check_int(rename(other, path), 0);
	check(!in_place(object));
	check_int(unlink(path), 0);
	check(!in_place(object));
	all_done(object);
}

static void ST_13_IX_12_replaced_by_rename(void)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object;
	char *path, *other = file_made(50000);

	object = object_to_spoil(&path);
	lane_made(4);
	check_int(truncate(other, 0), 0);
	check_int(rename(other, path), 0);
	read_all(object, memory); /* checks too: the old one, complete */
	check_bytes(memory, 0, 100000);
	all_done(object);
}

static void ST_14_removed(void)
{
	unsigned char *memory = memory_made(200000);
	struct source_object *object;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	lane_made(4);
	fd = open(path, O_WRONLY);
	usleep(20000);
	check_int(unlink(path), 0);
	read_all(object, memory);
	check_bytes(memory, 0, 100000);
	check_int(check_of(object), 0);
	/* And written to afterwards, with the old mtime: that is not forgiven. */
	usleep(20000);
	check_int(fchmod(fd, 0600), 0);
	check_int(check_of(object), WEIR_CHANGED);
	all_done(object);
}

static void ST_12_rewritten_and_then_removed(void)
{
	struct source_object *object;
	char *path;
	int fd;

	object = object_to_spoil(&path);
	fd = open(path, O_WRONLY);
	usleep(20000);
	check_int(pwrite(fd, "x", 1, 0), 1);
	check_int(unlink(path), 0);
	check_int(check_of(object), WEIR_CHANGED);
	close(fd);
	all_done(object);
}

/* Some program closes numbers that are not its own, and gets them for another file. */
BOTH(PR_12_descriptor_closed_and_reused)
{
	char *path = file_made(100000), *other = file_made(100000);
	struct source_object *object;
	struct stat ours, now;
	int reused = 0;

	need_disk();
	source_made();
	object = opened(path);
	check_int(stat(path, &ours), 0);
	for (int fd = 3; fd < 64; fd++) {
		if (fstat(fd, &now) || now.st_ino != ours.st_ino)
			continue;
		check_int(check_of(object), 0);
		close(fd);
		check_int(check_of(object), WEIR_IO);
		check_int(open(other, O_RDONLY), fd);
		check_int(check_of(object), WEIR_CHANGED);
		reused++;
		close(fd);
		check_int(dup2(open(path, O_RDONLY), fd), fd);
	}
	check_int(reused, 2);
	source->ops->close(object);

	/* Closing does not close what is somebody else's by now: two numbers from the start. */
	object = opened_how(path, &(struct source_how){.direct = WEIR_DIRECT_ON});
	for (int fd = 3; fd < 64; fd++)
		if (fstat(fd, &now) == 0 && now.st_ino == ours.st_ino)
			check_int(dup2(STDERR_FILENO, fd), fd);
	reused = 0;
	source->ops->close(object);
	for (int fd = 3; fd < 64; fd++)
		reused += fcntl(fd, F_GETFD) >= 0;
	check(reused >= 2);
	all_done(NULL);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(ST_09_file_shortened),
		TEST(ST_11_file_lengthened),
		TEST(ST_12_rewritten_in_place),
		TEST(ST_12_live_files_may_change),
		TEST(attributes_that_were_cached_are_no_change),
		TEST(whether_a_path_leads_there_is_told_without_asking),
		TEST(ST_13_IX_12_replaced_by_rename),
		TEST(ST_14_removed),
		TEST(ST_12_rewritten_and_then_removed),
		TEST_BOTH(PR_12_descriptor_closed_and_reused),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
