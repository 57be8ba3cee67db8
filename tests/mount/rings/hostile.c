/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that write what they like into the memory that they share, or cut it off.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "setting.h"

static struct setting at;

static const struct usrbio_key read_key = {.for_read = true};

static struct ask usual(void)
{
	return (struct ask){.iov = &at.iov, .file = FILE_1, .length = 4096};
}

static void others_go_on(void)
{
	struct ask ask = usual();

	check_int(ring_result(&at.reads, &ask), 4096);
}

static bool dead_rings(void *arg)
{
	struct virt_totals totals;

	virt_totals(at.rig.rings, &totals);
	return totals.dead_rings == *(uint64_t *)arg;
}

/* The ring is dead, has lost its name, was logged once, and nobody else noticed. */
static void ring_died(struct ring_client *ring, uint64_t number)
{
	int warnings = (int)number;
	struct virt_entry entry;

	check(rig_wait(dead_rings, &number));
	rig_settle(&at.rig, 1, 2);
	check_int(rig_lookup(&at.rig, at.iov.uid, ring->shared.name, &entry), ENOENT);
	check_int(atomic_load(&at.rig.warnings), warnings);
	check(atomic_load(&at.rig.names_gone) == warnings);
	others_go_on();
	ring_close(&at.rig, ring);
}

static void RG_01_submission_heads_that_are_none(void)
{
	static const int32_t heads[] = {-1, INT_MIN, 5, INT_MAX};
	struct ring_client ring;

	setting_make(&at, NULL, 4);
	for (size_t i = 0; i < array_size(heads); i++) {
		ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
		atomic_store(ring.end.view.sq_head, heads[i]);
		ring_bell(&ring);
		ring_died(&ring, i + 1);
	}
	setting_end(&at);
}

static void RG_02_words_that_the_server_owns(void)
{
	struct ask ask = usual();

	setting_make(&at, NULL, 4);
	for (int i = 0; i < 50; i++) {
		struct usrbio_args args = {.file = FILE_1, .length = 64};
		struct usrbio_view *view = &at.reads.end.view;
		int32_t places = view->places, head = atomic_load(view->sq_head);
		struct usrbio_sqe sqe = {.index = i % 4, .userdata = (uint64_t)i};

		memcpy(args.iov, at.iov.key.id, 16);
		view->args[i % 4] = args;
		view->sqe[head] = sqe;
		atomic_store(view->sq_tail, i * 7919);
		atomic_store(view->cq_head, -i);
		atomic_store(view->sq_head, (head + 1) % places);
		ring_bell(&at.reads);
		for (int ms = 0; atomic_load(view->cq_head) == -i && ms < 2000; ms++)
			rig_rest(1000);
		check_int(atomic_load(view->cq_head), (i + 1) % places);
		check_int(view->cqe[i % places].result, 64);
		atomic_store(view->cq_tail, (i + 1) % places);
	}
	check_int(ring_result(&at.writes, &ask), 4096);
	setting_end(&at);
}

static void RG_03_completion_tails_that_are_none(void)
{
	static const int32_t tails[] = {-1, 5, 2, INT_MIN};
	struct ring_client ring;
	struct ask ask = usual();

	setting_make(&at, NULL, 4);
	for (size_t i = 0; i < array_size(tails); i++) {
		ring_make(&at.rig, &ring, at.iov.uid, 4, &read_key);
		check_int(ring_result(&ring, &ask), 4096); /* the tail is 1 now */
		atomic_store(ring.end.view.cq_tail, tails[i]);
		check(ring_ask(&ring, &ask) >= 0);
		ring_bell(&ring);
		ring_died(&ring, i + 1);
	}
	setting_end(&at);
}

