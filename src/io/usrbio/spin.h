/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking for a moment before sleeping: what a wake-up costs is spared where the other side is quick, and
 * a processor is burnt where it is not.  So it is off unless somebody asks for it, bounded each
 * time, and never done by a process that may use one processor only.  Between looks the processor
 * is offered to others, one of which may be the other side.
 */
#ifndef IO_USRBIO_SPIN_H
#define IO_USRBIO_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/sys.h"
#include "io/usrbio/client.h"
#include "weir/error.h"

#define USRBIO_SPIN_MOST_NS (10 * NS_PER_MS)

/* What WEIR_3FS_SPIN_US asks clients for: 0, or ARG where it is no number of at most 10,000. */
must_use int usrbio_spin_wanted(int64_t *ns, struct weir_error *err);

/* As much of that as makes sense: 0 where this process has one processor. */
int64_t usrbio_spin_allowed(int64_t wanted_ns);

/* Until there is something to reap, *woken, or the time has come.  True: not for the time. */
bool usrbio_spin(const struct sys *sys, const struct usrbio_client *client,
		 const _Atomic bool *woken, int64_t until_ns);

#endif
