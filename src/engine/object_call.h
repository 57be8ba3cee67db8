/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls on names and objects, as helpers run them.
 *
 * Each public call is a struct that a helper thread runs; whoever comes second, the caller or the thread,
 * frees it.  What was opened for a caller that has left is closed again there.
 */
#ifndef ENGINE_OBJECT_CALL_H
#define ENGINE_OBJECT_CALL_H

#include "base/clock.h"
#include "engine/context.h"
#include "engine/helper.h"
#include "engine/object.h"
#include "engine/route.h"

#define OBJECT_TIMEOUT_DEFAULT (60 * NS_PER_SEC)

struct object_call {
	struct helper_call call;
	struct weir_ctx *ctx;
	char *uri; /* owned; NULL where there is an object */
	struct source_how how;
	uint64_t size_bytes;
	int durability;
	struct weir_object *object, *other; /* counted */
	struct weir_stat stat;
	struct source_listing listing;
};

static inline struct object_call *object_call_of(struct helper_call *call)
{
	return container_of(call, struct object_call, call);
}

/* Checks what every call on a URI needs, and copies the options. */
int object_call_begin(struct weir_ctx *ctx, const char *uri, const struct weir_object_opts *opts,
		      struct weir_object_opts *copy, struct weir_error *err);

/* uri NULL: about an object.  NULL: out of memory, and *err says so. */
struct object_call *object_call_new(struct weir_ctx *ctx, const char *uri,
				    const struct weir_object_opts *opts,
				    int (*run)(struct helper_call *call), struct weir_error *err);

/* Runs it and waits; after success `taken` takes what it brought. */
int object_call_run(struct object_call *call, const char *what, const struct weir_object_opts *opts,
		    void (*taken)(struct helper_call *call, void *arg), void *arg,
		    struct weir_error *err);

/* A call about an object. */
int object_call_on(struct weir_object *object, int (*run)(struct helper_call *call), int durability,
		   void (*taken)(struct helper_call *call, void *arg), void *arg,
		   struct weir_error *err);

/* For calls that bring an object: hands it over. */
void object_call_take_object(struct helper_call *call, void *arg);

/* Takes what a source opened over, also when it fails. */
int object_wrap(struct weir_ctx *ctx, struct group *group, struct source_object *core,
		struct weir_object **out, struct weir_error *err);

#endif
