/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings driven by weir itself: io/usrbio does it all.  Requests name memory by its id and files by their
 * number, so there is nothing to wrap or to add.
 */
#include <errno.h>

#include "source/usrbio_driver.h"

static struct usrbio_ring *ring_of(struct driver_ring *ring)
{
	return (struct usrbio_ring *)(void *)ring;
}

static void destroy(struct driver *driver)
{
	(void)driver;
}

static int iov_wrap(struct driver *driver, const struct usrbio_iov *iov, struct driver_iov **out,
		    struct weir_error *err)
{
	(void)driver;
	(void)iov;
	(void)err;
	*out = NULL;
	return 0;
}

static void iov_unwrap(struct driver *driver, struct driver_iov *iov)
{
	(void)driver;
	(void)iov;
}

static int file_add(struct driver *driver, int fd, int *out)
{
	(void)driver;
	*out = fd;
	return 0;
}

static void file_remove(struct driver *driver, int fd, int file)
{
	(void)driver;
	(void)fd;
	(void)file;
}

static int ring_create(struct driver *driver, struct usrbio_session *session,
		       const struct usrbio_ring_opts *opts, struct driver_ring **out,
		       struct weir_error *err)
{
	struct usrbio_ring *ring;
	int ret = usrbio_ring_create(session, opts, &ring, err);

	(void)driver;
	if (ret == 0)
		*out = (struct driver_ring *)(void *)ring;
	return ret;
}

static void ring_destroy(struct driver_ring *ring)
{
	usrbio_ring_destroy(ring_of(ring));
}

static int prepare(struct driver_ring *ring, const struct driver_io *io)
{
	return usrbio_ring_prepare(ring_of(ring), &io->io);
}

static int submit(struct driver_ring *ring)
{
	return usrbio_ring_submit(ring_of(ring));
}

static void wake(struct driver_ring *ring)
{
	usrbio_ring_wake(ring_of(ring));
}

/* -ETIMEDOUT is of waits without a deadline: the requests stay, and who waits decides. */
static int wait_some(struct driver_ring *ring, struct usrbio_cqe *out, int max, int least,
		     int64_t deadline_ns)
{
	int ret = usrbio_ring_wait(ring_of(ring), out, max, deadline_ns ? least : 0, deadline_ns);

	return ret == -ETIMEDOUT ? 0 : ret;
}

struct driver *driver_native(void)
{
	static const struct driver_ops ops = {
		.destroy = destroy,
		.iov_wrap = iov_wrap,
		.iov_unwrap = iov_unwrap,
		.file_add = file_add,
		.file_remove = file_remove,
		.ring_create = ring_create,
		.ring_destroy = ring_destroy,
		.prepare = prepare,
		.submit = submit,
		.wake = wake,
		.wait = wait_some,
	};
	static struct driver native = {&ops, "native"};

	return &native;
}
