/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings driven by a library with the vendor's C interface.
 *
 * What such a library does not do is done here, around its calls:
 *
 *   - It believes what the daemon writes.  Each request goes out under a number of our own, and what comes
 *     back has to be one that flies, with a result that fits.
 *   - It waits for ever for a daemon that is dead, and cannot be woken.  It is asked for a slice of time
 *     again and again; between two of them we look whether we were woken, and at the session's prober.
 *   - It throws exceptions at what makes no sense.  Sizes are checked before, and a mount that has a session is
 *     there.
 *   - It forgets a descriptor only where its daemon answers, so a number may be taken for good.  A
 *     descriptor that is refused for that is given under another number.
 *
 * Calls that touch the mount are made where the source makes them: on its worker, which may hang.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/size.h"
#include "source/usrbio_driver.h"
#include "source/usrbio_vendor.h"

/* How long the library is left alone with a wait. */
#define SLICE_NS (2 * NS_PER_MS)

/* Requests that fly for that long without news are reason to look after the daemon. */
#define QUIET_NS (100 * NS_PER_MS)

#define LOOK_MAX  64
#define ERRNO_MAX 4095

/* Numbers of descriptors that are tried before a file is given up. */
#define NUMBERS_MAX 64

struct foreign {
	struct driver driver;
	const struct sys *sys;
	struct usrbio_vendor_calls calls;
	char path[VENDOR_PATH_MAX];
};

/* What was asked under a number. */
struct asked {
	uint64_t userdata, length;
	uint64_t room; /* bytes from the start of its buffer to the end of the iov */
	bool flying;
};

struct foreign_ring {
	const struct foreign *by;
	struct usrbio_session *session; /* a reference */
	struct hf3fs_ior ior;
	_Atomic bool woken;
	/* The driving thread's. */
	int dead; /* 0, -ENOTCONN or -EPROTO */
	bool watching;
	int64_t quiet_since; /* 0: not */
	bool full;           /* it had no place for the last request */
	uint32_t entries, flying;
	uint32_t *free; /* numbers that do not fly: entries - flying of them */
	struct asked asked[];
};

static struct foreign *foreign_of(struct driver *driver)
{
	return container_of(driver, struct foreign, driver);
}

static struct foreign_ring *ring_of(struct driver_ring *ring)
{
	return (struct foreign_ring *)(void *)ring;
}

static void destroy(struct driver *driver)
{
	free(foreign_of(driver)); /* the library stays: it has threads */
}

/* ---- Memory ---- */

static int iov_wrap(struct driver *driver, const struct usrbio_iov *iov, struct driver_iov **out,
		    struct weir_error *err)
{
	const struct foreign *foreign = foreign_of(driver);
	const char *mount = usrbio_session_mount(iov->session);
	struct hf3fs_iov *wrapped = calloc(1, sizeof(*wrapped));
	int ret;

	if (!wrapped)
		return error_nomem(err, mount, "a buffer");
	ret = foreign->calls.iovwrap(wrapped, iov->shm.memory, iov->key.id, mount, iov->shm.bytes,
				     iov->key.block_bytes, -1);
	if (ret) {
		free(wrapped);
		return error_sys(err, ret < 0 ? -ret : EIO, mount, "%s: a buffer, for %s", mount,
				 driver->library);
	}
	*out = (struct driver_iov *)(void *)wrapped;
	return 0;
}

/* What was wrapped stays the caller's; nothing behind it is the library's. */
static void iov_unwrap(struct driver *driver, struct driver_iov *iov)
{
	(void)driver;
	free(iov);
}

/* ---- Files ---- */

/* One that the library does not take, under other numbers: each is held until one is taken. */
static int add_elsewhere(const struct foreign *foreign, int fd, int *out)
{
	int held[NUMBERS_MAX], count = 0, ret = EINVAL;

	while (ret == EINVAL && count < NUMBERS_MAX) {
		int number = foreign->sys->fcntl(fd, F_DUPFD_CLOEXEC, fd);

		ret = number < 0 ? EMFILE : foreign->calls.reg_fd(number, 0);
		if (number >= 0 && ret <= 0)
			*out = number;
		else if (number >= 0)
			held[count++] = number;
	}
	while (count > 0)
		foreign->sys->close(held[--count]);
	return ret > 0 ? ret : 0;
}

static int file_add(struct driver *driver, int fd, int *out)
{
	const struct foreign *foreign = foreign_of(driver);
	int ret = foreign->calls.reg_fd(fd, 0);

	*out = fd;
	if (ret <= 0)
		return 0;
	return ret == EINVAL ? add_elsewhere(foreign, fd, out) : ret;
}

static void file_remove(struct driver *driver, int fd, int file)
{
	const struct foreign *foreign = foreign_of(driver);

	foreign->calls.dereg_fd(file);
	if (file != fd)
		foreign->sys->close(file);
}

/* ---- Rings ---- */

