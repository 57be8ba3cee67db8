/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who uses a mount: a walk through /proc that reads links and lists, and never follows them.
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mounting.h"

static bool is_beneath(const char *dir, const char *path)
{
	size_t len = strlen(dir);

	return strncmp(dir, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool leads_there(int at, const char *name, const char *dir)
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(at, name, target, sizeof(target) - 1);

	if (len <= 0)
		return false;
	target[len] = '\0';
	return is_beneath(dir, target);
}

static bool has_open(int process, const char *dir)
{
	int fd = openat(process, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool found = false;

	while (list && !found && (entry = readdir(list)))
		found = leads_there(fd, entry->d_name, dir);
	if (list)
		closedir(list);
	else if (fd >= 0)
		close(fd);
	return found;
}

static bool has_mapped(int process, const char *dir)
{
	int fd = openat(process, "maps", O_RDONLY | O_CLOEXEC);
	FILE *maps = fd < 0 ? NULL : fdopen(fd, "r");
	char line[PATH_MAX + 128];
	bool found = false;

	while (maps && !found && fgets(line, sizeof(line), maps)) {
		char *path = strchr(line, '/');

		line[strcspn(line, "\n")] = '\0';
		found = path && is_beneath(dir, path);
	}
	if (maps)
		fclose(maps);
	else if (fd >= 0)
		close(fd);
	return found;
}

static const char *how(int process, const char *dir)
{
	if (leads_there(process, "cwd", dir))
		return "works there";
	if (leads_there(process, "root", dir))
		return "has it as its root";
	if (leads_there(process, "exe", dir))
		return "runs from it";
	if (has_open(process, dir))
		return "has files open";
	return has_mapped(process, dir) ? "has files mapped" : NULL;
}

static void name_of(int process, char *name, size_t size)
{
	int fd = openat(process, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, name, size - 1);

	name[len > 0 ? len : 0] = '\0';
	name[strcspn(name, "\n")] = '\0';
	if (fd >= 0)
		close(fd);
}

size_t mounting_users(const char *dir, struct mounting_user *users, size_t max)
{
	DIR *list = opendir("/proc");
	const struct dirent *entry;
	size_t count = 0;

	while (list && (entry = readdir(list))) {
		int process;
		const char *uses;

		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		process = openat(dirfd(list), entry->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		uses = process < 0 ? NULL : how(process, dir);
		if (uses && count < max) {
			users[count] = (struct mounting_user){
				.pid = (pid_t)strtol(entry->d_name, NULL, 10), .how = uses};
			name_of(process, users[count].name, sizeof(users[count].name));
		}
		count += uses != NULL;
		if (process >= 0)
			close(process);
	}
	if (list)
		closedir(list);
	return count;
}
