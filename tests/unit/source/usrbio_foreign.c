/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver by a library that is made up: what comes of its lies, of its silence, and of numbers
 * that it will not take.  The mount is a folder, and its daemon the table of system calls.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/mount_folder.h"
#include "source/usrbio_driver.h"
#include "source/usrbio_vendor.h"

#define ENTRIES 4

static struct {
	struct sys sys;
	char mount[MOUNT_FOLDER_PATH];
	_Atomic int health; /* an errno of the magic ioctl, or 0 */
	struct usrbio_session *session;
	struct driver *driver;
	struct driver_ring *ring;

	/* The library's. */
	int refused;    /* descriptors that it takes no more */
	int taken[256]; /* by number */
	const void *asked[ENTRIES];
	unsigned asked_count, ended, node, waits;
	struct hf3fs_cqe answers[ENTRIES];
	int answer_count, failure;
	int64_t longest_ns; /* that it was asked to wait for */
} rig;

/* ---- The library ---- */

static int reg_fd(int fd, uint64_t flags)
{
	check_int(flags, 0);
	check(fd >= 0 && fd < (int)array_size(rig.taken));
	if (rig.refused > 0) {
		rig.refused--;
		return EINVAL;
	}
	check_int(rig.taken[fd]++, 0);
	return -fd;
}

static void dereg_fd(int fd)
{
	check_int(rig.taken[fd]--, 1);
}

static int iorcreate4(struct hf3fs_ior *ior, const char *mount, int entries, bool for_read,
		      int depth, int timeout, int numa, uint64_t flags)
{
	check_str(mount, rig.mount);
	check_int(entries, ENTRIES);
	check_int(depth, -2);
	check_int(timeout, 0);
	check_int(flags, 0);
	rig.node = (unsigned)numa;
	memset(ior, 0, sizeof(*ior));
	ior->for_read = for_read;
	return 0;
}

static void iordestroy(struct hf3fs_ior *ior)
{
	(void)ior;
	rig.ended++;
}

static int prep_io(const struct hf3fs_ior *ior, const struct hf3fs_iov *iov, bool read, void *ptr,
		   int fd, size_t off, uint64_t len, const void *userdata)
{
	(void)iov;
	(void)ptr;
	(void)off;
	(void)len;
	check_int(read, ior->for_read);
	check_int(fd, 7);
	check(rig.asked_count < ENTRIES);
	rig.asked[rig.asked_count] = userdata;
	return (int)rig.asked_count++;
}

static int submit_ios(const struct hf3fs_ior *ior)
{
	(void)ior;
	return 0;
}

static int wait_for_ios(const struct hf3fs_ior *ior, struct hf3fs_cqe *cqes, int max, int min,
			const struct timespec *until)
{
	int64_t left = until->tv_sec * NS_PER_SEC + until->tv_nsec - sys_real()->real_ns();
	int count = rig.answer_count;

	(void)ior;
	rig.waits++;
	rig.longest_ns = max_of(rig.longest_ns, left);
	if (rig.failure)
		return rig.failure;
	check(count <= max);
	memcpy(cqes, rig.answers, (size_t)count * sizeof(*cqes));
	rig.answer_count = 0;
	if (!count && min > 0)
		clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, until, NULL);
	return count;
}

static void answer(unsigned request, int64_t result)
{
	rig.answers[rig.answer_count++] = (struct hf3fs_cqe){.result = result,
							     .userdata = rig.asked[request]};
}

/* ---- The mount ---- */

static int daemon_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	check_int(request, USRBIO_IOC_GET_MAGIC);
	if (rig.health) {
		errno = rig.health;
		return -1;
	}
	*(uint32_t *)arg = USRBIO_MAGIC;
	return 0;
}

