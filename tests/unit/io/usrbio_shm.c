/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared memory objects: making them, and opening those of somebody who is not trusted.
 *
 * The second kind lies in a folder that stands for /dev/shm: the functions take a descriptor.
 */
#include "io/usrbio/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "lib/check.h"
#include "lib/fail.h"

static char folder[64];

static int open_folder(void)
{
	int fd;

	strcpy(folder, "/tmp/weir-shm-XXXXXX");
	check(mkdtemp(folder));
	fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	check(fd >= 0);
	return fd;
}

static void close_folder(int dir)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder);
	check_int(system(command), 0);
	close(dir);
}

static void make_file(int dir, const char *name, off_t bytes)
{
	int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	check(fd >= 0 && ftruncate(fd, bytes) == 0);
	close(fd);
}

/* ---- Ours ---- */

static void UB_03_of_exactly_the_size(void)
{
	int dir = usrbio_shm_dir(sys_real());
	struct usrbio_shm shm;
	struct stat st;
	char path[300];

	check(dir >= 0);
	check_int(usrbio_shm_create(sys_real(), dir, 4337, 0600, -1, &shm, NULL), 0);
	snprintf(path, sizeof(path), "/dev/shm/%s", shm.name);
	check_int(strncmp(shm.name, "hf3fs-iov-", 10), 0);
	check_int(strlen(shm.name), 46);
	check_int(stat(path, &st), 0);
	check_int(st.st_size, 4337);
	check_int(st.st_mode, S_IFREG | 0600);
	check(st.st_ino == shm.ino && st.st_dev == shm.dev);
	check(st.st_blocks * 512 >= 4337); /* its memory is there */
	memset(shm.memory, 1, 4337);
	usrbio_shm_unmap(sys_real(), &shm);
	check_int(usrbio_shm_unlink_same(sys_real(), dir, &shm), 0);
	check_int(access(path, F_OK), -1);
	check_int(usrbio_shm_unlink(sys_real(), dir, shm.name), 0);
	close(dir);
}

static void a_node_is_a_wish(void)
{
	static const int nodes[] = {0, 1023, 1024, 100000};
	int dir = usrbio_shm_dir(sys_real());

	for (size_t i = 0; i < sizeof(nodes) / sizeof(*nodes); i++) {
		struct usrbio_shm shm;

		check_int(usrbio_shm_create(sys_real(), dir, 8192, 0600, nodes[i], &shm, NULL), 0);
		usrbio_shm_unlink(sys_real(), dir, shm.name);
		usrbio_shm_unmap(sys_real(), &shm);
	}
	close(dir);
}

static void UB_50_no_room_is_an_error(void)
{
	int dir = usrbio_shm_dir(sys_real());
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_shm shm;
	struct statfs fs;

	check_int(statfs("/dev/shm", &fs), 0);
	fail_call(FAIL_fallocate, 1, FAIL_ONCE, ENOSPC);
	check_int(usrbio_shm_create(fail_sys(), dir, 8192, 0600, -1, &shm, &err), WEIR_NOSPACE);
	check(fail_call_end());
	check_int(err.os_errno, ENOSPC);
	if (fs.f_blocks) /* above a gibibyte the free space is compared */
		check_int(
			usrbio_shm_create(sys_real(), dir, (uint64_t)1 << 50, 0600, -1, &shm, &err),
			WEIR_NOSPACE);
	fail_call(FAIL_fallocate, 1, FAIL_ONCE, EINTR);
	check_int(usrbio_shm_create(fail_sys(), dir, 8192, 0600, -1, &shm, &err), 0);
	check(fail_call_end());
	usrbio_shm_unlink(sys_real(), dir, shm.name);
	usrbio_shm_unmap(fail_sys(), &shm);
	check_int(usrbio_shm_create(sys_real(), dir, 0, 0600, -1, &shm, &err), WEIR_ARG);
	check_int(usrbio_shm_create(sys_real(), dir, UINT64_MAX, 0600, -1, &shm, &err), WEIR_ARG);
	close(dir);
}

static void nothing_stays_of_one_that_failed(void)
{
	static const enum fail_call calls[] = {FAIL_openat,    FAIL_ftruncate, FAIL_fstat,
					       FAIL_fallocate, FAIL_mmap,      FAIL_random};
	int dir = open_folder();
	struct usrbio_shm shm;

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		/* The first file that is opened tells who we are, and need not be there. */
		fail_call(calls[i], calls[i] == FAIL_openat ? 2 : 1, FAIL_ONCE, EMFILE);
		check(usrbio_shm_create(fail_sys(), dir, 8192, 0600, -1, &shm, NULL) < 0);
		check(fail_call_end());
	}
	check_int(rmdir(folder), 0); /* it is empty */
	check_int(fail_mapped_bytes(), 0);
	close(dir);
}

/* ---- Somebody's ---- */

static int try_open(int dir, const char *target)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_shm shm;

	if (usrbio_shm_open(sys_real(), dir, target, getuid(), &shm, &err) == 0) {
		usrbio_shm_unmap(sys_real(), &shm);
		return 0;
	}
	check(err.code < 0);
	return err.os_errno;
}

