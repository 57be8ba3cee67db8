/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount point: what stands there before, and how to get rid of a mount.
 */
#ifndef MOUNT_SITE_H
#define MOUNT_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "weir/error.h"

/* A line of mountinfo. */
struct site {
	unsigned major, minor; /* of the device: the minor names the connection in fusectl */
	char type[32], source[64];
	bool read_only;
};

/* The last mount at exactly that path; false: there is none. */
bool site_find(const char *path, struct site *out);

/*
 * Makes DIR ready: a dead mount of ours there is detached; anything that would be hidden, or is
 * no directory, is refused with what to do about it.  source_fd: what will be mounted.  *path: the
 * absolute path, allocated; NULL for "/dev/fd/N".  Nobody else who asks here mounts there until the
 * claim is given up, in any case: two that begin together would both find it empty.  -1: there is
 * none.
 */
int site_prepare(const char *dir, const char *source, bool nonempty, struct log *log, char **path,
		 int *claim, struct weir_error *err);
void site_unclaim(int *claim);

/* How far the kernel reads ahead of buffered readers; left as it is where we may not say. */
void site_read_ahead(const struct site *site, unsigned kib);

/* 0 or an errno.  lazy: it vanishes from sight though it is busy. */
int site_detach(const char *path, bool lazy);

#endif
