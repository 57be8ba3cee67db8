/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who drives the rings of a mount: weir's own client (usrbio_native.c), or a library that was loaded, with
 * the vendor's C interface (usrbio_foreign.c).
 *
 * A driver puts requests into rings and takes completions out.  What it is not: who the mount
 * belongs to, which memory is registered and which files are open, is the source's with either, and
 * the session (its registrar, its prober) is weir's own.  So the names of buffers are made in one
 * way, and a library is handed memory that is registered already.
 *
 * Threads: one makes and ends rings, adds and removes files (the worker, which may hang on the mount);
 * one puts in and collects.  wake() is anybody's.
 */
#ifndef SOURCE_USRBIO_DRIVER_H
#define SOURCE_USRBIO_DRIVER_H

#include <stdint.h>

#include "base/compiler.h"
#include "base/log.h"
#include "io/usrbio/iov.h"
#include "io/usrbio/layout.h"
#include "io/usrbio/ring.h"
#include "io/usrbio/session.h"
#include "weir/error.h"

struct usrbio_vendor_places;
struct usrbio_vendor_calls;

/* The driver's own. */
struct driver_ring;
struct driver_iov;

struct driver_io {
	struct usrbio_io io;
	struct driver_iov *iov; /* as iov_wrap() made it */
	void *memory;           /* in it */
	int file;               /* as file_add() said */
};

struct driver;

struct driver_ops {
	void (*destroy)(struct driver *driver);

	/* Memory that the session has registered; the iov outlives what is made of it. */
	int (*iov_wrap)(struct driver *driver, const struct usrbio_iov *iov,
			struct driver_iov **out, struct weir_error *err);
	void (*iov_unwrap)(struct driver *driver, struct driver_iov *iov); /* NULL is fine */

	/* A descriptor on the mount, open until it was removed: 0 and what requests name it by, or an errno. */
	int (*file_add)(struct driver *driver, int fd, int *out);
	void (*file_remove)(struct driver *driver, int fd, int file);

	int (*ring_create)(struct driver *driver, struct usrbio_session *session,
			   const struct usrbio_ring_opts *opts, struct driver_ring **out,
			   struct weir_error *err);
	void (*ring_destroy)(struct driver_ring *ring); /* NULL is fine */

	/* As usrbio_ring_prepare(), usrbio_ring_submit(), usrbio_ring_wake(). */
	int (*prepare)(struct driver_ring *ring, const struct driver_io *io);
	int (*submit)(struct driver_ring *ring);
	void (*wake)(struct driver_ring *ring);

	/*
	 * Takes up to max completions; waits until the deadline (0: does not) for one, and may as well wait
	 * for `least` of them.  0 or fewer than that where it was woken.  -ENOTCONN, -EPROTO: the
	 * ring is of no more use, and what flies in it is lost.
	 */
	int (*wait)(struct driver_ring *ring, struct usrbio_cqe *out, int max, int least,
		    int64_t deadline_ns);
};

struct driver {
	const struct driver_ops *ops;
	const char *library; /* "native", or the path of what was loaded */
};

/* weir's own.  There is one, and destroying it does nothing. */
struct driver *driver_native(void);

/*
 * The vendor's library, found in these places: an error that says what to do where there is none that can
 * be used.  Where the limit of descriptors alone forbids to load it, the log says so and the driver
 * is weir's.
 */
must_use int driver_vendor(const struct sys *sys, struct log *log,
			   const struct usrbio_vendor_places *places, struct driver **out,
			   struct weir_error *err);

/* One by these functions. */
must_use int driver_foreign(const struct sys *sys, const char *path,
			    const struct usrbio_vendor_calls *calls, struct driver **out,
			    struct weir_error *err);

#endif
