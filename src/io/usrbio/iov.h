/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client's buffer: shared memory that a mount has registered under an id.
 */
#ifndef IO_USRBIO_IOV_H
#define IO_USRBIO_IOV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "io/usrbio/key.h"
#include "io/usrbio/session.h"
#include "io/usrbio/shm.h"
#include "weir/error.h"

struct usrbio_iov_opts {
	uint64_t bytes;       /* 0: refused */
	uint64_t block_bytes; /* 0: one block; above bytes: refused */
	int node;             /* NUMA node; NODE_ANY (base/node.h): first touch decides */
	mode_t mode;          /* 0: 0600 */
	bool keep_name;       /* the name in /dev/shm stays, so that others may open it by its id */
};

struct usrbio_iov {
	struct usrbio_session *session; /* a reference; NULL: there is none */
	struct usrbio_shm shm;
	struct usrbio_key key;
	bool linked;  /* we made the link, and remove it */
	bool created; /* we made the object, and remove its name */
	bool named;   /* the name in /dev/shm is still there */
};

/* Makes the object, binds it to its node, registers it. */
must_use int usrbio_iov_create(struct usrbio_session *session, const struct usrbio_iov_opts *opts,
			       struct usrbio_iov *out, struct weir_error *err);

/*
 * Registers an object that is there already (mem's shared memory, another's): the memory stays the
 * caller's, who keeps it mapped until destroy.
 */
must_use int usrbio_iov_register(struct usrbio_session *session, const struct usrbio_shm *shm,
				 uint64_t block_bytes, struct usrbio_iov *out,
				 struct weir_error *err);

/* Maps a buffer that another process of this user registered under that id. */
must_use int usrbio_iov_attach(struct usrbio_session *session, const uint8_t id[16], uint64_t bytes,
			       uint64_t block_bytes, struct usrbio_iov *out,
			       struct weir_error *err);

/* Removes the name in /dev/shm early; registration and mapping stay. */
void usrbio_iov_unlink(struct usrbio_iov *iov);

/* Removes what of link, name and mapping is ours.  Of one that was attached: the mapping. */
void usrbio_iov_destroy(struct usrbio_iov *iov);

#endif
