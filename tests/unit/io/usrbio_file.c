/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that requests may name, and mounts that they lie on.  There is no 3FS here: the magic ioctl and
 * mountinfo are those of a table of system calls.
 */
#include "io/usrbio/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/usrbio/layout.h"
#include "io/usrbio/mountpoint.h"
#include "lib/check.h"
#include "lib/fail.h"

/* ---- A file system of ours: whatever is not /dev/null ---- */

static struct sys fake;
static char root[64];
static char mountinfo[96];

static int fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct stat st;

	if (fstat(fd, &st) || request != USRBIO_IOC_GET_MAGIC)
		return -1;
	if (S_ISCHR(st.st_mode)) {
		errno = ENOTTY;
		return -1;
	}
	*(uint32_t *)arg = 0x8f3f5fff;
	return 0;
}

static int fake_openat(int dir, const char *path, int flags, mode_t mode)
{
	return openat(dir, strcmp(path, "/proc/self/mountinfo") == 0 ? mountinfo : path, flags,
		      mode);
}

static void make_root(void)
{
	fake = *sys_real();
	fake.ioctl = fake_ioctl;
	fake.openat = fake_openat;
	strcpy(root, "/tmp/weir-files-XXXXXX");
	check(mkdtemp(root));
	snprintf(mountinfo, sizeof(mountinfo), "%s/mountinfo", root);
}

static void remove_root(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", root);
	check_int(system(command), 0);
}

static int open_file(const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", root, name);
	fd = open(path, flags | O_CREAT | O_CLOEXEC, 0600);
	check(fd >= 0);
	return fd;
}

/* ---- One file ---- */

static void UB_19_what_a_file_is_known_by(void)
{
	struct usrbio_file file;
	struct weir_error err = WEIR_ERROR_INIT;
	struct stat st;
	int fd, null = open("/dev/null", O_RDONLY);

	make_root();
	fd = open_file("a", O_WRONLY);
	check_int(usrbio_file_open(&fake, fd, &file, NULL), 0);
	check_int(fstat(fd, &st), 0);
	check(file.ino == st.st_ino && file.dev == st.st_dev);
	check_int(file.access, O_WRONLY);
	check(file.fd != fd && file.fd > 2);
	check_int(fcntl(file.fd, F_GETFD), FD_CLOEXEC);
	check(usrbio_file_same(&fake, &file, fd));
	check(!usrbio_file_same(&fake, &file, null));
	check(!usrbio_file_same(&fake, &file, -1));
	close(fd);
	check(usrbio_file_same(&fake, &file, file.fd)); /* it stays open for us */
	usrbio_file_close(&fake, &file);
	usrbio_file_close(&fake, &file);
	check(usrbio_file_open(&fake, null, &file, &err) < 0);
	check_int(err.os_errno, EBADF);
	check(usrbio_file_open(&fake, -1, &file, &err) < 0);
	check_int(err.os_errno, EBADF);
	check(!usrbio_file_is(&fake, null) && !usrbio_file_is(sys_real(), null));
	close(null);
	remove_root();
}

/* ---- The table ---- */

static struct usrbio_files files;

static void UB_19_registering_by_number(void)
{
	struct usrbio_file file;
	int fd, null, first, reused;

	make_root();
	usrbio_files_init(&files, &fake);
	null = open("/dev/null", O_RDONLY);
	fd = open_file("a", O_RDONLY);
	check_int(usrbio_files_add(&files, null), EBADF);
	check_int(usrbio_files_add(&files, -1), EBADF);
	check_int(usrbio_files_add(&files, INT_MAX), EBADF);
	first = usrbio_files_add(&files, fd);
	check(first < 0);
	check_int(usrbio_files_add(&files, fd), EINVAL);
	check(usrbio_files_find(&files, fd, &file) && file.fd == -first);
	check(usrbio_files_find(&files, first, &file) && file.fd == -first);
	check(usrbio_files_find(&files, -first, &file));
	check(!usrbio_files_find(&files, null, &file));
	check(!usrbio_files_find(&files, INT_MIN, &file));
	check(!usrbio_files_find(&files, INT_MAX, &file));
	close(fd);
	check(usrbio_files_find(&files, fd, &file)); /* UB-20: the old file */
	reused = open_file("b", O_RDONLY);
	check_int(reused, fd);
	check_int(usrbio_files_add(&files, reused), EINVAL);
	usrbio_files_remove(&files, reused);
	check(!usrbio_files_find(&files, fd, &file));
	check(!usrbio_files_find(&files, first, &file));
	check(usrbio_files_add(&files, reused) < 0);
	usrbio_files_remove(&files, -first); /* not by the duplicate */
	usrbio_files_remove(&files, INT_MAX);
	usrbio_files_fini(&files);
	close(reused);
	close(null);
	remove_root();
}

