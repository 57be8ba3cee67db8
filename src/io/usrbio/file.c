/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/sysmacros.h>

#include "base/error.h"
#include "io/usrbio/layout.h"

#define CHUNK 4096

/* Of a call that failed, which is never 0: said where an analyser reads it, too. */
static int failed(void)
{
	int os_errno = errno;

	assert(os_errno > 0);
	return os_errno;
}

bool usrbio_file_is(const struct sys *sys, int fd)
{
	uint32_t magic = 0;

	return sys->ioctl(fd, USRBIO_IOC_GET_MAGIC, &magic) >= 0 && magic == USRBIO_MAGIC;
}

/* The identity of what is open there: 0 or an errno. */
static int identify(const struct sys *sys, int fd, uint64_t *ino, uint64_t *dev)
{
	struct statx found;

	if (sys->statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &found))
		return failed();
	*ino = found.stx_ino;
	*dev = makedev(found.stx_dev_major, found.stx_dev_minor);
	return 0;
}

/* 0 or an errno.  The duplicate's number is at_least or above. */
static int open_file(const struct sys *sys, int fd, int at_least, struct usrbio_file *out)
{
	struct usrbio_file file = {.fd = -1};
	int ret, flags;

	if (fd < 0 || !usrbio_file_is(sys, fd))
		return EBADF;
	ret = identify(sys, fd, &file.ino, &file.dev);
	if (ret)
		return ret;
	flags = sys->fcntl(fd, F_GETFL, 0);
	if (flags < 0)
		return failed();
	file.access = flags & O_ACCMODE;
	file.fd = sys->fcntl(fd, F_DUPFD_CLOEXEC, at_least);
	if (file.fd < 0)
		return failed();
	*out = file;
	return 0;
}

int usrbio_file_open(const struct sys *sys, int fd, struct usrbio_file *out, struct weir_error *err)
{
	int ret = open_file(sys, fd, 3, out);

	return ret ? error_sys(err, ret, NULL, "descriptor %d, as a file of 3FS", fd) : 0;
}

void usrbio_file_close(const struct sys *sys, struct usrbio_file *file)
{
	if (file->fd >= 0)
		sys->close(file->fd);
	file->fd = -1;
}

bool usrbio_file_same(const struct sys *sys, const struct usrbio_file *file, int fd)
{
	uint64_t ino, dev;

	return identify(sys, fd, &ino, &dev) == 0 && ino == file->ino && dev == file->dev;
}

/* ---- The table ---- */

/* Read without a lock: what it says is written before fd, and stays as it is while that is set. */
struct entry {
	_Atomic int fd; /* the duplicate plus 1; 0: nothing is registered under this number */
	_Atomic int access;
	_Atomic uint64_t ino, dev;
};

struct usrbio_file_chunk {
	struct entry entries[CHUNK];
};

void usrbio_files_init(struct usrbio_files *files, const struct sys *sys)
{
	*files = (struct usrbio_files){.sys = sys};
	lock_init(&files->lock);
}

/* Of a number below USRBIO_FD_MAX; NULL: nothing near it was ever registered. */
static struct entry *entry_of(const struct usrbio_files *files, int fd)
{
	struct usrbio_file_chunk *chunk = atomic_load_explicit(&files->chunks[fd / CHUNK],
							       memory_order_acquire);

	return chunk ? &chunk->entries[fd % CHUNK] : NULL;
}

void usrbio_files_fini(struct usrbio_files *files)
{
	for (int fd = 0; fd < USRBIO_FD_MAX; fd += CHUNK) {
		struct usrbio_file_chunk *chunk = files->chunks[fd / CHUNK];

		for (int i = 0; chunk && i < CHUNK; i++)
			if (chunk->entries[i].fd == fd + i + 1) /* a duplicate's own entry */
				files->sys->close(fd + i);
		free(chunk);
	}
	lock_fini(&files->lock);
}

