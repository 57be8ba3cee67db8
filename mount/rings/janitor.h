/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The janitor: one thread that hears of the end of client processes, and does what the threads that
 * serve must not wait for.
 *
 * A process is held by a descriptor of it (pidfd), not by its number.  When it ends, all its names go at
 * once; its shared-memory objects of the vendor's name are removed where they still are those that were
 * mapped.  Memory is unmapped when the last I/O with it has ended, whenever that is.
 */
#ifndef MOUNT_RINGS_JANITOR_H
#define MOUNT_RINGS_JANITOR_H

#include <stdbool.h>

#include "base/list.h"
#include "base/thread.h"
#include "mount/rings/share.h"

struct janitor {
	struct table *table;
	const struct sys *sys;
	struct log *log;
	int shm_dir; /* borrowed */
	int poll_fd, wake_fd;
	pthread_t thread;
	bool started;
	struct lock lock;      /* of what follows */
	struct list unheld;    /* shares without a reference */
	struct list dismissed; /* shares whose name is to go */
	struct list dead;      /* by_order: shares whose name went with their process */
	struct list left;      /* by_order: and whose name went under another name */
	bool stopping;
	void (*look)(void *arg); /* names have gone: whoever serves looks */
	void *look_arg;
	void (*name_gone)(void *arg, uint64_t parent, const char *name); /* see virt.h */
	void *name_gone_arg;
};

int janitor_start(struct janitor *janitor, struct weir_error *err);

/* Does what is left to do, and ends the thread.  Of one that was not started: nothing. */
void janitor_stop(struct janitor *janitor);

/* The name of a share is to go: once for each, by the thread that serves it; does not wait. */
void janitor_dismiss(struct janitor *janitor, struct share *share);

/*
 * Shares that have left already (by_order, with the references of their names): the kernel is told, and
 * where their process is dead their objects go.
 */
void janitor_see_off(struct janitor *janitor, struct list *left, bool dead);

/*
 * A share that has a name goes with the process that the thread belongs to.  0, also where that cannot
 * be told (it stays without a process then); else an errno: ESRCH where it has ended.
 */
int janitor_adopt(struct janitor *janitor, struct share *share, pid_t thread);

#endif
