/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests that take long: what goes on beside them, and what waits for their end.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "setting.h"
#include "slow.h"

#define SLOW_FILE UINT64_C(12)

static struct slow slow;
static struct setting at;

static const struct usrbio_key read_key = {.for_read = true};

static void begin(uint32_t entries)
{
	slow_make(&slow);
	setting_make(&at, NULL, entries);
	files_adopt(&at.rig, SLOW_FILE, dup(slow.fd));
	files_open(&at.rig, SLOW_FILE, at.iov.uid, O_RDONLY);
	atomic_store(&slow.shared->hold, true);
}

static void end(void)
{
	setting_end(&at);
	slow_end(&slow);
}

static struct ask slow_ask(unsigned number)
{
	return (struct ask){.iov = &at.iov,
			    .iov_offset = number * 4096,
			    .file = SLOW_FILE,
			    .offset = number * 4096,
			    .length = 4096,
			    .userdata = number};
}

static void hold(struct ring_client *ring, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct ask ask = slow_ask(i);

		check(ring_ask(ring, &ask) >= 0);
	}
	ring_bell(ring);
	check(slow_holds(&slow, (int)count));
}

static void let_go(struct ring_client *ring, int count)
{
	struct usrbio_cqe cqes[64];

	atomic_store(&slow.shared->hold, false);
	check_int(ring_reap(ring, cqes, count, 5000), count);
	for (int i = 0; i < count; i++) {
		uint64_t offset = cqes[i].userdata * 4096;

		check_int(cqes[i].result, 4096);
		check_int(pattern_check((char *)at.iov.memory + offset, SLOW_SEED, offset, 4096),
			  4096);
	}
}

/* Later completions are visible first, and a place is free as soon as a slot is. */
static void UB_25_a_slow_request_holds_nobody_up(void)
{
	struct ask quick = {.iov = &at.iov, .iov_offset = MIB, .file = FILE_1, .length = 64};
	int32_t places;

	begin(4);
	places = at.reads.end.view.places;
	hold(&at.reads, 1);
	check_int(atomic_load(at.reads.end.view.sq_tail), 1);
	for (int i = 0; i < 100; i++) {
		check_int(ring_result(&at.reads, &quick), 64);
		check_int(atomic_load(at.reads.end.view.sq_tail), (i + 2) % places);
	}
	for (int i = 0; i < 3; i++) /* three slots are free: three can be prepared */
		check(ring_ask(&at.reads, &quick) >= 0);
	ring_bell(&at.reads);
	check_int(ring_reap(&at.reads, (struct usrbio_cqe[3]){{0}}, 3, 2000), 3);
	let_go(&at.reads, 1);
	end();
}

static void RG_01_a_head_that_jumps_past_free_space(void)
{
	struct ring_client ring;
	struct virt_totals totals = {0};

	begin(4);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	hold(&ring, 1);
	atomic_store(ring.end.view.sq_head, 0); /* four more, of three */
	ring_bell(&ring);
	/* It is counted first, and taken away then. */
	for (int ms = 0; (totals.dead_rings == 0 || totals.rings > 2) && ms < 5000; ms++) {
		rig_rest(1000);
		virt_totals(at.rig.rings, &totals);
	}
	check_int(totals.dead_rings, 1);
	check_int(totals.rings, 2);
	atomic_store(&slow.shared->hold, false);
	rig_settle(&at.rig, 1, 2);
	ring_close(&at.rig, &ring);
	end();
}

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* The 99th of a hundred times that one quick read takes. */
static int64_t p99(struct ring_client *ring)
{
	struct ask quick = {.iov = &at.iov, .iov_offset = MIB, .file = FILE_1, .length = 4096};
	static int64_t times[1000];

	for (size_t i = 0; i < array_size(times); i++) {
		int64_t from = sys_real()->now_ns();

		check_int(ring_result(ring, &quick), 4096);
		times[i] = sys_real()->now_ns() - from;
	}
	qsort(times, array_size(times), sizeof(*times), by_time);
	return times[array_size(times) * 99 / 100];
}

static void RG_29_a_ring_of_slow_requests_beside_others(void)
{
	struct ring_client ring;
	int64_t quiet, busy;

	begin(4);
	ring_make(&at.rig, &ring, at.iov.uid, 32, &read_key);
	p99(&at.reads);
	quiet = p99(&at.reads);
	hold(&ring, 32);
	busy = p99(&at.reads);
	check(busy < 2 * quiet + 2 * NS_PER_MS); /* the machine is not ours alone */
	let_go(&ring, 32);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	end();
}

/* The same where the kernel reads it into its page cache. */
static void a_stuck_file_in_the_page_cache_holds_nobody_up(void)
{
	struct ask quick = {.iov = &at.iov, .iov_offset = MIB, .file = FILE_1, .length = 64};
	struct ask stuck = slow_ask(0);
	struct ring_client ring;

	slow_make(&slow);
	atomic_store(&slow.shared->cached, true);
	setting_make(&at, NULL, 4);
	files_adopt(&at.rig, SLOW_FILE, dup(slow.fd));
	files_open(&at.rig, SLOW_FILE, at.iov.uid, O_RDONLY);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	atomic_store(&slow.shared->hold, true);
	check(ring_ask(&ring, &stuck) >= 0);
	ring_bell(&ring);
	check(slow_holds(&slow, 1));
	for (int i = 0; i < 100; i++)
		check_int(ring_result(&at.reads, &quick), 64);
	let_go(&ring, 1);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	end();
}

