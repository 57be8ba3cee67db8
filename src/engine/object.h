/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects: what a source opened, counted.
 *
 * The public calls run on helper threads, since they may hang.  Whoever is on a helper thread already
 * (a model that opens a hundred shards) calls object_open_here() and object_read_here() instead, and
 * pays no hand-over for each file.
 */
#ifndef ENGINE_OBJECT_H
#define ENGINE_OBJECT_H

#include <stdatomic.h>
#include <stdbool.h>

#include "source/source.h"
#include "weir/object.h"

struct canal_file;
struct group;

struct weir_object {
	struct weir_ctx *ctx;
	struct group *group;
	struct source_object *core; /* owned */
	uint32_t serial;            /* in the order of opening: plans visit objects in it */
	_Atomic uint32_t refs;
	_Atomic int ended;                  /* committed or aborted */
	_Atomic(struct canal_file *) canal; /* engine/canal.h; NULL: nobody needed it */
};

/* weir_object_unref() for who asked already whether the context is this process's. */
void object_unref_in(struct weir_object *object, bool alive);

/* Blocking, on this thread. */
int object_open_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_object **out, struct weir_error *err);

/* The same with a path of the file source in place of the one that the URI means: where the URI was
 * resolved already, to a descriptor below /proc/self/fd. */
int object_open_as_here(struct weir_ctx *ctx, const char *path, const char *uri,
			const struct source_how *how, struct weir_object **out,
			struct weir_error *err);

/* Exactly length bytes, or WEIR_TRUNCATED; blocking, on this thread. */
int object_read_here(struct weir_object *object, void *to, uint64_t offset, uint64_t length,
		     struct weir_error *err);

/*
 * A directory whose files are opened one after another: which source serves them is found out once, by
 * the directory, and holds for all that lie on its device.  Any number of threads may open in it.
 */
struct object_dir {
	struct weir_ctx *ctx;
	struct group *group;
	struct source_dir at;
	_Atomic bool left; /* a file lies elsewhere: the others are not looked for here */
};

/* False where there is nothing to be gained: no local directory, or it cannot be opened.  Blocking. */
bool object_dir_open_here(struct weir_ctx *ctx, const char *path, struct object_dir *out);
void object_dir_close(struct object_dir *dir);

/* object_open_here() for a URI that is the directory's path and a name in it. */
int object_dir_find_here(struct object_dir *dir, const char *uri, const struct source_how *how,
			 struct weir_object **out, struct weir_error *err);

/* What stands in a directory; source_listing's arena is the caller's to end. */
int object_list_here(struct weir_ctx *ctx, const char *uri, struct source_listing *out,
		     struct weir_error *err);
int object_stat_here(struct weir_ctx *ctx, const char *uri, const struct source_how *how,
		     struct weir_stat *out, struct weir_error *err);

#endif
