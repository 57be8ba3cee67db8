/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Telling the kernel that what it caches is old.
 *
 * Such a call may wait for an operation that waits for us, so that no thread that answers requests or
 * serves rings makes it: one thread of its own does, and holds nothing meanwhile.  Files are
 * queued once however often they change; names are few.
 */
#ifndef MOUNT_NOTICE_H
#define MOUNT_NOTICE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/thread.h"
#include "mount/tree.h"

struct fuse_session;

struct notifier {
	struct lock lock;
	struct cond cond;
	struct list files; /* inode.notice, each with a reference */
	struct list names;
	struct tree *tree;
	struct fuse_session *session;
	pthread_t thread;
	bool started, stop;
};

void notifier_init(struct notifier *notifier, struct tree *tree);
int notifier_start(struct notifier *notifier, struct fuse_session *session, struct weir_error *err);

/* Not before the connection has ended, or the thread might still wait for an answer of ours. */
void notifier_stop(struct notifier *notifier);

/* Attributes and pages of a file are old. */
void notifier_file(struct notifier *notifier, uint64_t number);

/* Attributes are old, and the kernel knows it when this returns; it waits for nobody. */
void notice_attributes(struct notifier *notifier, uint64_t number);

/* A name of 3fs-virt is gone.  For struct virt_opts. */
void notifier_name_gone(void *notifier, uint64_t parent, const char *name);

#endif
