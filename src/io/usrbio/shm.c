/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/shm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/huge.h"
#include "base/node.h"
#include "base/shm_name.h"
#include "base/text.h"
#include "io/usrbio/key.h"
#include "io/usrbio/layout.h"

int usrbio_shm_dir(const struct sys *sys)
{
	int fd = sys->openat(AT_FDCWD, USRBIO_SHM, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	return fd < 0 ? -errno : fd;
}

const char *usrbio_shm_component(const char *target)
{
	const char *name;

	if (strncmp(target, USRBIO_SHM "/", sizeof(USRBIO_SHM)) != 0)
		return NULL;
	name = target + sizeof(USRBIO_SHM);
	while (*name == '/')
		name++;
	if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	return name;
}

static int map(const struct sys *sys, int fd, struct usrbio_shm *shm)
{
	void *memory = huge_map_shared(sys, fd, shm->bytes);

	if (memory == MAP_FAILED)
		return errno;
	shm->memory = memory;
	return 0;
}

void usrbio_shm_unmap(const struct sys *sys, struct usrbio_shm *shm)
{
	if (shm->memory)
		sys->munmap(shm->memory, shm->bytes);
	shm->memory = NULL;
}

/* ---- The client's: a new one ---- */

static int compare_free_space(const struct sys *sys, int fd, uint64_t bytes)
{
	struct statfs fs;

	if (sys->fstatfs(fd, &fs))
		return errno;
	if (!fs.f_blocks) /* a tmpfs without a limit */
		return 0;
	return bytes / (uint64_t)fs.f_bsize < fs.f_bavail ? 0 : ENOSPC;
}

/* A page that the file system has no room for would be a bus error at its first touch. */
static int make_room(const struct sys *sys, int fd, const struct usrbio_shm *shm)
{
	if (shm->bytes > USRBIO_SHM_ALLOCATE)
		return 0;
	huge_fill_shared(sys, fd, shm->memory, 0, shm->bytes);
	while (sys->fallocate(fd, 0, 0, (off_t)shm->bytes)) {
		if (errno == EOPNOTSUPP)
			return compare_free_space(sys, fd, shm->bytes);
		if (errno != EINTR)
			return errno;
	}
	return 0;
}

/* The node before the room: pages that are there already do not move. */
static int fill(const struct sys *sys, int fd, int node, struct usrbio_shm *shm)
{
	struct stat st;
	int ret;

	if (sys->ftruncate(fd, (off_t)shm->bytes) || sys->fstat(fd, &st))
		return errno;
	shm->dev = st.st_dev;
	shm->ino = st.st_ino;
	shm->owner = st.st_uid;
	ret = shm->bytes > USRBIO_SHM_ALLOCATE ? compare_free_space(sys, fd, shm->bytes) : 0;
	if (!ret)
		ret = map(sys, fd, shm);
	if (ret)
		return ret;
	if (node >= 0)
		node_bind(sys, shm->memory, shm->bytes, node); /* a wish */
	ret = make_room(sys, fd, shm);
	if (ret)
		usrbio_shm_unmap(sys, shm);
	return ret;
}

/* Names that say whose they are, so that what a killed process left can be told from what is in use. */
static int name_it(const struct sys *sys, struct usrbio_shm *shm)
{
	char path[SHM_PATH_MAX];

	if (shm_name_make(sys, path))
		return EIO;
	snprintf(shm->name, sizeof(shm->name), "%s", strrchr(path, '/') + 1);
	return 0;
}

int usrbio_shm_create(const struct sys *sys, int dir, uint64_t bytes, mode_t mode, int node,
		      struct usrbio_shm *out, struct weir_error *err)
{
	struct usrbio_shm shm = {.bytes = bytes};
	int fd, ret;

	if (!bytes || bytes > INT64_MAX)
		return error_sys(err, EINVAL, USRBIO_SHM, "shared memory of %ju bytes",
				 (uintmax_t)bytes);
	if (name_it(sys, &shm))
		return error_sys(err, EIO, USRBIO_SHM, "a name for shared memory");
	fd = sys->openat(dir, shm.name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return error_sys(err, errno, USRBIO_SHM, USRBIO_SHM "/%s: creating it", shm.name);
	ret = fill(sys, fd, node, &shm);
	sys->close(fd);
	if (ret) {
		sys->unlinkat(dir, shm.name, 0);
		return error_sys(err, ret, USRBIO_SHM, USRBIO_SHM "/%s: %ju bytes", shm.name,
				 (uintmax_t)bytes);
	}
	*out = shm;
	return 0;
}

/* ---- The server's: one that somebody else made ---- */

/* What the protocol calls a failed open. */
static int open_errno(int os_errno)
{
	switch (os_errno) {
	case ENOENT: /* not there */
	case EISDIR: /* and not a regular file */
	case ENXIO:
	case ENODEV:
		return EINVAL;
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return os_errno;
	default:
		return EACCES;
	}
}

/* Type, size and owner of what was opened, not of what had the name a moment before. */
static int judge(const struct sys *sys, int fd, uid_t owner, struct usrbio_shm *shm)
{
	struct stat st;

	if (sys->fstat(fd, &st))
		return EACCES;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return EINVAL;
	if (st.st_uid != owner)
		return EACCES;
	shm->bytes = (uint64_t)st.st_size;
	shm->dev = st.st_dev;
	shm->ino = st.st_ino;
	shm->owner = st.st_uid;
	return 0;
}

static int open_object(const struct sys *sys, int dir, uid_t owner, struct usrbio_shm *shm)
{
	int fd = sys->openat(dir, shm->name,
			     O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return open_errno(errno);
	ret = judge(sys, fd, owner, shm);
	if (!ret) {
		ret = map(sys, fd, shm);
		if (ret && ret != ENOMEM)
			ret = EACCES;
	}
	sys->close(fd);
	return ret;
}

int usrbio_shm_open(const struct sys *sys, int dir, const char *target, uid_t owner,
		    struct usrbio_shm *out, struct weir_error *err)
{
	const char *name = usrbio_shm_component(target);
	struct usrbio_shm shm = {0};
	struct quoted quoted;
	int ret = EACCES;

	if (name && strlen(name) < sizeof(shm.name)) {
		memcpy(shm.name, name, strlen(name) + 1);
		ret = open_object(sys, dir, owner, &shm);
	}
	if (ret)
		return error_sys(
			err, ret, USRBIO_SHM, "'%s': not an object of user %u in this " USRBIO_SHM,
			quote(&quoted, (struct bytes){target, strlen(target)}), (unsigned)owner);
	*out = shm;
	return 0;
}

/* ---- Removing names ---- */

int usrbio_shm_unlink(const struct sys *sys, int dir, const char *name)
{
	return sys->unlinkat(dir, name, 0) && errno != ENOENT ? -errno : 0;
}

int usrbio_shm_unlink_same(const struct sys *sys, int dir, const struct usrbio_shm *shm)
{
	struct statx now;

	if (sys->statx(dir, shm->name, AT_SYMLINK_NOFOLLOW, STATX_INO, &now))
		return errno == ENOENT ? 0 : -errno;
	if (now.stx_ino != shm->ino)
		return -ESTALE;
	return usrbio_shm_unlink(sys, dir, shm->name);
}
