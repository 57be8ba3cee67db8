/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `weir mount`, `umount` and `status` have in common: where the daemon's program is, which daemons
 * run, how they are asked, and which mounts of theirs the kernel knows.
 *
 * A daemon listens at PID.sock in the run directory (/run/weir of root, $XDG_RUNTIME_DIR/weir of others);
 * it is sent a word and answers with lines.  No mount is asked anything by its path here: its daemon
 * may be dead.
 */
#ifndef CLI_MOUNTING_H
#define CLI_MOUNTING_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <time.h>

#include "weir/error.h"

/* The path of weir-mount; false: no program is there, and the path is where it should be. */
bool mounting_program(char path[PATH_MAX]);

/* The absolute path of a mount point, without a look at the mount itself. */
int mounting_resolve(const char *dir, char out[PATH_MAX], struct weir_error *err);

/* Is a mount of ours there, and which connection of FUSE is it?  false: none. */
bool mounting_find(const char *dir, unsigned *connection);

/* Is the mount that is there another user's, so that this one may not unmount it? */
bool mounting_is_anothers(const char *dir);

/* ---- Daemons ---- */

struct mounting_daemon {
	pid_t pid;
	struct timespec since; /* of two on one directory, the later one is on top */
	char dir[PATH_MAX];    /* that it serves */
	char socket[PATH_MAX];
};

/* Calls each(arg, daemon) for every daemon that runs, by the files in this user's run directories. */
void mounting_each(void (*each)(void *arg, const struct mounting_daemon *daemon), void *arg);

/* Sends the word and reads all that is answered: malloc()ed text, or NULL where nobody answers. */
char *mounting_ask(const char *socket, const char *word);

/*
 * The next line of an answer as words, %XX undone, in place; 0 at its end.  `text` moves on.  A line with
 * more words than fit is cut.
 */
#define MOUNTING_WORDS 20
size_t mounting_line(char **text, char *words[MOUNTING_WORDS]);

/* ---- Who uses a mount ---- */

struct mounting_user {
	pid_t pid;
	char name[32];
	const char *how; /* "has files open", "works there" ... */
};

/* As far as /proc lets us see: up to `max`; returns how many there are. */
size_t mounting_users(const char *dir, struct mounting_user *users, size_t max);

#endif
