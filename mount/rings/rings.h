/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 3fs-virt of one mount, from the inside: the table of what is registered, the janitor, and a server for
 * each priority.
 */
#ifndef MOUNT_RINGS_RINGS_H
#define MOUNT_RINGS_RINGS_H

#include "base/list.h"
#include "io/usrbio/layout.h"
#include "mount/rings/bell.h"
#include "mount/rings/janitor.h"
#include "mount/rings/server.h"
#include "mount/rings/share.h"
#include "mount/rings/virt.h"

struct rings {
	struct virt_opts opts;
	const struct sys *sys;
	struct log *log; /* never NULL */
	struct log silent;
	int shm_dir;
	struct timespec born;
	struct table table;
	struct janitor janitor;
	struct errands *errands;
	struct bell bells[USRBIO_BELLS];
	struct server servers[USRBIO_BELLS];
	struct list quiet_dirs; /* virt_dir, under the table's lock: see tree.c */
};

/* Names have gone: all servers look. */
void rings_look(void *rings);

#endif
