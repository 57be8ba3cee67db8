/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/anchor.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/error.h"

#define ENTRY_MAX (3 * PATH_MAX)

/* Where the last component is a link, the mount is where it leads; readlink() asks no mount. */
static int follow_last(const char *dir, char path[PATH_MAX], struct weir_error *err)
{
	char copy[PATH_MAX];

	if (readlink(path, copy, sizeof(copy)) < 0)
		return 0;
	snprintf(copy, sizeof(copy), "%s", path);
	return realpath(copy, path) ? 0 : error_sys(err, errno, dir, "%s", dir);
}

/* The parent is resolved, and the last component taken as it is: looking at it would ask the mount. */
int anchor_resolve(const char *dir, char out[PATH_MAX], struct weir_error *err)
{
	char parent[PATH_MAX], copy[PATH_MAX];
	char *name;
	size_t len = strlen(dir);

	if (len >= sizeof(copy))
		return error_sys(err, ENAMETOOLONG, NULL, "%.64s...", dir);
	memcpy(copy, dir, len + 1);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	name = strrchr(copy, '/');
	name = name ? name + 1 : copy;
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
		if (!realpath(copy, out))
			return error_sys(err, errno, dir, "%s", dir);
		return 0;
	}
	if (name == copy) {
		memcpy(parent, ".", 2);
	} else {
		memcpy(parent, copy, (size_t)(name - copy));
		parent[name - copy] = '\0';
	}
	if (!realpath(parent, out))
		return error_sys(err, errno, dir, "%s", dir);
	len = strlen(out);
	if (len + 1 + strlen(name) >= PATH_MAX)
		return error_sys(err, ENAMETOOLONG, dir, "%s", dir);
	snprintf(out + len, PATH_MAX - len, "%s%s", len > 1 ? "/" : "", name);
	return follow_last(dir, out, err);
}

static bool is_weir(const struct mntent *entry)
{
	return strcmp(entry->mnt_type, "fuse.hf3fs") == 0 && strstr(entry->mnt_fsname, "weir");
}

bool anchor_is_ours(const char *dir)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char text[ENTRY_MAX];
	struct mntent entry;
	bool ours = false;

	if (!mounts)
		return false;
	while (getmntent_r(mounts, &entry, text, sizeof(text))) {
		if (strcmp(entry.mnt_dir, dir) == 0)
			ours = is_weir(&entry);
	}
	endmntent(mounts);
	return ours;
}

/* The device of what is mounted there, by what is cached: no request is made. */
void anchor_find(struct anchor *anchor)
{
	struct statx stat;

	if (!anchor->dir[0] ||
	    statx(AT_FDCWD, anchor->dir, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
		  0, &stat) < 0)
		return;
	if (stat.stx_dev_major != 0)
		return;
	anchor->connection = stat.stx_dev_minor;
	anchor->known = true;
}

/* "fuse_connection: N" in fdinfo; then the mount with that device number. */
void anchor_find_by_descriptor(struct anchor *anchor, int fuse_fd)
{
	static const char name[] = "fuse_connection:";
	char path[64], line[256];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fuse_fd);
	info = fopen(path, "re");
	if (!info)
		return;
	while (fgets(line, sizeof(line), info)) {
		if (strncmp(line, name, sizeof(name) - 1) != 0)
			continue;
		anchor->connection = (unsigned)strtoul(line + sizeof(name) - 1, NULL, 10);
		anchor->known = true;
	}
	fclose(info);
}
