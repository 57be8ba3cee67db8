/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a process while it loads: signals, stops, forks, exits, odd environments.  Each case
 * is a process of its own already (lib/check.h), so it may do to itself what it likes.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/size.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "weir/weir.h"

#define SIZE   (6 * MIB + 99)
#define PIECES 40

static struct weir_error err = WEIR_ERROR_INIT;

static struct weir_transfer *start_pieces(struct weir_ctx *ctx, struct weir_object *object,
					  const struct weir_transfer_opts *opts)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t i = 0; i < PIECES; i++)
		check_int(weir_plan_range(plan, object, i * (SIZE / PIECES), SIZE / PIECES,
					  weir_dest_alloc(), i, &err),
			  0);
	if (weir_transfer_start(plan, NULL, opts, &transfer, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return transfer;
}

static void drain_right(struct weir_transfer *transfer)
{
	struct weir_done done[8];
	int n, seen = 0;

	while ((n = weir_transfer_wait(transfer, done, 8, WEIR_FOREVER, &err)) > 0)
		for (int i = 0; i < n; i++, seen++) {
			check_int(done[i].status, 0);
			check_int(pattern_check(done[i].data, 8, done[i].tag * (SIZE / PIECES),
						SIZE / PIECES),
				  SIZE / PIECES);
			weir_buffer_unref(done[i].buffer);
		}
	check_int(n, 0);
	check_int(seen, PIECES);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
}

/* One load from the beginning to the end. */
static void load_right(void)
{
	struct weir_object *object;
	struct weir_ctx *ctx;

	if (weir_ctx_create(NULL, &ctx, &err) < 0)
		check_failed(__FILE__, __LINE__, "%s", err.message);
	object = pattern_on_disk(ctx, 8, SIZE);
	drain_right(start_pieces(ctx, object, NULL));
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

/* Memory that answers slowly: a transfer over it is under way for a while. */
static struct weir_object *open_slow(struct weir_ctx *ctx, int64_t latency_ns)
{
	struct weir_memory_opts slow = {.size = sizeof(slow), .latency_ns = latency_ns};
	struct weir_object *object = pattern_in_memory(ctx, 8, SIZE);

	check_int(weir_memory_behave(ctx, &slow, &err), 0);
	return object;
}

static int exit_of(pid_t pid)
{
	int status;

	check_int(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* ---- Signals ---- */

static void nothing(int number)
{
	(void)number;
}

static void PR_01_signals_without_restart_while_loading(void)
{
	struct sigaction action = {.sa_handler = nothing};
	struct itimerval often = {{0, 1000}, {0, 1000}};

	check_int(sigaction(SIGALRM, &action, NULL), 0);
	check_int(setitimer(ITIMER_REAL, &often, NULL), 0);
	for (int i = 0; i < 30; i++)
		load_right();
}

static void PR_03_no_handler_is_installed(void)
{
	struct sigaction before[32], after;

	for (int i = 1; i < 32; i++)
		sigaction(i, NULL, &before[i]);
	load_right();
	for (int i = 1; i < 32; i++) {
		sigaction(i, NULL, &after);
		check(after.sa_handler == before[i].sa_handler);
	}
}

/* The clock of deadlines goes on while the process stands still. */
static void stopped_child(int64_t timeout_ns, int expected)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_ctx *ctx;
	struct weir_done done;
	int n;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	object = open_slow(ctx, 300000000);
	transfer = start_pieces(ctx, object, WEIR_TRANSFER_OPTS(.timeout_ns = timeout_ns));
	kill(getpid(), SIGSTOP); /* comes back with SIGCONT */
	if (expected == 0)
		drain_right(transfer);
	while (expected && (n = weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err)) > 0) {
		check(done.status == 0 || done.status == expected);
		weir_buffer_unref(done.buffer);
	}
	if (expected)
		check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), expected);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	_exit(0);
}

static void stop_and_go(int64_t timeout_ns, int expected)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		stopped_child(timeout_ns, expected);
	check_int(waitpid(pid, &status, WUNTRACED), pid);
	check(WIFSTOPPED(status));
	nanosleep(&(struct timespec){1, 0}, NULL);
	check_int(kill(pid, SIGCONT), 0);
	check_int(exit_of(pid), 0);
}

static void PR_04_PR_17_stopped_and_continued(void)
{
	stop_and_go(0, 0);
	stop_and_go(30000000000, 0);
}

