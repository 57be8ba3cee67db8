/* SPDX-License-Identifier: Apache-2.0 */
#include "base/process.h"

#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compiler.h"

#define PAGE 4096

/* Holds the process's number, or 0 in a child that has not asked yet; made once, and kept. */
static _Atomic(_Atomic pid_t *) mark;

/* In its place where it is not to be had: always 0. */
static _Atomic pid_t nowhere;

static _Atomic pid_t *make_mark(void)
{
	_Atomic pid_t *none = NULL, *page;
	void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	page = at == MAP_FAILED || madvise(at, PAGE, MADV_WIPEONFORK) ? &nowhere : at;
	/* Release: whoever finds the page finds it such that forks empty it. */
	if (atomic_compare_exchange_strong_explicit(&mark, &none, page, memory_order_acq_rel,
						    memory_order_acquire))
		none = page;
	if (at != MAP_FAILED && none != at)
		munmap(at, PAGE);
	return none;
}

pid_t process_id(void)
{
	_Atomic pid_t *page = atomic_load_explicit(&mark, memory_order_acquire);
	pid_t pid;

	if (unlikely(!page))
		page = make_mark();
	/* Relaxed: all threads of a process write the same, and nothing is published with it. */
	pid = atomic_load_explicit(page, memory_order_relaxed);
	if (unlikely(pid == 0)) {
		pid = getpid();
		if (page != &nowhere)
			atomic_store_explicit(page, pid, memory_order_relaxed);
	}
	return pid;
}
