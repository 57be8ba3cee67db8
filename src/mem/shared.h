/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A slab: memory that is a POSIX shared-memory object from the start.
 *
 * Anonymous memory cannot become such an object later, so what other processes or devices are to write
 * into is made as one.  The object is an unnamed file of /dev/shm; it gets a name for the moment in
 * which an importer opens it by that name (a USRBIO mount), and only once: a file without a name
 * cannot be given a second one.  A process that is killed so leaves nothing behind, but for a kill
 * within that moment.  For that the name says whose it is (base/shm_name.h), and the next of our
 * processes removes it.
 *
 * A slab has a slot for each kind of importer.  Before it is unmapped, each is told, in the order of
 * enum shared_importer.
 */
#ifndef MEM_SHARED_H
#define MEM_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/shm_name.h"
#include "base/sys.h"
#include "base/thread.h"
#include "weir/error.h"

/* In the order in which they let go. */
enum shared_importer {
	SHARED_MOUNT, /* a USRBIO mount: its daemon maps the object */
	SHARED_CUDA,  /* a device: the pages are pinned */
	SHARED_URING, /* a ring of the kernel's: likewise */
	SHARED_IMPORTERS,
};

struct shared;

/* What an importer left with a slab.  release() must not wait: it may be anybody's thread. */
struct shared_slot {
	void (*release)(void *import, struct shared *slab);
	void *import;
};

struct shared {
	const struct sys *sys;
	char *at; /* aligned to 2 MiB */
	uint64_t bytes;
	int fd;

	struct lock lock;
	/* Under the lock. */
	struct shared_slot slots[SHARED_IMPORTERS];
	bool was_named;
	char path[SHM_PATH_MAX]; /* the name that it has now; "": none */
};

/*
 * Maps a slab of that size (whole pages).  Nothing of it exists yet, but its size was held against what
 * /dev/shm has left: WEIR_NOSPACE with both numbers.  sys outlives the slab.
 */
must_use int shared_create(const struct sys *sys, uint64_t bytes, struct shared **out,
			   struct weir_error *err);

/* Tells the importers, then unmaps; NULL is fine. */
void shared_destroy(struct shared *slab);

/* A wish, for memory that was not touched yet: the huge pages of a range. */
void shared_gather(struct shared *slab, const void *at, uint64_t bytes);

/*
 * Makes the pages of a range exist, so that touching them cannot end the process: 0 or an errno, ENOSPC
 * where /dev/shm is full.
 */
must_use int shared_allocate(struct shared *slab, const void *at, uint64_t bytes);

/* Gives the object its one name; WEIR_CLOSED where it had it.  Taken away with shared_unname(). */
must_use int shared_name(struct shared *slab, char path[SHM_PATH_MAX], struct weir_error *err);
void shared_unname(struct shared *slab);

/* The import that stands in a slot; NULL where it is free. */
void *shared_import(struct shared *slab, enum shared_importer kind);

/* Fills a free slot; false where it is taken. */
must_use bool shared_attach(struct shared *slab, enum shared_importer kind,
			    struct shared_slot what);

/* Empties a slot without telling who stood in it. */
void shared_detach(struct shared *slab, enum shared_importer kind);

#endif