static void PR_04_PR_17_a_deadline_passes_while_stopped(void)
{
	stop_and_go(100000000, WEIR_TIMEOUT);
}

static void PR_11_the_descriptor_of_a_queue_is_not_low(void)
{
	struct weir_queue *queue;
	struct weir_ctx *ctx;
	int fd, input = dup(0);

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
	close(0);
	fd = weir_queue_fd(queue);
	dup2(input, 0);
	check(fd >= 3);
	weir_queue_destroy(queue);
	weir_ctx_destroy(ctx);
}

/* ---- Forks ---- */

static void child_is_refused(struct weir_ctx *ctx, struct weir_object *object,
			     struct weir_transfer *transfer, struct weir_queue *queue)
{
	struct weir_done done;
	struct weir_plan *plan;
	struct weir_stat stat;
	char byte;

	check_int(weir_plan_create(ctx, &plan, &err), WEIR_CLOSED);
	check_int(weir_object_stat(object, &stat, &err), WEIR_CLOSED);
	check_int(weir_object_read(object, 0, 1, &byte, WEIR_FOREVER, &err), WEIR_CLOSED);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), WEIR_CLOSED);
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), WEIR_CLOSED);
	check_int(weir_transfer_drop(transfer, 0), WEIR_CLOSED);
	check_int(weir_transfer_promote(transfer, 0, WEIR_CLASS_URGENT), WEIR_CLOSED);
	weir_transfer_cancel(transfer);
	weir_transfer_end(transfer);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), WEIR_CLOSED);
	check_int(weir_ctx_trim(ctx), 0);
	weir_queue_destroy(queue);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	_exit(0);
}

static void PR_13_PR_15_a_forked_child_is_refused_and_the_parent_goes_on(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_queue *queue;
	struct weir_ctx *ctx;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	object = open_slow(ctx, 2000000);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
	for (int round = 0; round < 40; round++) {
		pid_t pid;

		transfer = start_pieces(ctx, object, NULL);
		usleep((useconds_t)(round * 37 % 1500));
		pid = fork();
		if (pid == 0) {
			alarm(20); /* a lock that nobody will ever drop */
			child_is_refused(ctx, object, transfer, queue);
		}
		drain_right(transfer);
		check_int(exit_of(pid), 0);
	}
	weir_queue_destroy(queue);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void PR_13_a_child_leaves_what_its_parent_writes_alone(void)
{
	char *path = pattern_file("written", 1, 10), text[512];
	struct weir_object *object;
	struct weir_ctx *ctx;
	pid_t pid;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_object_create(ctx, path, 5, NULL, &object, &err), 0);
	pid = fork();
	if (pid == 0) {
		weir_object_unref(object);
		weir_ctx_destroy(ctx);
		_exit(0);
	}
	check_int(exit_of(pid), 0);
	snprintf(text, sizeof(text), "%s", "12345");
	struct weir_plan *plan;
	struct weir_transfer *transfer;
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_write(plan, object, 0, text, 5, 0, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_object_abort(object, &err);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	unlink(path);
	free(path);
}

static void PR_14_no_descriptor_is_inherited_by_exec(void)
{
	struct weir_object *object;
	struct weir_queue *queue;
	struct weir_ctx *ctx;

	for (int fd = 3; fd < 256; fd++)
		close(fd); /* what the test itself was given */
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	object = pattern_on_disk(ctx, 8, SIZE);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
	check(weir_queue_fd(queue) >= 3);
	drain_right(start_pieces(ctx, object, NULL));
	for (int fd = 3; fd < 256; fd++) {
		int flags = fcntl(fd, F_GETFD);

		check(flags < 0 || flags & FD_CLOEXEC);
	}
	weir_queue_destroy(queue);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

/* ---- Time ---- */

/* The wall clock, as this program and the library in it see it. */
static _Atomic int64_t wall_jump_s;

int clock_gettime(clockid_t clock, struct timespec *out)
{
	int ret = (int)syscall(SYS_clock_gettime, clock, out);

	if (clock == CLOCK_REALTIME)
		out->tv_sec += wall_jump_s;
	return ret;
}

static void *jump_about(void *arg)
{
	for (int i = 0; i < 200; i++) {
		wall_jump_s = (i % 2 ? 1 : -1) * INT64_C(315360000);
		usleep(1000);
	}
	return arg;
}

static void PR_16_the_wall_clock_jumps_by_ten_years(void)
{
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_ctx *ctx;
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, jump_about, NULL), 0);
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	object = open_slow(ctx, 20000000);
	transfer = start_pieces(ctx, object, WEIR_TRANSFER_OPTS(.timeout_ns = 20000000000));
	drain_right(transfer);
	pthread_join(thread, NULL);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

/* ---- Stacks, environments, filters ---- */

static void *load_on_thread(void *arg)
{
	struct weir_object *object;
	struct weir_ctx *ctx;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_object_open(ctx, arg, NULL, &object, &err), 0);
	drain_right(start_pieces(ctx, object, NULL));
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	return NULL;
}