static struct foreign_ring *make(const struct foreign *foreign, uint32_t entries)
{
	struct foreign_ring *ring = calloc(
		1, sizeof(*ring) + entries * (sizeof(struct asked) + sizeof(uint32_t)));

	if (!ring)
		return NULL;
	ring->by = foreign;
	ring->entries = entries;
	ring->free = (uint32_t *)(void *)(ring->asked + entries);
	for (uint32_t i = 0; i < entries; i++)
		ring->free[i] = i;
	return ring;
}

static int ring_create(struct driver *driver, struct usrbio_session *session,
		       const struct usrbio_ring_opts *opts, struct driver_ring **out,
		       struct weir_error *err)
{
	const struct foreign *foreign = foreign_of(driver);
	const char *mount = usrbio_session_mount(session);
	struct foreign_ring *ring;
	int ret;

	if (opts->entries < 1 || opts->entries > USRBIO_ENTRIES_MAX ||
	    opts->depth > (int)opts->entries)
		return error_sys(err, EINVAL, mount, "%s: a ring of depth %d in %u entries", mount,
				 opts->depth, opts->entries);
	ring = make(foreign, opts->entries);
	if (!ring)
		return error_nomem(err, mount, "a ring");
	ret = foreign->calls.iorcreate4(&ring->ior, mount, (int)opts->entries, opts->for_read,
					opts->depth, opts->timeout_ms, opts->node, opts->flags);
	if (ret) {
		free(ring);
		return error_sys(err, ret < 0 ? -ret : EIO, mount, "%s: a ring of %s", mount,
				 driver->library);
	}
	usrbio_session_ref(session);
	ring->session = session;
	*out = (struct driver_ring *)(void *)ring;
	return 0;
}

static void stop_watching(struct foreign_ring *ring)
{
	if (ring->watching)
		usrbio_session_unwatch(ring->session);
	ring->watching = false;
	ring->quiet_since = 0;
}

static void ring_destroy(struct driver_ring *base)
{
	struct foreign_ring *ring = ring_of(base);

	if (!ring)
		return;
	if (usrbio_session_mine(ring->session)) { /* in a child all of it is the parent's */
		stop_watching(ring);
		ring->by->calls.iordestroy(&ring->ior);
	}
	usrbio_session_put(ring->session);
	free(ring);
}

/* ---- Requests ---- */

/* The number is given as its successor: none of them is a null pointer. */
static const void *tag_of(uint32_t number)
{
	return (const void *)((uintptr_t)number + 1);
}

static int prepare(struct driver_ring *base, const struct driver_io *io)
{
	struct foreign_ring *ring = ring_of(base);
	const struct usrbio_io *what = &io->io;
	uint32_t number;
	int ret;

	if (!usrbio_session_mine(ring->session))
		return -EPERM;
	if (ring->dead)
		return ring->dead;
	if (!what->length || !size_inside(what->iov_offset, what->length, what->iov_bytes))
		return -EINVAL;
	if (ring->flying == ring->entries)
		return -EAGAIN;
	number = ring->free[ring->entries - ring->flying - 1];
	ret = ring->by->calls.prep_io(&ring->ior, (const struct hf3fs_iov *)(void *)io->iov,
				      ring->ior.for_read, io->memory, io->file, what->file_offset,
				      what->length, tag_of(number));
	ring->full = ret == -EAGAIN;
	if (ret < 0)
		return ret;
	ring->asked[number] = (struct asked){.userdata = what->userdata,
					     .length = what->length,
					     .room = what->iov_bytes - what->iov_offset,
					     .flying = true};
	ring->flying++;
	return ret;
}

static int submit(struct driver_ring *base)
{
	struct foreign_ring *ring = ring_of(base);

	if (!usrbio_session_mine(ring->session))
		return -EPERM;
	return ring->dead ? ring->dead : ring->by->calls.submit_ios(&ring->ior);
}

static void wake(struct driver_ring *base)
{
	atomic_store_explicit(&ring_of(base)->woken, true, memory_order_release);
}

/* ---- Waiting ---- */

static void settle(struct foreign_ring *ring, uint32_t number, int64_t result,
		   struct usrbio_cqe *out)
{
	struct asked *asked = &ring->asked[number];

	*out = (struct usrbio_cqe){
		.index = (int32_t)number, .result = result, .userdata = asked->userdata};
	asked->flying = false;
	ring->flying--;
	ring->free[ring->entries - ring->flying - 1] = number;
}

/* Is it the completion of a request that flies?  A result above its length is cut to that. */
static bool judge(struct foreign_ring *ring, const struct hf3fs_cqe *cqe, struct usrbio_cqe *out)
{
	uintptr_t tag = (uintptr_t)cqe->userdata;
	const struct asked *asked;
	int64_t result = cqe->result;

	if (tag == 0 || tag > ring->entries || result < -ERRNO_MAX)
		return false;
	asked = &ring->asked[tag - 1];
	if (!asked->flying || (result > 0 && (uint64_t)result > asked->room))
		return false;
	if (result > 0 && (uint64_t)result > asked->length)
		result = (int64_t)asked->length;
	settle(ring, (uint32_t)(tag - 1), result, out);
	return true;
}

