/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Touching memory that somebody else may truncate.
 *
 * A page of a shared object that was cut off raises SIGBUS in whoever touches it.  A program that
 * serves other processes installs our handler once; from then on a touch inside usrbio_guarded() that
 * faults within the region named there ends the touch, and everything else goes where it went
 * before: nothing is caught outside of such a region, or at another address.  The library installs
 * nothing by itself; without a handler the touch is a plain one.
 */
#ifndef IO_USRBIO_GUARD_H
#define IO_USRBIO_GUARD_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

/* Once for each process, before its threads touch anything: 0 or a negative errno. */
must_use int usrbio_guard_install(void);

/*
 * Calls touch(arg).  0; -EFAULT: it faulted inside [memory, memory + bytes) and was left there, so it must
 * hold no lock and own nothing.  Regions do not nest.
 */
must_use int usrbio_guarded(void (*touch)(void *arg), void *arg, const void *memory,
			    uint64_t bytes);

#endif
