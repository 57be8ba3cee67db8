/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rings ask of the mount: which file a number means, and whether a user may touch it.
 *
 * The front end implements this (its tests' stand-in is tests/unit/rings/files.c).  Rights are those of
 * (uid, number): they begin with an OPEN by that uid in that mode and end with its last RELEASE.
 * The threads that serve rings call what does not wait for storage, and errands (errand.h) the rest.
 */
#ifndef MOUNT_RINGS_FILES_H
#define MOUNT_RINGS_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "weir/object.h"

struct files;

/*
 * A file for the I/O of a ring: EBADF where the number is unknown, no regular file or not opened by
 * this uid (all one answer, so that nothing is learnt by asking), EACCES where the uid opened it for the
 * other direction only.  The object is opened live and at-end counts; it holds a reference until
 * files_put().  *fd is for SEEK_DATA and SEEK_HOLE, borrowed as long as the object is; -1 where there is
 * none.
 *
 * files_find() never waits: EAGAIN where it is allowed, but has to be opened first.  files_get()
 * opens it, and files_put() may close it: both may wait for storage for ever.
 */
int files_find(struct files *files, uid_t uid, uint64_t ino, bool write,
	       struct weir_object **object, int *fd);
int files_get(struct files *files, uid_t uid, uint64_t ino, bool write, struct weir_object **object,
	      int *fd);
void files_put(struct files *files, uint64_t ino, struct weir_object *object);

/*
 * A number that changes whenever a right has ended.  What files_find() said before may be used again
 * while it stays the same: this is what makes a request cost no lock.  Read with acquire.
 */
uint64_t files_epoch(const struct files *files);

/* Bytes were written to it: attributes and pages that the kernel caches are old.  Called before the
 * completions become visible; may put the work off to another thread, but not lose it. */
void files_changed(struct files *files, uint64_t ino);

#endif
