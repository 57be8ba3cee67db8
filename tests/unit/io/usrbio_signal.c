/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Semaphores in shared memory: each case with ours on one side and glibc's on the other, since a peer uses
 * those; and the files of submit semaphores.
 */
#include "io/usrbio/signal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/check.h"
#include "lib/fail.h"

union both {
	struct usrbio_sem ours;
	sem_t theirs;
	unsigned char bytes[32];
};

static union both *shared(void)
{
	union both *sem = mmap(NULL, sizeof(*sem), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	check(sem != MAP_FAILED);
	return sem;
}

static int value(union both *sem)
{
	int now;

	check_int(sem_getvalue(&sem->theirs, &now), 0);
	return now;
}

static int64_t soon(int64_t ms)
{
	return sys_real()->now_ns() + ms * NS_PER_MS;
}

static void as_glibc_initialises_it(void)
{
	union both *sem = shared(), theirs;

	memset(sem, 0xff, sizeof(*sem));
	memset(&theirs, 0, sizeof(theirs));
	sem_init(&theirs.theirs, 1, 0);
	usrbio_sem_init(&sem->ours);
	check(memcmp(sem->bytes, theirs.bytes, sizeof(theirs.bytes)) == 0);
}

static void posts_are_counted_and_drained(void)
{
	union both *sem = shared();

	usrbio_sem_init(&sem->ours);
	for (int i = 0; i < 1000; i++)
		usrbio_sem_post(sys_real(), &sem->ours);
	check_int(value(sem), 1000);
	check_int(sem_trywait(&sem->theirs), 0);
	check_int(usrbio_sem_drain(&sem->ours), 999);
	check_int(value(sem), 0);
	check_int(sem_trywait(&sem->theirs), -1);
	check_int(sem_post(&sem->theirs), 0);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, soon(0)), 0);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, soon(0)), -ETIMEDOUT);
}

static void RG_26_a_full_one_stays_full(void)
{
	union both *sem = shared();

	usrbio_sem_init(&sem->ours);
	atomic_store(&sem->ours.data, INT32_MAX);
	usrbio_sem_post(sys_real(), &sem->ours);
	check_int(value(sem), INT32_MAX);
}

static void deadlines(void)
{
	union both *sem = shared();
	int64_t start = sys_real()->now_ns(), took;

	usrbio_sem_init(&sem->ours);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, 0), -ETIMEDOUT);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, -5), -ETIMEDOUT);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, soon(50)), -ETIMEDOUT);
	took = sys_real()->now_ns() - start;
	check(took >= 50 * NS_PER_MS && took < 5 * NS_PER_SEC);
	check_int(usrbio_sem_waiters(&sem->ours), 0);
}

static void *wait_ours(void *arg)
{
	union both *sem = arg;
	int64_t deadline = soon(30000);

	while (usrbio_sem_wait(sys_real(), &sem->ours, deadline))
		check(sys_real()->now_ns() < deadline);
	return NULL;
}

static void *wait_theirs(void *arg)
{
	union both *sem = arg;
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 30;
	check_int(sem_timedwait(&sem->theirs, &until), 0);
	return NULL;
}

/* Until the other thread is seen waiting, which both sides count in the same place. */
static void await_waiter(union both *sem)
{
	while (!usrbio_sem_waiters(&sem->ours))
		usleep(1000);
	usleep(10000);
}

static void glibc_wakes_ours(void)
{
	union both *sem = shared();
	pthread_t thread;

	usrbio_sem_init(&sem->ours);
	check_int(pthread_create(&thread, NULL, wait_ours, sem), 0);
	await_waiter(sem);
	check_int(sem_post(&sem->theirs), 0);
	pthread_join(thread, NULL);
	check_int(atomic_load(&sem->ours.data), 0);
}

static void ours_wakes_glibc(void)
{
	union both *sem = shared();
	pthread_t thread;

	usrbio_sem_init(&sem->ours);
	check_int(pthread_create(&thread, NULL, wait_theirs, sem), 0);
	await_waiter(sem);
	usrbio_sem_post(sys_real(), &sem->ours);
	pthread_join(thread, NULL);
	check_int(atomic_load(&sem->ours.data), 0);
}

