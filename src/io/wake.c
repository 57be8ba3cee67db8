/* SPDX-License-Identifier: Apache-2.0 */
#include "io/wake.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "io/fd.h"

int wake_init(struct wake *wake, const struct sys *sys)
{
	atomic_init(&wake->fired, false);
	wake->fd = fd_lift(sys, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	return wake->fd < 0 ? errno : 0;
}

void wake_fini(struct wake *wake)
{
	if (wake->fd >= 0)
		close(wake->fd);
	wake->fd = -1;
}

void wake_fire(struct wake *wake)
{
	const uint64_t one = 1;
	int saved = errno; /* the one of whom a signal handler interrupted */

	if (!atomic_exchange_explicit(&wake->fired, true, memory_order_acq_rel))
		while (write(wake->fd, &one, sizeof(one)) < 0 && errno == EINTR)
			;
	errno = saved;
}

bool wake_take(struct wake *wake)
{
	return atomic_load_explicit(&wake->fired, memory_order_relaxed) &&
	       atomic_exchange_explicit(&wake->fired, false, memory_order_acq_rel);
}

void wake_drain(const struct wake *wake)
{
	uint64_t value;

	while (read(wake->fd, &value, sizeof(value)) < 0 && errno == EINTR)
		;
}

void wake_wait(const struct wake *wake, int64_t left_ns)
{
	struct pollfd pollfd = {.fd = wake->fd, .events = POLLIN};
	struct timespec timeout = {left_ns / NS_PER_SEC, left_ns % NS_PER_SEC};

	if (ppoll(&pollfd, 1, left_ns == NEVER ? NULL : &timeout, NULL) > 0)
		wake_drain(wake);
}
