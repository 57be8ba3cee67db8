/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes of open files, where the kernel does not move them itself.
 *
 * A read that an error ends before its first byte is that error; what came before an error is delivered,
 * and the error comes with the next read.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/size.h"
#include "mount/ops.h"

static int fd_of(const struct fuse_file_info *info)
{
	return ((const struct handle *)(uintptr_t)info->fh)->fd;
}

/* ---- Reading: each thread keeps one buffer of the largest request ---- */

#define ROOM_BYTES ((size_t)MIB)

static pthread_key_t room_key;
static pthread_once_t room_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	if (pthread_key_create(&room_key, free))
		abort(); /* a handful of keys exist, of a thousand */
}

static void *room(void)
{
	void *memory;

	pthread_once(&room_once, make_key);
	memory = pthread_getspecific(room_key);
	if (!memory && posix_memalign(&memory, 4096, ROOM_BYTES) == 0 &&
	    pthread_setspecific(room_key, memory)) {
		free(memory);
		memory = NULL;
	}
	return memory;
}

static ssize_t read_all(int fd, char *to, size_t size, off_t offset)
{
	size_t done = 0;

	while (done < size) {
		ssize_t got = pread(fd, to + done, size - done, offset + (off_t)done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && !done)
			return -errno;
		if (got <= 0)
			break;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

void ops_read(fuse_req_t req, fuse_ino_t node, size_t size, off_t offset,
	      struct fuse_file_info *info)
{
	char *memory = room();
	ssize_t got = memory ? read_all(fd_of(info), memory, min_of(size, ROOM_BYTES), offset)
			     : -ENOMEM;

	(void)node;
	if (got < 0)
		fuse_reply_err(req, (int)-got);
	else
		fuse_reply_buf(req, memory, (size_t)got);
}

/* ---- Writing ---- */

/* A page of a mapping goes where it was, but may come by a handle that appends: that of whoever has one. */
static int page_fd(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_APPEND ? reach_open_again(fd, O_WRONLY) : fd;
}

void ops_write(fuse_req_t req, fuse_ino_t node, const char *data, size_t size, off_t offset,
	       struct fuse_file_info *info)
{
	int fd = info->writepage ? page_fd(fd_of(info)) : fd_of(info);
	int error = fd < 0 ? errno : 0;
	size_t done = 0;

	(void)node;
	while (done < size && !error) {
		ssize_t put = pwrite(fd, data + done, size - done, offset + (off_t)done);

		if (put > 0)
			done += (size_t)put;
		else if (put == 0 || errno != EINTR)
			error = put == 0 ? EIO : errno;
	}
	if (fd >= 0 && fd != fd_of(info))
		close(fd);
	if (error && !done)
		fuse_reply_err(req, error);
	else
		fuse_reply_write(req, done);
}

void ops_fsync(fuse_req_t req, fuse_ino_t node, int data_only, struct fuse_file_info *info)
{
	int fd = fd_of(info);

	(void)node;
	fuse_reply_err(req, (data_only ? fdatasync(fd) : fsync(fd)) ? errno : 0);
}

void ops_fallocate(fuse_req_t req, fuse_ino_t node, int mode, off_t offset, off_t length,
		   struct fuse_file_info *info)
{
	(void)node;
	fuse_reply_err(req, fallocate(fd_of(info), mode, offset, length) ? errno : 0);
}

void ops_lseek(fuse_req_t req, fuse_ino_t node, off_t offset, int whence,
	       struct fuse_file_info *info)
{
	off_t at = lseek(fd_of(info), offset, whence);

	(void)node;
	if (at < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_lseek(req, at);
}

void ops_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
			 struct fuse_file_info *from_info, fuse_ino_t to, off_t to_offset,
			 struct fuse_file_info *to_info, size_t length, int flags)
{
	ssize_t copied = copy_file_range(fd_of(from_info), &from_offset, fd_of(to_info), &to_offset,
					 length, (unsigned)flags);

	(void)from;
	(void)to;
	if (copied < 0)
		fuse_reply_err(req, errno);
	else
		fuse_reply_write(req, (size_t)copied);
}
