/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/spin.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/text.h"

/* Between two looks at the clock. */
#define LOOKS 32

int usrbio_spin_wanted(int64_t *ns, struct weir_error *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe) */
	const char *value = getenv("WEIR_3FS_SPIN_US");
	struct quoted q;
	unsigned long us;
	char *end;

	*ns = 0;
	if (!value || !*value)
		return 0;
	us = strtoul(value, &end, 10);
	if (*value < '0' || *value > '9' || *end || us > USRBIO_SPIN_MOST_NS / NS_PER_US)
		return error_sys(
			err, EINVAL, NULL,
			"WEIR_3FS_SPIN_US is '%s': it is a number of microseconds, at most %d",
			quote(&q, (struct bytes){value, strnlen(value, 64)}),
			(int)(USRBIO_SPIN_MOST_NS / NS_PER_US));
	*ns = (int64_t)us * NS_PER_US;
	return 0;
}

int64_t usrbio_spin_allowed(int64_t wanted_ns)
{
	cpu_set_t set;

	if (wanted_ns <= 0 || sched_getaffinity(0, sizeof(set), &set) || CPU_COUNT(&set) < 2)
		return 0;
	return min_of(wanted_ns, USRBIO_SPIN_MOST_NS);
}

static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

bool usrbio_spin(const struct sys *sys, const struct usrbio_client *client,
		 const _Atomic bool *woken, int64_t until_ns)
{
	for (;;) {
		for (int i = 0; i < LOOKS; i++) {
			if (usrbio_client_ready(client) ||
			    (woken && atomic_load_explicit(woken, memory_order_relaxed)))
				return true;
			relax();
		}
		if (sys->now_ns() >= until_ns)
			return false;
		sched_yield();
	}
}
