/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The janitor (see janitor.h).
 *
 * It sleeps in epoll on the descriptors of the processes and on an eventfd.  Other work comes as shares
 * on lists.
 */
#include "mount/rings/janitor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "io/usrbio/layout.h"
#include "io/usrbio/shm.h"
#include "mount/rings/caller.h"

#define EVENTS 16

static void ring(struct janitor *janitor)
{
	uint64_t one = 1;

	while (write(janitor->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

static void last_ref(void *arg, struct share *share)
{
	struct janitor *janitor = arg;

	lock_take(&janitor->lock);
	list_push(&janitor->unheld, &share->doomed);
	lock_drop(&janitor->lock);
	ring(janitor);
}

void janitor_dismiss(struct janitor *janitor, struct share *share)
{
	lock_take(&janitor->lock);
	list_push(&janitor->dismissed, &share_ref(share)->doomed);
	lock_drop(&janitor->lock);
	ring(janitor);
}

static void move_all(struct list *from, struct list *to)
{
	struct list *link;

	while ((link = list_pop(from)))
		list_push(to, link);
}

void janitor_see_off(struct janitor *janitor, struct list *left, bool dead)
{
	if (list_empty(left))
		return;
	lock_take(&janitor->lock);
	move_all(left, dead ? &janitor->dead : &janitor->left);
	lock_drop(&janitor->lock);
	ring(janitor);
}

/* ---- Processes ---- */

/* With the table's lock held. */
static void forget(struct janitor *janitor, struct process *process)
{
	list_remove(&process->link);
	epoll_ctl(janitor->poll_fd, EPOLL_CTL_DEL, process->pidfd, NULL);
	janitor->sys->close(process->pidfd);
	free(process);
}

static bool ended(const struct process *process)
{
	struct pollfd poll_for = {.fd = process->pidfd, .events = POLLIN};

	return poll(&poll_for, 1, 0) > 0;
}

/* With the table's lock held: one that still runs, for its number may be another's already. */
static struct process *known(struct table *table, pid_t pid)
{
	list_for_each(at, &table->processes) {
		struct process *process = list_entry(at, struct process, link);

		if (process->pid == pid && !ended(process))
			return process;
	}
	return NULL;
}

/* With the table's lock held: 0 or an errno. */
static int meet(struct janitor *janitor, pid_t pid, struct process **out)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct process *process = calloc(1, sizeof(*process));
	int ret;

	if (!process)
		return ENOMEM;
	process->pid = pid;
	list_init(&process->shares);
	process->pidfd = janitor->sys->pidfd_open(pid, 0);
	event.data.ptr = process;
	if (process->pidfd < 0 ||
	    epoll_ctl(janitor->poll_fd, EPOLL_CTL_ADD, process->pidfd, &event)) {
		ret = errno;
		if (process->pidfd >= 0)
			janitor->sys->close(process->pidfd);
		free(process);
		return ret;
	}
	list_push(&janitor->table->processes, &process->link);
	*out = process;
	return 0;
}

int janitor_adopt(struct janitor *janitor, struct share *share, pid_t thread)
{
	struct table *table = janitor->table;
	pid_t pid = process_of(janitor->sys, thread);
	struct process *process;
	int ret = 0;

	if (pid == 0)
		return 0;
	lock_take(&table->lock);
	process = known(table, pid);
	if (!process)
		ret = meet(janitor, pid, &process);
	if (process && !atomic_load(&share->gone)) {
		share->process = process;
		list_push(&process->shares, &share->by_process);
	}
	lock_drop(&table->lock);
	return ret;
}

/* ---- Names that go ---- */

/* With the table's lock held: onto the list, with the reference that its name had. */
static void take_name(struct share *share, struct list *to)
{
	if (share_leave(share))
		list_push(to, &share->by_order);
}

static void remove_object(struct janitor *janitor, const struct share *share)
{
	const char *name = strrchr(share->target, '/') + 1;
	struct usrbio_shm shm = {.dev = share->dev, .ino = share->object, .owner = share->uid};
	struct caller_rights rights;

	if (strncmp(name, USRBIO_SHM_PREFIX, strlen(USRBIO_SHM_PREFIX)) != 0)
		return;
	memcpy(shm.name, name, strlen(name) + 1);
	caller_assume(&rights, share->uid, share->gid); /* so that the kernel judges */
	usrbio_shm_unlink_same(janitor->sys, janitor->shm_dir, &shm);
	caller_restore(&rights);
}

/* Names that were taken: the kernel forgets them, objects of the dead go, references drop. */
static void finish(struct janitor *janitor, struct list *taken, bool dead)
{
	struct list *link;

	if (list_empty(taken))
		return;
	if (dead)
		list_for_each(at, taken)
			atomic_store(&list_entry(at, struct share, by_order)->orphaned, true);
	janitor->look(janitor->look_arg);
	while ((link = list_pop(taken))) {
		struct share *share = list_entry(link, struct share, by_order);

		if (dead)
			remove_object(janitor, share);
		if (janitor->name_gone)
			janitor->name_gone(janitor->name_gone_arg, VIRT_IOVS_INO, share->name);
		share_unref(share);
	}
}

static void process_ended(struct janitor *janitor, struct process *process)
{
	pid_t pid = process->pid;
	struct list taken;

	list_init(&taken);
	lock_take(&janitor->table->lock);
	list_for_each_safe(at, &process->shares)
		take_name(list_entry(at, struct share, by_process), &taken);
	forget(janitor, process);
	lock_drop(&janitor->table->lock);
	log_debug(janitor->log, "rings: process %d has ended", (int)pid);
	finish(janitor, &taken, true);
}

static void dismiss_all(struct janitor *janitor, struct list *work)
{
	struct list taken, *link;

	list_init(&taken);
	while ((link = list_pop(work))) {
		struct share *share = list_entry(link, struct share, doomed);

		lock_take(&janitor->table->lock);
		take_name(share, &taken);
		lock_drop(&janitor->table->lock);
		share_unref(share); /* janitor_dismiss()'s */
	}
	finish(janitor, &taken, false);
}

/* ---- The thread ---- */

/* Everything that lies on the lists; false: and there is to be no more. */
static bool work(struct janitor *janitor)
{
	struct list unheld, dismissed, dead, left, *link;
	bool stopping;

	list_init(&unheld);
	list_init(&dismissed);
	list_init(&dead);
	list_init(&left);
	lock_take(&janitor->lock);
	move_all(&janitor->unheld, &unheld);
	move_all(&janitor->dismissed, &dismissed);
	move_all(&janitor->dead, &dead);
	move_all(&janitor->left, &left);
	stopping = janitor->stopping;
	lock_drop(&janitor->lock);
	finish(janitor, &dead, true);
	finish(janitor, &left, false);
	dismiss_all(janitor, &dismissed);
	while ((link = list_pop(&unheld)))
		share_destroy(list_entry(link, struct share, doomed));
	return !stopping;
}

static void *run(void *arg)
{
	struct janitor *janitor = arg;
	struct epoll_event events[EVENTS];
	uint64_t count;

	do {
		int n = epoll_wait(janitor->poll_fd, events, EVENTS, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr)
				process_ended(janitor, events[i].data.ptr);
			else if (read(janitor->wake_fd, &count, sizeof(count)) < 0)
				continue;
		}
	} while (work(janitor));
	return NULL;
}

int janitor_start(struct janitor *janitor, struct weir_error *err)
{
	struct epoll_event event = {.events = EPOLLIN};
	int ret;

	lock_init(&janitor->lock);
	list_init(&janitor->unheld);
	list_init(&janitor->dismissed);
	list_init(&janitor->dead);
	list_init(&janitor->left);
	janitor->table->last_ref = last_ref;
	janitor->table->last_ref_arg = janitor;
	janitor->poll_fd = epoll_create1(EPOLL_CLOEXEC);
	janitor->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (janitor->poll_fd < 0 || janitor->wake_fd < 0 ||
	    epoll_ctl(janitor->poll_fd, EPOLL_CTL_ADD, janitor->wake_fd, &event))
		ret = error_sys(err, errno, NULL, "rings: watching client processes");
	else
		ret = thread_start(janitor->sys, &janitor->thread, "weir-janitor", run, janitor,
				   err);
	janitor->started = ret == 0;
	if (ret) {
		if (janitor->poll_fd >= 0)
			janitor->sys->close(janitor->poll_fd);
		if (janitor->wake_fd >= 0)
			janitor->sys->close(janitor->wake_fd);
		lock_fini(&janitor->lock);
	}
	return ret;
}

void janitor_stop(struct janitor *janitor)
{
	struct list *link;

	if (!janitor->started)
		return;
	lock_take(&janitor->lock);
	janitor->stopping = true;
	lock_drop(&janitor->lock);
	ring(janitor);
	thread_join(janitor->thread);
	do /* what came while it went */
		work(janitor);
	while (!list_empty(&janitor->unheld));
	while ((link = list_pop(&janitor->table->processes)))
		forget(janitor, list_entry(link, struct process, link));
	janitor->sys->close(janitor->poll_fd);
	janitor->sys->close(janitor->wake_fd);
	lock_fini(&janitor->lock);
	janitor->started = false;
}
