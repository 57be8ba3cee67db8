/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of shared-memory objects that say whose they are.
 *
 * Peers fix the grammar: hf3fs-iov-<uuid>.  Theirs are random UUIDs (version 4); ours are of version 8,
 * whose bits are free: the process, the moment it started and its namespace of process numbers stand in
 * them, and 30 bits of chance.  A number alone would not do, since numbers are used again; a process of
 * another container has a number that means another process here, so names of other namespaces are
 * left alone.
 *
 *	 0      22                54              92          122
 *	 | pid  | pid namespace   | start, ticks  | chance    |      besides version and variant
 */
#ifndef BASE_SHM_NAME_H
#define BASE_SHM_NAME_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/sys.h"

#define SHM_DIR      "/dev/shm"
#define SHM_PREFIX   "hf3fs-iov-"
#define SHM_PATH_MAX 64

/* Whose an object is. */
struct shm_owner {
	uint32_t pid;       /* of 22 bits */
	uint32_t namespace; /* inode of /proc/self/ns/pid */
	uint64_t start;     /* of the process, in ticks since boot; of 38 bits */
};

/* This process; false where /proc does not tell. */
bool shm_owner_self(const struct sys *sys, struct shm_owner *out);

/* SHM_DIR "/hf3fs-iov-<uuid>"; random where there is no owner to name.  0, or -1 and errno. */
int shm_name_make(const struct sys *sys, char path[SHM_PATH_MAX]);

/* The owner that a file name (without directory) tells of; false: the name is not one of ours. */
bool shm_name_owner(const char *name, struct shm_owner *out);

enum shm_life {
	SHM_LIVES,
	SHM_DEAD,
	SHM_UNKNOWN, /* another namespace's, or /proc does not tell */
};
enum shm_life shm_owner_life(const struct sys *sys, const struct shm_owner *owner);

/* Objects of this user in SHM_DIR, one call each; a negative return ends the walk. */
struct shm_found {
	const char *name;
	uint64_t size_bytes;
	bool ours;          /* the name tells of an owner */
	enum shm_life life; /* of that owner */
	struct shm_owner owner;
};
int shm_names_walk(const struct sys *sys, int (*fn)(void *arg, const struct shm_found *found),
		   void *arg);

/* Removes the names of dead processes of ours; how many. */
unsigned shm_names_sweep(const struct sys *sys);

#endif
