/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the faster way to a device the one that is taken?  In simulated time, over a source, a device and a
 * cuFile of known speeds: what the first bytes show decides for the rest.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/size.h"
#include "engine/context.h"
#include "engine/trial.h"
#include "lib/check.h"
#include "lib/fake_cuda.h"
#include "lib/fake_cufile.h"
#include "lib/front.h"
#include "lib/pattern.h"
#include "sim/one_lane.h"
#include "source/memory.h"
#include "weir/weir.h"

#define SIZE (160 * MIB)

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct weir_object *object;
static struct sys sys;
static int file; /* that holds what the object does */
static char *at;

/* Wherever the test runs, its file lies on ext4. */
static int fstatfs_ext4(int fd, struct statfs *out)
{
	int ret = fstatfs(fd, out);

	out->f_type = 0xEF53;
	return ret;
}

static void pass(int64_t ns)
{
	clock_ns += ns;
}

/* ---- A source in memory whose objects have a descriptor ---- */

static int duplicate(struct source_object *which)
{
	(void)which;
	return dup(file);
}

static const struct front_hooks hooks = {NULL, front_holds_nothing};

static int wrap(struct source **source, void *arg, struct weir_error *error)
{
	(void)arg;
	(void)error;
	front_put(source, "file", &hooks)->ops.duplicate = duplicate;
	return 0;
}

/* ---- Speeds ---- */

struct speeds {
	uint64_t source, device, cufile; /* bytes a second */
};

static void set_speeds(const struct speeds *speeds)
{
	struct memory_behaviour behaviour = {
		.bytes_per_second = speeds->source, .offset_align = 4096, .memory_align = 512};

	source_memory_behave(ctx->groups[0]->core, &behaviour);
}

static void start(const struct speeds *speeds)
{
	struct fake_cuda_how how = {.now_ns = now_ns, .bytes_per_second = speeds->device};
	struct fake_cufile_how cufile = {.pass = pass, .bytes_per_second = speeds->cufile};
	struct ctx_seams seams = {.sys = &sys,
				  .simulated = true,
				  .idle = idle,
				  .wrap = wrap,
				  .cuda = fake_cuda_start(&how),
				  .cufile = fake_cufile_start(&cufile)};
	struct weir_ctx_opts opts = {.size = sizeof(opts), .lanes = 1, .depth = 16};
	char *data = malloc(SIZE);

	clock_ns = NS_PER_SEC;
	sys = *sys_real();
	sys.now_ns = now_ns;
	sys.fstatfs = fstatfs_ext4;
	check_int(ctx_create_with(&opts, &seams, &ctx, &err), 0);
	pattern_fill(data, 1, 0, SIZE);
	check_int(weir_memory_put(ctx, "thing", data, SIZE, &err), 0);
	file = memfd_create("thing", MFD_CLOEXEC);
	check_int(write(file, data, SIZE), SIZE);
	free(data);
	set_speeds(speeds);
	check_int(weir_object_open(ctx, "memory://thing", NULL, &object, &err), 0);
	at = fake_cuda_alloc(0, SIZE, FAKE_DEVICE);
}

static void end(void)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
	close(file);
}

/* How many of the bytes were brought by cuFile. */
static uint64_t carry(void)
{
	struct weir_transfer *transfer;
	struct weir_counters counters;
	struct weir_plan *plan;
	struct weir_done done;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_cuda(0, at, SIZE, WEIR_CUDA_NO_STREAM),
				   0, &err),
		  0);
	check_int(weir_transfer_start(plan, NULL, NULL, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, WEIR_FOREVER, &err), 1);
	check_int(done.status, 0);
	check_int(pattern_check(fake_cuda_bytes(at), 1, 0, SIZE), SIZE);
	weir_transfer_counters(transfer, &counters);
	check_int(counters.bytes_cufile + counters.bytes_device, SIZE);
	check_int(weir_transfer_finish(transfer, WEIR_FOREVER, &err), 0);
	return counters.bytes_cufile;
}

#define TRIED (TRIAL_WARM + TRIAL_BYTES + 16 * MIB) /* at most, the second way */

static void a_faster_cufile_is_used(void)
{
	uint64_t bytes;

	start(&(struct speeds){.source = GIB, .device = 8 * GIB, .cufile = 2 * GIB});
	bytes = carry();
	printf("# %llu MiB by cuFile\n", (unsigned long long)(bytes / MIB));
	check(bytes > TRIED);
	check_int(carry(), SIZE); /* all, from then on */
	end();
}

static void a_slower_cufile_is_not_used(void)
{
	uint64_t bytes;

	start(&(struct speeds){.source = 2 * GIB, .device = 8 * GIB, .cufile = GIB});
	bytes = carry();
	check(bytes >= TRIAL_WARM + TRIAL_BYTES && bytes <= TRIED);
	check_int(carry(), 0);
	end();
}

/* Copies that hold up the staged way count: it is the whole of it that is measured. */
static void a_device_that_copies_slowly(void)
{
	start(&(struct speeds){.source = 8 * GIB, .device = GIB, .cufile = 2 * GIB});
	check(carry() > TRIED);
	check_int(carry(), SIZE);
	end();
}

static void it_is_measured_again_after_a_while(void)
{
	struct speeds speeds = {.source = GIB, .device = 8 * GIB, .cufile = 2 * GIB};

	start(&speeds);
	carry();
	check_int(carry(), SIZE);
	speeds.source = 6 * GIB;
	set_speeds(&speeds);
	check_int(carry(), SIZE);
	clock_ns += TRIAL_KEEP_NS;
	check(carry() <= TRIED);
	check_int(carry(), 0);
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_faster_cufile_is_used),
		TEST(a_slower_cufile_is_not_used),
		TEST(a_device_that_copies_slowly),
		TEST(it_is_measured_again_after_a_while),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
