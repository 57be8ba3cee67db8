/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of well-behaved clients, and what they are answered.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "io/usrbio/spin.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "setting.h"

static struct setting at;

static const struct usrbio_key read_key = {.for_read = true};

static int64_t read_at(uint64_t offset, uint64_t length)
{
	return ring_result(&at.reads, &(struct ask){.iov = &at.iov,
						    .file = FILE_1,
						    .offset = offset,
						    .length = length,
						    .userdata = offset});
}

static void UB_34_reads_end_where_the_file_ends(void)
{
	setting_make(&at, NULL, 4);
	check_int(read_at(0, 4096), 4096);
	check_int(pattern_check(at.iov.memory, FILE_1, 0, 4096), 4096);
	check_int(read_at(MIB + 1, MIB + 3), MIB + 3);
	check_int(pattern_check(at.iov.memory, FILE_1, MIB + 1, MIB + 3), MIB + 3);
	memset(at.iov.memory, 0x5a, 4096);
	check_int(read_at(FILE_BYTES - 100, 4096), 100);
	check_int(pattern_check(at.iov.memory, FILE_1, FILE_BYTES - 100, 100), 100);
	check_int(((unsigned char *)at.iov.memory)[4095], 0x5a);
	check_int(read_at(FILE_BYTES, 4096), 0);
	check_int(read_at(FILE_BYTES + 4096, 4096), 0);
	check_int(read_at(0, 4 * MIB), FILE_BYTES);
	setting_end(&at);
}

static void UB_43_writes_extend_the_file_and_are_reported(void)
{
	struct ask ask = {.iov = &at.iov, .iov_offset = 512, .file = FILE_1, .length = 10000};
	unsigned char back[10000];

	setting_make(&at, NULL, 4);
	ask.offset = FILE_BYTES + 77;
	pattern_fill((char *)at.iov.memory + 512, 99, 0, 10000);
	check_int(files_changes(&at.rig, FILE_1), 0);
	check_int(ring_result(&at.writes, &ask), 10000);
	check(files_changes(&at.rig, FILE_1) == 1);
	check_int(pread(files_fd(&at.rig, FILE_1), back, sizeof(back), FILE_BYTES + 77), 10000);
	check_int(pattern_check(back, 99, 0, 10000), 10000);
	setting_end(&at);
}

/* ---- Rings in motion ---- */

/* Keeps a ring busy with reads of random lengths until `count` have completed, each once. */
static void run_ring(struct ring_client *ring, uint32_t seed, uint64_t count)
{
	struct usrbio_cqe cqes[64];
	uint64_t *asked = calloc(ring->entries, sizeof(*asked)), next = 1, done = 0;
	uint64_t state = seed;

	check(asked != NULL);
	while (done < count) {
		unsigned burst = (unsigned)chance_below(&state, ring->entries) + 1;
		int n, slot = 0;

		for (unsigned i = 0; i < burst && next <= count && slot >= 0; i++) {
			slot = ring_ask(ring, &(struct ask){.iov = &at.iov,
							    .file = FILE_1,
							    .offset = next % 1000,
							    .length = 1 + next % 64,
							    .userdata = next});
			if (slot >= 0) {
				check(asked[slot] == 0);
				asked[slot] = next++;
			}
		}
		ring_bell(ring);
		n = ring_reap(ring, cqes, 1, 5000);
		check(n == 1);
		n += ring_reap(ring, cqes + 1, 63, 0);
		for (int i = 0; i < n; i++, done++) {
			check(asked[cqes[i].index] == cqes[i].userdata);
			check_int(cqes[i].result, 1 + cqes[i].userdata % 64);
			asked[cqes[i].index] = 0;
		}
	}
	free(asked);
}

static void UB_23_one_entry_ten_thousand_times(void)
{
	setting_make(&at, NULL, 1);
	run_ring(&at.reads, 1, 10000);
	setting_end(&at);
}

static void UB_24_RG_33_each_completes_once_over_wrap_around(void)
{
	static const uint32_t entries[] = {1, 2, 3, 7, 8, 9, 64};

	for (size_t i = 0; i < array_size(entries); i++) {
		setting_make(&at, NULL, entries[i]);
		run_ring(&at.reads, (uint32_t)i, rig_times(20000));
		setting_end(&at);
	}
}

