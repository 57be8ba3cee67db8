/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the ring server share: a server without FUSE, files that are told who may open them,
 * and clients (client.h) in the same process.
 *
 * Each case is a process of its own.  Shared memory lies in a directory below /dev/shm that goes with
 * rig_end().  Users other than ours need root; RIG_NEEDS_ROOT skips where we are not.
 */
#ifndef TESTS_MOUNT_RINGS_RIG_H
#define TESTS_MOUNT_RINGS_RIG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "mount/rings/virt.h"

#define ROOT_INO UINT64_C(1)
#define USER_A   4101
#define USER_B   4102

#define RIG_NEEDS_ROOT()                                                                           \
	do {                                                                                       \
		if (geteuid() != 0)                                                                \
			skip("needs root, to be several users");                                   \
	} while (0)

/* It holds signals back, maps its own way and starts no threads in a forked child. */
#ifdef __SANITIZE_THREAD__
#define RIG_NOT_UNDER_TSAN() skip("the thread sanitizer cannot run this")
#else
#define RIG_NOT_UNDER_TSAN() ((void)0)
#endif

struct rig {
	struct weir_ctx *ctx;
	struct files *files;
	struct rings *rings;
	struct log log;
	char shm[64];
	int shm_dir;
	_Atomic int warnings;
	_Atomic int names_gone;
	pid_t as; /* whose thread registers; 0: the test's */
};

/* How often to do what a campaign does for longer: so often, times $RIG_TIMES where that is set. */
uint64_t rig_times(uint64_t count);

/* opts: NULL, or what differs from the defaults. */
void rig_start(struct rig *rig, const struct virt_opts *opts);
/* Also checks that nothing is left: no mapping is counted, no file in the directory but the clients'. */
void rig_end(struct rig *rig);
/* The directory alone, where the rings were destroyed by the case or do not end. */
void rig_remove(struct rig *rig);

struct virt_caller rig_caller(uid_t uid);

/* An object of that size in the directory, owned by that user; its name, to be freed. */
char *rig_object(struct rig *rig, uid_t uid, uint64_t bytes);
/* The target that names it. */
const char *rig_target(const char *object);

/* Registers under a name; returns the errno. */
int rig_link(struct rig *rig, uid_t uid, const char *object, const char *name);
int rig_unlink(struct rig *rig, uid_t uid, const char *name);
int rig_lookup(struct rig *rig, uid_t uid, const char *name, struct virt_entry *out);
/* How many names a listing of iovs/ gives that user, the submit links not counted. */
unsigned rig_list(struct rig *rig, uid_t uid);

/* So many microseconds. */
void rig_rest(int64_t us);

/* Until the condition holds, for some seconds; false: it never did. */
bool rig_wait(bool (*holds)(void *arg), void *arg);
/* Until that many iovs and rings are there, and no more is mapped than they have. */
void rig_settle(struct rig *rig, uint64_t iovs, uint64_t rings);

/* ---- Files ---- */

/* A new file of that size, of the test pattern with the seed `ino`; read: by pread. */
void files_add(struct rig *rig, uint64_t ino, uint64_t bytes);
/* One that is open already; the descriptor is the rig's from then on. */
void files_adopt(struct rig *rig, uint64_t ino, int fd);
int files_fd(struct rig *rig, uint64_t ino);
/* What OPEN and RELEASE do; mode: O_RDONLY, O_WRONLY, O_RDWR. */
void files_open(struct rig *rig, uint64_t ino, uid_t uid, int mode);
void files_release(struct rig *rig, uint64_t ino, uid_t uid);
unsigned files_changes(struct rig *rig, uint64_t ino);
/* References to objects that the server has not put back. */
int files_held(struct rig *rig);
/* That are being opened: it is done when a ring first asks. */
int files_opening(struct rig *rig);
/* Runs once, on the server's thread, as it asks for a file that it has no grip on. */
void files_as_asked(struct rig *rig, void (*fn)(void *arg), void *arg);
/* From now on only servers hold it open. */
void files_shut(struct rig *rig, uint64_t ino);

struct files *files_create(struct weir_ctx *ctx);
void files_destroy(struct files *files);

#endif
