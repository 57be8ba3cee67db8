/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors, the mount of a path, and the two calls that change files by name or range. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "compat/hf3fs/handle.h"
#include "io/usrbio/mountpoint.h"

static struct usrbio_files files;

static void init_files(void)
{
	usrbio_files_init(&files, sys_real());
}

struct usrbio_files *handle_files(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init_files);
	return &files;
}

HF3FS_API bool hf3fs_is_hf3fs(int fd)
{
	return usrbio_file_is(sys_real(), fd);
}

HF3FS_API int hf3fs_reg_fd(int fd, uint64_t flags)
{
	(void)flags; /* none are defined */
	return usrbio_files_add(handle_files(), fd);
}

HF3FS_API void hf3fs_dereg_fd(int fd)
{
	usrbio_files_remove(handle_files(), fd);
}

HF3FS_API int hf3fs_extract_mount_point(char *hf3fs_mount_point, int size, const char *path)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the interface says that it is read here */
	const char *any = getenv("HF3FS_USRBIO_DONT_CHECKFS_FOR_MP");
	char found[PATH_MAX];
	size_t length;

	if (!path ||
	    usrbio_mount_find(sys_real(), path, any && strcmp(any, "yes") == 0, found, NULL) < 0)
		return -1;
	length = strlen(found);
	if (hf3fs_mount_point && size > 0 && length < (size_t)size)
		memcpy(hf3fs_mount_point, found, length + 1);
	return (int)length + 1;
}

/* ---- Calls that the daemon carries out ---- */

/* The directory's number and the last component of a path; 0 or an errno. */
static int split(const char *path, struct usrbio_ioc_hardlink *out)
{
	const struct sys *sys = sys_real();
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char parent[PATH_MAX] = ".";
	size_t length = slash ? (size_t)(slash - path) : 0;
	struct statx stx;

	if (*name == '\0' || length >= sizeof(parent))
		return *name == '\0' ? ENOENT : ENAMETOOLONG;
	if (strlen(name) >= sizeof(out->name))
		return ENAMETOOLONG;
	if (slash) {
		memcpy(parent, path, length ? length : 1);
		parent[length ? length : 1] = '\0';
	}
	if (sys->statx(AT_FDCWD, parent, 0, STATX_INO, &stx) < 0)
		return errno;
	out->parent = stx.stx_ino;
	memcpy(out->name, name, strlen(name) + 1);
	return 0;
}

HF3FS_API int hf3fs_hardlink(const char *target, const char *link_name)
{
	const struct sys *sys = sys_real();
	struct usrbio_ioc_hardlink what = {0};
	int fd, ret;

	if (!target || !link_name)
		return EINVAL;
	ret = split(link_name, &what);
	if (ret != 0)
		return ret;
	fd = sys->openat(AT_FDCWD, target, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	ret = sys->ioctl(fd, USRBIO_IOC_HARDLINK, &what) < 0 ? errno : 0;
	sys->close(fd);
	return ret;
}

HF3FS_API int hf3fs_punchhole(int fd, int n, const size_t *start, const size_t *end, size_t flags)
{
	struct usrbio_ioc_punch_hole *what;
	int ret;

	if (n < 0 || n > USRBIO_RANGES_MAX || (n > 0 && (!start || !end)))
		return EINVAL;
	what = calloc(1, sizeof(*what));
	if (!what)
		return ENOMEM;
	what->count = n;
	what->flags = flags;
	for (int i = 0; i < n; i++) {
		what->start[i] = start[i];
		what->end[i] = end[i];
	}
	ret = sys_real()->ioctl(fd, USRBIO_IOC_PUNCH_HOLE, what) < 0 ? errno : 0;
	free(what);
	return ret;
}
