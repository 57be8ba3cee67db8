/* SPDX-License-Identifier: Apache-2.0 */
#include "mem/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/huge.h"
#include "base/size.h"

/* ---- The object ---- */

/* One with a name is second best: a kernel without unnamed files in memory. */
static int open_object(struct shared *slab)
{
	const int flags = O_RDWR | O_CLOEXEC;

	slab->fd = slab->sys->openat(AT_FDCWD, SHM_DIR, O_TMPFILE | flags, 0600);
	if (slab->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return slab->fd;
	if (shm_name_make(slab->sys, slab->path) < 0)
		return -1;
	slab->fd = slab->sys->openat(AT_FDCWD, slab->path, O_CREAT | O_EXCL | O_NOFOLLOW | flags,
				     0600);
	if (slab->fd < 0)
		slab->path[0] = '\0';
	return slab->fd;
}

/* A file system without a limit says that it has no blocks at all. */
static int check_space(const struct shared *slab, uint64_t bytes, struct weir_error *err)
{
	struct statfs fs;
	uint64_t left;

	if (slab->sys->fstatfs(slab->fd, &fs) < 0 || fs.f_blocks == 0)
		return 0;
	if (!size_mul((uint64_t)fs.f_bavail, (uint64_t)fs.f_bsize, &left) || bytes <= left)
		return 0;
	error_set(err, WEIR_NOSPACE, SHM_DIR,
		  "shared memory for reads: %llu bytes are wanted, %s has %llu left",
		  (unsigned long long)bytes, SHM_DIR, (unsigned long long)left);
	if (err)
		err->os_errno = ENOSPC;
	return WEIR_NOSPACE;
}

static int map_object(struct shared *slab)
{
	void *at = huge_map_shared(slab->sys, slab->fd, slab->bytes);

	if (at == MAP_FAILED)
		return -1;
	slab->at = at;
	/* Where /dev/shm is mounted huge=advise. */
	slab->sys->madvise(at, (size_t)slab->bytes, MADV_HUGEPAGE);
	return 0;
}

static int fill(struct shared *slab, uint64_t bytes, struct weir_error *err)
{
	int ret;

	if (open_object(slab) < 0)
		return error_sys(err, errno, SHM_DIR, "%s: making shared memory", SHM_DIR);
	ret = check_space(slab, bytes, err);
	if (ret)
		return ret;
	slab->bytes = bytes;
	if (slab->sys->ftruncate(slab->fd, (off_t)bytes) < 0 || map_object(slab) < 0)
		return error_sys(err, errno, SHM_DIR, "%s: shared memory of %llu bytes", SHM_DIR,
				 (unsigned long long)bytes);
	return 0;
}

int shared_create(const struct sys *sys, uint64_t bytes, struct shared **out,
		  struct weir_error *err)
{
	struct shared *slab = calloc(1, sizeof(*slab));
	int ret;

	if (!slab)
		return error_nomem(err, NULL, "a slab of shared memory");
	slab->sys = sys;
	slab->fd = -1;
	lock_init(&slab->lock);
	ret = fill(slab, bytes, err);
	if (ret < 0)
		shared_destroy(slab);
	else
		*out = slab;
	return ret;
}

void shared_destroy(struct shared *slab)
{
	if (!slab)
		return;
	for (int kind = 0; kind < SHARED_IMPORTERS; kind++) {
		struct shared_slot slot = slab->slots[kind];

		if (slot.release)
			slot.release(slot.import, slab);
	}
	shared_unname(slab);
	if (slab->at)
		slab->sys->munmap(slab->at, (size_t)slab->bytes);
	if (slab->fd >= 0)
		slab->sys->close(slab->fd);
	lock_fini(&slab->lock);
	free(slab);
}

void shared_gather(struct shared *slab, const void *at, uint64_t bytes)
{
	huge_fill_shared(slab->sys, slab->fd, slab->at, (uint64_t)((const char *)at - slab->at),
			 bytes);
}

int shared_allocate(struct shared *slab, const void *at, uint64_t bytes)
{
	uint64_t offset = (uint64_t)((const char *)at - slab->at);
	int ret;

	do
		ret = slab->sys->fallocate(slab->fd, 0, (off_t)offset, (off_t)bytes);
	while (ret < 0 && errno == EINTR);
	return ret < 0 ? errno : 0;
}

/* ---- Its name ---- */

static int give_name_locked(struct shared *slab, struct weir_error *err)
{
	char from[32];
	int ret;

	if (slab->was_named)
		return error_set(err, WEIR_CLOSED, NULL,
				 "shared memory that had its name cannot be named again");
	slab->was_named = true;
	if (slab->path[0])
		return 0;
	if (shm_name_make(slab->sys, slab->path) < 0)
		return error_sys(err, errno, NULL, "a name for shared memory");
	snprintf(from, sizeof(from), "/proc/self/fd/%d", slab->fd);
	if (slab->sys->linkat(AT_FDCWD, from, AT_FDCWD, slab->path, AT_SYMLINK_FOLLOW) == 0)
		return 0;
	ret = error_sys(err, errno, slab->path, "%s: naming shared memory", slab->path);
	slab->path[0] = '\0';
	return ret;
}

int shared_name(struct shared *slab, char path[SHM_PATH_MAX], struct weir_error *err)
{
	int ret;

	lock_take(&slab->lock);
	ret = give_name_locked(slab, err);
	if (ret == 0)
		memcpy(path, slab->path, SHM_PATH_MAX);
	lock_drop(&slab->lock);
	return ret;
}

void shared_unname(struct shared *slab)
{
	lock_take(&slab->lock);
	if (slab->path[0])
		slab->sys->unlinkat(AT_FDCWD, slab->path, 0);
	slab->path[0] = '\0';
	lock_drop(&slab->lock);
}

/* ---- Importers ---- */

void *shared_import(struct shared *slab, enum shared_importer kind)
{
	void *import;

	lock_take(&slab->lock);
	import = slab->slots[kind].import;
	lock_drop(&slab->lock);
	return import;
}

bool shared_attach(struct shared *slab, enum shared_importer kind, struct shared_slot what)
{
	bool room;

	lock_take(&slab->lock);
	room = !slab->slots[kind].release;
	if (room)
		slab->slots[kind] = what;
	lock_drop(&slab->lock);
	return room;
}

void shared_detach(struct shared *slab, enum shared_importer kind)
{
	lock_take(&slab->lock);
	slab->slots[kind] = (struct shared_slot){NULL, NULL};
	lock_drop(&slab->lock);
}
