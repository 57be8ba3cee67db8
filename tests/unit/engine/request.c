/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening and describing without waiting: completions, deadlines, cancelling, and a file server that
 * does not answer.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "weir/weir.h"

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_queue *queue;
static struct sys sys;
static int hang_pipe[2];

/* An open that ends only when something is written to the pipe. */
static int hanging_openat(int dir, const char *path, int flags, mode_t mode)
{
	char byte;

	check_int(read(hang_pipe[0], &byte, 1), 1);
	return openat(dir, path, flags, mode);
}

static void begin(bool hang)
{
	struct ctx_seams seams = {.sys = &sys};

	sys = *sys_real();
	if (hang)
		sys.openat = hanging_openat;
	check_int(pipe2(hang_pipe, O_CLOEXEC), 0);
	check_int(ctx_create_with(NULL, &seams, &ctx, &err), 0);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
}

static void end(void)
{
	weir_queue_destroy(queue);
	weir_ctx_destroy(ctx);
}

static void open_posts_a_completion(void)
{
	char *path = pattern_file("request", 1, 5000);
	struct pollfd pfd = {.events = POLLIN};
	struct weir_request *request;
	struct weir_object *object;
	struct weir_done done;
	char data[5000];

	begin(false);
	pfd.fd = weir_queue_fd(queue);
	check_int(weir_object_open_start(ctx, path, NULL, queue, 77, &request, &err), 0);
	check_int(poll(&pfd, 1, 10000), 1);
	check_int(weir_queue_wait(queue, &done, 1, 0, &err), 1);
	check(done.tag == 77 && done.status == 0 && !done.transfer);
	check_int(weir_object_open_finish(request, &object, &err), 0);
	check_int((long)weir_object_size(object), 5000);
	check_str(weir_object_scheme(object), "file");
	check_int(weir_object_read(object, 0, 5000, data, WEIR_FOREVER, &err), 0);
	check_int(pattern_check(data, 1, 0, 5000), 5000);
	weir_object_unref(object);
	unlink(path);
	free(path);
	end();
}

static void failure_comes_in_words_at_the_finish(void)
{
	struct weir_request *request;
	struct weir_done done;
	struct weir_stat stat;

	begin(false);
	check_int(weir_stat_start(ctx, "/nonexistent/x", NULL, queue, 1, &request, &err), 0);
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, WEIR_NOTFOUND);
	check_int(weir_stat_finish(request, &stat, &err), WEIR_NOTFOUND);
	check_has(err.message, "/nonexistent/x");
	end();
}

static void list_brings_the_entries(void)
{
	struct weir_request *request;
	struct weir_listing *listing;
	struct weir_entry entry;
	struct weir_done done;

	begin(false);
	check_int(weir_list_start(ctx, "/proc/self/fdinfo/..", NULL, queue, 1, &request, &err), 0);
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(weir_list_finish(request, &listing, &err), 0);
	check_int(weir_list_next(listing, &entry, &err), 1);
	weir_list_close(listing);
	end();
}

static void an_open_that_hangs_ends_at_its_deadline(void)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .timeout_ns = 300 * NS_PER_MS};
	struct weir_request *request;
	struct weir_object *object;
	struct weir_counters counters;
	struct weir_done done;
	int64_t start;

	begin(true);
	start = sys_real()->now_ns();
	check_int(weir_object_open_start(ctx, "/etc/hostname", &opts, queue, 9, &request, &err), 0);
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check(sys_real()->now_ns() - start < 10 * NS_PER_SEC);
	check_int(done.status, WEIR_TIMEOUT);
	check_int(weir_object_open_finish(request, &object, &err), WEIR_TIMEOUT);
	check_has(err.message, "/etc/hostname");
	/* The blocking form likewise, and both are counted while they hang. */
	check_int(weir_object_open(ctx, "/etc/hostname", &opts, &object, &err), WEIR_TIMEOUT);
	weir_ctx_counters(ctx, &counters);
	check_int(counters.stuck, 2);
	check_int(write(hang_pipe[1], "xxxx", 4), 4);
	while (counters.stuck)
		weir_ctx_counters(ctx, &counters);
	end();
}

static void finishing_early_cancels_and_closes_what_comes_late(void)
{
	struct weir_request *request;
	struct weir_object *object;
	struct weir_counters counters;

	begin(true);
	check_int(weir_object_open_start(ctx, "/etc/hostname", NULL, queue, 9, &request, &err), 0);
	usleep(20000);
	check_int(weir_object_open_finish(request, &object, &err), WEIR_CANCELLED);
	check_int(write(hang_pipe[1], "xx", 2), 2);
	do
		weir_ctx_counters(ctx, &counters);
	while (counters.stuck);
	end();
}

