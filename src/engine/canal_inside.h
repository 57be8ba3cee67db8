/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two halves of the canal share.
 *
 *	canal.c       which parts take it, and what comes of them
 *	canal_file.c  cuFile opened and closed, files looked at and registered
 */
#ifndef ENGINE_CANAL_INSIDE_H
#define ENGINE_CANAL_INSIDE_H

#include <stdatomic.h>
#include <sys/types.h>

#include "base/thread.h"
#include "engine/canal.h"
#include "engine/helper.h"
#include "engine/trial.h"

/* Devices times file systems that a context tells apart, and files that it has registered at once. */
#define PASSAGES_MAX 16
#define FILES_MAX    64

/* From one file system to one device. */
struct passage {
	const struct cuda_device *device;
	dev_t file_system;
	struct trial trial;
	uint32_t failures;     /* in a row */
	int64_t shut_until_ns; /* too many of them */
};

enum canal_state {
	CANAL_UNTRIED,
	CANAL_OPENING,
	CANAL_OPEN,
	CANAL_SHUT, /* cuFile is not there, or no use */
};

struct canal {
	struct weir_ctx *ctx;
	const struct cufile_driver *table; /* NULL: the real one */
	int wish;                          /* enum weir_cufile */
	_Atomic uint8_t state;             /* enum canal_state */
	_Atomic bool halted;
	_Atomic uint32_t calls; /* that helper threads have */
	_Atomic uint32_t files;
	struct cufile cufile; /* once it is open */
	struct cuda_device *opener;
	struct helper_call opening;

	struct lock lock;
	/* Under the lock. */
	struct cond quiet; /* no call is under way */
	struct passage passages[PASSAGES_MAX];
	uint32_t passage_count;
};

enum file_state {
	FILE_LOOKING,
	FILE_READY,
	FILE_REFUSED,
};

struct canal_file {
	struct canal *canal;
	_Atomic uint32_t refs;      /* the object, and who looks at it */
	_Atomic uint8_t state;      /* enum file_state */
	struct cuda_device *device; /* that it was first read to */
	int fd;                     /* owned; -1: closed */
	dev_t file_system;
	cufile_handle handle;
	struct helper_call looking;
};

/* Is cuFile open?  The first to ask has it opened, where that has not been tried. */
bool canal_is_open(struct canal *canal, struct cuda_device *device);

/* The part's object, where it is registered; NULL: not yet, or it cannot be. */
struct canal_file *canal_file_of(struct canal *canal, const struct part *part);

/* Hands a call to a helper thread; its `free` follows in any case, and says canal_call_ended() last. */
void canal_post(struct canal *canal, struct helper_call *call);
void canal_call_ended(struct canal *canal);

#endif
