/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is left where making a ring fails, and where its process forks.
 */
#include <sys/wait.h>

#include "io/usrbio/iov.h"
#include "lib/fail.h"
#include "usrbio_ring_rig.h"

static struct usrbio_cqe cqe[64];

/* ---- Failures on the way ---- */

static unsigned count_descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	check(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A session, a buffer and a ring, made and removed: 0, or the code of what failed first. */
static int make_all(void)
{
	const struct usrbio_iov_opts buffer = {.bytes = 8192, .node = 0};
	const struct usrbio_ring_opts opts = {.entries = 4, .node = -1, .priority = 1};
	struct usrbio_session *own;
	struct usrbio_ring *other;
	struct usrbio_iov iov = {0};
	int ret = usrbio_session_get(fail_sys(), rig.mount, &own, NULL);

	if (ret)
		return ret;
	ret = usrbio_iov_create(own, &buffer, &iov, NULL);
	if (!ret)
		ret = usrbio_ring_create(own, &opts, &other, NULL);
	if (!ret)
		usrbio_ring_destroy(other);
	usrbio_iov_destroy(&iov);
	usrbio_session_put(own);
	return ret;
}

static void check_nothing_is_left(unsigned descriptors, int64_t live)
{
	check_int(count_keys(), 0);
	check(!shm_has(rig.ring.name) && !shm_has(rig.iov.name));
	check_int(count_descriptors(), descriptors);
	check_int(fail_alloc_live(), live);
	check_int(fail_mapped_bytes(), 0);
}

static void RG_36_nothing_is_left_where_memory_fails(void)
{
	unsigned descriptors, n;
	int64_t live;

	rig_init();
	fail_sys_over(&rig.sys);
	descriptors = count_descriptors();
	live = fail_alloc_live();
	for (n = 1;; n++) {
		int ret;

		fail_alloc(n, FAIL_ONCE);
		ret = make_all();
		if (!fail_alloc_end()) {
			check_int(ret, 0);
			break;
		}
		check_int(ret, WEIR_NOMEM);
		check_nothing_is_left(descriptors, live);
	}
	check(n > 5);
	rig_fini();
}

static void RG_36_nothing_is_left_where_a_call_fails(void)
{
	static const enum fail_call calls[] = {FAIL_openat,     FAIL_fstat,         FAIL_ftruncate,
					       FAIL_fallocate,  FAIL_mmap,          FAIL_symlinkat,
					       FAIL_readlinkat, FAIL_thread_create, FAIL_random,
					       FAIL_madvise,    FAIL_mbind};
	unsigned descriptors, fired = 0;
	int64_t live;

	rig_init();
	fail_sys_over(&rig.sys);
	descriptors = count_descriptors();
	live = fail_alloc_live();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		for (unsigned n = 1;; n++) {
			int ret;

			fail_call(calls[i], n, FAIL_ONCE, EMFILE);
			ret = make_all();
			if (!fail_call_end())
				break;
			check(ret <= 0);
			fired++;
			check_nothing_is_left(descriptors, live);
		}
	}
	check(fired > 20);
	rig_fini();
}

/* ---- A child ---- */

static void have_its_own(void)
{
#ifndef __SANITIZE_THREAD__ /* which has no threads in children */
	struct usrbio_session *own;

	check_int(usrbio_session_get(&rig.sys, rig.mount, &own, NULL), 0);
	check(own != session && usrbio_session_mine(own));
	usrbio_session_put(own);
#endif
}

static void UB_26_a_forked_child_must_not_touch(void)
{
	const struct usrbio_iov_opts opts = {.bytes = 8192, .node = -1, .keep_name = true};
	struct usrbio_iov iov;
	int status;
	pid_t child;

	begin();
	check_int(usrbio_iov_create(session, &opts, &iov, NULL), 0);
	check_int(prepare(ring, 1), 0);
	child = fork();
	if (child == 0) {
		struct weir_error err = WEIR_ERROR_INIT;

		check_int(prepare(ring, 2), -EPERM);
		check_int(usrbio_ring_submit(ring), -EPERM);
		check_int(usrbio_ring_wait(ring, cqe, 4, 0, NEVER), -EPERM);
		check(!usrbio_session_mine(session));
		check_int(usrbio_session_unlink(session, "x", &err), WEIR_CLOSED);
		usrbio_ring_destroy(ring);
		usrbio_iov_destroy(&iov);
		usrbio_session_put(session);
		have_its_own();
		_exit(0);
	}
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
	check_int(count_keys(), 2);
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	usrbio_iov_destroy(&iov);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(RG_36_nothing_is_left_where_memory_fails),
		TEST(RG_36_nothing_is_left_where_a_call_fails),
		TEST(UB_26_a_forked_child_must_not_touch),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
