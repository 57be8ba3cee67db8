/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of mountinfo: id, parent, major:minor, root, mount point, options, optional fields, "-", type,
 * source, options of the file system.  Spaces and the like inside of a field are octal escapes.
 *
 * No mount is touched that the path does not lie in: others may hang.
 */
#include "io/usrbio/mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/text.h"
#include "io/usrbio/layout.h"

#define MOUNTINFO     "/proc/self/mountinfo"
#define MOUNTINFO_CAP ((size_t)64 << 20)
#define POINT_FIELD   4

/* ---- Reading the table ---- */

/* The whole of a file of /proc, ended by a NUL. */
static int read_all(const struct sys *sys, int fd, char **out)
{
	size_t room = 64 << 10, len = 0;
	scoped(freep) char *text = malloc(room);

	while (text) {
		ssize_t got = sys->pread(fd, text + len, room - len - 1, (off_t)len);
		char *larger;

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return errno;
		len += (size_t)got;
		text[len] = '\0';
		if (got == 0) {
			*out = steal(&text);
			return 0;
		}
		if (len + 1 < room)
			continue;
		if (room >= MOUNTINFO_CAP)
			return EFBIG;
		larger = realloc(text, room * 2);
		if (!larger)
			break;
		text = larger;
		room *= 2;
	}
	return ENOMEM;
}

static int read_mountinfo(const struct sys *sys, char **out, struct weir_error *err)
{
	int fd = sys->openat(AT_FDCWD, MOUNTINFO, O_RDONLY | O_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return error_sys(err, errno, MOUNTINFO, MOUNTINFO);
	ret = read_all(sys, fd, out);
	sys->close(fd);
	return ret ? error_sys(err, ret, MOUNTINFO, MOUNTINFO) : 0;
}

static bool octal(char c)
{
	return c >= '0' && c <= '7';
}

/* In place; a backslash that begins no escape stays. */
static void decode(char *text)
{
	char *to = text;

	for (const char *at = text; *at; to++) {
		if (at[0] == '\\' && octal(at[1]) && octal(at[2]) && octal(at[3])) {
			*to = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 4;
		} else {
			*to = *at++;
		}
	}
	*to = '\0';
}

struct mount {
	char *point, *type, *source;
};

/* Cuts a line into fields; false where it is none of ours. */
static bool parse_line(char *line, struct mount *out)
{
	char *rest = line, *field;
	unsigned index = 0;
	bool dash = false;

	*out = (struct mount){0};
	while (!dash && (field = strsep(&rest, " "))) {
		if (!*field)
			continue;
		if (index == POINT_FIELD)
			out->point = field;
		dash = index > POINT_FIELD + 1 && strcmp(field, "-") == 0;
		index++;
	}
	if (!dash)
		return false;
	out->type = strsep(&rest, " ");
	out->source = strsep(&rest, " ");
	if (!out->point || !out->type || !out->source)
		return false;
	decode(out->point);
	decode(out->source);
	return true;
}

/* ---- Which of them count ---- */

/* Cuts the last component where it is 3fs-virt: a mount of that alone stands for its parent. */
static bool is_virt(char *point)
{
	char *last = strrchr(point, '/');

	if (!last || strcmp(last + 1, USRBIO_VIRT) != 0)
		return false;
	last[last == point ? 1 : 0] = '\0';
	return true;
}

static bool has_virt(const struct sys *sys, const char *point)
{
	char path[PATH_MAX + sizeof(USRBIO_VIRT) + 1];
	struct statx found;

	snprintf(path, sizeof(path), "%s/" USRBIO_VIRT, strcmp(point, "/") == 0 ? "" : point);
	return sys->statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC, STATX_TYPE,
			  &found) == 0;
}

/* Does the path lie at or below that point, by whole components? */
static bool beneath(const char *path, const char *point)
{
	size_t len = strlen(point);

	if (strcmp(point, "/") == 0)
		return path[0] == '/';
	return strncmp(path, point, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

/* What is looked for, and who hears of it. */
struct search {
	const struct sys *sys;
	bool any_type;
	const char *path; /* the point must be above this one; NULL: any */
	usrbio_mount_fn *each;
	void *arg;
};

static int consider(const struct search *search, struct mount *mount)
{
	bool virt;

	if (!search->any_type && strcmp(mount->type, USRBIO_FS_TYPE) != 0)
		return 0;
	if (strlen(mount->point) >= PATH_MAX)
		return 0;
	virt = is_virt(mount->point);
	if (search->path && !beneath(search->path, mount->point))
		return 0;
	if (!virt && !has_virt(search->sys, mount->point))
		return 0;
	return search->each(search->arg, mount->point, mount->type, mount->source);
}

static int walk(const struct search *search, struct weir_error *err)
{
	scoped(freep) char *text = NULL;
	char *rest, *line;
	int ret = read_mountinfo(search->sys, &text, err);

	rest = text;
	while (!ret && (line = strsep(&rest, "\n"))) {
		struct mount mount;

		if (parse_line(line, &mount))
			ret = consider(search, &mount);
	}
	return ret;
}

int usrbio_mount_each(const struct sys *sys, bool any_type, usrbio_mount_fn *each, void *arg,
		      struct weir_error *err)
{
	const struct search search = {.sys = sys, .any_type = any_type, .each = each, .arg = arg};

	return walk(&search, err);
}

/* ---- The one that a path lies in ---- */

/* The deepest of them. */
static int keep_longest(void *arg, const char *point, const char *type, const char *source)
{
	char *best = arg;

	(void)type;
	(void)source;
	if (strlen(point) > strlen(best))
		memcpy(best, point, strlen(point) + 1); /* below PATH_MAX: consider() */
	return 0;
}

/* The path without links and dots, as the kernel knows it. */
static int resolve(const struct sys *sys, const char *path, char out[PATH_MAX],
		   struct weir_error *err)
{
	int fd = sys->openat(AT_FDCWD, path, O_PATH | O_CLOEXEC, 0);
	char link[64];
	ssize_t len;
	int os_errno;

	if (fd < 0)
		return error_sys(err, errno, path, "%s", path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = sys->readlinkat(AT_FDCWD, link, out, PATH_MAX);
	os_errno = errno;
	sys->close(fd);
	if (len < 0)
		return error_sys(err, os_errno, path, "%s: %s", path, link);
	if (len >= PATH_MAX)
		return error_sys(err, ENAMETOOLONG, path, "%s", path);
	out[len] = '\0';
	return 0;
}

int usrbio_mount_find(const struct sys *sys, const char *path, bool any_type, char out[PATH_MAX],
		      struct weir_error *err)
{
	char resolved[PATH_MAX];
	const struct search search = {.sys = sys,
				      .any_type = any_type,
				      .path = resolved,
				      .each = keep_longest,
				      .arg = out};
	int ret = resolve(sys, path, resolved, err);

	out[0] = '\0';
	if (!ret)
		ret = walk(&search, err);
	if (!ret && !out[0])
		ret = error_sys(err, ENOENT, path, "%s: on no 3FS mount", path);
	return ret;
}