static void begin(void)
{
	const struct usrbio_vendor_calls calls = {.reg_fd = reg_fd,
						  .dereg_fd = dereg_fd,
						  .iorcreate4 = iorcreate4,
						  .iordestroy = iordestroy,
						  .prep_io = prep_io,
						  .submit_ios = submit_ios,
						  .wait_for_ios = wait_for_ios};
	const struct usrbio_ring_opts opts = {
		.entries = ENTRIES, .for_read = true, .depth = -2, .node = 3};

	rig.sys = *sys_real();
	rig.sys.ioctl = daemon_ioctl;
	mount_folder_make(rig.mount);
	check_int(usrbio_session_get(&rig.sys, rig.mount, &rig.session, NULL), 0);
	check_int(driver_foreign(&rig.sys, "/made/up.so", &calls, &rig.driver, NULL), 0);
	check_str(rig.driver->library, "/made/up.so");
	check_int(rig.driver->ops->ring_create(rig.driver, rig.session, &opts, &rig.ring, NULL), 0);
	check_int(rig.node, 3);
}

static void end(void)
{
	static const char *const names[] = {"/3fs-virt/iovs/submit-ios", "/3fs-virt/iovs",
					    "/3fs-virt", ""};
	char path[128];

	rig.driver->ops->ring_destroy(rig.ring);
	check_int(rig.ended, 1);
	rig.driver->ops->destroy(rig.driver);
	usrbio_session_put(rig.session);
	for (size_t i = 0; i < array_size(names); i++) {
		snprintf(path, sizeof(path), "%s%s", rig.mount, names[i]);
		check_int(remove(path), 0);
	}
}

static int ask(uint64_t userdata)
{
	static const uint8_t id[16] = {0};
	static char memory[8192];
	const struct driver_io io = {.io = {.iov = id,
					    .iov_bytes = sizeof(memory),
					    .iov_offset = 0,
					    .length = 4096,
					    .userdata = userdata},
				     .memory = memory,
				     .file = 7};

	return rig.driver->ops->prepare(rig.ring, &io);
}

static int collect(struct usrbio_cqe *out, int max, int64_t wait_ms)
{
	return rig.driver->ops->wait(rig.ring, out, max, 1,
				     wait_ms ? rig.sys.now_ns() + wait_ms * NS_PER_MS : 0);
}

/* ---- Cases ---- */

static unsigned descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	check(dir != NULL);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void a_number_that_is_taken_for_good_is_gone_around(void)
{
	unsigned before;
	int fd, file;

	begin();
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	before = descriptors();
	check_int(rig.driver->ops->file_add(rig.driver, fd, &file), 0);
	check_int(file, fd);
	rig.driver->ops->file_remove(rig.driver, fd, file);
	check_int(rig.taken[fd], 0);

	rig.refused = 3;
	check_int(rig.driver->ops->file_add(rig.driver, fd, &file), 0);
	check(file != fd);
	check_int(rig.taken[file], 1);
	check_int(descriptors(), before + 1);
	rig.driver->ops->file_remove(rig.driver, fd, file);
	check_int(rig.taken[file], 0);
	check_int(descriptors(), before);

	rig.refused = INT32_MAX;
	check_int(rig.driver->ops->file_add(rig.driver, fd, &file), EINVAL);
	check_int(descriptors(), before);
	close(fd);
	end();
}

static void what_was_asked_comes_back_by_its_number(void)
{
	struct usrbio_cqe out[ENTRIES];

	begin();
	for (int turn = 0; turn < 100; turn++) {
		for (uint64_t i = 0; i < ENTRIES; i++)
			check(ask(100 + i) >= 0);
		check_int(ask(1), -EAGAIN);
		for (unsigned i = ENTRIES; i-- > 0;)
			answer(i, (int64_t)i);
		check_int(collect(out, ENTRIES, 0), ENTRIES);
		for (unsigned i = 0; i < ENTRIES; i++) {
			check_int(out[i].userdata, 100 + ENTRIES - 1 - i);
			check_int(out[i].result, ENTRIES - 1 - i);
		}
		rig.asked_count = 0;
	}
	end();
}

