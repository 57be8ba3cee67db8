/* SPDX-License-Identifier: Apache-2.0 */
#include "base/huge.h"

#include <errno.h>
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

/* ---- Shared memory ---- */

/* Of <linux/mman.h> since 6.1; the headers here may be older. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Over a reservation that is a huge page larger. */
static void *map_aligned(const struct sys *sys, int fd, size_t bytes)
{
	size_t all = bytes + HUGE_PAGE, head;
	char *at = sys->mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			     0);

	if ((void *)at == MAP_FAILED)
		return MAP_FAILED;
	head = (size_t)(-(uintptr_t)at & (HUGE_PAGE - 1));
	if (sys->mmap(at + head, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) ==
	    MAP_FAILED) {
		int keep = errno;

		sys->munmap(at, all);
		errno = keep;
		return MAP_FAILED;
	}
	if (head > 0)
		sys->munmap(at, head);
	sys->munmap(at + head + bytes, HUGE_PAGE - head);
	return at + head;
}

void *huge_map_shared(const struct sys *sys, int fd, uint64_t bytes)
{
	if (bytes >= HUGE_PAGE && bytes <= SIZE_MAX - HUGE_PAGE)
		return map_aligned(sys, fd, (size_t)bytes);
	return sys->mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/*
 * The kernel gathers pages that are there, and fills up what is missing: so there has to be one.  It is had
 * without touching the memory, which would be a bus error where there is no room.
 */
void huge_fill_shared(const struct sys *sys, int fd, void *map, uint64_t offset, uint64_t bytes)
{
	uint64_t start = round_up(offset, HUGE_PAGE), end = round_down(offset + bytes, HUGE_PAGE);

	if (start >= end || ((uintptr_t)map & (HUGE_PAGE - 1)))
		return;
	for (uint64_t at = start; at < end; at += HUGE_PAGE)
		if (sys->fallocate(fd, 0, (off_t)at, 1) < 0)
			return;
	sys->madvise((char *)map + start, end - start, MADV_COLLAPSE);
}
