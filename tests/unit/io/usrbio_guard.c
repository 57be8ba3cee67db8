/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guard against memory that goes away: inside a region a fault becomes an error, anywhere else the
 * process dies as it would have.  Each case that may die has a process of its own.
 */
#include "io/usrbio/guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/thread.h"
#include "lib/check.h"

#define PAGE 4096u

/* A page that is mapped and not there. */
static char *gone(void)
{
	int fd = memfd_create("gone", MFD_CLOEXEC);
	char *at;

	check(fd >= 0 && ftruncate(fd, PAGE) == 0);
	at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(at != MAP_FAILED && ftruncate(fd, 0) == 0);
	close(fd);
	return at;
}

static void touch(void *arg)
{
	*(volatile char *)arg = 1;
}

/* How a process ends that runs this: the signal, or minus its exit status. */
static int end_of(void (*run)(void))
{
	const struct rlimit none = {0, 0};
	pid_t child = fork();
	int status;

	if (child == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGBUS, SIG_DFL); /* the sanitizers' own */
		run();
		_exit(0);
	}
	check_int(waitpid(child, &status, 0), child);
	return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

static void fault_inside(void)
{
	char *page = gone();

	check_int(usrbio_guard_install(), 0);
	for (int i = 0; i < 1000; i++)
		check_int(usrbio_guarded(touch, page, page, PAGE), -EFAULT);
	check_int(usrbio_guarded(touch, page + PAGE - 1, page, PAGE), -EFAULT);
}

static void PR_05_inside_a_region_it_is_an_error(void)
{
	check_int(end_of(fault_inside), 0);
}

static void fault_after(void)
{
	char *page = gone();

	check_int(usrbio_guard_install(), 0);
	check_int(usrbio_guarded(touch, page, page, PAGE), -EFAULT);
	touch(page);
}

static void PR_05_outside_of_one_it_is_not_caught(void)
{
	check_int(end_of(fault_after), SIGBUS);
}

static void fault_elsewhere(void)
{
	char *page = gone(), *other = gone();

	check_int(usrbio_guard_install(), 0);
	(void)!usrbio_guarded(touch, other, page, PAGE);
}

static void PR_05_at_another_address_it_is_not_caught(void)
{
	check_int(end_of(fault_elsewhere), SIGBUS);
}

static void fault_without(void)
{
	char *page = gone();

	(void)!usrbio_guarded(touch, page, page, PAGE);
}

static void nothing_is_installed_by_itself(void)
{
	check_int(end_of(fault_without), SIGBUS);
}

static void raise_it(void *arg)
{
	(void)arg;
	raise(SIGBUS);
}

static void sent_by_somebody(void)
{
	char *page = gone();

	check_int(usrbio_guard_install(), 0);
	(void)!usrbio_guarded(raise_it, NULL, page, PAGE);
}

static void PR_05_a_signal_that_was_sent_is_not_caught(void)
{
	check_int(end_of(sent_by_somebody), SIGBUS);
}

static void leave(int number)
{
	_exit(number == SIGBUS ? 42 : 1);
}

static void handler_before(void)
{
	char *page = gone();

	signal(SIGBUS, leave);
	check_int(usrbio_guard_install(), 0);
	check_int(usrbio_guarded(touch, page, page, PAGE), -EFAULT);
	touch(page);
}

static void the_program_s_own_handler_gets_the_rest(void)
{
	check_int(end_of(handler_before), -42);
}

static void *run_blocked(void *arg)
{
	check_int(usrbio_guarded(touch, arg, arg, PAGE), -EFAULT);
	return NULL;
}

static void fault_in_a_thread_of_ours(void)
{
	pthread_t thread;

	check_int(usrbio_guard_install(), 0);
	check_int(thread_start(sys_real(), &thread, "test", run_blocked, gone(), NULL), 0);
	thread_join(thread);
}

static void threads_that_block_every_signal(void)
{
	check_int(end_of(fault_in_a_thread_of_ours), 0);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_05_inside_a_region_it_is_an_error),
		TEST(PR_05_outside_of_one_it_is_not_caught),
		TEST(PR_05_at_another_address_it_is_not_caught),
		TEST(nothing_is_installed_by_itself),
		TEST(PR_05_a_signal_that_was_sent_is_not_caught),
		TEST(the_program_s_own_handler_gets_the_rest),
		TEST(threads_that_block_every_signal),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