static void a_cancel_flag_ends_both_forms(void)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .timeout_ns = WEIR_FOREVER};
	struct weir_request *request;
	struct weir_object *object;
	struct weir_counters counters;
	struct weir_done done;

	begin(true);
	check_int(weir_cancel_create(ctx, &opts.cancel, &err), 0);
	check_int(weir_object_open_start(ctx, "/etc/hostname", &opts, queue, 9, &request, &err), 0);
	weir_cancel_fire(opts.cancel);
	check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, WEIR_CANCELLED);
	check_int(weir_object_open_finish(request, &object, &err), WEIR_CANCELLED);
	check_int(weir_object_open(ctx, "/etc/hostname", &opts, &object, &err), WEIR_CANCELLED);
	check_int(write(hang_pipe[1], "xxxx", 4), 4);
	do
		weir_ctx_counters(ctx, &counters);
	while (counters.stuck);
	end();
	weir_cancel_destroy(opts.cancel);
}

/* Not even what could be done before anybody looks. */
static void a_flag_that_was_fired_before_lets_nothing_begin(void)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .timeout_ns = WEIR_FOREVER};
	struct weir_request *request;
	struct weir_object *object;
	struct weir_done done;

	begin(false);
	check_int(weir_cancel_create(ctx, &opts.cancel, &err), 0);
	weir_cancel_fire(opts.cancel);
	for (int i = 0; i < 200; i++) {
		check_int(weir_object_open_start(ctx, "/etc/hostname", &opts, queue, 9, &request,
						 &err),
			  0);
		check_int(weir_queue_wait(queue, &done, 1, WEIR_FOREVER, &err), 1);
		check_int(done.status, WEIR_CANCELLED);
		check_int(weir_object_open_finish(request, &object, &err), WEIR_CANCELLED);
		check_int(weir_object_open(ctx, "/etc/hostname", &opts, &object, &err),
			  WEIR_CANCELLED);
	}
	end();
	weir_cancel_destroy(opts.cancel);
}

/* A copy in the kernel is long at work, and ends only between two of its pieces. */
static ssize_t copy_slowly(int from, off_t *from_at, int to, off_t *to_at, size_t length,
			   unsigned flags)
{
	usleep(150000);
	return copy_file_range(from, from_at, to, to_at, min_of(length, (size_t)4096), flags);
}

static int clone_refused(int to, int from)
{
	(void)to;
	(void)from;
	errno = EOPNOTSUPP;
	return -1;
}

static void a_cancelled_clone_has_ended_when_it_returns(void)
{
	char from[] = "/tmp/weir-clone-XXXXXX", to[] = "/tmp/weir-cloned-XXXXXX";
	struct weir_object *source, *target;
	struct weir_cancel *cancel;
	int64_t start;
	int fd = mkstemp(from);

	/* Bytes at the start: a file of nothing but hole is copied at once. */
	check_int(pwrite(fd, (char[65536]){1}, 65536, 0), 65536);
	check_int(ftruncate(fd, 1 << 20), 0);
	close(fd);
	close(mkstemp(to));
	begin(false);
	sys.clone_file = clone_refused;
	sys.copy_file_range = copy_slowly;
	check_int(weir_cancel_create(ctx, &cancel, &err), 0);
	check_int(weir_object_open(ctx, from, NULL, &source, &err), 0);
	check_int(weir_object_create(ctx, to, 1 << 20, NULL, &target, &err), 0);
	weir_cancel_fire(cancel);
	start = sys_real()->now_ns();
	check_int(weir_object_clone(target, source, cancel, &err), WEIR_CANCELLED);
	check(sys_real()->now_ns() - start > 140 * NS_PER_MS); /* it waited for the piece */
	weir_object_unref(target);
	weir_object_unref(source);
	end();
	weir_cancel_destroy(cancel);
	unlink(from);
	unlink(to);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(open_posts_a_completion),
		TEST(failure_comes_in_words_at_the_finish),
		TEST(list_brings_the_entries),
		TEST(an_open_that_hangs_ends_at_its_deadline),
		TEST(finishing_early_cancels_and_closes_what_comes_late),
		TEST(a_cancel_flag_ends_both_forms),
		TEST(a_flag_that_was_fired_before_lets_nothing_begin),
		TEST(a_cancelled_clone_has_ended_when_it_returns),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
