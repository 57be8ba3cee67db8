/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What nearly every verb needs of the library: a context whose warnings reach the user, and a cancel
 * token that Ctrl-C fires.  And what a verb may do to files of this machine, by their paths.
 */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include <stdbool.h>

#include "command.h"
#include "weir/weir.h"

struct session {
	struct weir_ctx *ctx;
	struct weir_cancel *cancel;
};

/* opts may be NULL; its log is set here. */
int session_open(struct session *session, const struct weir_ctx_opts *opts, struct weir_error *err);
void session_close(struct session *session);

/* How a model is opened, from the options that verbs share. */
struct weir_model_opts session_model(const struct session *session,
				     const struct model_options *options);

/* One model by that (a list of files where there are several URIs); where --lenient would have opened what is
 * refused, report_error() will say so. */
int session_open_model(const struct session *session, const char *const *uris, uint64_t count,
		       const struct weir_model_opts *how, struct weir_model **out,
		       struct weir_error *err);

/* Tells the user what was ignored when the model was opened. */
void session_warn(const struct weir_model *model);

/* The path of a local file, malloc()ed; NULL where the URI names something else. */
char *session_path(const char *uri);

/* The last component of a name, as bytes, without slashes behind it; malloc()ed, NULL: out of memory. */
char *session_name(const char *uri);

/* A name, as bytes, in a directory: '%' must be spelled in a URI.  malloc()ed, NULL: out of memory. */
char *session_join(const char *dir, const char *name);

/* The rights of a local file or directory, its owner's to read among them; 0: they are not to be had. */
unsigned session_mode(const char *uri);

/* A local file that has holes, opened for asking where they are; -1: none, or nobody tells. */
int session_open_sparse(const char *uri);

/* Takes rights away from a directory that was just made: all but these and its owner's. */
int session_restrict(const char *uri, unsigned mode, struct weir_error *err);

/* Is it a link to a directory above it, so that who follows it comes by again and again? */
bool session_loops(const char *uri);

/* Are two URIs the same local file, or the same text? */
bool session_same(const char *a, const char *b);

/* Is a local name, that need not be there yet, the same as a directory or below it? */
bool session_inside(const char *uri, const char *directory);

/* Every shard of a model. */
int session_drop_model(const struct weir_model *model, struct weir_error *err);

#endif
