/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session tells of itself to mount/life/: how it gets on, for the watchdog, and what there is, for
 * `weir status`.
 */
#ifndef MOUNT_TOLD_H
#define MOUNT_TOLD_H

#include "mount/life/life.h"
#include "mount/session.h"

struct life_session told_session(struct mount *mount);

#endif