/* How long a request takes whose client does not ring. */
static int64_t unrung_ns(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	int64_t from = sys_real()->now_ns();
	struct usrbio_cqe cqe;

	check(ring_ask(&at.reads, &ask) >= 0);
	check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
	return sys_real()->now_ns() - from;
}

/* On a busy machine one or the other takes longer than the server lets it wait. */
static void UB_29_RG_25_queued_without_a_bell_is_found(void)
{
	int late = 0;

	setting_make(&at, NULL, 4);
	check_int(read_at(0, 64), 64); /* active in the last second */
	for (int i = 0; i < 20; i++)
		late += unrung_ns() >= 40 * NS_PER_MS; /* 10 are promised */
	check(late <= 5);
	rig_rest(1200000);
	check(unrung_ns() < NS_PER_SEC); /* 100 ms are */
	setting_end(&at);
}

/* Some hundred nanoseconds more or less, so that requests come when the server is about to sleep. */
static void wait_a_little(int i)
{
	for (volatile int left = i % 97 * 20; left > 0; left--)
		;
}

static void a_server_that_is_awake_need_not_be_told(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	int64_t from = sys_real()->now_ns();
	struct usrbio_cqe cqe;
	int spared = 0, late = 0;

	setting_make(&at, NULL, 4);
	for (int i = 0; i < 4000; i++) {
		wait_a_little(i);
		from = sys_real()->now_ns();
		check(ring_ask(&at.reads, &ask) >= 0);
		if (usrbio_client_must_tell(&at.reads.end))
			usrbio_sem_post(sys_real(), at.reads.bell.sem);
		else
			spared++;
		check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
		late += sys_real()->now_ns() - from > 8 * NS_PER_MS;
	}
	check(spared > 0);
	/* One that was lost is found after 10 ms; a busy machine may take as long now and then. */
	check(late <= spared / 3);
	setting_end(&at);
}

static _Atomic unsigned futex_calls;

static int count_futex(uint32_t *word, int op, uint32_t value, const struct timespec *until,
		       uint32_t mask)
{
	futex_calls++;
	return sys_real()->futex(word, op, value, until, mask);
}

/* Of the client's side. */
static void read_looking(const struct sys *sys, int64_t spin_ns)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	struct usrbio_cqe cqe;

	check(ring_ask(&at.reads, &ask) >= 0);
	if (usrbio_client_must_tell(&at.reads.end)) {
		futex_calls++;
		usrbio_sem_post(sys_real(), at.reads.bell.sem);
	}
	if (!usrbio_spin(sys, &at.reads.end, NULL, sys->now_ns() + spin_ns))
		futex_calls++;
	check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
}

static void both_sides_look_and_no_call_is_made(void)
{
	int64_t spin_ns = usrbio_spin_allowed(5 * NS_PER_MS);
	struct sys sys = *sys_real();
	int without = 0;

	if (!spin_ns)
		skip("one processor");
	sys.futex = count_futex;
	setting_make(&at, &(struct virt_opts){.sys = &sys, .spin_ns = spin_ns}, 4);
	for (int i = 0; i < 500; i++) {
		unsigned before = futex_calls;

		read_looking(&sys, spin_ns);
		without += futex_calls == before;
	}
	check(without > 100); /* a busy machine takes a processor away now and then */
	setting_end(&at);
}

static void a_mark_that_lies_costs_a_look(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	struct usrbio_cqe cqe;
	int64_t from;

	setting_make(&at, NULL, 4);
	check_int(ring_result(&at.reads, &ask), 64);
	rig_rest(20000);
	check_int(atomic_load(&at.reads.end.view.mark->awake), 0);
	atomic_store(&at.reads.end.view.mark->awake, USRBIO_MARK_AWAKE);
	from = sys_real()->now_ns();
	check(ring_ask(&at.reads, &ask) >= 0);
	check(!usrbio_client_must_tell(&at.reads.end));
	check_int(ring_reap(&at.reads, &cqe, 1, 5000), 1);
	check(sys_real()->now_ns() - from < 200 * NS_PER_MS);
	setting_end(&at);
}

