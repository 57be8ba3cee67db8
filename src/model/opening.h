/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model that is being opened.
 *
 *	open.c    what the caller said; the helper thread
 *	find.c    which files: a file, a list, a directory, an index
 *	read.c    opens them and reads their headers, several at a time where that pays
 *	header.c  one header
 *	split.c   GGUF in several parts
 *	judge.c   does an index say what the files say?
 *	table.c   one table of all tensors
 *
 * All of that runs on a helper thread, since every call on a file may hang, and pays one hand-over in
 * all.  Nothing here belongs to the caller's thread: it may have given up waiting.
 */
#ifndef MODEL_OPENING_H
#define MODEL_OPENING_H

#include "engine/helper.h"
#include "engine/object.h"
#include "format/shard_index.h"
#include "model/model.h"
#include "source/source.h"

struct opening {
	struct helper_call call;
	struct weir_ctx *ctx;
	struct weir_model_opts opts; /* but for `cancel`, which is the waiter's */
	struct source_how how;
	struct weir_model *model; /* owned until it is taken */
	struct weir_error *err;   /* the call's */

	const char **uris; /* what the caller named; the arena's */
	uint64_t uri_count;
	bool list; /* by weir_model_open_list() */

	struct object_dir *at;   /* borrowed while shards are read; NULL: there is no such */
	const char *dir;         /* where the names of the shards count from; NULL: they are URIs */
	struct shard_index *map; /* owned; NULL: none */
	const char *map_uri;     /* borrowed: one of the uris, or the arena\'s */
	uint64_t map_bytes;      /* charged for its text until the model is open */
	uint32_t *map_shards;    /* the map's number of a shard to the model's; the arena's */
	uint8_t *kept;           /* owned; each shard has its part of it */
	struct source_listing listing; /* of dir, where `listed` */
	bool listed;
};

/* Fails as nomem for an arena that gave NULL. */
int opening_nomem(const struct opening *opening);

/* A warning; WEIR_MODEL_VERIFY makes it an error of that class. */
must_use int opening_warn(struct opening *opening, int code, const char *object, const char *format,
			  ...) __attribute__((format(printf, 4, 5)));

/* ---- find.c ---- */

/* Fills in model->shards, as far as names go. */
must_use int find_files(struct opening *opening);

/* The URI of a name in a directory; the arena's, or NULL. */
char *uri_join(struct arena *arena, const char *dir, struct bytes name);

/* ---- read.c ---- */

/* Objects and indexes of all shards that have none yet. */
must_use int read_shards(struct opening *opening);

/* ---- header.c ---- */

/*
 * How much of a file is read first, so that nearly every header is there whole.  The headers of one
 * model are alike: the first file is a guess, the others are read as far as the longest so far went.
 */
struct header_guess {
	_Atomic uint64_t longest; /* 0: none was read yet */
};

/* The header of an object that is open. */
must_use int header_read(struct weir_model *model, struct weir_object *object, unsigned flags,
			 struct header_guess *guess, struct format_index **out,
			 struct weir_error *err);

/* All of a small file; *text is malloc()ed, and freed by the caller. */
must_use int file_read_whole(struct weir_model *model, struct weir_object *object, uint64_t max,
			     char **text, struct weir_error *err);

/* ---- split.c ---- */

/* One part of a split GGUF was named: the others are added to the shards. */
must_use int split_complete(struct opening *opening);

/* Parts agree, and are all there. */
must_use int split_judge(struct opening *opening);

/* ---- judge.c ---- */

must_use int judge_index(struct opening *opening);

/* The table could not be built, with that code: tells what the index has to do with it. */
must_use int judge_repeat(struct opening *opening, int code);

#endif
