/* SPDX-License-Identifier: Apache-2.0 */
#include "base/huge.h"

#include <stdint.h>
#include <sys/mman.h>

#include "base/size.h"

#define HUGE_PAGE (2 * MIB)

/* Below that a block shares its huge pages with others' small ones, and little is won. */
#define WORTH_IT (8 * MIB)

void huge_advise(void *at, size_t bytes)
{
	uint64_t start = round_up((uintptr_t)at, HUGE_PAGE);
	uint64_t end = round_down((uintptr_t)at + bytes, HUGE_PAGE);

	if (bytes >= WORTH_IT && end > start)
		(void)madvise((char *)at + (start - (uintptr_t)at), end - start, MADV_HUGEPAGE);
}