static void RG_50_UB_20_closed_and_reused(void)
{
	struct usrbio_file old, now;
	struct stat st;
	int fd, other;

	make_root();
	usrbio_files_init(&files, &fake);
	fd = open_file("a", O_RDWR);
	check_int(fstat(fd, &st), 0);
	check(usrbio_files_add(&files, fd) < 0);
	close(fd);
	other = open_file("b", O_RDWR);
	check_int(other, fd);
	check(usrbio_files_find(&files, fd, &old));
	check_int(old.ino, st.st_ino);
	check(!usrbio_file_same(&fake, &old, other));
	check_int(usrbio_files_add(&files, other), EINVAL);
	check(usrbio_files_find(&files, fd, &now) && now.ino == st.st_ino);
	usrbio_files_fini(&files);
	close(other);
	remove_root();
}

/* A duplicate takes the lowest number, which may be one that is registered and was closed. */
static void a_duplicate_evades_registered_numbers(void)
{
	struct usrbio_file file;
	int low, high, first, second;

	make_root();
	usrbio_files_init(&files, &fake);
	low = open_file("a", O_RDONLY);
	high = open_file("b", O_RDONLY);
	first = usrbio_files_add(&files, low);
	check(first < 0);
	close(low);
	second = usrbio_files_add(&files, high);
	check(second < 0 && second != -low);
	check(usrbio_files_find(&files, low, &file) && file.fd == -first);
	check(usrbio_files_find(&files, high, &file) && file.fd == -second);
	usrbio_files_fini(&files);
	close(high);
	remove_root();
}

static void RG_49_UB_55_no_table_by_the_limit(void)
{
	struct rlimit limit;
	struct usrbio_file file;
	int fd, far;

	make_root();
	check_int(getrlimit(RLIMIT_NOFILE, &limit), 0);
	check(sizeof(files) < 64 << 10);
	usrbio_files_init(&files, &fake);
	fd = open_file("a", O_RDONLY);
	far = fcntl(fd, F_DUPFD_CLOEXEC, (int)limit.rlim_cur - 1);
	check(far >= 0);
	check(usrbio_files_add(&files, far) < 0);
	check(usrbio_files_find(&files, far, &file));
	usrbio_files_fini(&files);
	close(fd);
	close(far);
	remove_root();
}

static void nothing_stays_of_one_that_failed(void)
{
	static const enum fail_call calls[] = {FAIL_ioctl, FAIL_statx, FAIL_fcntl};
	int fd, before, after;

	make_root();
	fail_sys_over(&fake);
	usrbio_files_init(&files, fail_sys());
	fd = open_file("a", O_RDONLY);
	before = dup(fd);
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		fail_call(calls[i], calls[i] == FAIL_fcntl ? 2 : 1, FAIL_ONCE, EMFILE);
		check(usrbio_files_add(&files, fd) > 0);
		check(fail_call_end());
	}
	fail_alloc(1, FAIL_ONCE);
	check_int(usrbio_files_add(&files, fd), ENOMEM);
	check(fail_alloc_end());
	after = dup(fd);
	check_int(after, before + 1);
	close(after);
	close(before);
	close(fd);
	usrbio_files_fini(&files);
	remove_root();
}

/* ---- Mounts ---- */

static FILE *begin_mountinfo(void)
{
	FILE *out = fopen(mountinfo, "w");

	check(out);
	fprintf(out, "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
		     "23 27 0:22 / / rw - overlay overlay rw\n");
	return out;
}

static void make_dir(const char *name)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	check_int(mkdir(path, 0700), 0);
}

/* What the path of a name below the root lies on: the rest behind the root, "-" for none. */
static const char *found_as(const char *name, bool any_type)
{
	static char out[PATH_MAX];
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", root, name);
	if (usrbio_mount_find(&fake, path, any_type, out, NULL))
		return "-";
	check_int(strncmp(out, root, strlen(root)), 0);
	return out + strlen(root);
}

