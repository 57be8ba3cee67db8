/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the daemon may do, and what it may not although it could.
 *
 * Root keeps the capabilities that mounting, passthrough and opening other users' files need, and drops
 * the rest for good, before the first thread.  Once it is mounted, a filter refuses the system calls that
 * no file server makes: running programs, tracing, loading modules, mounting, other users' memory.
 * Neither can be taken back.
 */
#ifndef MOUNT_LIFE_CONFINE_H
#define MOUNT_LIFE_CONFINE_H

#include "base/compiler.h"
#include "weir/error.h"

/* Capabilities, memory that no debugger of the same user reads, and for root no new privileges.  One
 * thread runs. */
must_use int confine_early(struct weir_error *err);

/* The filter, for all threads; and no new privileges. */
must_use int confine_late(struct weir_error *err);

#endif
