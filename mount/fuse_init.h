/* SPDX-License-Identifier: Apache-2.0 */
/*
 * INIT spoken by hand, and the two words of an open reply that our libfuse does not know.
 *
 * Debian's libfuse 3.14 answers protocol 7.31: no flag above 31, no stack depth, no backing id.  It
 * lets us read and write in its place, though; so the answer that it makes is completed on its way out
 * (session.c calls here).  All constants of the protocol that are newer than its headers stand in
 * fuse_init.c, with the sizes that they rely on asserted.
 *
 * Only what the kernel offered is ever answered.
 */
#ifndef MOUNT_FUSE_INIT_H
#define MOUNT_FUSE_INIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What the mount would like. */
struct fuse_init_wish {
	bool passthrough;
	bool direct_io;
	bool access_lists;        /* the kernel checks them, too */
	uint32_t timeout_seconds; /* the kernel gives up on a request after that; 0: never */
};

struct fuse_init {
	struct fuse_init_wish wish;

	/* The request. */
	bool asked;
	uint64_t unique;
	uint32_t minor;
	uint64_t offered;

	/* The answer. */
	bool answered;
	uint64_t flags;
	bool passthrough;
	bool direct_mmap;
};

/* A request as it was read; true, and noted, where it is the INIT. */
bool fuse_init_note(struct fuse_init *init, const void *request, size_t bytes);

/*
 * Completes the reply to it.  reply: the 64 bytes after the header, as libfuse made them.  False, and
 * nothing is changed, where they are not what we expect.
 */
bool fuse_init_answer(struct fuse_init *init, void *reply, size_t bytes);

/* The reply to OPEN or CREATE that passes the backing id; arg: what follows the header.  reply has
 * room for FUSE_INIT_OPEN_MAX bytes and gets a copy of arg.  False: it is no such reply. */
#define FUSE_INIT_OPEN_MAX 144
bool fuse_init_back_open(const struct iovec *arg, int32_t backing_id, void *reply);

/* The descriptor's entry in the kernel's table of backing files: an id, or a negative errno. */
int fuse_init_backing_open(int fuse_fd, int fd);
void fuse_init_backing_close(int fuse_fd, int32_t backing_id);

/* Open flags newer than the library's headers. */
#define FUSE_INIT_PARALLEL_WRITES (1u << 6)
#define FUSE_INIT_PASSTHROUGH     (1u << 7)

#endif
