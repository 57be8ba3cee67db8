/* SPDX-License-Identifier: Apache-2.0 */
/* Inodes: their lookups, their descriptors, and how they are found again without one. */
#include "mount/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/compiler.h"
#include "lib/check.h"
#include "mount/reach.h"

static char top[64];
static struct tree *tree;
static int root_fd;

static void begin(size_t fds_max)
{
	strcpy(top, "/tmp/weir-tree-XXXXXX");
	check(mkdtemp(top) != NULL);
	root_fd = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(root_fd >= 0);
	check_int(tree_create(root_fd, fds_max, &tree, NULL), 0);
}

static void end(void)
{
	char command[128];

	tree_destroy(tree);
	snprintf(command, sizeof(command), "rm -r %s", top);
	check_int(system(command), 0);
}

static void touch(const char *name)
{
	int fd = openat(root_fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);

	check(fd >= 0);
	close(fd);
}

/* One lookup, as FUSE does it: its number. */
static uint64_t look(uint64_t parent, const char *name)
{
	struct reached at;
	struct found found;
	struct inode *inode;

	check_int(reach(tree, parent, &at), 0);
	check_int(reach_name(at.fd, name, &found), 0);
	check_int(tree_enter(tree, at.inode, name, &found, false, &inode), 0);
	reach_end(tree, &at);
	return inode->number;
}

static size_t open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	size_t count = 0;

	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* The inode number of what a number reaches. */
static ino_t reached(uint64_t number)
{
	struct reached at;
	struct stat stat;

	check_int(reach(tree, number, &at), 0);
	check_int(fstat(at.fd, &stat), 0);
	reach_end(tree, &at);
	return stat.st_ino;
}

static int reach_error(uint64_t number)
{
	struct reached at;
	int error = reach(tree, number, &at);

	if (!error)
		reach_end(tree, &at);
	return error;
}

static void lookups_are_counted(void)
{
	uint64_t number;

	begin(16);
	touch("a");
	number = look(1, "a");
	check_int(look(1, "a"), number);
	tree_forget(tree, number, 1);
	check_int(reach_error(number), 0);
	tree_forget(tree, number, 1);
	check_int(reach_error(number), ESTALE);
	check_int(look(1, "a"), number); /* the same file, the same number */
	tree_forget(tree, number, 5);    /* more than there are: no harm */
	check_int(reach_error(number), ESTALE);
	tree_forget(tree, 12345, 1);
	tree_forget(tree, 1, 100); /* the root stays */
	check_int(reach_error(1), 0);
	end();
}

static void UB_18_numbers_after_unlink_and_rename(void)
{
	uint64_t a, b;

	begin(16);
	touch("a");
	a = look(1, "a");
	for (int n = 0; n < 100; n++) {
		check_int(unlinkat(root_fd, "a", 0), 0);
		tree_forget(tree, a, 1);
		touch("a"); /* most file systems give it the same inode number */
		b = look(1, "a");
		check(b > a);
		a = b;
	}
	check_int(renameat(root_fd, "a", root_fd, "b"), 0);
	check_int(look(1, "b"), a);
	end();
}

static void UB_18_more_inodes_than_descriptors(void)
{
	enum {
		DIRS = 20,
		FILES = 20
	};
	uint64_t numbers[DIRS][FILES], dirs[DIRS];
	ino_t inodes[DIRS][FILES];
	char name[32];
	size_t before;

	begin(8);
	before = open_files();
	for (int d = 0; d < DIRS; d++) {
		snprintf(name, sizeof(name), "d%d", d);
		check_int(mkdirat(root_fd, name, 0700), 0);
		dirs[d] = look(1, name);
		for (int f = 0; f < FILES; f++) {
			snprintf(name, sizeof(name), "d%d/f%d", d, f);
			touch(name);
			numbers[d][f] = look(dirs[d], strchr(name, '/') + 1);
			inodes[d][f] = reached(numbers[d][f]);
		}
	}
	check(open_files() <= before + 8);
	for (int d = 0; d < DIRS; d++)
		for (int f = 0; f < FILES; f++)
			check_int(reached(numbers[d][f]), inodes[d][f]);
	check(open_files() <= before + 8);
	end();
}

/* What stands under the old name is not taken for the file. */
static void another_file_under_the_name_is_stale(void)
{
	uint64_t dir, file;

	begin(0);
	check_int(mkdirat(root_fd, "d", 0700), 0);
	touch("d/a");
	dir = look(1, "d");
	file = look(dir, "a");
	check_int(reach_error(file), 0);
	check_int(renameat(root_fd, "d/a", root_fd, "d/b"), 0);
	check_int(reach_error(file), ESTALE);
	touch("d/a");
	check_int(reach_error(file), ESTALE);
	check_int(look(dir, "b"), file); /* a lookup tells the tree where it is now */
	check_int(reach_error(file), 0);
	check_int(unlinkat(root_fd, "d/a", 0), 0);
	check_int(symlinkat("b", root_fd, "d/a"), 0);
	check_int(renameat(root_fd, "d", root_fd, "e"), 0);
	check_int(reach_error(file), ESTALE);
	end();
}

/* Two directories that change places behind our back: neither becomes its own ancestor. */
static void directories_that_swap(void)
{
	uint64_t a, b;

	begin(0);
	check_int(mkdirat(root_fd, "a", 0700), 0);
	check_int(mkdirat(root_fd, "a/b", 0700), 0);
	a = look(1, "a");
	b = look(a, "b");
	check_int(renameat(root_fd, "a/b", root_fd, "b"), 0);
	check_int(renameat(root_fd, "a", root_fd, "b/a"), 0);
	check_int(reach_error(b), ESTALE);
	check_int(look(1, "b"), b);
	check_int(look(b, "a"), a);
	check_int(reach_error(a), 0);
	tree_forget(tree, b, 9);
	check_int(reach_error(a), 0); /* a child keeps its parent */
	tree_forget(tree, a, 9);
	check_int(tree->inode_count, 1);
	end();
}

static void names_that_lead_out(void)
{
	struct found found;

	begin(4);
	check_int(reach_name(root_fd, "..", &found), EINVAL);
	check_int(reach_name(root_fd, "/etc", &found), EINVAL);
	check_int(reach_name(root_fd, "a/b", &found), EINVAL);
	check_int(symlinkat("/etc", root_fd, "link"), 0);
	check_int(reach_name(root_fd, "link", &found), 0);
	check(S_ISLNK(found.stat.stx_mode)); /* itself, not where it leads */
	close(found.fd);
	check_int(reach_name(root_fd, "none", &found), ENOENT);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(lookups_are_counted),
		TEST(UB_18_numbers_after_unlink_and_rename),
		TEST(UB_18_more_inodes_than_descriptors),
		TEST(another_file_under_the_name_is_stale),
		TEST(directories_that_swap),
		TEST(names_that_lead_out),
	};
	return tests_run(argc, argv, tests, array_size(tests));
}
