/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* One countdown: which call fails, and whether those behind it do. */
struct countdown {
	_Atomic int64_t left; /* calls until the one that fails; <= 0: behind it */
	_Atomic bool on, fired;
	_Atomic int mode;
};

static struct countdown alloc_fails;
static _Atomic int64_t alloc_live;
static _Atomic uint64_t alloc_count;

static void arm(struct countdown *down, unsigned n, enum fail_mode mode)
{
	atomic_store(&down->on, false);
	atomic_store(&down->left, (int64_t)n);
	atomic_store(&down->mode, (int)mode);
	atomic_store(&down->fired, false);
	atomic_store(&down->on, n > 0);
}

static bool disarm(struct countdown *down)
{
	atomic_store(&down->on, false);
	return atomic_exchange(&down->fired, false);
}

static bool strikes(struct countdown *down)
{
	int64_t left;

	if (!atomic_load(&down->on))
		return false;
	left = atomic_fetch_sub(&down->left, 1) - 1;
	if (left > 0 || (left < 0 && atomic_load(&down->mode) == FAIL_ONCE))
		return false;
	atomic_store(&down->fired, true);
	return true;
}

/* ---- Allocations ---- */

void fail_alloc(unsigned n, enum fail_mode mode)
{
	arm(&alloc_fails, n, mode);
}

bool fail_alloc_end(void)
{
	return disarm(&alloc_fails);
}

int64_t fail_alloc_live(void)
{
	return atomic_load(&alloc_live);
}

uint64_t fail_alloc_count(void)
{
	return atomic_load(&alloc_count);
}

/* The names that --wrap makes. */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
int __real_posix_memalign(void **out, size_t align, size_t size);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t len);
void __real_free(void *at);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
int __wrap_posix_memalign(void **out, size_t align, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
void __wrap_free(void *at);

/* Is this one to fail?  Then errno says so. */
static bool refuse(void)
{
	if (!strikes(&alloc_fails))
		return false;
	errno = ENOMEM;
	return true;
}

static void *counted(void *at)
{
	if (at) {
		atomic_fetch_add(&alloc_live, 1);
		atomic_fetch_add(&alloc_count, 1);
	}
	return at;
}

void *__wrap_malloc(size_t size)
{
	return refuse() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t count, size_t size)
{
	return refuse() ? NULL : counted(__real_calloc(count, size));
}

void *__wrap_realloc(void *at, size_t size)
{
	void *moved;

	if (refuse())
		return NULL;
	moved = __real_realloc(at, size);
	if (at && moved)
		atomic_fetch_add(&alloc_count, 1); /* one for one */
	else
		counted(moved);
	return moved;
}

void *__wrap_aligned_alloc(size_t align, size_t size)
{
	return refuse() ? NULL : counted(__real_aligned_alloc(align, size));
}

int __wrap_posix_memalign(void **out, size_t align, size_t size)
{
	int ret;

	if (refuse())
		return ENOMEM;
	ret = __real_posix_memalign(out, align, size);
	if (ret == 0)
		counted(*out);
	return ret;
}

char *__wrap_strdup(const char *text)
{
	return refuse() ? NULL : counted(__real_strdup(text));
}

char *__wrap_strndup(const char *text, size_t len)
{
	return refuse() ? NULL : counted(__real_strndup(text, len));
}

void __wrap_free(void *at)
{
	if (at)
		atomic_fetch_sub(&alloc_live, 1);
	__real_free(at);
}

/* ---- System calls ---- */

static struct countdown call_fails;
static _Atomic int call_chosen, call_errno;
static _Atomic int64_t mapped_bytes;
static const struct sys *under;

const char *fail_call_name(enum fail_call call)
{
	static const char *const names[] = {
#define X(name) #name,
		FAIL_CALLS(X)
#undef X
	};

	return names[call];
}

void fail_call(enum fail_call call, unsigned n, enum fail_mode mode, int os_errno)
{
	atomic_store(&call_fails.on, false);
	atomic_store(&call_chosen, (int)call);
	atomic_store(&call_errno, os_errno);
	arm(&call_fails, n, mode);
}

bool fail_call_end(void)
{
	return disarm(&call_fails);
}

int64_t fail_mapped_bytes(void)
{
	return atomic_load(&mapped_bytes);
}

static bool call_strikes(enum fail_call call)
{
	int chosen = atomic_load(&call_chosen);

	if (!atomic_load(&call_fails.on) || (chosen != (int)call && chosen != FAIL_ANY) ||
	    !strikes(&call_fails))
		return false;
	errno = atomic_load(&call_errno);
	return true;
}

/* An entry: RETURN name(PARAMETERS) that fails with FAILED, else calls on with ARGUMENTS. */
#define ENTRY(type, name, parameters, arguments)                                                   \
	static type failing_##name parameters                                                      \
	{                                                                                          \
		return call_strikes(FAIL_##name) ? -1 : under->name arguments;                     \
	}

ENTRY(int, openat, (int dir, const char *path, int flags, mode_t mode), (dir, path, flags, mode))
ENTRY(ssize_t, pread, (int fd, void *to, size_t len, off_t off), (fd, to, len, off))
ENTRY(ssize_t, preadv2, (int fd, const struct iovec *to, int count, off_t off, int flags),
      (fd, to, count, off, flags))
ENTRY(ssize_t, pwrite, (int fd, const void *from, size_t len, off_t off), (fd, from, len, off))
ENTRY(int, fstat, (int fd, struct stat *out), (fd, out))
ENTRY(int, statx, (int dir, const char *path, int flags, unsigned mask, struct statx *out),
      (dir, path, flags, mask, out))
ENTRY(int, fstatfs, (int fd, struct statfs *out), (fd, out))
ENTRY(int, ftruncate, (int fd, off_t len), (fd, len))
ENTRY(int, fallocate, (int fd, int mode, off_t off, off_t len), (fd, mode, off, len))
ENTRY(int, fchmod, (int fd, mode_t mode), (fd, mode))
ENTRY(int, fdatasync, (int fd), (fd))
ENTRY(int, fsync, (int fd), (fd))
ENTRY(int, renameat2, (int from_dir, const char *from, int to_dir, const char *to, unsigned flags),
      (from_dir, from, to_dir, to, flags))
ENTRY(int, unlinkat, (int dir, const char *path, int flags), (dir, path, flags))
ENTRY(int, mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode))
ENTRY(int, cachestat,
      (int fd, struct sys_cache_range *range, struct sys_cache_stat *out, unsigned flags),
      (fd, range, out, flags))
ENTRY(ssize_t, copy_file_range,
      (int from, off_t *from_off, int to, off_t *to_off, size_t len, unsigned flags),
      (from, from_off, to, to_off, len, flags))
ENTRY(int, clone_file, (int to, int from), (to, from))
ENTRY(int, symlinkat, (const char *target, int dir, const char *path), (target, dir, path))
ENTRY(ssize_t, readlinkat, (int dir, const char *path, char *out, size_t size),
      (dir, path, out, size))
ENTRY(int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg))
ENTRY(int, fcntl, (int fd, int command, int arg), (fd, command, arg))
ENTRY(int, mbind,
      (void *at, size_t len, int mode, const unsigned long *nodes, unsigned long bits,
       unsigned flags),
      (at, len, mode, nodes, bits, flags))
