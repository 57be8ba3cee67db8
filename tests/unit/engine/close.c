/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir_ctx_close(): a context ends while objects, a plan, a queue and memory of it are still held.
 *
 * Each case runs in a process of its own, for files that were open stay so until that ends.
 */
#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define BYTES 100000

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static unsigned before; /* threads */

static void alone(void (*body)(void))
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		body();
		_exit(0); /* a failed check has left before */
	}
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
}

static unsigned threads(void)
{
	DIR *dir = opendir("/proc/self/task");
	unsigned count = 0;

	check(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count - 2;
}

static void *end_at_once(void *arg)
{
	return arg;
}

/* After a thread of ours: a sanitizer starts some of its own with the first. */
static unsigned threads_before(void)
{
	pthread_t thread;

	check_int(pthread_create(&thread, NULL, end_at_once, NULL), 0);
	check_int(pthread_join(thread, NULL), 0);
	nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	return threads();
}

/* Who was joined may be seen there for a moment still. */
static void check_threads(unsigned wanted)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (int i = 0; i < 5000 && threads() != wanted; i++)
		nanosleep(&pause, NULL);
	check_int(threads(), wanted);
}

/* One transfer has run, so that there are lanes. */
static struct weir_buffer *load(struct weir_object *object)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 0, BYTES, weir_dest_alloc(), 7, &err), 0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	check_int(pattern_check(done.data, 1, 0, BYTES), BYTES);
	return done.buffer;
}

static void close_what_is_held(const char *uri)
{
	struct weir_object *object, *other;
	struct weir_counters counters;
	struct weir_buffer *buffer;
	struct weir_queue *queue;
	struct weir_plan *plan;
	char data[16];

	check_int(weir_object_open(ctx, uri, NULL, &object, &err), 0);
	buffer = load(object);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_range(plan, object, 0, 10, weir_dest_alloc(), 1, &err), 0);
	check_int(weir_queue_create(ctx, 0, &queue, &err), 0);
	check(threads() > before);

	weir_ctx_close(ctx);
	check_threads(before);
	check_int(weir_object_open(ctx, uri, NULL, &other, &err), WEIR_CLOSED);
	check_str(err.message, "this context was closed");
	check_int(weir_object_read(object, 0, 16, data, WEIR_FOREVER, &err), WEIR_CLOSED);
	check_int(weir_queue_wait(queue, &(struct weir_done){0}, 1, 0, &err), WEIR_CLOSED);
	check_int((long)weir_ctx_trim(ctx), 0);
	weir_ctx_counters(ctx, &counters);
	check_str(weir_object_uri(object), uri);
	weir_ctx_close(ctx); /* nothing happens */

	weir_plan_destroy(plan);
	weir_queue_destroy(queue);
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	check_int(pattern_check(weir_buffer_data(buffer), 1, 0, BYTES), BYTES);
	weir_buffer_unref(buffer);
}

static void of_files(void)
{
	char *path = pattern_file("close", 1, BYTES);

	before = threads_before();
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	close_what_is_held(path);
	unlink(path);
	free(path);
}

static void of_memory(void)
{
	static unsigned char data[BYTES];

	pattern_fill(data, 1, 0, BYTES);
	before = threads_before();
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_memory_put(ctx, "close", data, BYTES, &err), 0);
	close_what_is_held("memory://close");
}

static void closing_while_files_are_held(void)
{
	alone(of_files);
}

static void closing_while_memory_is_held(void)
{
	alone(of_memory);
}

static void closing_what_did_nothing(void)
{
	weir_ctx_close(NULL);
	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	weir_ctx_close(ctx);
	weir_ctx_destroy(ctx);
}

/* A child may not touch what is its parent's. */
static void in_a_child(void)
{
	weir_ctx_close(ctx);
	weir_ctx_destroy(ctx);
}

static void closing_what_is_the_parents(void)
{
	char *path = pattern_file("close", 1, BYTES);
	struct weir_object *object;

	check_int(weir_ctx_create(NULL, &ctx, &err), 0);
	check_int(weir_object_open(ctx, path, NULL, &object, &err), 0);
	alone(in_a_child);
	weir_buffer_unref(load(object));
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	unlink(path);
	free(path);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(closing_while_files_are_held),
		TEST(closing_while_memory_is_held),
		TEST(closing_what_did_nothing),
		TEST(closing_what_is_the_parents),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
