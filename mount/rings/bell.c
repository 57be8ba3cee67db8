/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/rings/bell.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/error.h"
#include "io/usrbio/guard.h"

#define BELL_MODE (S_ISVTX | 0666)

/* ---- Names ---- */

/* Marked as ours only once it is locked: a daemon that starts beside us must not take it for a dead one's. */
static int mark(struct bell *bell, const struct sys *sys, int shm_dir, struct weir_error *err)
{
	bell->lock_fd = sys->openat(shm_dir, bell->file.name, O_RDWR | O_NOFOLLOW | O_CLOEXEC, 0);
	if (bell->lock_fd < 0 || flock(bell->lock_fd, LOCK_EX | LOCK_NB) ||
	    sys->fchmod(bell->lock_fd, BELL_MODE))
		return error_sys(err, errno, bell->file.name, "%s: locking the submit semaphore",
				 bell->file.name);
	return 0;
}

int bell_create(struct bell *bell, const struct sys *sys, int shm_dir, struct weir_error *err)
{
	int ret;

	bell->lock_fd = -1;
	bell->sys = sys;
	ret = usrbio_bell_create(sys, shm_dir, &bell->file, err);
	if (ret)
		return ret;
	ret = mark(bell, sys, shm_dir, err);
	if (ret)
		bell_destroy(bell, sys, shm_dir);
	return ret;
}

void bell_destroy(struct bell *bell, const struct sys *sys, int shm_dir)
{
	if (!bell->file.sem)
		return;
	usrbio_bell_unlink(sys, shm_dir, &bell->file);
	usrbio_bell_close(sys, &bell->file);
	if (bell->lock_fd >= 0)
		sys->close(bell->lock_fd);
	bell->file.sem = NULL;
}

static bool left_behind(const struct sys *sys, int shm_dir, const char *name)
{
	struct stat stat;
	int fd = sys->openat(shm_dir, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
	bool left;

	if (fd < 0)
		return false;
	left = sys->fstat(fd, &stat) == 0 && S_ISREG(stat.st_mode) &&
	       (stat.st_mode & 07777) == BELL_MODE && stat.st_uid == geteuid() &&
	       flock(fd, LOCK_EX | LOCK_NB) == 0;
	sys->close(fd);
	return left;
}

unsigned bell_sweep(const struct sys *sys, int shm_dir)
{
	int fd = sys->openat(shm_dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;
	unsigned removed = 0;

	if (!dir) {
		if (fd >= 0)
			sys->close(fd);
		return 0;
	}
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
	while ((entry = readdir(dir))) {
		if (strncmp(entry->d_name, USRBIO_BELL_PREFIX, strlen(USRBIO_BELL_PREFIX)) == 0 &&
		    left_behind(sys, shm_dir, entry->d_name) &&
		    sys->unlinkat(shm_dir, entry->d_name, 0) == 0)
			removed++;
	}
	closedir(dir);
	return removed;
}

/* ---- Ringing ---- */

struct touch {
	struct usrbio_sem *sem;
	uint64_t value;
};

#define ONE_WAITER (UINT64_C(1) << 32)

static void start_anew(void *arg)
{
	struct touch *touch = arg;

	usrbio_sem_init(touch->sem);
	atomic_store(&touch->sem->data, touch->value);
}

/*
 * The file is as long again as it was, and the feed counts as waiting where it does: it sleeps on the
 * place in the file, whatever page is there.  What had rung is found by the next look.
 */
static bool mend(struct bell *bell)
{
	struct touch touch = {.sem = bell->file.sem,
			      .value = atomic_load(&bell->waiters) * ONE_WAITER};

	return bell->sys->ftruncate(bell->lock_fd, sizeof(*touch.sem)) == 0 &&
	       usrbio_guarded(start_anew, &touch, touch.sem, sizeof(*touch.sem)) == 0;
}

/* Once more where it was truncated: it is everybody's bell, not only of who did that. */
static int guarded(struct bell *bell, void (*touch)(void *), struct touch *arg)
{
	arg->sem = bell->file.sem;
	if (likely(usrbio_guarded(touch, arg, arg->sem, sizeof(*arg->sem)) == 0))
		return 0;
	return mend(bell) ? usrbio_guarded(touch, arg, arg->sem, sizeof(*arg->sem)) : -EFAULT;
}

static void drain(void *arg)
{
	struct touch *touch = arg;

	touch->value = usrbio_sem_drain(touch->sem);
}

static bool take_heard(struct bell *bell)
{
	bool heard = bell->heard;

	bell->heard = false;
	return heard;
}

uint32_t bell_drain(struct bell *bell)
{
	struct touch touch = {0};
	uint32_t heard = take_heard(bell);

	return guarded(bell, drain, &touch) ? heard : max_of((uint32_t)touch.value, heard);
}

static void look(void *arg)
{
	struct touch *touch = arg;

	touch->value = (uint32_t)atomic_load(&touch->sem->data);
}

static int look_at(void *arg)
{
	struct bell *bell = arg;
	struct touch touch = {0};

	if (bell->heard)
		return 1;
	return guarded(bell, look, &touch) ? -1 : touch.value != 0;
}

static void count_in(void *arg)
{
	struct touch *touch = arg;

	touch->value = atomic_fetch_add(&touch->sem->data, ONE_WAITER);
	if ((uint32_t)touch->value)
		atomic_fetch_sub(&touch->sem->data, ONE_WAITER);
}

static int wait_on(void *arg)
{
	struct bell *bell = arg;
	struct touch touch = {0};

	/* First: who finds nobody awake any more rings, and that is seen below. */
	if (bell->rests && !bell->rests(bell->rests_arg)) {
		bell->heard = true;
		return 1;
	}
	if (guarded(bell, count_in, &touch))
		return -1;
	if ((uint32_t)touch.value)
		return 1;
	atomic_fetch_add(&bell->waiters, 1);
	return 0;
}

static void count_out(void *arg)
{
	struct touch *touch = arg;

	atomic_fetch_sub(&touch->sem->data, ONE_WAITER);
}

static void done_waiting(void *arg)
{
	struct bell *bell = arg;
	struct touch touch = {0};

	guarded(bell, count_out, &touch);
	atomic_fetch_sub(&bell->waiters, 1);
}

struct weir_feed_doorbell bell_doorbell(struct bell *bell)
{
	return (struct weir_feed_doorbell){.word = usrbio_sem_word(bell->file.sem),
					   .look = look_at,
					   .wait = wait_on,
					   .done = done_waiting,
					   .arg = bell};
}