static struct timespec as_real_time(const struct sys *sys, int64_t now, int64_t until)
{
	int64_t point = sys->real_ns() + max_of(until - now, (int64_t)0);

	return (struct timespec){point / NS_PER_SEC, point % NS_PER_SEC};
}

/* Asks the library once: how many came.  One that fails, or tells lies, makes the ring dead. */
static int look(struct foreign_ring *ring, struct usrbio_cqe *out, int max, int64_t now,
		int64_t until)
{
	const struct timespec limit = as_real_time(ring->by->sys, now, until);
	struct hf3fs_cqe cqes[LOOK_MAX];
	int got, taken = 0;

	max = min_of(max, LOOK_MAX);
	got = ring->by->calls.wait_for_ios(&ring->ior, cqes, max, until > now ? 1 : 0, &limit);
	if (got < 0 || got > max) {
		ring->dead = got == -ENOTCONN ? -ENOTCONN : -EPROTO;
		return 0;
	}
	while (taken < got && judge(ring, &cqes[taken], &out[taken]))
		taken++;
	if (taken < got)
		ring->dead = -EPROTO;
	return taken;
}

/* The daemon is gone: each request that flies comes back once, and when that is all, nothing more will. */
static int give_back(struct foreign_ring *ring, struct usrbio_cqe *out, int max)
{
	int count = 0;

	stop_watching(ring);
	if (ring->dead != -ENOTCONN)
		return ring->dead;
	for (uint32_t number = 0; number < ring->entries && count < max; number++)
		if (ring->asked[number].flying)
			settle(ring, number, -ENOTCONN, &out[count++]);
	return count ? count : -ENOTCONN;
}

static void note_quiet(struct foreign_ring *ring, int64_t now)
{
	bool awaited = ring->flying || ring->full;

	if (!awaited)
		stop_watching(ring);
	else if (!ring->quiet_since)
		ring->quiet_since = now;
	if (awaited && !ring->watching && now - ring->quiet_since >= QUIET_NS)
		ring->watching = usrbio_session_watch(ring->session);
	if (usrbio_session_health(ring->session) == USRBIO_GONE)
		ring->dead = -ENOTCONN;
}

/* For one: a library sleeps no longer for more of them. */
static int wait_some(struct driver_ring *base, struct usrbio_cqe *out, int max, int least,
		     int64_t deadline_ns)
{
	struct foreign_ring *ring = ring_of(base);
	const struct sys *sys = ring->by->sys;

	(void)least;
	if (!usrbio_session_mine(ring->session))
		return -EPERM;
	while (!ring->dead) {
		int64_t now = sys->now_ns();
		int got = look(ring, out, max, now, min_of(deadline_ns, now + SLICE_NS));

		if (got > 0) {
			stop_watching(ring);
			return got;
		}
		if (ring->dead)
			break;
		if (atomic_exchange_explicit(&ring->woken, false, memory_order_acquire) ||
		    now >= deadline_ns)
			return 0;
		note_quiet(ring, now);
	}
	return give_back(ring, out, max);
}

/* ---- Making one ---- */

static const struct driver_ops foreign_ops = {
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

int driver_foreign(const struct sys *sys, const char *path, const struct usrbio_vendor_calls *calls,
		   struct driver **out, struct weir_error *err)
{
	struct foreign *foreign = calloc(1, sizeof(*foreign));

	if (!foreign)
		return error_nomem(err, path, "the vendor's library");
	snprintf(foreign->path, sizeof(foreign->path), "%s", path);
	foreign->sys = sys;
	foreign->calls = *calls;
	foreign->driver = (struct driver){&foreign_ops, foreign->path};
	*out = &foreign->driver;
	return 0;
}

int driver_vendor(const struct sys *sys, struct log *log, const struct usrbio_vendor_places *places,
		  struct driver **out, struct weir_error *err)
{
	struct weir_error why = WEIR_ERROR_INIT;
	struct usrbio_vendor_calls calls;
	struct usrbio_vendor vendor;
	int ret = usrbio_vendor_find(sys, places, &vendor, &why);

	if (ret == 0)
		ret = usrbio_vendor_load(sys, &vendor, &calls, &why);
	if (ret == 0)
		return driver_foreign(sys, vendor.path, &calls, out, err);
	if (ret != WEIR_LIMIT)
		return error_set(err, ret == WEIR_NOTFOUND ? WEIR_UNSUPPORTED : ret, NULL,
				 "WEIR_3FS_LIBRARY=vendor: %s", why.message);
	log_warn(log, "WEIR_3FS_LIBRARY=vendor: %s; rings are driven by weir's own client",
		 why.message);
	*out = driver_native();
	return 0;
}
