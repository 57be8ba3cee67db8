/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Transfers over a source that fails now and then: what passes is tried again and counted, what stays
 * is told at once.
 */
#include <errno.h>

#include "base/clock.h"
#include "base/size.h"
#include "engine/context.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "lib/pattern_object.h"
#include "source/fault.h"
#include "weir/weir.h"

#define SIZE (3 * MIB + 5)

static struct weir_error err = WEIR_ERROR_INIT;
static struct weir_ctx *ctx;
static struct source *misbehaving;
static char landed[SIZE];

static int stand_in_front(struct source **source, void *arg, struct weir_error *error)
{
	int ret = source_fault_create(*source, 1, source, error);

	(void)arg;
	misbehaving = *source;
	return ret;
}

static struct weir_object *begin(void)
{
	const struct ctx_seams seams = {.wrap = stand_in_front};

	check_int(ctx_create_with(NULL, &seams, &ctx, &err), 0);
	return pattern_in_memory(ctx, 3, SIZE);
}

/* Reads all of it; what finish says. */
static int read_all(struct weir_object *object, const struct weir_transfer_opts *opts,
		    struct weir_counters *counters)
{
	struct weir_transfer *transfer;
	struct weir_plan *plan;
	struct weir_done done;

	check_int(weir_plan_create(ctx, &plan, &err), 0);
	check_int(weir_plan_object(plan, object, weir_dest_host(landed, SIZE), 0, &err), 0);
	check_int(weir_transfer_start(plan, NULL, opts, &transfer, &err), 0);
	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 1);
	check_int(weir_transfer_wait(transfer, &done, 1, 20 * NS_PER_SEC, &err), 0);
	weir_transfer_counters(transfer, counters);
	return weir_transfer_finish(transfer, WEIR_FOREVER, &err);
}

static void end(struct weir_object *object)
{
	weir_object_unref(object);
	weir_ctx_destroy(ctx);
}

static void what_passes_is_tried_again_and_counted(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .times = 3, .action = FAULT_ERROR, .code = WEIR_PEER_GONE};
	struct weir_object *object = begin();
	struct weir_counters counters;

	source_fault_set(misbehaving, &rule, 1);
	check_int(read_all(object, NULL, &counters), 0);
	check_int(pattern_check(landed, 3, 0, SIZE), SIZE);
	check_int(counters.retries, 3);
	end(object);
}

static void ST_03_what_stays_is_told_at_once(void)
{
	const struct fault_rule rule = {.calls = FAULT_READ,
					.offset = 2 * MIB,
					.length = 1,
					.action = FAULT_ERROR,
					.code = WEIR_IO,
					.os_errno = EIO};
	struct weir_object *object = begin();
	struct weir_counters counters;

	source_fault_set(misbehaving, &rule, 1);
	check_int(read_all(object, NULL, &counters), WEIR_IO);
	check_int(err.os_errno, EIO);
	check_has(err.message, "memory://pattern");
	check_int(counters.retries, 0);
	end(object);
}

/* A wait between two tries does not outlive the transfer's time. */
static void no_try_past_the_deadline(void)
{
	const struct fault_rule rule = {
		.calls = FAULT_READ, .action = FAULT_ERROR, .code = WEIR_THROTTLED};
	struct weir_object *object = begin();
	struct weir_counters counters;
	int64_t start = sys_real()->now_ns();
	int ret;

	source_fault_set(misbehaving, &rule, 1);
	ret = read_all(object, WEIR_TRANSFER_OPTS(.timeout_ns = 100 * NS_PER_MS), &counters);
	check(ret == WEIR_TIMEOUT || ret == WEIR_THROTTLED);
	check(sys_real()->now_ns() - start < 5 * NS_PER_SEC);
	end(object);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(what_passes_is_tried_again_and_counted),
		TEST(ST_03_what_stays_is_told_at_once),
		TEST(no_try_past_the_deadline),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