/* Nor does one that asks for more than a ring may have under way. */
static void a_giant_request_holds_up_none_of_its_ring(void)
{
	struct ask quick = {.iov = &at.iov, .iov_offset = MIB, .file = FILE_1, .length = 64};
	struct ask giant = {.file = SLOW_FILE, .length = 80 * MIB, .userdata = 7};
	struct usrbio_cqe cqe;
	struct shared iov;

	begin(4);
	iov_make(&at.rig, &iov, at.iov.uid, giant.length, 0);
	giant.iov = &iov;
	check(ring_ask(&at.reads, &giant) >= 0);
	ring_bell(&at.reads);
	check(slow_holds(&slow, 8));
	for (int i = 0; i < 10; i++)
		check_int(ring_result(&at.reads, &quick), 64);
	atomic_store(&slow.shared->hold, false);
	check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
	check_int(cqe.result, SLOW_BYTES);
	check_int(rig_unlink(&at.rig, at.iov.uid, iov.name), 0);
	shared_close(&at.rig, &iov);
	end();
}

/* Ends of large requests are waited for together; one that ends alone is answered all the same. */
static void a_large_request_ends_alone_among_many(void)
{
	struct ask quick = {.iov = &at.iov, .iov_offset = 3 * MIB, .file = FILE_1, .length = 64};
	struct ring_client ring;
	struct usrbio_cqe cqes[16];

	begin(4);
	ring_make(&at.rig, &ring, at.iov.uid, 16, &read_key);
	for (unsigned i = 0; i < 16; i++) {
		struct ask large = slow_ask(i);

		large.iov_offset = i * 128 * KIB;
		large.offset = i % 8 * 128 * KIB;
		large.length = 128 * KIB;
		check(ring_ask(&ring, &large) >= 0);
	}
	ring_bell(&ring);
	check(slow_holds(&slow, 16));
	for (int i = 0; i < 3; i++) {
		atomic_store(&slow.shared->spare, 1);
		check_int(ring_reap(&ring, cqes, 1, 2000), 1);
		check_int(cqes[0].result, 128 * KIB);
		check_int(ring_result(&at.reads, &quick), 64);
	}
	atomic_store(&slow.shared->hold, false);
	check_int(ring_reap(&ring, cqes, 13, 5000), 13);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	end();
}

/* Name and id are gone at once; what was claimed ends as it would have. */
static void UB_51_RG_30_an_iov_unlinked_with_requests_under_way(void)
{
	struct ask late;
	struct virt_totals totals;

	begin(4);
	hold(&at.reads, 2);
	check_int(rig_unlink(&at.rig, at.iov.uid, at.iov.name), 0);
	late = slow_ask(2);
	check_int(ring_result(&at.reads, &late), -EINVAL);
	virt_totals(at.rig.rings, &totals);
	check_int(totals.iovs, 0);
	check(totals.registered_bytes >=
	      4 * MIB); /* it is mapped as long as it may be written to */
	let_go(&at.reads, 2);
	rig_settle(&at.rig, 0, 2);
	check_int(rig_link(&at.rig, at.iov.uid, at.iov.object, at.iov.name), 0);
	end();
}

static void RG_30_RG_23_a_ring_unlinked_with_requests_under_way(void)
{
	struct ring_client ring;
	struct usrbio_cqe cqe;
	struct ask ask;

	begin(4);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	hold(&ring, 2);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ask = slow_ask(3);
	check(ring_ask(&ring, &ask) >= 0); /* never claimed */
	ring_bell(&ring);
	let_go(&ring, 2);
	check_int(ring_reap(&ring, &cqe, 1, 200), 0);
	rig_settle(&at.rig, 1, 2);
	ring_close(&at.rig, &ring);
	end();
}

/* An end in order does not wait for ever, and leaves what may still be written to. */
static void an_end_with_a_request_that_is_stuck(void)
{
	int64_t from = sys_real()->now_ns();

	begin(4);
	hold(&at.reads, 1);
	rings_destroy(at.rig.rings, sys_real()->now_ns() + NS_PER_SEC / 10);
	check(sys_real()->now_ns() - from < 10 * NS_PER_SEC);
	atomic_store(&slow.shared->hold, false);
	rig_rest(100000);
	rig_remove(&at.rig);
	slow_end(&slow);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_25_a_slow_request_holds_nobody_up),
		TEST(RG_01_a_head_that_jumps_past_free_space),
		TEST(RG_29_a_ring_of_slow_requests_beside_others),
		TEST(a_stuck_file_in_the_page_cache_holds_nobody_up),
		TEST(a_giant_request_holds_up_none_of_its_ring),
		TEST(a_large_request_ends_alone_among_many),
		TEST(UB_51_RG_30_an_iov_unlinked_with_requests_under_way),
		TEST(RG_30_RG_23_a_ring_unlinked_with_requests_under_way),
		TEST(an_end_with_a_request_that_is_stuck),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