/* Two requests more than there is room for, as a client would that does not look at completions. */
static void overfill(struct ring_client *ring)
{
	struct usrbio_view *view = &ring->end.view;
	int32_t head = atomic_load(view->sq_head);

	for (int i = 0; i < 2; i++) {
		view->sqe[head] = (struct usrbio_sqe){.index = i};
		head = usrbio_next(head, view->places);
	}
	atomic_store(view->sq_head, head);
	usrbio_sem_post(sys_real(), ring->bell.sem);
}

static void RG_24_a_client_that_never_collects_stops_its_own_ring_only(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	struct virt_totals before, after;
	struct ring_client other;
	_Atomic int32_t *cq_head;

	setting_make(&at, NULL, 4);
	cq_head = at.reads.end.view.cq_head;
	ring_make(&at.rig, &other, at.iov.uid, 4, &read_key);
	for (int i = 0; i < 4; i++)
		check(ring_ask(&at.reads, &ask) >= 0);
	ring_bell(&at.reads);
	for (int ms = 0; atomic_load(cq_head) != 4 && ms < 2000; ms++)
		rig_rest(1000);
	overfill(&at.reads);
	rig_rest(20000);
	virt_totals(at.rig.rings, &before);
	rig_rest(300000);
	virt_totals(at.rig.rings, &after);
	check(after.scans - before.scans < 60); /* it does not spin */
	check_int(after.dead_rings, 0);
	check_int(atomic_load(cq_head), 4); /* takes nothing, */
	check_int(ring_result(&other, &ask), 64);
	atomic_store(at.reads.end.view.cq_tail, 4);
	for (int ms = 0; atomic_load(cq_head) != 1 && ms < 2000; ms++)
		rig_rest(1000);
	check_int(atomic_load(cq_head), 1); /* and drops nothing */
	check_int(rig_unlink(&at.rig, at.iov.uid, other.shared.name), 0);
	ring_close(&at.rig, &other);
	setting_end(&at);
}

/* ---- Depth, flags, modes ---- */

static void queue(struct ring_client *ring, int count)
{
	for (int i = 0; i < count; i++)
		check(ring_ask(ring, &(struct ask){.iov = &at.iov, .file = FILE_1, .length = 64}) >=
		      0);
	ring_bell(ring);
}

static void UB_30_RG_32_depth_4_in_both_modes(void)
{
	struct usrbio_key key = {.for_read = true, .depth = 4};
	struct usrbio_cqe cqes[8];
	struct ring_client ring;

	for (int strict = 0; strict < 2; strict++) {
		setting_make(&at, &(struct virt_opts){.strict = strict}, 4);
		ring_make(&at.rig, &ring, at.iov.uid, 8, &key);
		queue(&ring, 3);
		check_int(ring_reap(&ring, cqes, 3, 1000), strict ? 0 : 3);
		if (strict) {
			queue(&ring, 1);
			check_int(ring_reap(&ring, cqes, 4, 1000), 4);
		}
		check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
		ring_close(&at.rig, &ring);
		setting_end(&at);
	}
}

static void UB_32_RG_32_a_timeout_is_kept(void)
{
	struct usrbio_key key = {.for_read = true, .depth = -4, .timeout_ms = 200};
	struct usrbio_cqe cqes[8];
	struct ring_client ring;
	int64_t from, took;

	setting_make(&at, NULL, 4);
	ring_make(&at.rig, &ring, at.iov.uid, 8, &key);
	from = sys_real()->now_ns();
	queue(&ring, 2);
	check_int(ring_reap(&ring, cqes, 2, 2000), 2);
	took = sys_real()->now_ns() - from;
	check(took >= 195 * NS_PER_MS && took < 400 * NS_PER_MS);
	queue(&ring, 5);
	check_int(ring_reap(&ring, cqes, 4, 100), 4);
	check_int(ring_reap(&ring, cqes, 1, 2000), 1);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	ring_close(&at.rig, &ring);
	setting_end(&at);
}

