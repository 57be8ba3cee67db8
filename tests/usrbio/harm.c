/* SPDX-License-Identifier: Apache-2.0 */
/*
 * harm: clients that do at full speed what no client may do.
 *
 *     harm MODE MOUNT FILE SECONDS [SEED [COUNT]]
 *
 *     flip    a thread changes the records of requests while they are taken (COUNT requests)
 *     fuzz    markers, submissions, records, semaphores and sizes at random, ring after ring
 *     bell    posts the submit semaphores without pause, and leaves nonsense in them
 *     churn   removes rings while their requests run (COUNT times)
 *     hold    three threads, each with an iov and a ring of its own, read until they are killed
 *
 * It prints "ready" once it is set up, and a line of JSON at its end.  It is the daemon's and its other
 * clients' state that tells whether something is wrong; flip alone judges answers itself.  A bus error in
 * fuzz, which shrinks its own memory, ends one ring and is expected.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "raw.h"

static struct {
	struct raw_mount mount;
	uint64_t ino;
	double end;
	uint64_t seed;
	unsigned long long count;
} harm;

static bool time_left(void)
{
	return now_seconds() < harm.end;
}

static void ready(void)
{
	puts("ready");
	fflush(stdout);
}

static void open_pair(struct raw_object *iov, struct raw_ring *ring, uint64_t bytes,
		      int32_t entries, bool write)
{
	struct raw_ring_options options = {.entries = entries, .write = write};
	int error = raw_object_register(iov, &harm.mount, bytes, "");
	if (!error)
		error = raw_ring_open(ring, &harm.mount, &options);
	if (error)
		die("registering: %s", strerror(error));
}

static struct wire_args read_args(const struct raw_object *iov, uint64_t offset, uint64_t length)
{
	struct wire_args args = {
		.iov_offset = offset, .ino = harm.ino, .file_offset = offset, .length = length};
	memcpy(args.iov, iov->id, 16);
	return args;
}

/* flip */

enum {
	FLIP_ENTRIES = 8,
	FLIP_BLOCK = 4096,
	FLIP_BYTES = FLIP_ENTRIES * FLIP_BLOCK
};

static struct flipped {
	struct raw_object iov, canary;
	struct raw_ring ring;
	_Atomic bool stop;
} flipped;

static const uint64_t odd_values[] = {0,
				      1,
				      FLIP_BYTES - 1,
				      FLIP_BYTES,
				      FLIP_BYTES + 1,
				      1ull << 31,
				      1ull << 32,
				      1ull << 63,
				      UINT64_MAX,
				      UINT64_MAX - FLIP_BLOCK,
				      UINT64_MAX - FLIP_BYTES + 1};

static uint64_t odd_value(uint64_t *random)
{
	uint64_t x = random_next(random);
	unsigned count = sizeof(odd_values) / sizeof(odd_values[0]);
	return x % 3 ? odd_values[(x >> 8) % count] : x >> 40;
}

static void *flip_records(void *unused)
{
	uint64_t random = harm.seed ^ 0xf11f;
	while (!atomic_load(&flipped.stop)) {
		int32_t slot = (int32_t)(random_next(&random) % FLIP_ENTRIES);
		volatile struct wire_args *args = wire_args_at(flipped.ring.object.memory, slot);
		switch (random_next(&random) % 5) {
		case 0:
			args->iov_offset = odd_value(&random);
			break;
		case 1:
			args->length = odd_value(&random);
			break;
		case 2:
			args->ino = random_next(&random) % 2 ? harm.ino : odd_value(&random);
			break;
		case 3:
			args->file_offset = odd_value(&random);
			break;
		default:
			args->iov[random_next(&random) % 16] ^= (uint8_t)random_next(&random);
			break;
		}
	}
	return unused;
}

static bool answer_is_possible(int64_t result)
{
	return (result >= 0 && result <= FLIP_BYTES) || result == -EINVAL || result == -EBADF ||
	       result == -EACCES;
}

