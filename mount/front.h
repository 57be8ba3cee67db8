/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One mount, as its operations see it (ops_*.c): what session.c has put together.
 *
 * Each operation is one function that answers its request exactly once, on the thread that read it.
 * Nodes whose number virt_owns() belong to mount/rings/; all others to the tree.
 */
#ifndef MOUNT_FRONT_H
#define MOUNT_FRONT_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "base/log.h"
#include "io/usrbio/layout.h"
#include "mount/interrupt.h"
#include "mount/notice.h"
#include "mount/opened.h"
#include "mount/reach.h"
#include "mount/rings/virt.h"
#include "mount/tree.h"
#include "mount/wire.h"

/* How long the kernel may believe a name or attributes of a directory that others change, too. */
#define FRONT_TIMEOUT_S 1.0

struct front {
	struct tree *tree;
	struct files files;
	struct notifier notifier;
	struct wire wire;
	struct interrupts interrupts;
	struct rings *rings;
	struct log *log;
	bool read_write, direct_io;
	char name[USRBIO_CLUSTER_MAX]; /* what clients get for the cluster's */
	uint32_t path_bytes;           /* of the mount point's */
};

static inline struct front *front_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static inline struct virt_caller caller_of(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct virt_caller){.uid = ctx->uid, .gid = ctx->gid, .pid = ctx->pid};
}

/* 3fs-virt itself, or something in it? */
bool front_is_virtual(fuse_ino_t parent, const char *name);

/* For what changes something: 0; EPERM on a virtual node; EROFS. */
int front_may_change(const struct front *front, fuse_ino_t node);

/* A lookup more for a name in a directory, told as FUSE wants it.  0 or an errno. */
int front_enter(struct front *front, struct inode *parent, int dir, const char *name,
		struct fuse_entry_param *out);

/* Answers with it, and forgets it where the kernel does not want to know any more. */
void front_reply_entry(fuse_req_t req, const struct fuse_entry_param *entry);

/* What stat tells. */
void front_attr(const struct statx *from, uint64_t number, struct stat *to);
void front_attr_virtual(const struct virt_entry *from, struct stat *to);
void front_entry_virtual(const struct virt_entry *from, struct fuse_entry_param *to);

#endif
