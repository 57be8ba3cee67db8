/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a piece of work leaves behind: descriptors (rings are some), threads, memory.
 *
 *	leaks_take(&before);
 *	... everything that was made is destroyed again ...
 *	leaks_check(&before);
 */
#ifndef TESTS_LIB_LEAKS_H
#define TESTS_LIB_LEAKS_H

#include <stdint.h>

#include "lib/fail.h"

struct leaks {
	int descriptors;
	int rings; /* io_uring instances, of the descriptors */
	int threads;
	int64_t allocations;  /* of our objects (lib/fail.h) */
	int64_t mapped_bytes; /* through fail_sys() */
};

void leaks_take(struct leaks *out);

/*
 * Fails the test where there is more of anything than before.  Threads that are on their way out are
 * waited for, a few seconds; `what` says what was tried.
 */
void leaks_check(const struct leaks *before, const char *what);

/* The same after a call that was made to fail: a munmap() leaves its bytes mapped. */
void leaks_check_call(const struct leaks *before, enum fail_call call);

#endif