static void RG_04_RG_05_request_indices(void)
{
	static const int32_t indices[] = {-1, 5, INT_MAX, INT_MIN, 2, 2};
	struct usrbio_view *view = &at.reads.end.view;

	setting_make(&at, NULL, 8);
	for (size_t i = 0; i < array_size(indices); i++) {
		struct usrbio_args args = {.file = FILE_1, .length = 64};

		memcpy(args.iov, at.iov.key.id, 16);
		view->args[2] = args;
		view->sqe[i] = (struct usrbio_sqe){.index = indices[i] == 5 ? 9 : indices[i],
						   .userdata = i};
	}
	atomic_store(view->sq_head, array_size(indices));
	ring_bell(&at.reads);
	for (int ms = 0; atomic_load(view->cq_head) != 6 && ms < 2000; ms++)
		rig_rest(1000);
	for (int i = 0; i < 6; i++) {
		int64_t expected = view->cqe[i].userdata < 4 ? -EINVAL : 64;

		check_int(view->cqe[i].result, expected);
	}
	setting_close((rig_unlink(&at.rig, at.iov.uid, at.reads.shared.name),
		       rig_unlink(&at.rig, at.iov.uid, at.writes.shared.name),
		       rig_unlink(&at.rig, at.iov.uid, at.iov.name), &at));
}

/* ---- Changes between check and use ---- */

struct flipping {
	struct usrbio_args *args;
	uint32_t count;
	_Atomic bool over;
};

static void scribble(struct usrbio_args *args, uint64_t *state)
{
	struct usrbio_args mad = {.iov_offset = chance(state) >> chance_below(state, 64),
				  .file = chance_below(state, 3) ? FILE_1 : chance(state),
				  .file_offset = chance(state) >> chance_below(state, 64),
				  .length = chance(state) >> chance_below(state, 64)};
	struct usrbio_args sane = mad;

	memcpy(mad.iov, at.iov.key.id, 16);
	memcpy(sane.iov, at.iov.key.id, 16);
	mad.iov[chance_below(state, 16)] ^= 1;
	sane.iov_offset = chance_below(state, 4 * MIB);
	sane.length = 4096;
	usrbio_store_words(args, &mad, sizeof(mad));
	usrbio_store_words(args, &sane, sizeof(sane));
}

static void *flip(void *arg)
{
	struct flipping *flipping = arg;
	uint64_t state = 5;

	while (!atomic_load_explicit(&flipping->over, memory_order_relaxed))
		scribble(&flipping->args[chance_below(&state, flipping->count)], &state);
	return NULL;
}

/* A hundred thousand requests whose records change all the time: nothing outside the iov is touched. */
static void RG_06_UB_49_records_that_flip(void)
{
	struct flipping flipping = {.count = 64};
	struct usrbio_cqe cqes[64];
	struct shared bystander;
	struct ring_client ring;
	pthread_t thread;
	uint64_t done = 0;

	setting_make(&at, NULL, 4);
	iov_make(&at.rig, &bystander, at.iov.uid, MIB, 0);
	memset(bystander.memory, 0x77, MIB);
	ring_make(&at.rig, &ring, at.iov.uid, 64, &read_key);
	flipping.args = ring.end.view.args;
	check_int(pthread_create(&thread, NULL, flip, &flipping), 0);
	while (done < rig_times(100000)) {
		struct ask ask = usual();
		int n;

		ask.iov_offset = done % MIB;
		while (ring_ask(&ring, &ask) >= 0)
			;
		ring_bell(&ring);
		n = ring_reap(&ring, cqes, 1, 5000);
		check_int(n, 1);
		n += ring_reap(&ring, cqes + 1, 63, 0);
		for (int i = 0; i < n; i++)
			check(cqes[i].result <= (int64_t)(4 * MIB));
		done += (uint64_t)n;
	}
	atomic_store(&flipping.over, true);
	pthread_join(thread, NULL);
	for (size_t i = 0; i < MIB; i++)
		check(((unsigned char *)bystander.memory)[i] == 0x77);
	others_go_on();
	check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
	check_int(rig_unlink(&at.rig, at.iov.uid, bystander.name), 0);
	ring_close(&at.rig, &ring);
	shared_close(&at.rig, &bystander);
	setting_end(&at);
}

