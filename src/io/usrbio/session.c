/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who holds a session: its users, and its threads.  When the last user goes the threads are told to end,
 * and normally have within no time; one that hangs in a call to a stopped daemon keeps the memory, and
 * frees it when, if ever, the call returns.
 */
#include "io/usrbio/session.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/usrbio/file.h"
#include "io/usrbio/session_state.h"
#include "io/usrbio/shm.h"

#define PAGE            4096
#define PROBE_PERIOD_NS (700 * NS_PER_MS)
#define PROBE_LEAST_NS  (300 * NS_PER_MS) /* where somebody begins to wait */
#define STOPPED_NS      (1500 * NS_PER_MS)
#define ENDING_NS       (2 * NS_PER_SEC)

/* ---- The list of all ---- */

/*
 * Nothing blocks under its lock.  A child gets the list in one piece, and nothing in it is its own: it
 * begins an empty one.
 */
static struct lock sessions_lock = {PTHREAD_MUTEX_INITIALIZER};
static struct list sessions = {&sessions, &sessions};

static void before_fork(void)
{
	lock_take(&sessions_lock);
}

static void after_fork(void)
{
	lock_drop(&sessions_lock);
}

static void after_fork_in_child(void)
{
	list_init(&sessions);
	lock_drop(&sessions_lock);
}

static void watch_forks(void)
{
	pthread_atfork(before_fork, after_fork, after_fork_in_child);
}

/* ---- Making and ending ---- */

static volatile unsigned char *make_mark(const struct sys *sys)
{
	unsigned char *page = sys->mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (sys->madvise(page, PAGE, MADV_WIPEONFORK)) {
		sys->munmap(page, PAGE);
		return NULL;
	}
	*page = 1;
	return page;
}

bool usrbio_session_mine(const struct usrbio_session *session)
{
	return session->mine ? *session->mine : session->pid == getpid();
}

static void release(struct usrbio_session *session)
{
	const struct sys *sys = session->sys;

	for (int i = 0; i < USRBIO_BELLS; i++)
		usrbio_bell_close(sys, &session->bells[i]);
	registrar_free_spare(session);
	if (session->mine)
		sys->munmap((void *)session->mine, PAGE);
	sys->close(session->shm_dir);
	cond_fini(&session->watched);
	cond_fini(&session->changed);
	lock_fini(&session->lock);
	free(session);
}

void session_thread_ends(struct usrbio_session *session)
{
	bool last;

	lock_take(&session->lock);
	last = --session->threads == 0 && session->users == 0;
	cond_wake_all(&session->changed);
	lock_drop(&session->lock);
	if (last)
		release(session);
}

/*
 * The closer counts as a user until it has seen the threads end, or has waited long enough; whoever
 * is the last to leave frees.
 */
static void end(struct usrbio_session *session)
{
	int64_t deadline = deadline_after(session->sys, ENDING_NS);
	bool last;

	lock_take(&session->lock);
	session->ending = true;
	cond_wake_all(&session->changed);
	cond_wake_all(&session->watched);
	while (session->threads && session->sys->now_ns() < deadline)
		cond_wait(&session->changed, &session->lock, deadline);
	session->users--;
	last = session->threads == 0;
	lock_drop(&session->lock);
	if (last)
		release(session);
}

void usrbio_session_put(struct usrbio_session *session)
{
	bool last = false;

	if (!session || !usrbio_session_mine(session))
		return; /* a child has no threads to end; the memory goes with it */
	lock_take(&sessions_lock);
	lock_take(&session->lock);
	if (session->users == 1) {
		last = true;
		list_remove(&session->link);
	} else {
		session->users--;
	}
	lock_drop(&session->lock);
	lock_drop(&sessions_lock);
	if (last)
		end(session);
}

void usrbio_session_ref(struct usrbio_session *session)
{
	lock_take(&session->lock);
	session->users++;
	lock_drop(&session->lock);
}

static struct usrbio_session *make(const struct sys *sys, const char *mount)
{
	struct usrbio_session *session = calloc(1, sizeof(*session));

	if (!session)
		return NULL;
	list_init(&session->link);
	list_init(&session->calls);
	list_init(&session->spare_calls);
	session->sys = sys;
	memcpy(session->mount, mount, strlen(mount) + 1);
	session->pid = getpid();
	session->mine = make_mark(sys);
	session->iovs = -1;
	session->users = 1;
	lock_init(&session->lock);
	cond_init(&session->changed);
	cond_init(&session->watched);
	return session;
}

static int create(const struct sys *sys, const char *mount, struct usrbio_session **out,
		  struct weir_error *err)
{
	struct usrbio_session *session;
	int shm_dir = usrbio_shm_dir(sys), ret;

	if (shm_dir < 0)
		return error_sys(err, -shm_dir, USRBIO_SHM, USRBIO_SHM);
	session = make(sys, mount);
	if (!session) {
		sys->close(shm_dir);
		return error_nomem(err, mount, "a session");
	}
	session->shm_dir = shm_dir;
	ret = registrar_start(session, err);
	if (ret) {
		usrbio_session_put(session);
		return ret;
	}
	*out = session;
	return 0;
}

/* One that is alive, with a reference; under the lock of the list. */
static struct usrbio_session *find(const struct sys *sys, const char *mount)
{
	list_for_each(at, &sessions) {
		struct usrbio_session *session = list_entry(at, struct usrbio_session, link);

		if (session->sys == sys && !session->gone && strcmp(session->mount, mount) == 0) {
			usrbio_session_ref(session);
			return session;
		}
	}
	return NULL;
}