static int flip(void)
{
	pthread_t thread;
	struct wire_cqe cqe;
	unsigned long long done = 0, wrong = 0, good = 0;
	open_pair(&flipped.iov, &flipped.ring, FLIP_BYTES, FLIP_ENTRIES, false);
	if (raw_object_register(&flipped.canary, &harm.mount, FLIP_BYTES, ""))
		die("registering a second buffer");
	memset(flipped.canary.memory, 0xca, FLIP_BYTES);
	if (pthread_create(&thread, NULL, flip_records, NULL))
		die("no thread");
	ready();
	double last = now_seconds();
	bool busy[FLIP_ENTRIES] = {0};
	while (done < harm.count && time_left() && now_seconds() - last < 10) {
		for (int32_t i = 0; i < FLIP_ENTRIES; i++) {
			struct wire_args args = read_args(&flipped.iov, (uint64_t)i * FLIP_BLOCK,
							  FLIP_BLOCK);
			if (busy[i])
				continue;
			raw_ring_push(&flipped.ring, i, &args);
			busy[i] = true;
		}
		raw_ring_submit(&flipped.ring);
		while (raw_ring_take(&flipped.ring, &cqe)) {
			done++;
			good += cqe.result > 0;
			wrong += !answer_is_possible(cqe.result);
			if (cqe.index < 0 || cqe.index >= FLIP_ENTRIES || !busy[cqe.index])
				wrong++;
			else
				busy[cqe.index] = false;
			last = now_seconds();
		}
	}
	atomic_store(&flipped.stop, true);
	pthread_join(thread, NULL);
	for (int i = 0; i < FLIP_BYTES; i++)
		wrong += ((uint8_t *)flipped.canary.memory)[i] != 0xca;
	bool stalled = done < harm.count && time_left();
	printf("{\"done\": %llu, \"good\": %llu, \"wrong\": %llu, \"stalled\": %d}\n", done, good,
	       wrong, stalled);
	return wrong || stalled ? 1 : 0;
}

/* fuzz */

static sigjmp_buf bus_error;

static void on_bus_error(int number)
{
	siglongjmp(bus_error, number);
}

static int32_t odd_marker(uint64_t *random, int32_t entries)
{
	const int32_t values[] = {-1, INT32_MIN, INT32_MAX, entries, entries + 1, 0, entries - 1};
	uint64_t x = random_next(random);
	return x % 4 ? (int32_t)((x >> 8) % (uint64_t)(entries + 2)) : values[(x >> 8) % 7];
}

static void fuzz_submission(struct raw_ring *ring, const struct raw_object *iov, uint64_t *random)
{
	uint64_t x = random_next(random);
	int32_t slot = (int32_t)(x % (uint64_t)ring->entries);
	struct wire_args args = read_args(iov, (x >> 8) % 65536, (x >> 24) % 65536);
	if (x >> 60 < 3)
		args.iov_offset = odd_value(random);
	if (x >> 60 == 3)
		args.length = odd_value(random);
	if (x >> 60 == 4)
		args.file_offset = odd_value(random);
	if (x >> 60 == 5)
		args.ino = odd_value(random);
	if (x >> 60 == 6)
		memcpy(args.iov, ring->object.id, 16);
	raw_ring_push(ring, slot, &args);
	if (x >> 60 == 7)
		wire_sqe_at(ring->object.memory, ring->entries, (int32_t)(x >> 40) % ring->entries)
			->index = odd_marker(random, ring->entries);
}

/* One harmful deed, rarely a fatal one, so that requests do run meanwhile. */
static void fuzz_step(struct raw_ring *ring, struct raw_object *iov, uint64_t *random)
{
	struct wire_cqe cqe;
	uint64_t deed = random_next(random) % 1000;
	if (deed < 600) {
		fuzz_submission(ring, iov, random);
	} else if (deed < 800) {
		raw_ring_submit(ring);
	} else if (deed < 980) {
		for (int i = 0; i <= ring->entries && raw_ring_take(ring, &cqe); i++)
			;
	} else if (deed < 984) {
		atomic_store(wire_marker(ring->object.memory, 4 * (unsigned)(deed % 4)),
			     odd_marker(random, ring->entries));
	} else if (deed < 988) {
		memset(wire_sem(ring->object.memory, ring->entries), (int)(deed * 37),
		       WIRE_SEM_BYTES);
	} else if (deed < 990) {
		(void)!ftruncate(iov->fd, (off_t)(random_next(random) % (iov->bytes + 1)));
	} else if (deed < 991) {
		(void)!ftruncate(ring->object.fd,
				 (off_t)(random_next(random) % (ring->object.bytes + 1)));
	} else if (deed < 993) {
		(void)!ftruncate(iov->fd, (off_t)iov->bytes);
	} else {
		ring->tail = (int32_t)(random_next(random) % (uint64_t)(ring->entries + 1));
	}
}