static void UB_49_markers_that_flip(void)
{
	uint64_t state = 3;

	setting_make(&at, NULL, 4);
	for (uint64_t i = 0; i < rig_times(100); i++) {
		struct ring_client ring;
		struct ask ask = usual();

		ring_make(&at.rig, &ring, at.iov.uid, 1 + (uint32_t)i % 9, &read_key);
		check(ring_ask(&ring, &ask) >= 0);
		for (int j = 0; j < 200; j++) {
			_Atomic int32_t *words = ring.shared.memory;

			atomic_store(&words[chance_below(&state, 4)],
				     (int32_t)chance_below(&state, 12) - 1);
			atomic_store(&ring.end.view.done->data, chance(&state));
			if (j % 50 == 0)
				ring_bell(&ring);
		}
		rig_unlink(&at.rig, at.iov.uid, ring.shared.name);
		ring_close(&at.rig, &ring);
	}
	others_go_on();
	rig_settle(&at.rig, 1, 2);
	setting_end(&at);
}

/* ---- Memory that goes away ---- */

static void RG_15_UB_49_an_iov_that_shrinks(void)
{
	static const uint64_t lengths[] = {2 * MIB, 0};
	struct ask ask = usual();
	int64_t result;

	for (size_t i = 0; i < array_size(lengths); i++) {
		struct shared iov;

		setting_make(&at, NULL, 4);
		iov_make(&at.rig, &iov, at.iov.uid, 4 * MIB, 0);
		ask.iov = &iov;
		ask.iov_offset = 3 * MIB;
		check_int(ring_result(&at.reads, &ask), 4096);
		check_int(ring_result(&at.writes, &ask), 4096);
		check_int(ftruncate(iov.fd, (off_t)lengths[i]), 0);
		for (int j = 0; j < 3; j++) {
			result = ring_result(&at.reads, &ask);
			check(result == -EFAULT || result == 4096);
			result = ring_result(&at.writes, &ask);
			check(result == -EFAULT || result == 4096);
			ask.iov_offset += 8192; /* not touched before */
		}
		others_go_on();
		check_int(rig_unlink(&at.rig, at.iov.uid, iov.name), 0);
		shared_close(&at.rig, &iov);
		setting_end(&at);
	}
}

static void RG_15_UB_49_a_ring_that_shrinks(void)
{
	static const uint64_t lengths[] = {0, 4096};
	struct ask ask = usual();

	RIG_NOT_UNDER_TSAN();
	setting_make(&at, NULL, 4);
	for (size_t i = 0; i < array_size(lengths); i++) {
		struct ring_client ring;

		ring_make(&at.rig, &ring, at.iov.uid, 600, &read_key);
		check_int(ring_result(&ring, &ask), 4096);
		if (lengths[i]) /* markers stay, records are gone */
			atomic_store(ring.end.view.sq_head, 590);
		check_int(ftruncate(ring.shared.fd, (off_t)lengths[i]), 0);
		ring_bell(&at.reads);
		ring_died(&ring, i + 1);
	}
	setting_end(&at);
}

struct cutting {
	int fd;
	uint64_t bytes;
	_Atomic bool over;
};

static void *cut(void *arg)
{
	struct cutting *cutting = arg;

	while (!atomic_load(&cutting->over)) {
		if (ftruncate(cutting->fd, 0) || ftruncate(cutting->fd, (off_t)cutting->bytes))
			return arg;
	}
	return NULL;
}

static void RG_15_an_iov_cut_off_again_and_again(void)
{
	struct cutting cutting = {.bytes = 4 * MIB};
	struct ask ask = usual();
	pthread_t thread;
	void *failed;

	setting_make(&at, NULL, 16);
	cutting.fd = at.iov.fd;
	check_int(pthread_create(&thread, NULL, cut, &cutting), 0);
	for (uint64_t i = 0; i < rig_times(2000); i++) {
		struct usrbio_cqe cqes[16];
		int n = 0;

		ask.length = i % 3 ? 4096 : MIB;
		while (n < 16 && ring_ask(i % 2 ? &at.reads : &at.writes, &ask) >= 0)
			n++;
		ring_bell(&at.reads);
		check_int(ring_reap(i % 2 ? &at.reads : &at.writes, cqes, n, 5000), n);
	}
	atomic_store(&cutting.over, true);
	pthread_join(thread, &failed);
	check(!failed);
	setting_end(&at);
}