static void a_result_that_is_too_long_is_cut(void)
{
	struct usrbio_cqe out[ENTRIES];

	begin();
	check(ask(1) >= 0);
	check(ask(2) >= 0);
	answer(0, 8192); /* the iov has as much */
	check_int(collect(out, ENTRIES, 0), 1);
	check_int(out[0].result, 4096);
	answer(1, 8193);
	check_int(collect(out, ENTRIES, 0), -EPROTO);
	check_int(ask(3), -EPROTO);
	end();
}

static void lies_end_the_ring(void)
{
	static const uintptr_t tags[] = {0, ENTRIES + 1, UINTPTR_MAX, 2 /* flies not */};

	for (size_t i = 0; i < array_size(tags); i++) {
		struct usrbio_cqe out[ENTRIES];

		memset(&rig, 0, sizeof(rig));
		begin();
		check(ask(1) >= 0);
		answer(0, 1);
		rig.answers[0].userdata = (const void *)tags[i];
		if ((uintptr_t)rig.asked[0] == tags[i])
			rig.answers[0].userdata = (const void *)(tags[i] - 1);
		check_int(collect(out, ENTRIES, 10), -EPROTO);
		end();
	}
	memset(&rig, 0, sizeof(rig));
}

static void a_completion_that_comes_twice(void)
{
	struct usrbio_cqe out[ENTRIES];

	begin();
	check(ask(5) >= 0);
	answer(0, 10);
	answer(0, 10);
	check_int(collect(out, ENTRIES, 10), 1);
	check_int(collect(out, ENTRIES, 10), -EPROTO);
	end();
}

static void it_is_never_asked_to_wait_for_long(void)
{
	struct usrbio_cqe out[ENTRIES];
	int64_t start;

	begin();
	check(ask(1) >= 0);
	start = rig.sys.now_ns();
	check_int(collect(out, ENTRIES, 50), 0);
	check(rig.sys.now_ns() - start >= 50 * NS_PER_MS);
	check(rig.waits > 5);
	check(rig.longest_ns < 10 * NS_PER_MS);
	end();
}

static void *wake_soon(void *arg)
{
	(void)arg;
	usleep(20000);
	rig.driver->ops->wake(rig.ring);
	return NULL;
}

static void it_can_be_woken(void)
{
	struct usrbio_cqe out[ENTRIES];
	pthread_t thread;

	begin();
	check(ask(1) >= 0);
	check_int(pthread_create(&thread, NULL, wake_soon, NULL), 0);
	check_int(collect(out, ENTRIES, 60000), 0);
	pthread_join(thread, NULL);
	end();
}

static void of_a_daemon_that_is_gone_each_comes_back_once(void)
{
	struct usrbio_cqe out[ENTRIES];
	int64_t start;

	begin();
	for (uint64_t i = 0; i < 3; i++)
		check(ask(i) >= 0);
	rig.health = ENOTCONN;
	start = rig.sys.now_ns();
	check_int(collect(out, 2, 60000), 2);
	check(rig.sys.now_ns() - start < 2 * NS_PER_SEC);
	check_int(collect(out + 2, 2, 60000), 1);
	for (int i = 0; i < 3; i++)
		check_int(out[i].result, -ENOTCONN);
	check_int(out[0].userdata + out[1].userdata + out[2].userdata, 3);
	check_int(collect(out, ENTRIES, 60000), -ENOTCONN);
	check_int(ask(1), -ENOTCONN);
	end();
}

static void a_wait_that_fails_ends_the_ring(void)
{
	struct usrbio_cqe out[ENTRIES];

	begin();
	check(ask(1) >= 0);
	rig.failure = -EINVAL;
	check_int(collect(out, ENTRIES, 10), -EPROTO);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_number_that_is_taken_for_good_is_gone_around),
		TEST(what_was_asked_comes_back_by_its_number),
		TEST(a_result_that_is_too_long_is_cut),
		TEST(lies_end_the_ring),
		TEST(a_completion_that_comes_twice),
		TEST(it_is_never_asked_to_wait_for_long),
		TEST(it_can_be_woken),
		TEST(of_a_daemon_that_is_gone_each_comes_back_once),
		TEST(a_wait_that_fails_ends_the_ring),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
