/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of 3fs-virt: what virt.h says of names, attributes and directories.
 */
#ifndef MOUNT_RINGS_TREE_H
#define MOUNT_RINGS_TREE_H

#include "mount/rings/share.h"
#include "mount/rings/virt.h"

/* What stat tells of a registered name. */
void share_describe(const struct share *share, struct virt_entry *out);

/* The entry of VIRT_NAME at an offset, as virt_readdir() has it. */
int virt_child(struct rings *rings, uint64_t offset, struct virt_dirent *out);

/* The enum usrbio_bell whose link in iovs/ has that name; -1: none. */
int virt_bell_of(const char *name);

#endif