static void RG_16_UB_50_a_sparse_iov_on_a_full_file_system(void)
{
	struct ask ask = usual();
	struct shared sparse;
	int64_t result;

	RIG_NEEDS_ROOT();
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, "size=8m"))
		skip("needs to mount a tmpfs");
	setting_make(&at, NULL, 4);
	iov_make(&at.rig, &sparse, at.iov.uid, 64 * MIB, 0);
	ask.iov = &sparse;
	ask.length = MIB;
	for (int i = 0; i < 16; i++) {
		ask.iov_offset = (uint64_t)i * 2 * MIB;
		result = ring_result(&at.reads, &ask);
		check(result == -EFAULT || (result >= 0 && result <= (int64_t)MIB));
	}
	check(result != (int64_t)MIB); /* it is full */
	check_int(rig_unlink(&at.rig, at.iov.uid, sparse.name), 0);
	shared_close(&at.rig, &sparse);
	rig_settle(&at.rig, 1, 2);
	others_go_on();
	setting_end(&at);
}

/* ---- The bell ---- */

static void RG_26_a_semaphore_of_garbage(void)
{
	static const uint64_t values[] = {INT32_MAX, UINT32_MAX, UINT64_MAX,
					  UINT64_C(0x8000000080000000)};
	struct ask ask = usual();

	setting_make(&at, NULL, 4);
	for (size_t i = 0; i < array_size(values); i++) {
		atomic_store(&at.reads.bell.sem->data, values[i]);
		check_int(ring_result(&at.reads, &ask), 4096);
		atomic_store(&at.reads.end.view.done->data, values[i]);
		check_int(ring_result(&at.reads, &ask), 4096);
	}
	memset(at.reads.bell.sem, 0xff, 32);
	check_int(ring_result(&at.reads, &ask), 4096);
	setting_end(&at);
}

struct storm {
	struct usrbio_sem *sem;
	_Atomic bool over;
};

static void *ring_for_ever(void *arg)
{
	struct storm *storm = arg;

	while (!atomic_load_explicit(&storm->over, memory_order_relaxed))
		usrbio_sem_post(sys_real(), storm->sem);
	return NULL;
}

static void RG_26_a_storm_on_the_bell(void)
{
	struct storm storm;
	struct virt_totals before, after;
	struct ask ask = usual();
	pthread_t thread;
	int64_t slowest = 0;

	setting_make(&at, NULL, 4);
	storm = (struct storm){.sem = at.reads.bell.sem};
	check_int(pthread_create(&thread, NULL, ring_for_ever, &storm), 0);
	virt_totals(at.rig.rings, &before);
	rig_rest(500000);
	virt_totals(at.rig.rings, &after);
	check(after.scans - before.scans < 500 * 20); /* 500 ms: a few each millisecond */
	for (int i = 0; i < 50; i++) {
		int64_t from = sys_real()->now_ns();

		check_int(ring_result(&at.reads, &ask), 4096);
		slowest = max_of(slowest, sys_real()->now_ns() - from);
	}
	atomic_store(&storm.over, true);
	pthread_join(thread, NULL);
	check(slowest < 100 * NS_PER_MS);
	setting_end(&at);
}

