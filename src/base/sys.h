/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of system calls: the one seam where failure, time and chance can be ordered.
 *
 * A context holds a pointer to such a table and everything below calls through it; sys_real() is what
 * programs run on.  A test copies it, replaces entries and hands the copy in (engine/context.h), so a
 * release build is tested as it is.  Entries have the signature, the errno and the meaning of the call
 * they are named for.  io_uring stands behind io/ring.h; malloc is failed by interposing it.
 */
#ifndef BASE_SYS_H
#define BASE_SYS_H

#include <pthread.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

/* cachestat(2), which the C library does not declare yet. */
struct sys_cache_range {
	uint64_t off, len;
};
struct sys_cache_stat {
	uint64_t cached, dirty, writeback, evicted, recently_evicted; /* pages */
};

struct sys {
	/* Files. */
	int (*openat)(int dir, const char *path, int flags, mode_t mode);
	int (*openat2)(int dir, const char *path, int flags, uint64_t resolve);
	int (*close)(int fd);
	ssize_t (*pread)(int fd, void *to, size_t len, off_t off);
	ssize_t (*preadv2)(int fd, const struct iovec *to, int count, off_t off, int flags);
	ssize_t (*pwrite)(int fd, const void *from, size_t len, off_t off);
	int (*fstat)(int fd, struct stat *out);
	int (*statx)(int dir, const char *path, int flags, unsigned mask, struct statx *out);
	int (*fstatfs)(int fd, struct statfs *out);
	int (*statfs)(const char *path, struct statfs *out);
	int (*ftruncate)(int fd, off_t len);
	off_t (*lseek)(int fd, off_t off, int whence);
	int (*fallocate)(int fd, int mode, off_t off, off_t len);
	int (*fchmod)(int fd, mode_t mode);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
	int (*renameat2)(int from_dir, const char *from, int to_dir, const char *to,
			 unsigned flags);
	int (*unlinkat)(int dir, const char *path, int flags);
	int (*linkat)(int from_dir, const char *from, int to_dir, const char *to, int flags);
	int (*mkdirat)(int dir, const char *path, mode_t mode);
	int (*fadvise)(int fd, off_t off, off_t len, int advice); /* returns an errno */
	int (*cachestat)(int fd, struct sys_cache_range *range, struct sys_cache_stat *out,
			 unsigned flags);
	ssize_t (*copy_file_range)(int from, off_t *from_off, int to, off_t *to_off, size_t len,
				   unsigned flags);
	int (*clone_file)(int to, int from); /* ioctl FICLONE */
	int (*symlinkat)(const char *target, int dir, const char *path);
	ssize_t (*readlinkat)(int dir, const char *path, char *out, size_t size);
	int (*ioctl)(int fd, unsigned long request, void *arg);
	int (*fcntl)(int fd, int command, int arg);

	/* Memory. */
	void *(*mmap)(void *at, size_t len, int prot, int flags, int fd, off_t off);
	int (*munmap)(void *at, size_t len);
	int (*madvise)(void *at, size_t len, int advice);
	int (*mbind)(void *at, size_t len, int mode, const unsigned long *nodes, unsigned long bits,
		     unsigned flags);

	int (*getcpu)(unsigned *processor, unsigned *node);

	/* Threads, time, chance. */
	int (*thread_create)(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			     void *arg); /* returns an errno */
	int64_t (*now_ns)(void);         /* CLOCK_MONOTONIC */
	int64_t (*real_ns)(void);        /* CLOCK_REALTIME: for time that others named, only */
	int (*futex)(uint32_t *word, int op, uint32_t value, const struct timespec *until,
		     uint32_t mask);
	/* FUTEX_WAKE_OP on one word: the operation on it, then one waiter is woken where it says so. */
	int (*futex_wake_op)(uint32_t *word, uint32_t operation);
	int (*pidfd_open)(pid_t pid, unsigned flags);
	int (*getrlimit)(int resource, struct rlimit *out);
	int (*random)(void *to, size_t len); /* fills all of it, or -1; len <= 256 */
};

const struct sys *sys_real(void);

#endif
