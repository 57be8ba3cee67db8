/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of files: what stands behind one, what stands inside a directory, a new directory.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/fd.h"
#include "source/file.h"

/* Largest listing, with its names: some two million entries. */
#define LISTING_MAX ((size_t)512 << 20)
#define ROOM_FIRST  64

/* Asked of whoever can be opened without waiting; the rest is not in the cache, as far as we know. */
static uint64_t cached_of(const struct sys *sys, const char *path, uint64_t size_bytes)
{
	int fd = fd_lift(
		sys, sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0));
	uint64_t cached;

	if (fd < 0)
		return UINT64_MAX;
	cached = file_cached_bytes(sys, fd, size_bytes);
	sys->close(fd);
	return cached;
}

int file_stat(struct source *source, const char *path, const char *uri,
	      const struct source_how *how, struct weir_stat *out, struct weir_error *err)
{
	const struct sys *sys = source->env->sys;
	bool nofollow = (how->flags & WEIR_OBJECT_NOFOLLOW) != 0;
	struct statx stx;
	int ret = file_statx(sys, AT_FDCWD, path, nofollow ? AT_SYMLINK_NOFOLLOW : 0, &stx);

	if (ret)
		return error_sys(err, ret, uri, "%s: cannot stat", uri);
	if (S_ISLNK(stx.stx_mode))
		return error_set(err, WEIR_DENIED, uri, "%s: is a link, which is not followed here",
				 uri);
	file_fill_stat(&stx, out);
	if (out->kind == WEIR_KIND_FILE && !(how->flags & WEIR_OBJECT_NO_CACHED))
		out->cached_bytes = cached_of(sys, path, out->size_bytes);
	return 0;
}

/* ---- Listing ---- */

/* The entries so far, in memory of their own until it is known how many there are. */
struct gathering {
	struct source_entry *entries; /* owned; the names are the arena's */
	size_t count, room;
	bool names_only;
};

static struct source_entry *add(struct gathering *gathering)
{
	struct source_entry *grown;
	size_t room;

	if (gathering->count == gathering->room) {
		room = gathering->room ? 2 * gathering->room : ROOM_FIRST;
		grown = reallocarray(gathering->entries, room, sizeof(*grown));
		if (!grown)
			return NULL;
		gathering->entries = grown;
		gathering->room = room;
	}
	return &gathering->entries[gathering->count++];
}

/* What went away meanwhile is left out; a link that leads nowhere is something other than a file. */
static int gather_one(const struct sys *sys, int dir, const char *name, struct arena *arena,
		      struct gathering *gathering)
{
	struct source_entry *entry;
	struct statx stx = {0};
	int ret = gathering->names_only ? 0 : file_statx(sys, dir, name, 0, &stx);

	if (ret)
		ret = file_statx(sys, dir, name, AT_SYMLINK_NOFOLLOW, &stx);
	if (ret)
		return ret == ENOENT ? 0 : ret;
	entry = add(gathering);
	if (!entry)
		return ENOMEM;
	entry->name = arena_strdup(arena, (struct bytes){name, strlen(name)});
	if (!entry->name)
		return ENOMEM;
	if (gathering->names_only)
		memset(&entry->stat, 0, sizeof(entry->stat));
	else
		file_fill_stat(&stx, &entry->stat);
	return 0;
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* 0 or an errno. */
static int gather(const struct sys *sys, DIR *directory, struct arena *arena,
		  struct gathering *gathering)
{
	for (;;) {
		struct dirent *found;
		int ret;

		errno = 0;
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
		found = readdir(directory);
		if (!found)
			return errno;
		if (is_dots(found->d_name))
			continue;
		ret = gather_one(sys, dirfd(directory), found->d_name, arena, gathering);
		if (ret)
			return ret;
	}
}

static int hand_over(struct gathering *gathering, struct source_listing *out)
{
	size_t count = gathering->count;

	out->entries = arena_alloc(&out->arena, count ? count : 1, sizeof(*out->entries));
	if (!out->entries)
		return ENOMEM;
	if (count > 0)
		memcpy(out->entries, gathering->entries, count * sizeof(*out->entries));
	if (!out->any_order)
		source_sort(out->entries, count);
	out->count = count;
	return 0;
}

static DIR *open_directory(const struct sys *sys, const char *path)
{
	int fd = fd_lift(
		sys, sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOCTTY, 0));
	DIR *directory = fd < 0 ? NULL : fdopendir(fd);
	int saved = errno;

	if (fd >= 0 && !directory)
		sys->close(fd);
	errno = saved;
	return directory;
}

int file_list(struct source *source, const char *path, const char *uri, struct source_listing *out,
	      struct weir_error *err)
{
	struct gathering gathering = {.names_only = out->names_only};
	DIR *directory = open_directory(source->env->sys, path);
	int ret;

	if (!directory)
		return error_sys(err, errno, uri, "%s: cannot list", uri);
	*out = (struct source_listing){.names_only = out->names_only, .any_order = out->any_order};
	arena_init(&out->arena, LISTING_MAX);
	ret = gather(source->env->sys, directory, &out->arena, &gathering);
	closedir(directory);
	if (ret == 0)
		ret = hand_over(&gathering, out);
	free(gathering.entries);
	if (ret == 0)
		return 0;
	arena_fini(&out->arena);
	return error_sys(err, ret, uri, "%s: listing", uri);
}

int file_mkdir(struct source *source, const char *path, const char *uri, struct weir_error *err)
{
	if (source->env->sys->mkdirat(AT_FDCWD, path, 0777))
		return error_sys(err, errno, uri, "%s: cannot make the directory", uri);
	return 0;
}