static int fuzz(void)
{
	static volatile unsigned long long steps, rings, faults;
	static struct raw_object iov;
	static struct raw_ring ring;
	static uint64_t random;
	struct sigaction action = {.sa_handler = on_bus_error, .sa_flags = SA_NODEFER};
	sigaction(SIGBUS, &action, NULL);
	random = harm.seed;
	ready();
	while (time_left()) {
		int32_t entries = 1 + (int32_t)(random_next(&random) % 40);
		open_pair(&iov, &ring, 65536 + random_next(&random) % 65536, entries,
			  random_next(&random) % 4 == 0);
		rings++;
		for (volatile unsigned left = 1 + (unsigned)(random_next(&random) % 3000);
		     left && time_left(); left--) {
			if (sigsetjmp(bus_error, 1)) {
				faults++;
				break;
			}
			fuzz_step(&ring, &iov, &random);
			steps++;
		}
		raw_object_drop(&ring.object);
		raw_object_drop(&iov);
	}
	printf("{\"steps\": %llu, \"rings\": %llu, \"faults\": %llu}\n", steps, rings, faults);
	return 0;
}

/* bell */

static int bell(void)
{
	unsigned long long posts = 0;
	ready();
	while (time_left())
		for (int i = 0; i < 1000; i++, posts++)
			sem_post(harm.mount.doorbells[posts % 3]);
	for (int i = 0; i < 3; i++)
		memset(harm.mount.doorbells[i], 0xff, 8);
	printf("{\"posts\": %llu}\n", posts);
	return 0;
}

/* churn */

static int churn(void)
{
	unsigned long long rounds = 0;
	uint64_t random = harm.seed;
	ready();
	while (rounds < harm.count && time_left()) {
		struct raw_object iov;
		struct raw_ring ring;
		open_pair(&iov, &ring, 1 << 20, 16, false);
		for (int32_t i = 0; i < 16; i++) {
			struct wire_args args = read_args(&iov, (uint64_t)i << 16, 1 << 16);
			raw_ring_push(&ring, i, &args);
		}
		raw_ring_submit(&ring);
		usleep((useconds_t)(random_next(&random) % 300));
		raw_object_drop(rounds % 2 ? &iov : &ring.object);
		raw_object_drop(rounds % 2 ? &ring.object : &iov);
		rounds++;
	}
	printf("{\"rounds\": %llu}\n", rounds);
	return rounds == harm.count ? 0 : 1;
}

/* hold */

static pthread_barrier_t held;

static void *hold_one(void *unused)
{
	struct raw_object iov;
	struct raw_ring ring;
	struct wire_cqe cqe;
	open_pair(&iov, &ring, 16 << 20, 16, false);
	pthread_barrier_wait(&held);
	for (int32_t i = 0; time_left(); i = (i + 1) % 16) {
		struct wire_args args = read_args(&iov, (uint64_t)i << 20, 1 << 20);
		raw_ring_push(&ring, i, &args);
		raw_ring_submit(&ring);
		if (i < 15)
			continue;
		for (int got = 0; got < 16 && time_left();)
			raw_ring_take(&ring, &cqe) ? (void)got++ : raw_ring_sleep(&ring, 1000000);
	}
	return unused;
}

static int hold(void)
{
	pthread_t threads[3];
	pthread_barrier_init(&held, NULL, 4);
	for (int i = 0; i < 3; i++)
		if (pthread_create(&threads[i], NULL, hold_one, NULL))
			die("no thread");
	pthread_barrier_wait(&held);
	ready();
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(void);
	} modes[] = {
		{"flip", flip}, {"fuzz", fuzz}, {"bell", bell}, {"churn", churn}, {"hold", hold}};
	char path[800];
	struct stat st;
	if (argc < 5)
		die("usage: harm MODE MOUNT FILE SECONDS [SEED [COUNT]]");
	raw_mount_open(&harm.mount, argv[2]);
	snprintf(path, sizeof(path), "%s/%s", argv[2], argv[3]);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		die("%s: %s", path, strerror(errno));
	harm.ino = st.st_ino;
	harm.end = now_seconds() + atof(argv[4]);
	harm.seed = argc > 5 ? (uint64_t)atoll(argv[5]) : 1;
	harm.count = argc > 6 ? (unsigned long long)atoll(argv[6]) : UINT64_MAX;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (!strcmp(argv[1], modes[i].name))
			return modes[i].run();
	die("%s: no such mode", argv[1]);
}
