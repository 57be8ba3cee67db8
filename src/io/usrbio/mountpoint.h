/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding the mount that a path lies in, from /proc/self/mountinfo.
 */
#ifndef IO_USRBIO_MOUNTPOINT_H
#define IO_USRBIO_MOUNTPOINT_H

#include <limits.h>
#include <stdbool.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

/*
 * The mount point of the path that exists, as iovs are found below it: "<out>/3fs-virt/iovs".  Also for
 * mounts of a sub-tree beside a mount of 3fs-virt, where out is a directory that need not be on 3FS.
 * any_type: mounts of another type than fuse.hf3fs count too.  NOTFOUND: the path is not there, or on no
 * such mount.
 */
must_use int usrbio_mount_find(const struct sys *sys, const char *path, bool any_type,
			       char out[PATH_MAX], struct weir_error *err);

/*
 * Calls each(arg, point, type, source) for every mount that has a 3fs-virt, by the rules above, until it
 * returns non-zero; returns that, or 0, or a negative code.
 */
typedef int usrbio_mount_fn(void *arg, const char *point, const char *type, const char *source);
int usrbio_mount_each(const struct sys *sys, bool any_type, usrbio_mount_fn *each, void *arg,
		      struct weir_error *err);

#endif
