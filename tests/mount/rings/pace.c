/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace - what serving rings costs, a client in one process and the server in another, without FUSE
 *
 *	pace FILE [BLOCK [DEPTH [COUNT [random|- [SPIN]]]]]
 *
 * COUNT blocks of FILE (rounded down to what it has) into an iov of DEPTH blocks, DEPTH at once.  Prints
 * one line of JSON: time, processor time of each side, and futex system calls of each; at a DEPTH of 1 the
 * median of one read, too, and of a pread by the client itself.  SPIN: both sides look for so many
 * microseconds before they sleep.  bench/ring runs it.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "client.h"
#include "io/usrbio/spin.h"
#include "lib/check.h"

#define INO UINT64_C(77)

struct pace {
	uint64_t block, count, file_blocks;
	uint32_t depth;
	bool random;
	int64_t spin_ns;
	struct ring_client ring;
	struct shared iov;
	uint64_t started, ended, state;
	int fd;
};

static _Atomic uint64_t futex_calls;

static int count_futex(uint32_t *word, int op, uint32_t value, const struct timespec *until,
		       uint32_t mask)
{
	atomic_fetch_add_explicit(&futex_calls, 1, memory_order_relaxed);
	return sys_real()->futex(word, op, value, until, mask);
}

static int count_wake_op(uint32_t *word, uint32_t operation)
{
	atomic_fetch_add_explicit(&futex_calls, 1, memory_order_relaxed);
	return sys_real()->futex_wake_op(word, operation);
}

/* How often this process went to sleep, as of the last cpu_seconds(). */
static uint64_t switches;

static double cpu_seconds(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	switches = (uint64_t)usage.ru_nvcsw;
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

/* ---- The client ---- */

/* Where the next block begins. */
static uint64_t next_offset(struct pace *pace)
{
	uint64_t at = pace->started++;

	if (pace->random) {
		pace->state = pace->state * UINT64_C(6364136223846793005) + 1442695040888963407;
		at = pace->state >> 20;
	}
	return at % pace->file_blocks * pace->block;
}

static bool ask_next(struct pace *pace, uint64_t slot)
{
	if (pace->started == pace->count)
		return false;
	check(ring_ask(&pace->ring, &(struct ask){.iov = &pace->iov,
						  .iov_offset = slot * pace->block,
						  .file = INO,
						  .offset = next_offset(pace),
						  .length = pace->block,
						  .userdata = slot}) >= 0);
	return true;
}

static void post(const struct sys *sys, struct pace *pace)
{
	if (usrbio_client_must_tell(&pace->ring.end))
		check_int(usrbio_bell_ring(sys, pace->ring.bell.sem), 0);
}

static void wait_for_some(const struct sys *sys, struct pace *pace)
{
	struct usrbio_sem *done = pace->ring.end.view.done;

	if (pace->spin_ns && usrbio_spin(sys, &pace->ring.end, NULL, sys->now_ns() + pace->spin_ns))
		return;
	usrbio_sem_drain(done);
	if (!usrbio_client_ready(&pace->ring.end))
		(void)!usrbio_sem_wait(sys, done, sys->now_ns() + NS_PER_SEC);
}

static int by_size(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left > right) - (left < right);
}

static void one_through_ring(const struct sys *sys, struct pace *pace)
{
	struct usrbio_cqe cqe;

	ask_next(pace, 0);
	post(sys, pace);
	while (usrbio_client_reap(&pace->ring.end, &cqe, 1) == 0)
		wait_for_some(sys, pace);
}

/* What a ring stands beside: the client reads for itself. */
static void one_by_pread(const struct sys *sys, struct pace *pace)
{
	check_int(sys->pread(pace->fd, pace->iov.memory, pace->block, (off_t)next_offset(pace)),
		  pace->block);
}

/* One at a time: how long each takes. */
static double median_us(const struct sys *sys, struct pace *pace,
			void (*one)(const struct sys *, struct pace *))
{
	int64_t *taken = calloc(pace->count, sizeof(*taken));
	double median;
	size_t middle;

	pace->started = 0;
	for (uint64_t i = 0; i < pace->count; i++) {
		int64_t start = sys->now_ns();

		one(sys, pace);
		taken[i] = sys->now_ns() - start;
	}
	qsort(taken, pace->count, sizeof(*taken), by_size);
	middle = pace->count / 2;
	median = (double)taken[middle] / 1e3;
	free(taken);
	return median;
}

