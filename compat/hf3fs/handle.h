/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind the caller's structures, and what the files of this library share.
 *
 *	handle.c  which handles are alive; errors as this interface has them
 *	iov.c     memory
 *	ior.c     rings: make, prepare, submit, wait, end
 *	file.c    descriptors, mounts, and calls on names
 *	note.c    how this library is told from the vendor's
 *
 * The interface hands out pointers in structures that callers copy at will, and destroys by copy.  So
 * each handle is on a list while it lives, and one that is not there is left alone: destroying twice,
 * or after a creation that failed, does nothing.
 */
#ifndef COMPAT_HF3FS_HANDLE_H
#define COMPAT_HF3FS_HANDLE_H

#include <stdbool.h>

#include "base/list.h"
#include "compat/hf3fs/hf3fs_usrbio.h"
#include "io/usrbio/file.h"
#include "io/usrbio/iov.h"
#include "io/usrbio/ring.h"
#include "io/usrbio/session.h"

#define HF3FS_API __attribute__((visibility("default")))

struct handle {
	struct list link;
	struct usrbio_iov iov;            /* of an iov */
	struct usrbio_ring *ring;         /* of a ring; NULL: this is an iov */
	const struct usrbio_files *files; /* of a ring: handle_files(), at hand */
};

struct handle *handle_create(void); /* NULL: no memory */

/* Takes it off the list: the caller ends it then.  NULL: it is not there, or is of the other kind. */
struct handle *handle_take(void *value, bool ring);

/* Calls with the list locked, if the iov is there. */
void handle_with_iov(void *value, void (*call)(struct usrbio_iov *iov));

/* A mount string that fits, and the session of its mount: 0 or a negative errno. */
int handle_session(const char *mount, struct usrbio_session **out);

/*
 * The errno of a failed call, negative; says what went wrong on standard error where the environment
 * asks for it (HF3FS_USRBIO_LIB_LOG).
 */
int handle_failed(const char *call, int code, const struct weir_error *err);

/* The descriptors that the program registered; made at the first call. */
struct usrbio_files *handle_files(void);

#endif
