/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files: from OPEN to RELEASE.
 *
 * Three things hang on an inode while somebody has it open: its handles, which say who may do what with
 * it by rings (mount/rings/files.h; RELEASE tells no user, so the handle remembers who opened);
 * whether the kernel reads it by passthrough, which is decided at the first open and kept to the
 * last release, for the kernel refuses to mix; and what rings read and write it through.
 */
#ifndef MOUNT_OPENED_H
#define MOUNT_OPENED_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/list.h"
#include "base/log.h"
#include "base/thread.h"
#include "mount/tree.h"
#include "weir/context.h"

struct notifier;
struct wire;

struct handle {
	struct list link;    /* opened.handles */
	struct list all;     /* files.handles */
	struct inode *inode; /* with a reference */
	int fd;
	uid_t uid;
	bool rights[2]; /* to read, to write */
};

struct opened {
	struct list handles;
	int32_t backing; /* WIRE_NO_BACKING: the ordinary way */
};

struct files {
	struct lock lock;
	struct list handles;
	struct tree *tree;
	struct notifier *notifier;
	struct wire *wire;
	struct weir_ctx *ctx; /* NULL: no rings */
	struct log *log;
	bool passthrough;              /* wanted, and nothing has spoken against it */
	_Atomic uint64_t epoch;        /* of rights */
	_Atomic uint64_t open, backed; /* handles, and those that the kernel serves */
};

void files_init(struct files *files, struct tree *tree);
/* What is still open is closed. */
void files_fini(struct files *files);

/* fd is the handle's, from then on.  flags: those of open(2).  backing: what the answer carries, or
 * WIRE_NO_BACKING.  0 or an errno; then fd is closed. */
int handle_open(struct files *files, struct inode *inode, int fd, int flags, uid_t uid,
		struct handle **out, int32_t *backing);
void handle_release(struct files *files, struct handle *handle);

#endif