ENTRY(int, getcpu, (unsigned *processor, unsigned *node), (processor, node))
ENTRY(int, futex,
      (uint32_t * word, int op, uint32_t value, const struct timespec *until, uint32_t mask),
      (word, op, value, until, mask))
ENTRY(int, futex_wake_op, (uint32_t * word, uint32_t operation), (word, operation))
ENTRY(int, pidfd_open, (pid_t pid, unsigned flags), (pid, flags))
ENTRY(int, getrlimit, (int resource, struct rlimit *out), (resource, out))
ENTRY(int, madvise, (void *at, size_t len, int advice), (at, len, advice))
ENTRY(int, random, (void *to, size_t len), (to, len))

/* As Linux has it: the descriptor is gone even where close() fails. */
static int failing_close(int fd)
{
	bool fails = call_strikes(FAIL_close);
	int ret = under->close(fd);

	if (fails)
		errno = atomic_load(&call_errno);
	return fails ? -1 : ret;
}

static int failing_fadvise(int fd, off_t off, off_t len, int advice)
{
	return call_strikes(FAIL_fadvise) ? errno : under->fadvise(fd, off, len, advice);
}

static int failing_thread_create(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
				 void *arg)
{
	return call_strikes(FAIL_thread_create) ? errno : under->thread_create(out, attr, run, arg);
}

static void *failing_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	void *got = call_strikes(FAIL_mmap) ? MAP_FAILED
					    : under->mmap(at, len, prot, flags, fd, off);

	if (got != MAP_FAILED)
		atomic_fetch_add(&mapped_bytes, (int64_t)len);
	return got;
}

static int failing_munmap(void *at, size_t len)
{
	int ret = call_strikes(FAIL_munmap) ? -1 : under->munmap(at, len);

	if (ret == 0)
		atomic_fetch_sub(&mapped_bytes, (int64_t)len);
	return ret;
}

static struct sys table;

void fail_sys_over(const struct sys *below)
{
	under = below;
	table = *below; /* what cannot fail: the clock */
#define X(name) table.name = failing_##name;
	FAIL_CALLS(X)
#undef X
}

const struct sys *fail_sys(void)
{
	if (!under)
		fail_sys_over(sys_real());
	return &table;
}