int usrbio_session_get(const struct sys *sys, const char *mount, struct usrbio_session **out,
		       struct weir_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct usrbio_session *session, *ours;
	int ret;

	pthread_once(&once, watch_forks);
	if (strnlen(mount, USRBIO_MOUNT_MAX) >= USRBIO_MOUNT_MAX)
		return error_sys(err, EINVAL, mount,
				 "%.32s...: the path of a mount has at most %d bytes", mount,
				 USRBIO_MOUNT_MAX - 1);
	lock_take(&sessions_lock);
	*out = find(sys, mount);
	lock_drop(&sessions_lock);
	if (*out)
		return 0;
	ret = create(sys, mount, &ours, err);
	if (ret)
		return ret;
	lock_take(&sessions_lock);
	session = find(sys, mount); /* another thread may have been faster */
	if (!session)
		list_push(&sessions, &ours->link);
	lock_drop(&sessions_lock);
	if (session)
		usrbio_session_put(ours);
	*out = session ? session : ours;
	return 0;
}

const char *usrbio_session_mount(const struct usrbio_session *session)
{
	return session->mount;
}

const struct sys *usrbio_session_sys(const struct usrbio_session *session)
{
	return session->sys;
}

int usrbio_session_shm_dir(const struct usrbio_session *session)
{
	return session->shm_dir;
}

/* ---- Bells ---- */

/* Of two threads that open one at once the second closes its own. */
int usrbio_session_bell(struct usrbio_session *session, enum usrbio_bell which,
			struct usrbio_sem **out, struct weir_error *err)
{
	struct usrbio_bell_file opened;
	char target[USRBIO_MOUNT_MAX];
	int ret;

	lock_take(&session->lock);
	*out = session->bells[which].sem;
	lock_drop(&session->lock);
	if (*out)
		return 0;
	ret = registrar_read(session, usrbio_bell_link(which), target, sizeof(target), err);
	if (!ret)
		ret = usrbio_bell_open(session->sys, session->shm_dir, target, &opened, err);
	if (ret)
		return ret;
	lock_take(&session->lock);
	if (!session->bells[which].sem) {
		session->bells[which] = opened;
		opened.sem = NULL;
	}
	*out = session->bells[which].sem;
	lock_drop(&session->lock);
	usrbio_bell_close(session->sys, &opened);
	return 0;
}

/* ---- Health ---- */

/* Could the failure be of this process rather than of the daemon? */
static bool tells_nothing(int os_errno)
{
	return os_errno == EINTR || os_errno == ENOMEM || os_errno == EMFILE || os_errno == ENFILE;
}

/* Does the mount answer, and is it the one that was opened?  May hang for as long as the daemon does. */
static bool answers(struct usrbio_session *session)
{
	const struct sys *sys = session->sys;
	char path[USRBIO_MOUNT_MAX + 64], target[USRBIO_MOUNT_MAX];
	uint32_t magic = 0;
	ssize_t len;

	if (sys->ioctl(session->iovs, USRBIO_IOC_GET_MAGIC, &magic) < 0)
		return tells_nothing(errno);
	snprintf(path, sizeof(path), "%s/" USRBIO_VIRT "/" USRBIO_IOVS "/%s", session->mount,
		 usrbio_bell_link(USRBIO_BELL_NORMAL));
	len = sys->readlinkat(AT_FDCWD, path, target, sizeof(target) - 1);
	if (len < 0)
		return tells_nothing(errno);
	target[len] = '\0';
	return magic == USRBIO_MAGIC && strcmp(target, session->bell_seen) == 0;
}

static void probe(struct usrbio_session *session)
{
	session->probing_since = session->sys->now_ns();
	if (!answers(session))
		session->gone = true;
	session->probing_since = 0;
}

static void *run_prober(void *arg)
{
	struct usrbio_session *session = arg;
	int64_t probed = INT64_MIN / 2, due;

	lock_take(&session->lock);
	while (!session->ending && !session->gone) {
		due = probed + (session->worried ? PROBE_LEAST_NS : PROBE_PERIOD_NS);
		if (!session->watchers || session->sys->now_ns() < due) {
			cond_wait(&session->watched, &session->lock,
				  session->watchers ? due : NEVER);
			continue;
		}
		session->worried = false;
		lock_drop(&session->lock);
		probe(session);
		probed = session->sys->now_ns();
		lock_take(&session->lock);
	}
	lock_drop(&session->lock);
	session_thread_ends(session);
	return NULL;
}

static bool start_prober(struct usrbio_session *session)
{
	pthread_t thread;

	session->threads++;
	session->prober = true;
	if (thread_start(session->sys, &thread, "weir-prober", run_prober, session, NULL)) {
		session->threads--;
		session->prober = false;
		return false;
	}
	thread_detach(thread);
	return true;
}

bool usrbio_session_watch(struct usrbio_session *session)
{
	bool watched;

	lock_take(&session->lock);
	watched = session->prober || start_prober(session);
	if (watched)
		session->worried |= session->watchers++ == 0;
	cond_wake_all(&session->watched);
	lock_drop(&session->lock);
	return watched;
}

void usrbio_session_unwatch(struct usrbio_session *session)
{
	lock_take(&session->lock);
	session->watchers--;
	lock_drop(&session->lock);
}

enum usrbio_health usrbio_session_health(const struct usrbio_session *session)
{
	int64_t since;

	if (session->gone)
		return USRBIO_GONE;
	since = session->probing_since;
	return since && session->sys->now_ns() - since > STOPPED_NS ? USRBIO_STOPPED : USRBIO_ALIVE;
}