static struct entry *make_entry(struct usrbio_files *files, int fd)
{
	if (!files->chunks[fd / CHUNK]) {
		struct usrbio_file_chunk *chunk = calloc(1, sizeof(*chunk));

		if (!chunk)
			return NULL;
		atomic_store_explicit(&files->chunks[fd / CHUNK], chunk, memory_order_release);
	}
	return entry_of(files, fd);
}

static void fill(struct entry *entry, const struct usrbio_file *file)
{
	atomic_store_explicit(&entry->access, file->access, memory_order_relaxed);
	atomic_store_explicit(&entry->ino, file->ino, memory_order_relaxed);
	atomic_store_explicit(&entry->dev, file->dev, memory_order_relaxed);
	atomic_store_explicit(&entry->fd, file->fd + 1, memory_order_release);
}

/*
 * A duplicate whose number is not registered itself: one that the program closed without telling us is
 * free to the kernel and taken here.
 */
static int open_free(struct usrbio_files *files, int fd, struct usrbio_file *out)
{
	int at_least = 3;

	for (;;) {
		int ret = open_file(files->sys, fd, at_least, out);
		struct entry *entry;

		if (ret)
			return ret;
		if (out->fd >= USRBIO_FD_MAX) {
			usrbio_file_close(files->sys, out);
			return EBADF;
		}
		entry = entry_of(files, out->fd);
		if (!entry || !entry->fd)
			return 0;
		at_least = out->fd + 1;
		usrbio_file_close(files->sys, out);
	}
}

static int add_locked(struct usrbio_files *files, int fd, struct usrbio_file *file)
{
	struct entry *entry, *alias;
	int ret = open_free(files, fd, file);

	if (ret)
		return ret;
	entry = make_entry(files, fd);
	alias = make_entry(files, file->fd);
	if (!entry || !alias || entry->fd) {
		usrbio_file_close(files->sys, file);
		return entry && alias ? EINVAL : ENOMEM;
	}
	fill(alias, file);
	fill(entry, file);
	return 0;
}

int usrbio_files_add(struct usrbio_files *files, int fd)
{
	struct usrbio_file file;
	int ret;

	if (fd < 0 || fd >= USRBIO_FD_MAX)
		return EBADF;
	lock_take(&files->lock);
	ret = add_locked(files, fd, &file);
	lock_drop(&files->lock);
	return ret ? ret : -file.fd;
}

void usrbio_files_remove(struct usrbio_files *files, int fd)
{
	struct entry *entry;
	int duplicate = -1;

	if (fd < 0 || fd >= USRBIO_FD_MAX)
		return;
	lock_take(&files->lock);
	entry = entry_of(files, fd);
	if (entry && entry->fd && entry->fd != fd + 1) { /* not by the duplicate's own number */
		duplicate = entry->fd - 1;
		atomic_store(&entry->fd, 0);
		atomic_store(&entry_of(files, duplicate)->fd, 0);
	}
	lock_drop(&files->lock);
	if (duplicate >= 0)
		files->sys->close(duplicate);
}

bool usrbio_files_find(const struct usrbio_files *files, int fd, struct usrbio_file *out)
{
	unsigned number = fd < 0 ? 0u - (unsigned)fd : (unsigned)fd;
	const struct entry *entry;
	int duplicate;

	if (number >= USRBIO_FD_MAX)
		return false;
	entry = entry_of(files, (int)number);
	if (!entry)
		return false;
	duplicate = atomic_load_explicit(&entry->fd, memory_order_acquire) - 1;
	if (duplicate < 0)
		return false;
	out->fd = duplicate;
	out->access = atomic_load_explicit(&entry->access, memory_order_relaxed);
	out->ino = atomic_load_explicit(&entry->ino, memory_order_relaxed);
	out->dev = atomic_load_explicit(&entry->dev, memory_order_relaxed);
	return true;
}