static void UB_10_RG_20_targets_that_are_refused(void)
{
	static const struct {
		const char *target;
		int error;
	} refused[] = {
		{"/tmp/object", EACCES},
		{"object", EACCES},
		{"", EACCES},
		{"/dev/shm", EACCES},
		{"/dev/shm/", EACCES},
		{"/dev/shm/..", EACCES},
		{"/dev/shm/.", EACCES},
		{"/dev/shm/sub/object", EACCES},
		{"/dev/shm/../shm/object", EACCES},
		{"/dev/shm/link", EACCES},
		{"/dev/shm/missing", EINVAL},
		{"/dev/shm/sub", EINVAL},
		{"/dev/shm/fifo", EINVAL},
		{"/dev/shm/empty", EINVAL},
		{"/dev/shm/object/", EACCES},
	};
	int dir = open_folder();

	make_file(dir, "object", 4336);
	make_file(dir, "empty", 0);
	check_int(mkdirat(dir, "sub", 0700), 0);
	make_file(dir, "sub/object", 4336);
	check_int(symlinkat("object", dir, "link"), 0);
	check_int(mkfifoat(dir, "fifo", 0600), 0);
	check_int(try_open(dir, "/dev/shm/object"), 0);
	check_int(try_open(dir, "/dev/shm//object"), 0);
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused); i++)
		if (try_open(dir, refused[i].target) != refused[i].error)
			check_failed(__FILE__, __LINE__, "%s: %d", refused[i].target,
				     try_open(dir, refused[i].target));
	close_folder(dir);
}

static void UB_10_RG_20_objects_of_another_owner(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_shm shm;
	int dir = open_folder();

	make_file(dir, "object", 4336);
	check_int(usrbio_shm_open(sys_real(), dir, "/dev/shm/object", getuid() + 1, &shm, &err),
		  WEIR_DENIED);
	check_int(err.os_errno, EACCES);
	check_has(err.message, "/dev/shm/object");
	close_folder(dir);
}

static void RG_36_low_on_descriptors_and_memory(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_shm shm;
	int dir = open_folder();

	make_file(dir, "object", 4336);
	fail_call(FAIL_openat, 1, FAIL_ONCE, EMFILE);
	check(usrbio_shm_open(fail_sys(), dir, "/dev/shm/object", getuid(), &shm, &err) < 0);
	check_int(err.os_errno, EMFILE);
	fail_call(FAIL_mmap, 1, FAIL_ONCE, ENOMEM);
	check(usrbio_shm_open(fail_sys(), dir, "/dev/shm/object", getuid(), &shm, &err) < 0);
	check_int(err.os_errno, ENOMEM);
	fail_call(FAIL_fstat, 1, FAIL_ONCE, EIO);
	check(usrbio_shm_open(fail_sys(), dir, "/dev/shm/object", getuid(), &shm, &err) < 0);
	check_int(err.os_errno, EACCES);
	fail_call_end();
	close_folder(dir);
}

/* Puts a file, a link to it and an empty file under one name in turns. */
struct swapper {
	int dir;
	_Atomic bool stop;
};

static void *swap(void *arg)
{
	struct swapper *swapper = arg;
	static const char *const kinds[] = {"file", "link", "foreign"};

	for (unsigned i = 0; !atomic_load(&swapper->stop); i++) {
		unlinkat(swapper->dir, "tmp", 0);
		if (i % 3 == 1)
			(void)!symlinkat("file", swapper->dir, "tmp");
		else
			(void)!linkat(swapper->dir, kinds[i % 3], swapper->dir, "tmp", 0);
		(void)!renameat(swapper->dir, "tmp", swapper->dir, "target");
	}
	return NULL;
}

static void RG_21_target_swapped_under_way(void)
{
	int dir = open_folder();
	struct swapper swapper = {.dir = dir};
	unsigned opened = 0, refused = 0;
	pthread_t thread;

	make_file(dir, "file", 4336);
	make_file(dir, "foreign", 0);
	make_file(dir, "target", 4336);
	check_int(pthread_create(&thread, NULL, swap, &swapper), 0);
	for (int i = 0; i < 20000; i++) {
		struct usrbio_shm shm;

		if (usrbio_shm_open(sys_real(), dir, "/dev/shm/target", getuid(), &shm, NULL)) {
			refused++;
			continue;
		}
		opened++;
		check_int(shm.bytes, 4336); /* the one that was judged is the one that is mapped */
		usrbio_shm_unmap(sys_real(), &shm);
	}
	atomic_store(&swapper.stop, true);
	pthread_join(thread, NULL);
	check(opened && refused);
	close_folder(dir);
}

static void names_are_removed_only_from_the_same_object(void)
{
	struct usrbio_shm shm;
	int dir = open_folder();

	make_file(dir, "object", 4336);
	check_int(usrbio_shm_open(sys_real(), dir, "/dev/shm/object", getuid(), &shm, NULL), 0);
	check_int(renameat(dir, "object", dir, "away"), 0);
	make_file(dir, "object", 10);
	check_int(usrbio_shm_unlink_same(sys_real(), dir, &shm), -ESTALE);
	check_int(renameat(dir, "away", dir, "object"), 0);
	check_int(usrbio_shm_unlink_same(sys_real(), dir, &shm), 0);
	check_int(usrbio_shm_unlink_same(sys_real(), dir, &shm), 0);
	usrbio_shm_unmap(sys_real(), &shm);
	check_int(rmdir(folder), 0);
	close(dir);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_03_of_exactly_the_size),
		TEST(a_node_is_a_wish),
		TEST(UB_50_no_room_is_an_error),
		TEST(nothing_stays_of_one_that_failed),
		TEST(UB_10_RG_20_targets_that_are_refused),
		TEST(UB_10_RG_20_objects_of_another_owner),
		TEST(RG_36_low_on_descriptors_and_memory),
		TEST(RG_21_target_swapped_under_way),
		TEST(names_are_removed_only_from_the_same_object),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
