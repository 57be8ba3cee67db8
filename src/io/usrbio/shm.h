/* SPDX-License-Identifier: Apache-2.0 */
/*
 * POSIX shared memory objects: files of /dev/shm, made by a client and opened by a server that does not
 * trust it.
 *
 * All take the directory as a descriptor (usrbio_shm_dir()), so that tests use another one.  An object
 * is mapped readable and writable from its first byte; its descriptor is closed.
 */
#ifndef IO_USRBIO_SHM_H
#define IO_USRBIO_SHM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "weir/error.h"

#define USRBIO_SHM_NAME_MAX 256 /* of one name, its end included */
#define USRBIO_SHM_ALLOCATE                                                                        \
	((uint64_t)1 << 30) /* up to here objects get their memory at creation */

/* A mapped object. */
struct usrbio_shm {
	void *memory; /* NULL: none */
	uint64_t bytes;
	dev_t dev;
	ino_t ino;
	uid_t owner;
	char name[USRBIO_SHM_NAME_MAX]; /* below the directory */
};

/* A descriptor of /dev/shm, or a negative errno. */
must_use int usrbio_shm_dir(const struct sys *sys);

/*
 * A new object "hf3fs-iov-<uuid>" of exactly that size and mode (umask applies), zero, bound to a NUMA
 * node where one is named that there is.  Up to 1 GiB its memory is allocated, in huge pages where
 * there are any; above that the free space is compared: NOSPACE where it does not fit.
 */
must_use int usrbio_shm_create(const struct sys *sys, int dir, uint64_t bytes, mode_t mode,
			       int node, struct usrbio_shm *out, struct weir_error *err);

/*
 * Opens what a link's target names, for an owner: one component below /dev/shm, no link followed;
 * type, owner and size are those of the descriptor.  err->os_errno is what the protocol answers:
 * EINVAL (not there, not a regular file, empty), EACCES (elsewhere, not openable, not mappable, not
 * the owner's), else as it came (EMFILE, ENOMEM).
 */
must_use int usrbio_shm_open(const struct sys *sys, int dir, const char *target, uid_t owner,
			     struct usrbio_shm *out, struct weir_error *err);

/* The single component of "/dev/shm/<component>"; NULL: another path. */
const char *usrbio_shm_component(const char *target);

void usrbio_shm_unmap(const struct sys *sys, struct usrbio_shm *shm);

/* Removes the name, if there is one: 0 or a negative errno. */
int usrbio_shm_unlink(const struct sys *sys, int dir, const char *name);

/* Removes the name only where it still is the object that was mapped. */
int usrbio_shm_unlink_same(const struct sys *sys, int dir, const struct usrbio_shm *shm);

#endif