/* Two processes that hand a turn to and fro: a lost wake-up would stop them. */
static void wakes_between_processes(void)
{
	union both *here = shared(), *there = shared();
	int64_t deadline = soon(60000);
	int status;
	pid_t child;

	usrbio_sem_init(&here->ours);
	usrbio_sem_init(&there->ours);
	child = fork();
	for (int i = 0; i < 20000; i++) {
		union both *mine = child ? here : there, *other = child ? there : here;

		if (child)
			usrbio_sem_post(sys_real(), &other->ours);
		while (usrbio_sem_wait(sys_real(), &mine->ours, deadline))
			check(sys_real()->now_ns() < deadline);
		if (!child)
			usrbio_sem_post(sys_real(), &other->ours);
	}
	if (!child)
		_exit(0);
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
}

static void a_futex_that_fails_does_not_spin(void)
{
	union both *sem = shared();
	int64_t start = sys_real()->now_ns();

	usrbio_sem_init(&sem->ours);
	fail_call(FAIL_futex, 1, FAIL_FROM, ENOSYS);
	for (int i = 0; i < 5; i++)
		check_int(usrbio_sem_wait(fail_sys(), &sem->ours, soon(1000)), 0);
	check(fail_call_end());
	check(sys_real()->now_ns() - start >= 5 * NS_PER_MS);
}

/* ---- Files of submit semaphores ---- */

static int shm_dir(void)
{
	int fd = open("/dev/shm", O_PATH | O_DIRECTORY | O_CLOEXEC);

	check(fd >= 0);
	return fd;
}

static void UB_14_made_for_any_user_and_opened_by_its_link(void)
{
	struct usrbio_bell_file server, client;
	char target[128] = "/dev/shm/", name[64];
	mode_t mask = umask(077);
	int dir = shm_dir();
	struct stat st;
	sem_t *theirs;

	check_int(usrbio_bell_create(sys_real(), dir, &server, NULL), 0);
	umask(mask);
	strcat(target, server.name);
	check_int(stat(target, &st), 0);
	check_int(st.st_mode, S_IFREG | 0666);
	check_int(st.st_size, 32);
	check_int(usrbio_bell_open(sys_real(), dir, target, &client, NULL), 0);
	usrbio_sem_post(sys_real(), client.sem);
	check_int(usrbio_sem_drain(server.sem), 1);
	snprintf(name, sizeof(name), "/%s", server.name + 4);
	theirs = sem_open(name, 0); /* as the vendor's library does */
	check(theirs != SEM_FAILED);
	check_int(sem_post(theirs), 0);
	check_int(usrbio_sem_drain(server.sem), 1);
	sem_close(theirs);
	usrbio_bell_unlink(sys_real(), dir, &server);
	check_int(stat(target, &st), -1);
	usrbio_bell_close(sys_real(), &client);
	usrbio_bell_close(sys_real(), &server);
	close(dir);
}

/* Anybody may cut off what anybody may open: an error, and the process lives. */
static void PR_05_a_bell_that_was_cut_off_is_an_error(void)
{
	struct usrbio_bell_file server, client;
	char target[128] = "/dev/shm/";
	int dir = shm_dir();

	check_int(usrbio_bell_create(sys_real(), dir, &server, NULL), 0);
	strcat(target, server.name);
	check_int(usrbio_bell_open(sys_real(), dir, target, &client, NULL), 0);
	for (int i = 0; i < 3; i++)
		check_int(usrbio_bell_ring(sys_real(), client.sem), 0);
	check_int(usrbio_sem_drain(server.sem), 3);
	check_int(truncate(target, 0), 0);
	check_int(usrbio_bell_ring(sys_real(), client.sem), -EFAULT);
	check_int(truncate(target, sizeof(*server.sem)), 0);
	check_int(usrbio_bell_ring(sys_real(), client.sem), 0);
	check_int(usrbio_sem_drain(server.sem), 1);
	usrbio_bell_unlink(sys_real(), dir, &server);
	usrbio_bell_close(sys_real(), &client);
	usrbio_bell_close(sys_real(), &server);
	close(dir);
}