/* 64 KiB of data, 64 KiB of hole, 64 KiB of data, 64 KiB of hole. */
static void make_holes(void)
{
	int fd = files_fd(&at.rig, FILE_1);
	char data[64 * KIB];

	check_int(ftruncate(fd, 0), 0);
	check_int(ftruncate(fd, 256 * KIB), 0);
	pattern_fill(data, FILE_1, 0, sizeof(data));
	check_int(pwrite(fd, data, sizeof(data), 0), sizeof(data));
	check_int(pwrite(fd, data, sizeof(data), 128 * KIB), sizeof(data));
	fsync(fd);
}

static void UB_35_UB_36_holes_read_as_zeros_or_are_refused(void)
{
	struct usrbio_key key = {.for_read = true, .flags = USRBIO_FLAG_NO_HOLES};
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 192 * KIB};
	struct ring_client strict;

	setting_make(&at, NULL, 4);
	ring_make(&at.rig, &strict, at.iov.uid, 4, &key);
	make_holes();
	memset(at.iov.memory, 0x5a, MIB);
	check_int(ring_result(&at.reads, &ask), 192 * KIB);
	check_int(((char *)at.iov.memory)[100 * KIB], 0);
	check_int(ring_result(&strict, &ask), -ENODATA);
	ask.length = 100 * KIB; /* ends in a hole */
	check_int(ring_result(&at.reads, &ask), 100 * KIB);
	check_int(ring_result(&strict, &ask), 64 * KIB);
	ask.offset = 64 * KIB; /* lies in one */
	ask.length = KIB;
	check_int(ring_result(&at.reads, &ask), KIB);
	check_int(ring_result(&strict, &ask), 0);
	ask.offset = 128 * KIB;
	ask.length = 64 * KIB;
	check_int(ring_result(&strict, &ask), 64 * KIB);
	ask.length = 300 * KIB; /* a hole, then the end of the file */
	check_int(ring_result(&at.reads, &ask), 128 * KIB);
	check_int(ring_result(&strict, &ask), -ENODATA);
	check_int(rig_unlink(&at.rig, at.iov.uid, strict.shared.name), 0);
	ring_close(&at.rig, &strict);
	setting_end(&at);
}

static void UB_40_read_only(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};

	setting_make(&at, &(struct virt_opts){.read_only = true}, 4);
	check_int(ring_result(&at.writes, &ask), -EROFS);
	ask.file = 77; /* nothing is looked at */
	ask.iov = NULL;
	check_int(ring_result(&at.writes, &ask), -EROFS);
	check_int(read_at(0, 64), 64);
	check_int(files_changes(&at.rig, FILE_1), 0);
	setting_end(&at); /* unlinks all of them */
}

static void UB_41_buffers_that_overlap(void)
{
	struct usrbio_cqe cqes[2];

	setting_make(&at, NULL, 4);
	check(ring_ask(&at.reads, &(struct ask){.iov = &at.iov, .file = FILE_1, .length = 8192}) >=
	      0);
	check(ring_ask(&at.reads, &(struct ask){.iov = &at.iov,
						.iov_offset = 4096,
						.file = FILE_1,
						.length = 8192}) >= 0);
	ring_bell(&at.reads);
	check_int(ring_reap(&at.reads, cqes, 2, 2000), 2);
	check_int(cqes[0].result, 8192);
	check_int(cqes[1].result, 8192);
	setting_end(&at);
}

static void UB_42_one_request_of_256_mib(void)
{
	const uint64_t size = 256 * MIB;
	struct ask ask = {.file = FILE_1, .length = size};
	struct shared large;

	setting_make(&at, NULL, 4);
	check_int(ftruncate(files_fd(&at.rig, FILE_1), (off_t)size), 0);
	iov_make(&at.rig, &large, at.iov.uid, size, 0);
	ask.iov = &large;
	check_int(ring_result(&at.reads, &ask), size);
	check_int(pattern_check(large.memory, FILE_1, 0, FILE_BYTES), FILE_BYTES);
	check_int(rig_unlink(&at.rig, at.iov.uid, large.name), 0);
	shared_close(&at.rig, &large);
	setting_end(&at);
}

