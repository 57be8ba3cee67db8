/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory may still be touched before the machine or the cgroup says no the hard way.
 */
#ifndef MEM_LIMITS_H
#define MEM_LIMITS_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

struct memory_left {
	uint64_t machine_bytes; /* UINT64_MAX where it is not told */
	uint64_t
		cgroup_bytes; /* likewise, and where there is no limit; the tightest group above us */
	uint64_t process_bytes; /* of address space, where that is limited (RLIMIT_AS) */
};

/* Never fails: what cannot be read is UINT64_MAX. */
void memory_left(const struct sys *sys, struct memory_left *out);

/*
 * 0, or WEIR_NOMEM with both numbers: "what" says what the bytes are for.  They are new ones: memory
 * that a pool keeps is not left to anybody, and need not be checked again.
 */
must_use int memory_check(const struct sys *sys, uint64_t bytes, const char *what,
			  struct weir_error *err);

#endif
