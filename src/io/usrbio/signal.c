/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/signal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "io/usrbio/shm.h"

#define VALUE_MASK ((uint64_t)UINT32_MAX)
#define VALUE_MAX  ((uint64_t)INT32_MAX)
#define WAITER     ((uint64_t)1 << 32)
#define SHARED     128u

/* How often an exchange is tried against a peer that keeps changing the word. */
#define TRIES 64

void usrbio_sem_init(struct usrbio_sem *sem)
{
	atomic_store_explicit(&sem->data, 0, memory_order_relaxed);
	sem->flag = SHARED;
	memset(sem->unused, 0, sizeof(sem->unused));
}

void usrbio_sem_post(const struct sys *sys, struct usrbio_sem *sem)
{
	uint64_t seen = atomic_load_explicit(&sem->data, memory_order_relaxed);
	bool added = false;

	for (int i = 0; i < TRIES && !added; i++) {
		if ((seen & VALUE_MASK) >= VALUE_MAX)
			return;
		added = atomic_compare_exchange_weak_explicit(
			&sem->data, &seen, seen + 1, memory_order_acq_rel, memory_order_relaxed);
	}
	if (seen >> 32)
		sys->futex(usrbio_sem_word(sem), FUTEX_WAKE, 1, NULL, 0);
}

uint32_t usrbio_sem_drain(struct usrbio_sem *sem)
{
	return (uint32_t)atomic_fetch_and_explicit(&sem->data, ~VALUE_MASK, memory_order_acq_rel);
}

/* A value that runs over is a hint that was lost, after 2^32 of them that nobody looked at. */
int usrbio_bell_ring(const struct sys *sys, struct usrbio_sem *sem)
{
	const uint32_t add_one = FUTEX_OP(FUTEX_OP_ADD, 1, FUTEX_OP_CMP_EQ, 0);

	return sys->futex_wake_op(usrbio_sem_word(sem), add_one) < 0 ? -errno : 0;
}

static bool take(struct usrbio_sem *sem)
{
	uint64_t seen = atomic_load_explicit(&sem->data, memory_order_relaxed);

	for (int i = 0; i < TRIES && (seen & VALUE_MASK); i++)
		if (atomic_compare_exchange_weak_explicit(&sem->data, &seen, seen - 1,
							  memory_order_acq_rel,
							  memory_order_relaxed))
			return true;
	return false;
}

/* Where the call itself fails nobody sleeps, and a caller that looks again at once would spin. */
static void pause_instead(void)
{
	const struct timespec pause = {0, 1000000};

	clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

/* Until a wake, or the value is not 0, or the deadline. */
static int sleep_on(const struct sys *sys, struct usrbio_sem *sem, int64_t deadline_ns)
{
	struct timespec until = {deadline_ns / NS_PER_SEC, deadline_ns % NS_PER_SEC};

	if (deadline_ns < 0)
		return -ETIMEDOUT;
	if (sys->futex(usrbio_sem_word(sem), FUTEX_WAIT_BITSET, 0,
		       deadline_ns == NEVER ? NULL : &until, FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	if (errno == ETIMEDOUT)
		return -ETIMEDOUT;
	if (errno != EAGAIN && errno != EINTR)
		pause_instead();
	return 0;
}

int usrbio_sem_wait(const struct sys *sys, struct usrbio_sem *sem, int64_t deadline_ns)
{
	int ret;

	if (take(sem))
		return 0;
	atomic_fetch_add_explicit(&sem->data, WAITER, memory_order_acq_rel);
	ret = sleep_on(sys, sem, deadline_ns);
	atomic_fetch_sub_explicit(&sem->data, WAITER, memory_order_acq_rel);
	return take(sem) ? 0 : ret;
}

/* ---- Submit semaphores ---- */

static int map_bell(const struct sys *sys, int fd, struct usrbio_bell_file *out)
{
	void *memory = sys->mmap(NULL, sizeof(struct usrbio_sem), PROT_READ | PROT_WRITE,
				 MAP_SHARED, fd, 0);

	if (memory == MAP_FAILED)
		return errno;
	out->sem = memory;
	return 0;
}

/* Size and mode first: nobody knows the name before it is published. */
static int fill_bell(const struct sys *sys, int fd, struct usrbio_bell_file *out)
{
	int ret;

	if (sys->ftruncate(fd, sizeof(struct usrbio_sem)) || sys->fchmod(fd, 0666))
		return errno;
	ret = map_bell(sys, fd, out);
	if (!ret)
		usrbio_sem_init(out->sem);
	return ret;
}

int usrbio_bell_create(const struct sys *sys, int shm_dir, struct usrbio_bell_file *out,
		       struct weir_error *err)
{
	uint8_t id[16];
	char uuid[USRBIO_UUID_MAX];
	int fd, ret;

	*out = (struct usrbio_bell_file){0};
	if (usrbio_uuid_random(sys, id))
		return error_sys(err, EIO, USRBIO_SHM, "a name for a submit semaphore");
	usrbio_uuid_format(id, uuid);
	snprintf(out->name, sizeof(out->name), USRBIO_BELL_PREFIX "%s", uuid);
	fd = sys->openat(shm_dir, out->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			 0600);
	if (fd < 0)
		return error_sys(err, errno, out->name, USRBIO_SHM "/%s: creating it", out->name);
	ret = fill_bell(sys, fd, out);
	sys->close(fd);
	if (!ret)
		return 0;
	sys->unlinkat(shm_dir, out->name, 0);
	return error_sys(err, ret, out->name, USRBIO_SHM "/%s: making a semaphore of it",
			 out->name);
}

/* "sem.<name>" of a target /dev/shm/sem.<name>; NULL: a link of another kind. */
static const char *bell_component(const char *target)
{
	const char *name = usrbio_shm_component(target);

	return name && strncmp(name, "sem.", 4) == 0 && name[4] ? name : NULL;
}

static int open_bell(const struct sys *sys, int shm_dir, struct usrbio_bell_file *out)
{
	struct stat st;
	int fd = sys->openat(shm_dir, out->name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0);
	int ret;

	if (fd < 0)
		return errno;
	if (sys->fstat(fd, &st))
		ret = errno;
	else if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(struct usrbio_sem))
		ret = EPROTO;
	else
		ret = map_bell(sys, fd, out);
	sys->close(fd);
	return ret;
}

int usrbio_bell_open(const struct sys *sys, int shm_dir, const char *target,
		     struct usrbio_bell_file *out, struct weir_error *err)
{
	const char *name = bell_component(target);
	struct quoted quoted;
	int ret;

	*out = (struct usrbio_bell_file){0};
	if (!name || strlen(name) >= sizeof(out->name))
		return error_sys(err, EPROTO, USRBIO_SHM,
				 "the link of a submit semaphore points to '%s'",
				 quote(&quoted, (struct bytes){target, strlen(target)}));
	memcpy(out->name, name, strlen(name) + 1);
	ret = open_bell(sys, shm_dir, out);
	if (!ret)
		return 0;
	return error_sys(err, ret, USRBIO_SHM, USRBIO_SHM "/%s: opening the submit semaphore",
			 quote(&quoted, (struct bytes){name, strlen(name)}));
}

void usrbio_bell_close(const struct sys *sys, struct usrbio_bell_file *bell)
{
	if (bell->sem)
		sys->munmap(bell->sem, sizeof(*bell->sem));
	bell->sem = NULL;
}

void usrbio_bell_unlink(const struct sys *sys, int shm_dir, const struct usrbio_bell_file *bell)
{
	if (bell->name[0])
		sys->unlinkat(shm_dir, bell->name, 0);
}
