/* SPDX-License-Identifier: Apache-2.0 */
#define FUSE_USE_VERSION 312
#include "mount/notice.h"

#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct gone {
	struct list link;
	uint64_t parent;
	char name[];
};

void notifier_init(struct notifier *notifier, struct tree *tree)
{
	*notifier = (struct notifier){.tree = tree};
	lock_init(&notifier->lock);
	cond_init(&notifier->cond);
	list_init(&notifier->files);
	list_init(&notifier->names);
}

void notifier_file(struct notifier *notifier, uint64_t number)
{
	struct inode *inode = tree_get(notifier->tree, number);
	bool queued = false;

	if (!inode)
		return;
	lock_take(&notifier->lock);
	if (list_empty(&inode->notice) && !notifier->stop) {
		list_push(&notifier->files, &inode->notice);
		queued = true;
		cond_wake(&notifier->cond);
	}
	lock_drop(&notifier->lock);
	if (!queued)
		tree_put(notifier->tree, inode);
}

void notice_attributes(struct notifier *notifier, uint64_t number)
{
	fuse_lowlevel_notify_inval_inode(notifier->session, number, -1, 0);
}

void notifier_name_gone(void *arg, uint64_t parent, const char *name)
{
	struct notifier *notifier = arg;
	size_t bytes = strlen(name) + 1;
	struct gone *gone = malloc(sizeof(*gone) + bytes);

	/* Without memory for it the kernel believes in the name for its time-out, and no longer. */
	if (!gone)
		return;
	gone->parent = parent;
	memcpy(gone->name, name, bytes);
	lock_take(&notifier->lock);
	list_push(&notifier->names, &gone->link);
	cond_wake(&notifier->cond);
	lock_drop(&notifier->lock);
}

/* All take no notice of failure: what the kernel does not know it does not cache. */
static void tell_file(struct notifier *notifier, struct inode *inode)
{
	fuse_lowlevel_notify_inval_inode(notifier->session, inode->number, 0, 0);
	tree_put(notifier->tree, inode);
}

static void tell_name(struct notifier *notifier, struct gone *gone)
{
	fuse_lowlevel_notify_inval_entry(notifier->session, gone->parent, gone->name,
					 strlen(gone->name));
	free(gone);
}

static void *run(void *arg)
{
	struct notifier *notifier = arg;
	struct list *file, *name;

	lock_take(&notifier->lock);
	while (!notifier->stop) {
		file = list_pop(&notifier->files);
		name = list_pop(&notifier->names);
		if (!file && !name) {
			cond_wait(&notifier->cond, &notifier->lock, NEVER);
			continue;
		}
		lock_drop(&notifier->lock);
		if (file)
			tell_file(notifier, list_entry(file, struct inode, notice));
		if (name)
			tell_name(notifier, list_entry(name, struct gone, link));
		lock_take(&notifier->lock);
	}
	lock_drop(&notifier->lock);
	return NULL;
}

int notifier_start(struct notifier *notifier, struct fuse_session *session, struct weir_error *err)
{
	int ret;

	notifier->session = session;
	ret = thread_start(sys_real(), &notifier->thread, "weir-notice", run, notifier, err);
	notifier->started = ret == 0;
	return ret;
}

void notifier_stop(struct notifier *notifier)
{
	struct list *link;

	lock_take(&notifier->lock);
	notifier->stop = true;
	cond_wake(&notifier->cond);
	lock_drop(&notifier->lock);
	if (notifier->started)
		thread_join(notifier->thread);
	while ((link = list_pop(&notifier->files)))
		tree_put(notifier->tree, list_entry(link, struct inode, notice));
	while ((link = list_pop(&notifier->names)))
		free(list_entry(link, struct gone, link));
	cond_fini(&notifier->cond);
	lock_fini(&notifier->lock);
}
