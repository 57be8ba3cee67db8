/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages: for what malloc() gave, where making a large block's memory exist costs a third with
 * them, and for files in shared memory, where a request of the disk's takes a fifth of the
 * processor time.
 */
#ifndef BASE_HUGE_H
#define BASE_HUGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/sys.h"

/* Advice for the whole huge pages inside a block that was not touched yet; small blocks are left alone. */
void huge_advise(void *at, size_t bytes);

/*
 * A file in shared memory, readable and writable from its first byte; one of a huge page or more
 * begins where a huge page does.  MAP_FAILED, with errno.
 */
void *huge_map_shared(const struct sys *sys, int fd, uint64_t bytes);

/*
 * A wish: makes the whole huge pages of a range of such a mapping exist, where they were not
 * touched before, whatever the file system's own option says (Linux 6.1).  What could not be made is
 * left as it was, but for a page in each.
 */
void huge_fill_shared(const struct sys *sys, int fd, void *map, uint64_t offset, uint64_t bytes);

#endif
