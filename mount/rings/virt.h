/* SPDX-License-Identifier: Apache-2.0 */
/*
 * 3fs-virt: the directory of a mount through which clients register shared memory and rings, and the
 * threads that serve those rings.
 *
 * This is all that the FUSE front end knows of mount/rings/, and nothing of FUSE's library is known
 * there: plain structs come in and go out.  The front end calls here for every node whose number
 * virt_owns(), and for the name VIRT_NAME in the root; what has no function here (mkdir, create, mknod,
 * rename, rmdir, link, setattr, extended attributes on a node of ours) is EPERM.  The ioctls of a
 * directory are the front end's own: they are the same on ours and on others.
 *
 * Functions return 0 or an errno.  Any thread may call any of them.  None waits for I/O of a ring.
 */
#ifndef MOUNT_RINGS_VIRT_H
#define MOUNT_RINGS_VIRT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/log.h"
#include "base/sys.h"
#include "weir/context.h"

#define VIRT_NAME "3fs-virt"

/* Longest name that SYMLINK takes and READDIR gives, without the end. */
#define VIRT_NAME_MAX 1024

/* The number of VIRT_NAME itself.  Whatever is virtual has a top nibble that no file has; no number is
 * given out twice in the life of a mount. */
#define VIRT_INO       UINT64_C(0xfffffffffffffffe)
#define VIRT_IOVS_INO  UINT64_C(0xffffffff80000000)
#define virt_owns(ino) ((uint64_t)(ino) >> 60 != 0)

struct rings;
struct files;

/* Who asks: what FUSE tells of a request.  pid is the thread; 0 where its namespace hides it. */
struct virt_caller {
	uid_t uid;
	gid_t gid;
	pid_t pid;
};

struct virt_opts {
	const struct sys *sys;  /* NULL: sys_real() */
	struct weir_ctx *ctx;   /* outlives the rings */
	struct files *files;    /* mount/rings/files.h; outlives the rings */
	struct log *log;        /* NULL: silent */
	bool read_only;         /* write rings answer -EROFS */
	bool strict;            /* ring-batch: positive depths wait for ever for a full batch */
	bool each_alone;        /* ring-gather=off: large requests, too, are answered one by one */
	int64_t spin_ns;        /* ring-spin: servers look for so long before they sleep; 0: not */
	int64_t open_limit_ns;  /* a request waits for its file to be opened; 0: a minute */
	uint64_t bytes_per_uid; /* registered at once; 0: as much as the machine has memory */
	const char *shm;        /* NULL: "/dev/shm"; tests have their own */

	/*
	 * A name is gone that nobody unlinked (its process died, its ring broke, another name of it was
	 * unlinked): the kernel may still cache it for its time-out.  Called by a thread of ours,
	 * with no lock held; NULL: not wanted.
	 */
	void (*name_gone)(void *arg, uint64_t parent, const char *name);
	void *name_gone_arg;
};

/* Starts threads: after the daemon has forked, before its capabilities are dropped. */
int rings_create(const struct virt_opts *opts, struct rings **out, struct weir_error *err);

/*
 * Ends it in order: takes nothing new, waits for the I/O under way until the deadline, unlinks the
 * submit semaphores.  Past the deadline what is still written to stays mapped.  False: something is stuck,
 * in a file system that does not answer; context and files must stay.  NULL is fine.
 */
bool rings_destroy(struct rings *rings, int64_t deadline_ns);

/* What stat tells, and how long the kernel may believe it. */
struct virt_entry {
	uint64_t ino;
	mode_t mode;
	nlink_t nlink;
	uid_t uid;
	gid_t gid;
	uint64_t size;
	struct timespec time; /* all three */
	double timeout_s;     /* of the entry and of the attributes */
};

/* parent: the root's number for VIRT_NAME, else a node of ours.  ENOENT is to be answered as an error,
 * never as a cached negative entry. */
int virt_lookup(struct rings *rings, const struct virt_caller *caller, uint64_t parent,
		const char *name, struct virt_entry *out);
int virt_getattr(struct rings *rings, const struct virt_caller *caller, uint64_t ino,
		 struct virt_entry *out);

/* The target with its end; size at least VIRT_TARGET_MAX. */
#define VIRT_TARGET_MAX 512
int virt_readlink(struct rings *rings, const struct virt_caller *caller, uint64_t ino, char *out,
		  size_t size);

/* Registers an iov or a ring. */
int virt_symlink(struct rings *rings, const struct virt_caller *caller, const char *target,
		 uint64_t parent, const char *name, struct virt_entry *out);
int virt_unlink(struct rings *rings, const struct virt_caller *caller, uint64_t parent,
		const char *name);

/* An open directory: the front end keeps the pointer in its handle. */
struct virt_dir;

struct virt_dirent {
	char name[VIRT_NAME_MAX + 1];
	struct virt_entry entry;
	uint64_t next; /* the offset of the entry after it */
};

int virt_opendir(struct rings *rings, const struct virt_caller *caller, uint64_t ino,
		 struct virt_dir **out);

/* The entry at an offset, 0 first; "." and ".." are the front end's.  ENOENT: no more. */
int virt_readdir(struct rings *rings, const struct virt_caller *caller, struct virt_dir *dir,
		 uint64_t offset, struct virt_dirent *out);
void virt_releasedir(struct rings *rings, struct virt_dir *dir);

/* ---- What runs, for `weir status` and `weir doctor` ---- */

struct virt_iov_status {
	char key[VIRT_NAME_MAX + 1];
	uid_t uid;
	pid_t pid; /* the process; 0: not known */
	uint64_t bytes, block_bytes;
};

struct virt_ring_status {
	struct virt_iov_status iov; /* its name, its owner and its memory */
	bool for_read, dead;
	int priority; /* -1 high, 0, 1 low */
	int32_t depth;
	uint32_t entries, timeout_ms;
	uint32_t in_flight;
	uint64_t requests, bytes, errors; /* completed */
};

struct virt_totals {
	uint64_t iovs, rings;      /* registered now */
	uint64_t registered_bytes; /* mapped now */
	uint64_t requests, bytes, errors;
	uint64_t posts, scans, batches;
	uint64_t dead_rings; /* ended for breaking the protocol */
	uint64_t refused;    /* registrations */
};

void virt_totals(struct rings *rings, struct virt_totals *out);

/* Every iov (every ring) now registered, in order of registration; stops when the callback returns
 * false.  Called with a lock of ours held: it copies and returns. */
void virt_each_iov(struct rings *rings, bool (*tell)(void *arg, const struct virt_iov_status *),
		   void *arg);
void virt_each_ring(struct rings *rings, bool (*tell)(void *arg, const struct virt_ring_status *),
		    void *arg);

#endif
