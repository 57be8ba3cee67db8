/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that requests may name: a descriptor on a 3FS mount, its number there, and a duplicate that keeps
 * it open for as long as requests may name it.
 */
#ifndef IO_USRBIO_FILE_H
#define IO_USRBIO_FILE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "base/thread.h"
#include "weir/error.h"

struct usrbio_file {
	int fd;       /* the duplicate, close-on-exec; ours */
	int access;   /* O_RDONLY, O_WRONLY or O_RDWR */
	uint64_t ino; /* st_ino: what requests carry */
	uint64_t dev;
};

/* Does the magic ioctl succeed? */
must_use bool usrbio_file_is(const struct sys *sys, int fd);

/* err->os_errno: EBADF where the descriptor is none or not on 3FS. */
must_use int usrbio_file_open(const struct sys *sys, int fd, struct usrbio_file *out,
			      struct weir_error *err);
void usrbio_file_close(const struct sys *sys, struct usrbio_file *file);

/* Is the descriptor the same file (device and inode)? */
must_use bool usrbio_file_same(const struct sys *sys, const struct usrbio_file *file, int fd);

/*
 * A table of registered files by the program's descriptor or by the duplicate's number, as the C ABI
 * wants it.  It grows with what is registered, not with the limit of descriptors.  Any thread.
 */
#define USRBIO_FD_MAX (1 << 24)

struct usrbio_file_chunk;
struct usrbio_files {
	const struct sys *sys;
	struct lock lock; /* of changes */
	struct usrbio_file_chunk *_Atomic chunks[4096];
};

void usrbio_files_init(struct usrbio_files *files, const struct sys *sys);
void usrbio_files_fini(struct usrbio_files *files);

/*
 * Returns minus the duplicate's number, which is <= 0; or an errno, which is > 0: EBADF (not on 3FS),
 * EINVAL (the number is registered, be it for this file or for another that had it before).
 */
must_use int usrbio_files_add(struct usrbio_files *files, int fd);
void usrbio_files_remove(struct usrbio_files *files, int fd);

/* fd, or minus the duplicate's number.  Does what it found stay registered?  No system call, no lock. */
must_use bool usrbio_files_find(const struct usrbio_files *files, int fd, struct usrbio_file *out);

#endif
