/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points in time: nanoseconds of the monotonic clock, as struct sys tells it.  A deadline is such a
 * point, or NEVER.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

#include "base/sys.h"

#define NEVER      INT64_MAX
#define NS_PER_US  INT64_C(1000)
#define NS_PER_MS  INT64_C(1000000)
#define NS_PER_SEC INT64_C(1000000000)

/* The deadline that is timeout_ns from now; a negative time-out means never, as in the public API. */
static inline int64_t deadline_after(const struct sys *sys, int64_t timeout_ns)
{
	int64_t deadline;

	if (timeout_ns < 0 || __builtin_add_overflow(sys->now_ns(), timeout_ns, &deadline))
		return NEVER;
	return deadline;
}

#endif
