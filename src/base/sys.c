/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451 /* the same number on every architecture */
#endif

static int real_openat(int dir, const char *path, int flags, mode_t mode)
{
	return openat(dir, path, flags, mode);
}

static int real_openat2(int dir, const char *path, int flags, uint64_t resolve)
{
	struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = resolve};

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

static int real_cachestat(int fd, struct sys_cache_range *range, struct sys_cache_stat *out,
			  unsigned flags)
{
	return (int)syscall(SYS_cachestat, fd, range, out, flags);
}

static int real_clone_file(int to, int from)
{
	return ioctl(to, FICLONE, from);
}

static int real_ioctl(int fd, unsigned long request, void *arg)
{
	return ioctl(fd, request, arg);
}

static int real_fcntl(int fd, int command, int arg)
{
	return fcntl(fd, command, arg);
}

static int real_mbind(void *at, size_t len, int mode, const unsigned long *nodes,
		      unsigned long bits, unsigned flags)
{
	return (int)syscall(SYS_mbind, at, len, mode, nodes, bits, flags);
}

static int real_futex(uint32_t *word, int op, uint32_t value, const struct timespec *until,
		      uint32_t mask)
{
	return (int)syscall(SYS_futex, word, op, value, until, NULL, mask);
}

static int real_futex_wake_op(uint32_t *word, uint32_t operation)
{
	return (int)syscall(SYS_futex, word, FUTEX_WAKE_OP, 1, NULL, word, operation);
}

static int real_pidfd_open(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

/* Its first parameter is an enumeration in the C library. */
static int real_getrlimit(int resource, struct rlimit *out)
{
	return getrlimit((__rlimit_resource_t)resource, out);
}

static int64_t real_real_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int64_t real_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int real_random(void *to, size_t len)
{
	ssize_t got;

	do
		got = getrandom(to, len, 0);
	while (got < 0 && errno == EINTR);
	return got == (ssize_t)len ? 0 : -1;
}

static const struct sys real = {
	.openat = real_openat,
	.openat2 = real_openat2,
	.close = close,
	.pread = pread,
	.preadv2 = preadv2,
	.pwrite = pwrite,
	.fstat = fstat,
	.statx = statx,
	.fstatfs = fstatfs,
	.statfs = statfs,
	.ftruncate = ftruncate,
	.fallocate = fallocate,
	.lseek = lseek,
	.fchmod = fchmod,
	.fdatasync = fdatasync,
	.fsync = fsync,
	.renameat2 = renameat2,
	.unlinkat = unlinkat,
	.linkat = linkat,
	.mkdirat = mkdirat,
	.fadvise = posix_fadvise,
	.cachestat = real_cachestat,
	.copy_file_range = copy_file_range,
	.clone_file = real_clone_file,
	.symlinkat = symlinkat,
	.readlinkat = readlinkat,
	.ioctl = real_ioctl,
	.fcntl = real_fcntl,
	.mmap = mmap,
	.munmap = munmap,
	.madvise = madvise,
	.mbind = real_mbind,
	.getcpu = getcpu,
	.thread_create = pthread_create,
	.now_ns = real_now_ns,
	.real_ns = real_real_ns,
	.futex = real_futex,
	.futex_wake_op = real_futex_wake_op,
	.pidfd_open = real_pidfd_open,
	.getrlimit = real_getrlimit,
	.random = real_random,
};

const struct sys *sys_real(void)
{
	return &real;
}
