/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A mount that is none, for clients of rings: a folder with what a client looks for in it.  Its daemon is the
 * table of system calls.
 */
#ifndef TESTS_LIB_MOUNT_FOLDER_H
#define TESTS_LIB_MOUNT_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/check.h"

#define MOUNT_FOLDER_PATH 64

/* Its bell leads nowhere. */
static inline void mount_folder_make(char path[MOUNT_FOLDER_PATH])
{
	char inside[128];

	strcpy(path, "/tmp/weir-mount-XXXXXX");
	check(mkdtemp(path));
	snprintf(inside, sizeof(inside), "%s/3fs-virt", path);
	check_int(mkdir(inside, 0700), 0);
	strcat(inside, "/iovs");
	check_int(mkdir(inside, 0700), 0);
	strcat(inside, "/submit-ios");
	check_int(symlink("/dev/shm/sem.none", inside), 0);
}

static inline void mount_folder_remove(const char *path)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -r %s", path);
	check_int(system(command), 0);
}

#endif
