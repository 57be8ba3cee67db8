/* SPDX-License-Identifier: Apache-2.0 */
#include "model/beneath.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/context.h"
#include "engine/object.h"

static int refuse(const char *uri, int os_errno, struct weir_error *err)
{
	if (os_errno == EXDEV || os_errno == ELOOP)
		return error_set(err, WEIR_DENIED, uri, "%s: leads out of the model's directory",
				 uri);
	return error_sys(err, os_errno, uri, "%s: cannot open", uri);
}

/* Part after part, none of which may be a link.  A descriptor, or -1 with errno. */
static int walk(const struct sys *sys, int dir, const char *name)
{
	const int flags = O_PATH | O_CLOEXEC | O_NOFOLLOW;
	char part[256];
	int at = dir, next, keep;

	for (;;) {
		const char *slash = strchr(name, '/');
		size_t len = slash ? (size_t)(slash - name) : strlen(name);

		if (len >= sizeof(part)) {
			next = -1;
			errno = ENAMETOOLONG;
		} else {
			memcpy(part, name, len);
			part[len] = '\0';
			next = sys->openat(at, part, slash ? flags | O_DIRECTORY : flags, 0);
		}
		keep = errno;
		if (at != dir)
			sys->close(at);
		errno = keep;
		if (next < 0 || !slash)
			return next;
		at = next;
		name = slash + 1;
	}
}

/* O_PATH with O_NOFOLLOW opens a link itself. */
static int walk_to_file(const struct sys *sys, int dir, const char *name)
{
	struct stat st;
	int fd = walk(sys, dir, name);

	if (fd >= 0 && sys->fstat(fd, &st) == 0 && S_ISLNK(st.st_mode)) {
		sys->close(fd);
		errno = ELOOP;
		return -1;
	}
	return fd;
}

static int resolve(const struct sys *sys, int dir, const char *name)
{
	int fd = sys->openat2(dir, name, O_PATH | O_CLOEXEC, RESOLVE_BENEATH);

	if (fd >= 0 || (errno != ENOSYS && errno != EPERM && errno != EINVAL))
		return fd;
	return walk_to_file(sys, dir, name);
}

static int open_resolved(struct weir_ctx *ctx, int dir, const char *name, const char *uri,
			 const struct source_how *how, struct weir_object **out,
			 struct weir_error *err)
{
	int fd = resolve(ctx->sys, dir, name), ret;
	char magic[32];

	if (fd < 0)
		return refuse(uri, errno, err);
	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", fd);
	ret = object_open_as_here(ctx, magic, uri, how, out, err);
	ctx->sys->close(fd);
	return ret;
}

int beneath_open(struct weir_ctx *ctx, const char *dir, struct bytes name, const char *uri,
		 const struct source_how *how, struct weir_object **out, struct weir_error *err)
{
	const char *scheme;
	char *path;
	int ret = source_split_uri(dir[0] ? dir : ".", &scheme, &path, err), fd;

	if (ret)
		return ret;
	if (strcmp(scheme, "file") != 0) {
		free(path);
		return object_open_here(ctx, uri, how, out, err);
	}
	fd = ctx->sys->openat(AT_FDCWD, path, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		ret = error_sys(err, errno, dir, "%s: cannot open", dir);
	else
		ret = open_resolved(ctx, fd, name.at, uri, how, out, err);
	if (fd >= 0)
		ctx->sys->close(fd);
	free(path);
	return ret;
}
