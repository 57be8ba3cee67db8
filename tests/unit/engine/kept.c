/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kept memory that the kernel knows (pin_bytes): which requests name it, what happens where the kernel
 * refuses, and that memory which was given back is never written to.
 *
 * This program's own definition of liburing's call comes before the library's, and can refuse.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/filter.h"
#include "lib/pattern.h"
#include "weir/weir.h"

#define SIZE (48 * MIB)
#define SEED 7

static _Atomic unsigned registered; /* so far, for good or not */
static unsigned refuse_at;          /* this one of them is refused; 0: none */
static bool refuse_all;

struct io_uring;
int io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off,
					 const struct iovec *iovecs, const unsigned long long *tags,
					 unsigned count);

int io_uring_register_buffers_update_tag(struct io_uring *ring, unsigned off,
					 const struct iovec *iovecs, const unsigned long long *tags,
					 unsigned count)
{
	static __typeof__(&io_uring_register_buffers_update_tag) next;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "io_uring_register_buffers_update_tag");
	if (iovecs->iov_len > 0 &&
	    (atomic_fetch_add(&registered, 1) + 1 == refuse_at || refuse_all))
		return -ENOMEM;
	return next(ring, off, iovecs, tags, count);
}

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static char *path;

static void begin(const struct weir_ctx_opts *opts)
{
	path = pattern_file("kept", SEED, SIZE);
	check_int(weir_ctx_create(opts, &ctx, &err), 0);
}

static void end(void)
{
	weir_ctx_destroy(ctx);
	unlink(path);
	free(path);
}

static struct weir_counters counters(void)
{
	struct weir_counters out;

	weir_ctx_counters(ctx, &out);
	return out;
}

/* Loads the file and looks at every byte; returns how many requests named pinned memory. */
static uint64_t load_with(uint64_t bytes, struct weir_buffer **keep)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .direct = WEIR_DIRECT_ON};
	struct weir_transfer *transfer;
	struct weir_object *object;
	struct weir_counters seen;
	struct weir_plan *plan;
	struct weir_done done;

	check_int(weir_object_open(ctx, path, &opts, &object, &err), 0);
	check_int(weir_plan_create(ctx, &plan, &err), 0);
	for (uint64_t at = 0; at < bytes; at += 8 * MIB)
		check_int(weir_plan_range(plan, object, at, 8 * MIB, weir_dest_alloc(), at, &err),
			  0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	while (weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err) > 0) {
		check_int(done.status, 0);
		check(pattern_check(done.data, SEED, done.tag, done.bytes) == done.bytes);
		if (keep && done.tag == 0)
			*keep = done.buffer; /* the first one */
		else
			weir_buffer_unref(done.buffer);
	}
	weir_transfer_counters(transfer, &seen);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	weir_object_unref(object);
	return seen.requests_pinned;
}

static uint64_t load(void)
{
	return load_with(SIZE, NULL);
}

static struct weir_ctx_opts *all_pinned(void)
{
	static struct weir_ctx_opts opts = {.size = sizeof(opts), .pin_bytes = UINT64_MAX};

	return &opts;
}

static void begin_pinned(void)
{
	begin(all_pinned());
	if (geteuid() != 0) {
		end();
		skip("not root: locked memory is limited");
	}
}

/* ---- Which requests ---- */

static void the_second_load_is_pinned(void)
{
	begin_pinned();
	check_int(load(), 0);
	check_int(counters().pinned_bytes, 0);
	check_int(load(), SIZE / (512 * KIB));
	check_int(load(), SIZE / (512 * KIB));
	check_int(counters().pinned_bytes, SIZE);
	check_int(counters().pins_refused, 0);
	end();
}

static void nothing_is_pinned_unless_asked_for(void)
{
	begin(NULL);
	for (unsigned i = 0; i < 3; i++)
		check_int(load(), 0);
	check_int(counters().pinned_bytes, 0);
	check_int(counters().pins_refused, 0);
	end();
}

static void no_more_than_asked_for(void)
{
	struct weir_ctx_opts opts = {.size = sizeof(opts), .pin_bytes = 16 * MIB};

	begin(&opts);
	load();
	if (geteuid() == 0)
		check_int(load(), 16 * MIB / (512 * KIB));
	check(counters().pinned_bytes <= 16 * MIB);
	end();
}

