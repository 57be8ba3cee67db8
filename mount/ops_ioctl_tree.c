/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Removing a directory with all that is in it, without recursion: the way down is a list of open
 * directories, of a length that is bounded.  Somebody else may add to them and take away meanwhile:
 * what is gone is gone, and what came is removed as well, as far as that has an end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mount/ops.h"

/* Directories in each other; each takes a descriptor. */
#define LEVELS_MAX 128

/* How often a directory that was seen empty, and was not, is looked through again. */
#define LOOKS_MAX 16

struct level {
	DIR *stream;
	unsigned looks;
	char name[256];
};

struct descent {
	struct front *front;
	int top; /* the directory that holds the first of them */
	unsigned depth;
	struct level levels[LEVELS_MAX];
};

static int dir_above(const struct descent *descent)
{
	return descent->depth > 1 ? dirfd(descent->levels[descent->depth - 2].stream)
				  : descent->top;
}

static int go_down(struct descent *descent, int dir, const char *name)
{
	struct level *level = &descent->levels[descent->depth];
	int fd;

	if (descent->depth == LEVELS_MAX)
		return ELOOP;
	if (strlen(name) >= sizeof(level->name))
		return ENAMETOOLONG;
	fd = reach_open(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (fd < 0)
		return errno == ENOENT && descent->depth ? 0 : errno;
	level->stream = fdopendir(fd);
	if (!level->stream) {
		close(fd);
		return ENOMEM;
	}
	level->looks = 0;
	memcpy(level->name, name, strlen(name) + 1);
	descent->depth++;
	return 0;
}

static void go_up(struct descent *descent)
{
	closedir(descent->levels[--descent->depth].stream);
}

/* The directory itself, which was seen empty. */
static int remove_level(struct descent *descent)
{
	struct level *level = &descent->levels[descent->depth - 1];
	int error = ops_remove_at(descent->front, dir_above(descent), level->name, AT_REMOVEDIR);

	if (error == ENOTEMPTY && level->looks++ < LOOKS_MAX) {
		rewinddir(level->stream);
		return 0;
	}
	go_up(descent);
	return error == ENOENT ? 0 : error;
}

static int remove_entry(struct descent *descent, const struct dirent *entry)
{
	int dir = dirfd(descent->levels[descent->depth - 1].stream), error;

	if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
		return 0;
	error = ops_remove_at(descent->front, dir, entry->d_name, 0);
	if (error == EISDIR)
		return go_down(descent, dir, entry->d_name);
	return error == ENOENT ? 0 : error;
}

static int remove_all(struct descent *descent)
{
	int error = 0;

	while (!error && descent->depth) {
		struct dirent *entry;

		errno = 0;
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): the stream is ours alone */
		entry = readdir(descent->levels[descent->depth - 1].stream);
		if (entry)
			error = remove_entry(descent, entry);
		else
			error = errno ? errno : remove_level(descent);
	}
	return error;
}

int ops_remove_tree(struct front *front, int dir, const char *name)
{
	struct descent *descent = malloc(sizeof(*descent));
	int error;

	if (!descent)
		return ENOMEM;
	descent->front = front;
	descent->top = dir;
	descent->depth = 0;
	error = go_down(descent, dir, name);
	if (!error)
		error = remove_all(descent);
	while (descent->depth)
		go_up(descent);
	free(descent);
	return error;
}