static void run_client(const struct sys *sys, struct pace *pace)
{
	struct usrbio_cqe cqes[64];
	unsigned unposted = 0;

	for (uint64_t slot = 0; slot < pace->depth; slot++)
		ask_next(pace, slot);
	post(sys, pace);
	while (pace->ended < pace->count) {
		int n = usrbio_client_reap(&pace->ring.end, cqes, array_size(cqes));

		check(n >= 0);
		for (int i = 0; i < n; i++) {
			check_int(cqes[i].result, pace->block);
			pace->ended++;
			ask_next(pace, cqes[i].userdata);
		}
		/* Once for a run of reaps, unless that goes on and on. */
		unposted += (unsigned)n;
		if (n > 0 && unposted < pace->depth / 2)
			continue;
		if (unposted > 0)
			post(sys, pace);
		else
			wait_for_some(sys, pace);
		unposted = 0;
	}
}

/* ---- Both ---- */

/* What the child tells: its processor time and calls, and how long one read takes at the median. */
struct told {
	double cpu, median_us, pread_us;
	uint64_t futex, switches;
};

static void report(const struct pace *pace, double wall, const struct told *told, double server,
		   uint64_t server_futex)
{
	double ios = (double)pace->count;

	printf("{\"ios\": %llu, \"wall_seconds\": %.6f, \"client_cpu_seconds\": %.6f, "
	       "\"server_cpu_seconds\": %.6f, \"client_futex\": %llu, \"server_futex\": %llu, "
	       "\"futex_per_io\": %.4f, \"switches_per_io\": %.4f, \"cpu_us_per_io\": %.3f, "
	       "\"p50_us\": %.3f, "
	       "\"pread_p50_us\": %.3f}\n",
	       (unsigned long long)pace->count, wall, told->cpu, server,
	       (unsigned long long)told->futex, (unsigned long long)server_futex,
	       (double)(told->futex + server_futex) / ios, (double)told->switches / ios,
	       (told->cpu + server) / ios * 1e6, told->median_us, told->pread_us);
}

static void measure(const struct sys *sys, struct pace *pace)
{
	struct told *told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double before = cpu_seconds();
	uint64_t slept = switches;
	int64_t start = sys->now_ns();
	uint64_t futex = futex_calls;
	int status;
	pid_t child = fork();

	if (child == 0) {
		double begun = cpu_seconds();

		futex_calls = 0;
		if (pace->depth == 1)
			told->median_us = median_us(sys, pace, one_through_ring);
		else
			run_client(sys, pace);
		told->cpu = cpu_seconds() - begun;
		told->futex = futex_calls;
		told->switches = switches;
		if (pace->depth == 1)
			told->pread_us = median_us(sys, pace, one_by_pread);
		_exit(0);
	}
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
	before = cpu_seconds() - before;
	told->switches += switches - slept;
	report(pace, (double)(sys->now_ns() - start) / 1e9, told, before, futex_calls - futex);
}

static void set_up(struct rig *rig, struct pace *pace, int fd)
{
	static const struct usrbio_key key = {.for_read = true};
	struct stat st;

	check_int(fstat(fd, &st), 0);
	pace->file_blocks = (uint64_t)st.st_size / pace->block;
	check(pace->file_blocks > 0);
	pace->fd = fd;
	files_adopt(rig, INO, fd);
	files_open(rig, INO, geteuid(), O_RDONLY);
	iov_make(rig, &pace->iov, geteuid(), pace->depth * pace->block, 0);
	madvise(pace->iov.memory, pace->iov.bytes, MADV_HUGEPAGE); /* where /dev/shm has them */
	memset(pace->iov.memory, 1, pace->iov.bytes);
	ring_make(rig, &pace->ring, geteuid(), pace->depth, &key);
}

int main(int argc, char **argv)
{
	static struct rig rig;
	struct sys sys = *sys_real();
	struct pace pace = {.block = 4096, .depth = 64, .count = 100000, .state = 1};
	int fd;

	check(argc >= 2);
	if (argc > 2)
		pace.block = strtoull(argv[2], NULL, 0);
	if (argc > 3)
		pace.depth = (uint32_t)strtoul(argv[3], NULL, 0);
	if (argc > 4)
		pace.count = strtoull(argv[4], NULL, 0);
	pace.random = argc > 5 && strcmp(argv[5], "random") == 0;
	if (argc > 6)
		pace.spin_ns = usrbio_spin_allowed(strtol(argv[6], NULL, 0) * NS_PER_US);
	sys.futex = count_futex;
	sys.futex_wake_op = count_wake_op;
	fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	check(fd >= 0);
	rig_start(&rig, &(struct virt_opts){.sys = &sys, .spin_ns = pace.spin_ns});
	set_up(&rig, &pace, fd);
	measure(&sys, &pace);
	ring_close(&rig, &pace.ring);
	shared_close(&rig, &pace.iov);
	rig_unlink(&rig, geteuid(), pace.ring.shared.name);
	rig_unlink(&rig, geteuid(), pace.iov.name);
	rig_end(&rig);
	return 0;
}