static void plain_threads_pin_nothing(void)
{
	filter_forbid(SYS_io_uring_setup, EPERM);
	begin(all_pinned());
	for (unsigned i = 0; i < 3; i++)
		check_int(load(), 0);
	check_int(counters().pinned_bytes, 0);
	end();
}

/* ---- Refused ---- */

static void ST_22_the_first_second_third_is_refused(void)
{
	for (unsigned n = 1; n <= 3; n++) {
		atomic_store(&registered, 0);
		refuse_at = n;
		begin_pinned();
		for (unsigned i = 0; i < 5; i++) {
			load();
			if (i % 2)
				weir_ctx_trim(ctx);
		}
		check(counters().pins_refused <= 1);
		check_int(counters().extents_failed, 0);
		end();
	}
}

/* It is not asked for again and again. */
static void ST_22_all_are_refused(void)
{
	begin_pinned();
	refuse_all = true;
	for (unsigned i = 0; i < 4; i++)
		check_int(load(), 0);
	check_int(counters().pins_refused, 1);
	check_int(counters().pinned_bytes, 0);
	end();
}

static void ST_22_locked_memory_is_limited(void)
{
	struct rlimit limit = {1 * MIB, 1 * MIB};

	if (geteuid() != 0)
		skip("not root");
	path = pattern_file("kept", SEED, SIZE);
	check_int(chmod(path, 0644), 0);
	check_int(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
	check_int(setgid(65534), 0);
	check_int(setuid(65534), 0);
	check_int(weir_ctx_create(all_pinned(), &ctx, &err), 0);
	for (unsigned i = 0; i < 3; i++)
		check_int(load(), 0);
	check_int(counters().pins_refused, 1);
	weir_ctx_destroy(ctx);
	free(path); /* not ours to remove any more: made in a directory of root's */
}

/* ---- Given back ---- */

/* While a buffer is out: what is given back and made anew is read into, not what a ring knew. */
static void trims_between_loads(void)
{
	begin_pinned();
	load();
	for (unsigned i = 0; i < 10; i++) {
		struct weir_buffer *keep = NULL;

		load_with(SIZE, &keep);
		check(weir_ctx_trim(ctx) > 0);
		check_int(counters().pinned_bytes, 0);
		load_with(SIZE / 2, NULL);
		load_with(SIZE / 2, NULL);
		check_int(pattern_check(weir_buffer_data(keep), SEED, 0, 8 * MIB), 8 * MIB);
		weir_buffer_unref(keep);
	}
	weir_ctx_trim(ctx);
	check_int(counters().memory_bytes, 0);
	end();
}

static _Atomic bool over;

static void *trim_always(void *arg)
{
	(void)arg;
	while (!atomic_load(&over)) {
		weir_ctx_trim(ctx);
		usleep(1000);
	}
	return NULL;
}

static void trims_while_lanes_read(void)
{
	pthread_t thread;

	begin_pinned();
	check_int(pthread_create(&thread, NULL, trim_always, NULL), 0);
	for (unsigned i = 0; i < 30; i++)
		load();
	atomic_store(&over, true);
	pthread_join(thread, NULL);
	check_int(counters().extents_failed, 0);
	end();
}

/* Buffers outlive their context, and what it had pinned is the kernel's to forget. */
static void buffers_outlive_their_context(void)
{
	struct weir_buffer *keep = NULL;

	begin_pinned();
	load();
	load_with(SIZE, &keep);
	check(counters().pinned_bytes > 0);
	end();
	check_int(weir_buffer_size(keep), 8 * MIB);
	memset(weir_buffer_data(keep), 1, 8 * MIB);
	weir_buffer_unref(keep);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(the_second_load_is_pinned),
		TEST(nothing_is_pinned_unless_asked_for),
		TEST(no_more_than_asked_for),
		TEST(plain_threads_pin_nothing),
		TEST(ST_22_the_first_second_third_is_refused),
		TEST(ST_22_all_are_refused),
		TEST(ST_22_locked_memory_is_limited),
		TEST(trims_between_loads),
		TEST(trims_while_lanes_read),
		TEST(buffers_outlive_their_context),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