static void priorities_have_a_server_each(void)
{
	struct ask ask = {.iov = &at.iov, .file = FILE_1, .length = 64};
	struct ring_client high, low;

	setting_make(&at, NULL, 4);
	ring_make(&at.rig, &high, at.iov.uid, 4,
		  &(struct usrbio_key){.for_read = true, .priority = -1});
	ring_make(&at.rig, &low, at.iov.uid, 4,
		  &(struct usrbio_key){.for_read = true, .priority = 1});
	check(strcmp(high.bell.name, low.bell.name) != 0);
	check_int(ring_result(&high, &ask), 64);
	check_int(ring_result(&low, &ask), 64);
	check_int(rig_unlink(&at.rig, at.iov.uid, high.shared.name), 0);
	check_int(rig_unlink(&at.rig, at.iov.uid, low.shared.name), 0);
	ring_close(&at.rig, &high);
	ring_close(&at.rig, &low);
	setting_end(&at);
}

/* ---- Names that go ---- */

static void UB_51_an_iov_that_was_unlinked(void)
{
	struct ask ask = {.file = FILE_1, .length = MIB};
	struct usrbio_cqe cqes[4];
	struct shared other;

	setting_make(&at, NULL, 4);
	iov_make(&at.rig, &other, at.iov.uid, MIB, 0);
	ask.iov = &other;
	for (int i = 0; i < 4; i++)
		check(ring_ask(&at.reads, &ask) >= 0);
	ring_bell(&at.reads);
	check_int(ring_reap(&at.reads, cqes, 1, 2000), 1);
	check_int(rig_unlink(&at.rig, at.iov.uid, other.name), 0);
	check_int(ring_reap(&at.reads, cqes + 1, 3, 2000), 3); /* claimed or not: no one hangs */
	check_int(ring_result(&at.reads, &ask), -EINVAL);
	rig_settle(&at.rig, 1, 2);
	shared_close(&at.rig, &other);
	setting_end(&at);
}

static void an_unlinked_ring_is_served_no_more(void)
{
	struct usrbio_cqe cqe;
	struct ring_client ring;

	setting_make(&at, NULL, 4);
	ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
	queue(&ring, 1);
	check_int(ring_reap(&ring, &cqe, 1, 2000), 1);
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	queue(&ring, 1);
	check_int(ring_reap(&ring, &cqe, 1, 300), 0);
	rig_settle(&at.rig, 1, 2);
	ring_close(&at.rig, &ring);
	setting_end(&at);
}

static bool add_requests(void *arg, const struct virt_ring_status *status)
{
	*(uint64_t *)arg += status->requests;
	return true;
}

static void counters_tell_what_happened(void)
{
	struct virt_totals totals;
	uint64_t requests = 0;

	setting_make(&at, NULL, 4);
	check_int(read_at(0, 100), 100);
	check_int(read_at(FILE_BYTES, 100), 0);
	check_int(ring_result(&at.reads, &(struct ask){.file = FILE_1, .length = 1}), -EINVAL);
	virt_totals(at.rig.rings, &totals);
	check_int(totals.iovs, 1);
	check_int(totals.rings, 2);
	check_int(totals.requests, 3);
	check_int(totals.bytes, 100);
	check_int(totals.errors, 1);
	virt_each_ring(at.rig.rings, add_requests, &requests);
	check_int(requests, 3);
	setting_end(&at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_34_reads_end_where_the_file_ends),
		TEST(UB_43_writes_extend_the_file_and_are_reported),
		TEST(UB_23_one_entry_ten_thousand_times),
		TEST(UB_24_RG_33_each_completes_once_over_wrap_around),
		TEST(UB_29_RG_25_queued_without_a_bell_is_found),
		TEST(a_server_that_is_awake_need_not_be_told),
		TEST(both_sides_look_and_no_call_is_made),
		TEST(a_mark_that_lies_costs_a_look),
		TEST(RG_24_a_client_that_never_collects_stops_its_own_ring_only),
		TEST(UB_30_RG_32_depth_4_in_both_modes),
		TEST(UB_32_RG_32_a_timeout_is_kept),
		TEST(UB_35_UB_36_holes_read_as_zeros_or_are_refused),
		TEST(UB_40_read_only),
		TEST(UB_41_buffers_that_overlap),
		TEST(UB_42_one_request_of_256_mib),
		TEST(priorities_have_a_server_each),
		TEST(UB_51_an_iov_that_was_unlinked),
		TEST(an_unlinked_ring_is_served_no_more),
		TEST(counters_tell_what_happened),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