static void *ring_soon(void *sem)
{
	usleep(20000);
	check_int(usrbio_bell_ring(sys_real(), sem), 0);
	return NULL;
}

static void a_bell_wakes_who_sleeps_on_it(void)
{
	union both *sem = shared();
	pthread_t thread;

	usrbio_sem_init(&sem->ours);
	check_int(pthread_create(&thread, NULL, ring_soon, &sem->ours), 0);
	check_int(usrbio_sem_wait(sys_real(), &sem->ours, soon(5000)), 0);
	pthread_join(thread, NULL);
	check_int(pthread_create(&thread, NULL, ring_soon, &sem->ours), 0);
	check_int(sem_wait(&sem->theirs), 0);
	pthread_join(thread, NULL);
	check_int(value(sem), 0);
}

static void RG_48_links_of_another_kind(void)
{
	static const char *const targets[] = {
		"",
		"/dev/shm",
		"/dev/shm/",
		"/dev/shm/sem.",
		"/dev/shm/other",
		"/dev/shm/x/sem.a",
		"/dev/shm/../sem.a",
		"/tmp/sem.a",
		"sem.a",
		"/dev/shmsem.a",
	};
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_bell_file bell;
	char longer[300] = "/dev/shm/sem.";
	int dir = shm_dir();

	for (size_t i = 0; i < sizeof(targets) / sizeof(*targets); i++) {
		check_int(usrbio_bell_open(sys_real(), dir, targets[i], &bell, &err), WEIR_PROTO);
		check_int(err.os_errno, EPROTO);
	}
	memset(longer + 13, 'a', sizeof(longer) - 14);
	check_int(usrbio_bell_open(sys_real(), dir, longer, &bell, &err), WEIR_PROTO);
	check_int(usrbio_bell_open(sys_real(), dir, "/dev/shm/sem.not-there", &bell, &err),
		  WEIR_NOTFOUND);
	check(!bell.sem);
	close(dir);
}

static void a_file_that_is_too_small(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_bell_file bell;
	char path[] = "/dev/shm/sem.weir-test-XXXXXX";
	int dir = shm_dir(), fd = mkstemp(path);

	check(fd >= 0 && ftruncate(fd, 31) == 0);
	check_int(usrbio_bell_open(sys_real(), dir, path, &bell, &err), WEIR_PROTO);
	unlink(path);
	close(fd);
	close(dir);
}

static void nothing_stays_of_one_that_failed(void)
{
	static const enum fail_call calls[] = {FAIL_openat, FAIL_ftruncate, FAIL_mmap, FAIL_random};
	struct usrbio_bell_file bell;
	int dir = shm_dir();

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		char path[128];

		fail_call(calls[i], 1, FAIL_ONCE, EMFILE);
		check(usrbio_bell_create(fail_sys(), dir, &bell, NULL) < 0);
		check(fail_call_end());
		snprintf(path, sizeof(path), "/dev/shm/%s", bell.name);
		check(!bell.name[0] || access(path, F_OK));
	}
	check_int(fail_mapped_bytes(), 0);
	close(dir);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(as_glibc_initialises_it),
		TEST(posts_are_counted_and_drained),
		TEST(RG_26_a_full_one_stays_full),
		TEST(deadlines),
		TEST(glibc_wakes_ours),
		TEST(ours_wakes_glibc),
		TEST(wakes_between_processes),
		TEST(a_futex_that_fails_does_not_spin),
		TEST(UB_14_made_for_any_user_and_opened_by_its_link),
		TEST(PR_05_a_bell_that_was_cut_off_is_an_error),
		TEST(a_bell_wakes_who_sleeps_on_it),
		TEST(RG_48_links_of_another_kind),
		TEST(a_file_that_is_too_small),
		TEST(nothing_stays_of_one_that_failed),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
