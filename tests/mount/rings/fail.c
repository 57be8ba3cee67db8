/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and system calls that fail: what is refused is refused whole; and the data path asks for neither.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "lib/fail.h"
#include "setting.h"

#define UUID "9f7faec0-69d1-4d54-9296-764b69addbde"

static struct rig rig;
static struct setting at;

static uid_t me(void)
{
	return geteuid() ? geteuid() : USER_A;
}

static void RG_36_each_allocation_of_a_registration(void)
{
	static const char *const names[] = {UUID, UUID ".r0.t0"};
	char *object;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4336);
	for (size_t i = 0; i < array_size(names); i++)
		for (unsigned n = 1;; n++) {
			int answer;
			bool fired;

			fail_alloc(n, FAIL_ONCE);
			answer = rig_link(&rig, me(), object, names[i]);
			fired = fail_alloc_end();
			if (answer)
				check(answer == ENOMEM && fired);
			else if (rig_unlink(&rig, me(), names[i]))
				check(fired); /* the thread that was to serve it had to do without */
			rig_settle(&rig, 0, 0);
			check_int(rig_list(&rig, me()), 0);
			if (!fired)
				break;
		}
	free(object);
	rig_end(&rig);
}

static void RG_36_each_system_call_of_a_registration(void)
{
	static const struct {
		enum fail_call call;
		int os_errno;
	} cases[] = {{FAIL_openat, EMFILE},     {FAIL_openat, ENFILE},   {FAIL_openat, ENOMEM},
		     {FAIL_fstat, EIO},         {FAIL_mmap, ENOMEM},     {FAIL_mmap, EACCES},
		     {FAIL_pidfd_open, EMFILE}, {FAIL_pidfd_open, ESRCH}};
	char *object;

	rig_start(&rig, &(struct virt_opts){.sys = fail_sys()});
	object = rig_object(&rig, me(), 4336);
	for (size_t i = 0; i < array_size(cases); i++) {
		int answer;

		fail_call(cases[i].call, 1, FAIL_ONCE, cases[i].os_errno);
		answer = rig_link(&rig, me(), object, UUID ".r0.t0");
		check_int(answer, cases[i].call == FAIL_fstat ? EACCES : cases[i].os_errno);
		check(fail_call_end());
		rig_settle(&rig, 0, 0);
		check_int(rig_list(&rig, me()), 0);
	}
	check_int(rig_link(&rig, me(), object, UUID ".r0.t0"), 0);
	free(object);
	rig_end(&rig);
}

static void each_allocation_of_the_start(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct virt_opts opts;
	struct rings *rings;

	rig_start(&rig, NULL);
	opts = (struct virt_opts){.ctx = rig.ctx, .files = rig.files, .shm = rig.shm};
	for (unsigned n = 1;; n++) {
		int ret;

		fail_alloc(n, FAIL_ONCE);
		ret = rings_create(&opts, &rings, &err);
		if (!fail_alloc_end()) {
			check_int(ret, 0);
			break;
		}
		if (ret == 0)
			rings_destroy(rings, NEVER);
		else
			check_int(ret, WEIR_NOMEM);
	}
	rings_destroy(rings, NEVER);
	rig_end(&rig); /* counts the semaphores */
}

/* No allocation for a request, nor for a thousand. */
static void a_request_allocates_nothing(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 4096};
	struct usrbio_cqe cqes[64];
	uint64_t before = 0;

	setting_make(&at, NULL, 64);
	for (int round = 0; round < 60; round++) {
		if (round == 10)
			before = fail_alloc_count();
		for (unsigned i = 0; i < 64; i++) {
			ask.offset = i * 4096;
			ask.file = i % 8 ? FILE_1 : 4711; /* and none for a refused one */
			check(ring_ask(&at.reads, &ask) >= 0);
		}
		ring_bell(&at.reads);
		check_int(ring_reap(&at.reads, cqes, 64, 5000), 64);
	}
	check(fail_alloc_count() == before);
	setting_end(&at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(RG_36_each_allocation_of_a_registration),
		TEST(RG_36_each_system_call_of_a_registration),
		TEST(each_allocation_of_the_start),
		TEST(a_request_allocates_nothing),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
