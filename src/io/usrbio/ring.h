/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's ring on a mount: made, registered, driven, waited for, removed.  What the native
 * source and the library with the vendor's ABI have in common.
 *
 * One thread prepares and submits, one waits; they may be two (client.h).
 */
#ifndef IO_USRBIO_RING_H
#define IO_USRBIO_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "io/usrbio/client.h"
#include "io/usrbio/key.h"
#include "io/usrbio/session.h"
#include "weir/error.h"

struct usrbio_ring_opts {
	uint32_t entries; /* 1..USRBIO_ENTRIES_MAX */
	bool for_read;
	int depth;    /* io_depth: at most entries */
	int priority; /* < 0 high, 0 normal, > 0 low */
	int timeout_ms;
	uint64_t flags; /* USRBIO_FLAG_* */
	int node;       /* NUMA node; < 0: first touch decides */
	mode_t mode;    /* 0: 0600 */
	int64_t spin_ns; /* a wait looks for so long before it sleeps; 0: WEIR_3FS_SPIN_US says, or not */
};

/* One request; lengths are checked against the iov's bytes. */
struct usrbio_io {
	const uint8_t *iov;  /* 16 bytes: its id */
	uint64_t iov_bytes;  /* how large the iov is */
	uint64_t iov_offset; /* where in it */
	uint64_t length;     /* 0: refused */
	uint64_t file;       /* struct usrbio_file's ino */
	uint64_t file_offset;
	uint64_t userdata;
};

struct usrbio_ring;

/* The ring's name in /dev/shm is gone when this returns. */
must_use int usrbio_ring_create(struct usrbio_session *session, const struct usrbio_ring_opts *opts,
				struct usrbio_ring **out, struct weir_error *err);

/*
 * Removes its link and unmaps it.  Requests in flight go on in the daemon and are never heard of again:
 * their buffers must stay until the iov was destroyed.
 */
void usrbio_ring_destroy(struct usrbio_ring *ring);

/*
 * Returns the slot.  -EAGAIN: full, wait and try again; -EINVAL: length 0, outside the iov, misuse;
 * -EPROTO, -ENOTCONN: the ring is dead; -EPERM: a forked child.
 */
must_use int usrbio_ring_prepare(struct usrbio_ring *ring, const struct usrbio_io *io);

/*
 * Rings the bell once, unless the daemon says that it is awake and will look: 0, or as above.
 * -EFAULT: somebody has cut its file off.  The requests stay in the ring, and come through where
 * the daemon looks without being told (ours does, and mends the bell).
 */
int usrbio_ring_submit(struct usrbio_ring *ring);

/*
 * Waits until min completions are in out, or the deadline (monotonic; NEVER), or usrbio_ring_wake(), and
 * takes up to max.  Returns how many, which may be 0.  Never touches the mount.
 *
 *	min <= 0 polls; min above max is cut to it; max <= 0 is -EINVAL
 *	the daemon is gone: each request in flight comes once, with the result -ENOTCONN; when none is
 *	left, -ENOTCONN
 *	deadline NEVER, the daemon silent for 60 s with requests in flight: -ETIMEDOUT, and they stay
 *	the daemon broke the protocol: -EPROTO
 */
must_use int usrbio_ring_wait(struct usrbio_ring *ring, struct usrbio_cqe *out, int max, int min,
			      int64_t deadline_ns);

/* Makes the wait that is under way, or the next, return.  Any thread. */
void usrbio_ring_wake(struct usrbio_ring *ring);

/* A point of CLOCK_REALTIME, NULL is NEVER, as a monotonic deadline: 0, or -EINVAL for odd nanoseconds. */
must_use int usrbio_ring_deadline(const struct sys *sys, const struct timespec *abs_time,
				  int64_t *deadline_ns);

uint32_t usrbio_ring_entries_of(const struct usrbio_ring *ring);
uint32_t usrbio_ring_flying(const struct usrbio_ring *ring); /* prepared and not collected */
const struct usrbio_key *usrbio_ring_key(const struct usrbio_ring *ring);
void *usrbio_ring_memory(const struct usrbio_ring *ring);

#endif
