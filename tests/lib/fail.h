/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Failing the n-th allocation, or the n-th call of a system call, on purpose.
 *
 * Allocations are interposed by the linker: every test program is linked with --wrap=malloc and its
 * like, so calls in our objects, library and test, come here, and go on to whatever malloc the program
 * has.  That works beside the sanitizers, whose malloc must be the one underneath.  What shared
 * libraries allocate for themselves is not seen.
 *
 * System calls are failed through the table that the library calls them by (base/sys.h).
 *
 *	for (unsigned n = 1; ; n++) {
 *		fail_alloc(n, FAIL_ONCE);
 *		ret = what_is_tried();
 *		if (!fail_alloc_end())
 *			break;                  it has fewer than n allocations: all were tried
 *		check_int(ret, WEIR_NOMEM);
 *	}
 *
 * Counters are of the whole process: any thread's call may be the n-th.
 */
#ifndef TESTS_LIB_FAIL_H
#define TESTS_LIB_FAIL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/sys.h"

enum fail_mode {
	FAIL_ONCE, /* the n-th fails */
	FAIL_FROM, /* the n-th and all that follow */
};

/* From now on; n begins with 1.  Of one allocation, realloc included. */
void fail_alloc(unsigned n, enum fail_mode mode);

/* No more failures; did one fire? */
bool fail_alloc_end(void);

/* Allocations that were made and not freed, in our objects. */
int64_t fail_alloc_live(void);

/* All allocations that our objects ever made: what the data path must not add to. */
uint64_t fail_alloc_count(void);

/* The entries of struct sys that can fail. */
#define FAIL_CALLS(X)                                                                              \
	X(openat)                                                                                  \
	X(close)                                                                                   \
	X(pread)                                                                                   \
	X(preadv2)                                                                                 \
	X(pwrite)                                                                                  \
	X(fstat)                                                                                   \
	X(statx)                                                                                   \
	X(fstatfs)                                                                                 \
	X(ftruncate)                                                                               \
	X(fallocate)                                                                               \
	X(fchmod)                                                                                  \
	X(fdatasync)                                                                               \
	X(fsync)                                                                                   \
	X(renameat2)                                                                               \
	X(unlinkat)                                                                                \
	X(mkdirat)                                                                                 \
	X(fadvise)                                                                                 \
	X(cachestat)                                                                               \
	X(copy_file_range)                                                                         \
	X(clone_file)                                                                              \
	X(symlinkat)                                                                               \
	X(readlinkat)                                                                              \
	X(ioctl)                                                                                   \
	X(fcntl)                                                                                   \
	X(mbind)                                                                                   \
	X(getcpu)                                                                                  \
	X(futex)                                                                                   \
	X(futex_wake_op)                                                                           \
	X(pidfd_open)                                                                              \
	X(getrlimit)                                                                               \
	X(mmap)                                                                                    \
	X(munmap)                                                                                  \
	X(madvise)                                                                                 \
	X(thread_create)                                                                           \
	X(random)

enum fail_call {
#define X(name) FAIL_##name,
	FAIL_CALLS(X)
#undef X
	FAIL_ANY /* whichever of them it is */
};

const char *fail_call_name(enum fail_call call); /* of one of them */

/* A table whose entries count, and fail on request; sys_real() underneath. */
const struct sys *fail_sys(void);

/* Likewise over another table, which must live on. */
void fail_sys_over(const struct sys *below);

/* The n-th call from now on of that entry fails with that errno (close: after it has closed). */
void fail_call(enum fail_call call, unsigned n, enum fail_mode mode, int os_errno);
bool fail_call_end(void);

/* Bytes that were mapped through the table and not unmapped. */
int64_t fail_mapped_bytes(void);

#endif