static void PR_18_a_stack_of_64_KiB(void)
{
	char *path = pattern_file("stack", 8, SIZE);
	pthread_attr_t attr;
	pthread_t thread;

	pthread_attr_init(&attr);
	check_int(pthread_attr_setstacksize(&attr, 64 << 10), 0);
	check_int(pthread_create(&thread, &attr, load_on_thread, path), 0);
	pthread_join(thread, NULL);
	unlink(path);
	free(path);
}

static void PR_19_no_home_no_temporary_directory_another_locale(void)
{
	static const char *const commas[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "C"};

	for (size_t i = 0; i < array_size(commas); i++)
		if (setlocale(LC_ALL, commas[i]))
			break;
	unsetenv("HOME");
	load_right();
	check_int(chdir("/"), 0);
	load_right();
}

static void expect_budget_refused(const char *value)
{
	struct weir_ctx *ctx;

	check_int(setenv("WEIR_BUDGET", value, 1), 0);
	err = (struct weir_error)WEIR_ERROR_INIT;
	check_int(weir_ctx_create(NULL, &ctx, &err), WEIR_ARG);
	check_has(err.message, "WEIR_BUDGET");
	check(!strchr(err.message, '\n'));
}

static void PR_20_environment_that_makes_no_sense(void)
{
	char *big = malloc(MIB + 1);

	memset(big, 'x', MIB);
	big[MIB] = '\0';
	expect_budget_refused(big);
	memset(big, '9', MIB);
	expect_budget_refused(big);
	expect_budget_refused("-1");
	expect_budget_refused("");
	expect_budget_refused("1GiB\nX");
	expect_budget_refused("lots");
	expect_budget_refused("1");
	expect_budget_refused("0");
	free(big);
	unsetenv("WEIR_BUDGET");
	load_right();
}

#define DENY(number)                                                                               \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),                                         \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)

static void PR_21_a_filter_that_denies_what_is_new(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		DENY(SYS_io_uring_setup),
		DENY(SYS_memfd_create),
		DENY(SYS_pidfd_open),
		DENY(451), /* cachestat */
		/* As containers have it: the C library then makes threads the old way. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {array_size(code), code};

	check_int(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		skip("no filters of system calls here");
	load_right();
}

/* ---- The end of the process ---- */

static void exit_while_loading(bool file)
{
	struct weir_object *object;
	struct weir_ctx *ctx;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	object = file ? pattern_on_disk(ctx, 8, SIZE) : open_slow(ctx, 5000000000);
	start_pieces(ctx, object, NULL);
	exit(0);
}

static void PR_28_exit_with_requests_under_way(void)
{
	for (int round = 0; round < 20; round++) {
		int64_t start = time(NULL);
		pid_t pid = fork();

		if (pid == 0)
			exit_while_loading(round % 2);
		check_int(exit_of(pid), 0);
		check(time(NULL) - start < 4); /* nothing was waited for */
	}
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(PR_01_signals_without_restart_while_loading),
		TEST(PR_03_no_handler_is_installed),
		TEST(PR_04_PR_17_stopped_and_continued),
		TEST(PR_04_PR_17_a_deadline_passes_while_stopped),
		TEST(PR_11_the_descriptor_of_a_queue_is_not_low),
		TEST(PR_13_PR_15_a_forked_child_is_refused_and_the_parent_goes_on),
		TEST(PR_13_a_child_leaves_what_its_parent_writes_alone),
		TEST(PR_14_no_descriptor_is_inherited_by_exec),
		TEST(PR_16_the_wall_clock_jumps_by_ten_years),
		TEST(PR_18_a_stack_of_64_KiB),
		TEST(PR_19_no_home_no_temporary_directory_another_locale),
		TEST(PR_20_environment_that_makes_no_sense),
		TEST(PR_21_a_filter_that_denies_what_is_new),
		TEST(PR_28_exit_with_requests_under_way),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