/* Others lose a look's time at most, and then nothing: the bell is mended. */
static void RG_27_a_bell_that_is_cut_off(void)
{
	struct ask ask = usual();
	struct stat stat;
	int fd, quick = 0;

	RIG_NOT_UNDER_TSAN();
	setting_make(&at, NULL, 4);
	fd = openat(at.rig.shm_dir, at.reads.bell.name, O_RDWR);
	check(fd >= 0);
	for (int i = 0; i < 5; i++) {
		struct usrbio_cqe cqe;
		int64_t from = sys_real()->now_ns();

		check_int(ftruncate(fd, 0), 0);
		check(ring_ask(&at.reads, &ask) >= 0);
		check_int(ring_reap(&at.reads, &cqe, 1, 2000), 1);
		check(sys_real()->now_ns() - from < 200 * NS_PER_MS);
		check_int(fstat(fd, &stat), 0);
		check_int(stat.st_size, 32);
	}
	for (int i = 0; i < 50; i++) {
		int64_t from = sys_real()->now_ns();

		check_int(ring_result(&at.reads, &ask), 4096);
		quick += sys_real()->now_ns() - from < 5 * NS_PER_MS;
	}
	check(quick > 25); /* it is heard again */
	close(fd);
	setting_end(&at);
}

/* ---- Two ends, and removal ---- */

static void RG_28_two_processes_on_one_ring(void)
{
	struct usrbio_cqe cqes[4];
	struct ask ask = usual();
	int status;
	pid_t child;

	setting_make(&at, NULL, 4);
	child = fork();
	for (int i = 0; i < 2000; i++) {
		if (usrbio_client_reap(&at.reads.end, cqes, 4) < 0)
			break;
		if (ring_ask(&at.reads, &ask) >= 0)
			ring_bell(&at.reads);
	}
	if (child == 0)
		_exit(0);
	check_int(waitpid(child, &status, 0), child);
	check_int(ring_result(&at.writes, &ask), 4096);
	rig_unlink(&at.rig, at.iov.uid, at.reads.shared.name);
	check_int(rig_unlink(&at.rig, at.iov.uid, at.writes.shared.name), 0);
	check_int(rig_unlink(&at.rig, at.iov.uid, at.iov.name), 0);
	setting_close(&at);
}

/* A ring, and its iov, go with requests under way, a hundred times. */
static void RG_30_UB_51_removal_while_requests_run(void)
{
	uint64_t state = 9;

	setting_make(&at, NULL, 4);
	for (uint64_t i = 0; i < rig_times(100); i++) {
		struct ask ask = usual();
		struct ring_client ring;
		struct shared iov;

		iov_make(&at.rig, &iov, at.iov.uid, MIB, 0);
		ring_make(&at.rig, &ring, at.iov.uid, 16, &read_key);
		ask.iov = &iov;
		ask.length = MIB;
		for (int j = 0; j < 16; j++)
			check(ring_ask(&ring, &ask) >= 0);
		ring_bell(&ring);
		rig_rest((int64_t)chance_below(&state, 2000));
		check_int(rig_unlink(&at.rig, at.iov.uid, i % 2 ? iov.name : ring.shared.name), 0);
		check_int(rig_unlink(&at.rig, at.iov.uid, i % 2 ? ring.shared.name : iov.name), 0);
		ring_close(&at.rig, &ring);
		shared_close(&at.rig, &iov);
	}
	rig_settle(&at.rig, 1, 2);
	others_go_on();
	setting_end(&at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(RG_01_submission_heads_that_are_none),
		TEST(RG_02_words_that_the_server_owns),
		TEST(RG_03_completion_tails_that_are_none),
		TEST(RG_04_RG_05_request_indices),
		TEST(RG_06_UB_49_records_that_flip),
		TEST(UB_49_markers_that_flip),
		TEST(RG_15_UB_49_an_iov_that_shrinks),
		TEST(RG_15_UB_49_a_ring_that_shrinks),
		TEST(RG_15_an_iov_cut_off_again_and_again),
		TEST(RG_16_UB_50_a_sparse_iov_on_a_full_file_system),
		TEST(RG_26_a_semaphore_of_garbage),
		TEST(RG_26_a_storm_on_the_bell),
		TEST(RG_27_a_bell_that_is_cut_off),
		TEST(RG_28_two_processes_on_one_ring),
		TEST(RG_30_UB_51_removal_while_requests_run),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