static int count_mount(void *arg, const char *point, const char *type, const char *source)
{
	check(point[0] == '/' && type[0]);
	check_str(source, "hf3fs.a b");
	++*(int *)arg;
	return 0;
}

static void UB_15_mounts(void)
{
	static const char *const dirs[] = {
		"m",     "m/3fs-virt", "m/sub",         "m/sub/deep", "m2",
		"data",  "data/sub",   "data/3fs-virt", "with space", "with space/3fs-virt",
		"plain", "m/in",       "m/in/3fs-virt", "m/in/x"};
	FILE *out;
	int count = 0;

	make_root();
	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		make_dir(dirs[i]);
	out = begin_mountinfo();
	fprintf(out, "40 27 0:50 / %s/m rw - fuse.hf3fs hf3fs.a\\040b rw\n", root);
	fprintf(out, "41 27 0:50 / %s/m/in rw shared:1 master:2 - fuse.hf3fs hf3fs.a\\040b rw\n",
		root);
	fprintf(out, "42 27 0:50 /sub %s/data/sub rw - fuse.hf3fs hf3fs.a\\040b rw\n", root);
	fprintf(out, "43 27 0:50 /3fs-virt %s/data/3fs-virt rw - fuse.hf3fs hf3fs.a\\040b rw\n",
		root);
	fprintf(out, "44 27 0:51 / %s/with\\040space rw - fuse.hf3fs hf3fs.a\\040b rw\n", root);
	fprintf(out, "45 27 0:52 / %s/plain rw - ext4 /dev/sda rw\n", root);
	fclose(out);
	check_str(found_as("m", false), "/m");
	check_str(found_as("m/sub/deep", false), "/m");
	check_str(found_as("m/sub/../sub/./deep", false), "/m");
	check_str(found_as("m/in/x", false), "/m/in");
	check_str(found_as("m2", false), "-"); /* not below m, by components */
	check_str(found_as("data/sub", false), "/data");
	check_str(found_as("with space", false), "/with space");
	check_str(found_as("plain", false), "-");
	check_str(found_as("missing", false), "-");
	make_dir("plain/3fs-virt");
	check_str(found_as("plain", false), "-");
	check_str(found_as("plain", true), "/plain");
	check_int(usrbio_mount_each(&fake, false, count_mount, &count, NULL), 0);
	check_int(count, 4); /* the sub-tree without 3fs-virt is none */
	remove_root();
}

static void lines_that_make_no_sense(void)
{
	char path[PATH_MAX];
	FILE *out;

	make_root();
	out = begin_mountinfo();
	fprintf(out, "\n\n    \n-\n- - -\n1 2 3 4 5 6 -\n1 2 3 4 5 6 - fuse.hf3fs\n1 2 3 4 /\n");
	fprintf(out, "1 2 3 4 \\057\\134\\9 6 - fuse.hf3fs x\n");
	fprintf(out, "1 2 3 4 - 6 - fuse.hf3fs x y\n");
	for (int i = 0; i < 100000; i++) /* longer than any buffer, and one endless line */
		fprintf(out, "%d 27 0:50 / /very/long/name rw - tmpfs x rw%c", i,
			i < 9 ? '\n' : ' ');
	fclose(out);
	check_int(usrbio_mount_find(&fake, root, false, path, NULL), WEIR_NOTFOUND);
	check_int(unlink(mountinfo), 0);
	check_int(usrbio_mount_find(&fake, root, false, path, NULL), WEIR_NOTFOUND);
	remove_root();
}

static void an_empty_path(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	char out[PATH_MAX];

	check_int(usrbio_mount_find(sys_real(), "", false, out, &err), WEIR_NOTFOUND);
	check_int(usrbio_mount_find(sys_real(), "/", false, out, &err), WEIR_NOTFOUND);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_19_what_a_file_is_known_by),
		TEST(UB_19_registering_by_number),
		TEST(RG_50_UB_20_closed_and_reused),
		TEST(a_duplicate_evades_registered_numbers),
		TEST(RG_49_UB_55_no_table_by_the_limit),
		TEST(nothing_stays_of_one_that_failed),
		TEST(UB_15_mounts),
		TEST(lines_that_make_no_sense),
		TEST(an_empty_path),
	};

	return tests_run(argc, argv, tests, sizeof(tests) / sizeof(*tests));
}
