/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>

struct region {
	sigjmp_buf jump;
	uintptr_t from, to;
};

/*
 * Of the static kind: the handler may run in a thread that never was here, and must not allocate to find
 * that out.
 */
static __thread struct region *current __attribute__((tls_model("initial-exec")));
static __thread bool unblocked __attribute__((tls_model("initial-exec")));

static _Atomic bool installed;
static struct sigaction before;

/* What would have happened without us.  A fault comes again when the handler returns. */
static void pass_on(int number, siginfo_t *info, void *context)
{
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
	} else if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) {
		struct sigaction plain = {.sa_handler = SIG_DFL};

		if (before.sa_handler == SIG_IGN && info->si_code <= 0)
			return; /* sent by somebody, to a program that did not want to hear it */
		sigaction(number, &plain, NULL);
		if (info->si_code <= 0)
			raise(number);
	} else {
		before.sa_handler(number);
	}
}

static void on_bus(int number, siginfo_t *info, void *context)
{
	struct region *region = current;
	uintptr_t at = (uintptr_t)info->si_addr;

	if (region && info->si_code > 0 && at >= region->from && at < region->to)
		siglongjmp(region->jump, 1);
	pass_on(number, info, context);
}

static int install_result;

/* SA_NODEFER: the jump leaves the mask as it is. */
static void install(void)
{
	struct sigaction ours = {.sa_sigaction = on_bus,
				 .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};

	sigemptyset(&ours.sa_mask);
	if (sigaction(SIGBUS, NULL, &before) || sigaction(SIGBUS, &ours, NULL))
		install_result = -errno;
	else
		atomic_store(&installed, true);
}

int usrbio_guard_install(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	return install_result;
}

/* A fault in a thread that blocks the signal ends the process, handler or not; ours block everything. */
static void unblock(void)
{
	sigset_t bus;

	sigemptyset(&bus);
	sigaddset(&bus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &bus, NULL);
	unblocked = true;
}

int usrbio_guarded(void (*touch)(void *arg), void *arg, const void *memory, uint64_t bytes)
{
	not_zeroed struct region region;

	if (!atomic_load_explicit(&installed, memory_order_relaxed)) {
		touch(arg);
		return 0;
	}
	if (unlikely(!unblocked))
		unblock();
	region.from = (uintptr_t)memory;
	region.to = region.from + bytes;
	if (sigsetjmp(region.jump, 0)) {
		current = NULL;
		unblock(); /* a tool's own handler around ours may have blocked it */
		return -EFAULT;
	}
	current =
		&region; /* NOLINT(clang-analyzer-core.StackAddressEscape): until three lines below */
	atomic_signal_fence(memory_order_seq_cst);
	touch(arg);
	atomic_signal_fence(memory_order_seq_cst);
	current = NULL;
	return 0;
}
